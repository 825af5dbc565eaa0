//! The queue of server sockets that wait at a limit.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::task::{Context, Poll};

use futures::future::poll_fn;
use loom::future::block_on;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::wait_queue::WaitQueue;
use crate::sync::{AtomicUsize, AtomicWaker};

/// A limit of one connection for all server sockets.
#[derive(Default)]
struct Limit {
    queue: WaitQueue,
    accepted: AtomicUsize,
    /// All server sockets run in one thread: their turns do not overlap.
    thread: Mutex<()>,
}

impl Limit {
    fn has_room(&self) -> bool {
        self.accepted.load(Acquire) < 1
    }

    /// Like the drop of a `ConnectionGuard`, in any thread.
    fn free(&self) {
        self.accepted.fetch_sub(1, AcqRel);
        self.queue.wake_first();
    }
}

/// A server socket that accepts one connection, as `admission.rs` does.
struct Acceptor {
    limit: Arc<Limit>,
    waker: std::sync::Arc<AtomicWaker>,
    is_queued: bool,
}

impl Acceptor {
    fn new(limit: &Arc<Limit>) -> Self {
        Acceptor {
            limit: limit.clone(),
            waker: std::sync::Arc::default(),
            is_queued: false,
        }
    }

    /// Accepts if there is room, or waits in the queue.
    fn turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        let limit = self.limit.clone();
        let Limit { queue, thread, .. } = &*limit;
        let _turn = thread.lock().expect("no panic");
        if self.limit.has_room() && queue.is_first(&self.waker) {
            self.limit.accepted.fetch_add(1, AcqRel);
            self.leave();
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if !std::mem::replace(&mut self.is_queued, true) {
            queue.enqueue(&self.waker);
        }
        if queue.is_first(&self.waker) && queue.recheck(|| self.limit.has_room()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.is_queued) {
            self.limit.queue.remove(&self.waker);
            if self.limit.has_room() {
                self.limit.queue.wake_first();
            }
        }
    }
}

#[test]
fn every_waiting_server_socket_accepts_when_there_is_room() {
    crate::every_interleaving(|| {
        let limit = Arc::new(Limit::default());
        limit.accepted.fetch_add(1, AcqRel);
        let ends = {
            let limit = limit.clone();
            thread::spawn(move || limit.free())
        };
        let other = {
            let mut acceptor = Acceptor::new(&limit);
            thread::spawn(move || {
                block_on(poll_fn(|cx| acceptor.turn(cx)));
                acceptor.limit.free();
            })
        };
        let mut acceptor = Acceptor::new(&limit);
        block_on(poll_fn(|cx| acceptor.turn(cx)));
        limit.free();
        ends.join().expect("a connection");
        other.join().expect("an acceptor");
    });
}

#[test]
fn room_that_the_first_does_not_use_goes_to_the_next() {
    crate::every_interleaving(|| {
        let limit = Arc::new(Limit::default());
        limit.accepted.fetch_add(1, AcqRel);
        let mut first = Acceptor::new(&limit);
        // It waits before the others.
        let noop = std::task::Waker::noop();
        assert!(first.turn(&Context::from_waker(noop)).is_pending());
        let ends = {
            let limit = limit.clone();
            thread::spawn(move || limit.free())
        };
        let next = {
            let mut acceptor = Acceptor::new(&limit);
            thread::spawn(move || block_on(poll_fn(|cx| acceptor.turn(cx))))
        };
        // The first is closed.
        let turn = limit.thread.lock().expect("no panic");
        first.leave();
        drop(turn);
        ends.join().expect("a connection");
        next.join().expect("an acceptor");
    });
}
