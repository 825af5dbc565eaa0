//! Events that listeners have not handled yet, counted for a task that waits for them.

use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::task::Context;

use super::{AtomicUsize, AtomicWaker, WaitFlag};

/// Counts what is on its way to listeners, and wakes the one task that waits
/// for the count to fall.
///
/// The task calls [`begin_turn`](Self::begin_turn) first, and then decides
/// by [`is_below`](Self::is_below) alone: if that says no, the task is woken
/// when the count has fallen.
#[derive(Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    awaited: WaitFlag,
    task: AtomicWaker,
}

impl InFlight {
    /// The task is awake: has it woken by [`wake`](Self::wake), and, once
    /// it waits, by [`remove`](Self::remove).
    pub(crate) fn begin_turn(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        self.awaited.clear();
    }

    /// For information only: a decision to sleep needs [`is_below`](Self::is_below).
    pub(crate) fn count(&self) -> usize {
        self.count.load(Acquire)
    }

    /// Whether fewer than `most` are on their way. If not, the task waits:
    /// every [`remove`](Self::remove) wakes it until its next turn.
    pub(crate) fn is_below(&self, most: usize) -> bool {
        self.count() < most || self.awaited.wait_unless(|| self.count() < most)
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, AcqRel);
    }

    /// One was handled.
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
