//! Limits the time that lists for admins take from the host.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::limits::{MAX_LIST_PAUSE, MIN_LIST_PAUSE};
use crate::protocol::outcome::{Outcome, OutcomeFuture};

/// The estimated time for the info of a server socket, which asks the OS about its backlog.
const SERVER_COST: Duration = Duration::from_micros(100);

/// The estimated time for the info of a client socket.
const CLIENT_COST: Duration = Duration::from_micros(2);

/// The rate of the lists of one admin connection, and when the next list of any may start.
#[derive(Clone)]
pub(crate) struct ListRate {
    next_list: Rc<Mutex<Instant>>,
    /// The time that the sockets have spent answering the current list, as an estimate.
    cost: Rc<Cell<Duration>>,
}

impl ListRate {
    pub(crate) fn new(next_list: Rc<Mutex<Instant>>) -> Self {
        ListRate {
            next_list,
            cost: Rc::default(),
        }
    }

    /// Makes a list after a pause of nine times the time that the last list took. So lists take
    /// at most a tenth of the host's time, however many admins poll however often.
    pub(crate) fn limit(self, list: impl Future<Output = Outcome> + 'static) -> OutcomeFuture {
        let limited = async move {
            let mut next_list = self.next_list.lock().await;
            sleep_until(*next_list).await;
            self.cost.set(Duration::ZERO);
            let mut time = Duration::ZERO;
            let mut list = pin!(list);
            // Only the time of its own polls counts. On a busy host the rest is the time of
            // other tasks, and would delay the next list for long.
            let outcome = poll_fn(|cx| {
                let start = Instant::now();
                let polled = list.as_mut().poll(cx);
                time += start.elapsed();
                polled
            });
            let outcome = outcome.await;
            let time = time + self.cost.get();
            *next_list = Instant::now() + (time * 9).clamp(MIN_LIST_PAUSE, MAX_LIST_PAUSE);
            outcome
        };
        limited.boxed_local()
    }

    /// The list has asked so many server sockets for their info.
    pub(crate) fn add_servers(&self, count: usize) {
        self.add_cost(count, SERVER_COST);
    }

    /// The list has asked so many client sockets for their info.
    pub(crate) fn add_clients(&self, count: usize) {
        self.add_cost(count, CLIENT_COST);
    }

    fn add_cost(&self, sockets: usize, each: Duration) {
        let cost = each * u32::try_from(sockets).unwrap_or(u32::MAX);
        self.cost.set(self.cost.get().saturating_add(cost));
    }
}
