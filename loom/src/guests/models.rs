//! The line of those that wait at a limit.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::task::{Context, Poll};

use futures::future::poll_fn;
use loom::future::block_on;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::line::WaitQueue;
use crate::sync::{AtomicUsize, AtomicWaker};

/// One place, for all server sockets.
#[derive(Default)]
struct Limit {
    line: WaitQueue,
    accepted: AtomicUsize,
    /// All server sockets live in one thread: their turns do not overlap.
    thread: Mutex<()>,
}

impl Limit {
    fn has_room(&self) -> bool {
        self.accepted.load(Acquire) < 1
    }

    /// As the drop of a `ConnectionGuard`, in any thread.
    fn free(&self) {
        self.accepted.fetch_sub(1, AcqRel);
        self.line.wake_first();
    }
}

/// A server socket that is only a gate, as in `gate.rs`.
struct Comer {
    limit: Arc<Limit>,
    waker: std::sync::Arc<AtomicWaker>,
    stands: bool,
}

impl Comer {
    fn new(limit: &Arc<Limit>) -> Self {
        Comer {
            limit: limit.clone(),
            waker: std::sync::Arc::default(),
            stands: false,
        }
    }

    /// Takes the place if there is one, or stands in line.
    fn turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        let limit = self.limit.clone();
        let Limit { line, thread, .. } = &*limit;
        let _turn = thread.lock().expect("nobody panics");
        if self.limit.has_room() && line.is_first(&self.waker) {
            self.limit.accepted.fetch_add(1, AcqRel);
            self.leave();
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if !std::mem::replace(&mut self.stands, true) {
            line.enqueue(&self.waker);
        }
        if line.is_first(&self.waker) && line.recheck(|| self.limit.has_room()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.stands) {
            self.limit.line.remove(&self.waker);
            if self.limit.has_room() {
                self.limit.line.wake_first();
            }
        }
    }
}

#[test]
fn everybody_who_waits_at_a_limit_gets_a_place_that_becomes_free() {
    crate::every_interleaving(|| {
        let limit = Arc::new(Limit::default());
        limit.accepted.fetch_add(1, AcqRel);
        let ends = {
            let limit = limit.clone();
            thread::spawn(move || limit.free())
        };
        let other = {
            let mut comer = Comer::new(&limit);
            thread::spawn(move || {
                block_on(poll_fn(|cx| comer.turn(cx)));
                comer.limit.free();
            })
        };
        let mut comer = Comer::new(&limit);
        block_on(poll_fn(|cx| comer.turn(cx)));
        limit.free();
        ends.join().expect("it ends");
        other.join().expect("it had its place");
    });
}

#[test]
fn a_place_that_the_first_has_no_use_for_is_the_nexts() {
    crate::every_interleaving(|| {
        let limit = Arc::new(Limit::default());
        limit.accepted.fetch_add(1, AcqRel);
        let mut first = Comer::new(&limit);
        // It stands in line before the others come.
        let noop = std::task::Waker::noop();
        assert!(first.turn(&Context::from_waker(noop)).is_pending());
        let ends = {
            let limit = limit.clone();
            thread::spawn(move || limit.free())
        };
        let next = {
            let mut comer = Comer::new(&limit);
            thread::spawn(move || block_on(poll_fn(|cx| comer.turn(cx))))
        };
        // It is closed.
        let turn = limit.thread.lock().expect("nobody panics");
        first.leave();
        drop(turn);
        ends.join().expect("it ends");
        next.join().expect("it has its place");
    });
}
