//! Rest and time of a registry with several arbiters.
//!
//! With one arbiter the paused clock shows both: it advances when all tasks are idle. With
//! several, each thread has a clock, which advances only when the test says so. Everything
//! counts as at rest when nothing new was logged while each thread had turns, several times in a
//! row.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::App;
use tokio::sync::oneshot;

use super::event_log::SharedLog;

/// Rounds without a new log entry. A message between two threads takes one round.
const ROUNDS: usize = 3;

/// Turns of other tasks in a round: more than a slow listener takes for an event.
const TURNS: usize = 10;

/// Steps of a long time: what starts to wait in one ends in the next. More than errors ever
/// wait, since a server socket that backs off handles one in each.
const PARTS: u32 = 40;

/// The arbiters of a registry, including this one; empty if there is only one.
#[derive(Default)]
pub struct Threads {
    arbiters: Vec<ArbiterHandle>,
    /// While these are alive, no clock advances by itself.
    clocks: Vec<Sender<()>>,
}

impl Threads {
    /// The threads of the registry of this app.
    pub async fn of(app: &App) -> Self {
        let (sender, delivered) = channel();
        let made = app.on_each_arbiter(move |local| {
            if local.index() > 0 {
                tokio::time::pause();
            }
            let (clock, stands_still) = channel::<()>();
            // The clock of a runtime does not advance by itself while it has blocking work.
            tokio::task::spawn_blocking(move || stands_still.recv());
            let _ = sender.send((local.index(), Arbiter::current(), clock));
        });
        made.await.expect("the registry runs");
        let mut all: Vec<_> = delivered.try_iter().collect();
        all.sort_by_key(|(index, ..)| *index);
        let all = all.into_iter().map(|(_, arbiter, clock)| (arbiter, clock));
        let (arbiters, clocks) = all.unzip();
        Threads { arbiters, clocks }
    }

    pub fn is_empty(&self) -> bool {
        self.arbiters.is_empty()
    }

    /// Does this in the other threads, one after the other.
    async fn in_other_threads<F>(&self, work: impl Fn() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for arbiter in self.arbiters.iter().skip(1) {
            let (done, is_done) = oneshot::channel();
            let work = work();
            arbiter.spawn(async move {
                work.await;
                let _ = done.send(());
            });
            // A thread that has ended has nothing left to do.
            let _ = is_done.await;
        }
    }

    /// Waits until all threads are idle.
    pub async fn rest(&self, log: &SharedLog) {
        let mut rounds = 0;
        while rounds < ROUNDS {
            let before = log.borrow().length();
            take_turns().await;
            self.in_other_threads(take_turns).await;
            let is_calm = log.borrow().length() == before;
            rounds = if is_calm { rounds + 1 } else { 0 };
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration, log: &SharedLog) {
        let part = time / PARTS;
        for _ in 0..PARTS {
            self.in_other_threads(move || tokio::time::advance(part))
                .await;
            tokio::time::advance(part).await;
            self.rest(log).await;
        }
    }

    /// From now on the clocks advance by themselves.
    pub fn unfreeze(&mut self) {
        self.clocks.clear();
    }
}

async fn take_turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
