//! Counts events that listeners have not handled yet, for a task that waits until there are fewer.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::task::Context;

use super::{AtomicUsize, AtomicWaker, WaitFlag};

/// Counts events in flight, and wakes the one task that waits for the count to fall.
///
/// The task calls [`register`](Self::register) first, and then decides by
/// [`is_below`](Self::is_below) alone. If that returns `false`, the task is woken when the count
/// falls.
#[derive(Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    awaited: WaitFlag,
    task: AtomicWaker,
}

impl InFlight {
    /// Called at the beginning of each poll of the task: [`wake`](Self::wake) wakes it from now on,
    /// and [`remove`](Self::remove) does once it waits.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        self.awaited.clear();
    }

    /// The current count. It must not decide whether the task sleeps:
    /// [`is_below`](Self::is_below) does.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Acquire)
    }

    /// Whether fewer than `limit` are in flight. If not, the task waits: every
    /// [`remove`](Self::remove) wakes it until its next poll.
    pub(crate) fn is_below(&self, limit: usize) -> bool {
        self.count() < limit || self.awaited.set_and_check(|| self.count() < limit)
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, AcqRel);
    }

    /// An event was handled.
    pub(crate) fn remove(&self) {
        self.count.fetch_sub(1, AcqRel);
        if self.awaited.is_set() {
            self.task.wake();
        }
    }

    /// Wakes the task for another reason.
    pub(crate) fn wake(&self) {
        self.task.wake();
    }
}
