//! The threads of a registry with several arbiters: when they have come to
//! rest, and what time it is there.
//!
//! With one arbiter the paused clock tells both: it goes on when nobody has
//! anything left to do. With several, each has a clock, and none goes on before
//! the test says so; that all is at rest shows when nothing new has come while
//! each thread had turns, several times over.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::App;
use tokio::sync::oneshot;

use super::event_log::SharedLog;

/// How often nothing new has come while each thread had its turns. What is on
/// its way between two threads takes one round.
const ROUNDS: usize = 3;

/// How many turns of others a thread has in a round: more than a slow listener
/// takes for an event.
const TURNS: usize = 10;

/// In how many parts a long time passes: what begins to wait in one is over
/// in the next. More than errors ever wait in a line, since a server socket
/// that backs off meets one in each.
const PARTS: u32 = 40;

/// The arbiters of a registry, this one too; empty if that is all.
#[derive(Default)]
pub struct Threads {
    arbiters: Vec<ArbiterHandle>,
    /// While these live, no clock goes on by itself.
    clocks: Vec<Sender<()>>,
}

impl Threads {
    /// Those of a registry, which has this app.
    pub async fn of(app: &App) -> Self {
        let (tell, told) = channel();
        let made = app.on_each_arbiter(move |local| {
            if local.index() > 0 {
                tokio::time::pause();
            }
            let (clock, stands_still) = channel::<()>();
            // The clock of a runtime does not go on by itself as long as it has
            // blocking work.
            tokio::task::spawn_blocking(move || stands_still.recv());
            let _ = tell.send((local.index(), Arbiter::current(), clock));
        });
        made.await.expect("the registry runs");
        let mut all: Vec<_> = told.try_iter().collect();
        all.sort_by_key(|(index, ..)| *index);
        let all = all.into_iter().map(|(_, arbiter, clock)| (arbiter, clock));
        let (arbiters, clocks) = all.unzip();
        Threads { arbiters, clocks }
    }

    pub fn is_empty(&self) -> bool {
        self.arbiters.is_empty()
    }

    /// Does this in the other threads, one after the other.
    async fn elsewhere<F>(&self, work: impl Fn() -> F)
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
            // One that has ended has nothing left to do.
            let _ = is_done.await;
        }
    }

    /// Waits until nobody has anything left to do.
    pub async fn rest(&self, log: &SharedLog) {
        let mut rounds = 0;
        while rounds < ROUNDS {
            let before = log.borrow().length();
            turns().await;
            self.elsewhere(turns).await;
            let is_calm = log.borrow().length() == before;
            rounds = if is_calm { rounds + 1 } else { 0 };
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration, log: &SharedLog) {
        let part = time / PARTS;
        for _ in 0..PARTS {
            self.elsewhere(move || tokio::time::advance(part)).await;
            tokio::time::advance(part).await;
            self.rest(log).await;
        }
    }

    /// The clocks go on by themselves from now on.
    pub fn let_go(&mut self) {
        self.clocks.clear();
    }
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
