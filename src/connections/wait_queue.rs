//! FIFO of server sockets that wait at a limit for a connection to end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sync::{AtomicWaker, Mutex, WaitFlag};

/// Wakes only the first when a place is free: with a thousand server sockets in
/// the queue, one free place wakes one of them. So a first that has no use for
/// the place must [`remove`](Self::remove) itself and [`wake_first`](Self::wake_first)
/// the next. A server socket in the queue registers its waker in each turn
/// before it looks at its position.
#[derive(Default)]
pub(crate) struct WaitQueue {
    waiting: Mutex<VecDeque<Arc<AtomicWaker>>>,
    /// Whether the queue has entries. Read at the end of every connection.
    occupied: WaitFlag,
}

impl WaitQueue {
    /// Adds a waker behind the others. The caller then decides by
    /// [`recheck`](Self::recheck) whether it waits.
    pub(crate) fn enqueue(&self, waker: &Arc<AtomicWaker>) {
        self.waiting.lock().push_back(waker.clone());
    }

    /// For the first: calls `room`, whose reading decides whether there is a
    /// free place. If there is none, the next place that becomes free
    /// [wakes](Self::wake_first) it.
    pub(crate) fn recheck<T>(&self, room: impl FnOnce() -> T) -> T {
        self.occupied.set_and_check(room)
    }

    /// Whether no other waker is before this one.
    pub(crate) fn is_first(&self, waker: &Arc<AtomicWaker>) -> bool {
        let waiting = self.waiting.lock();
        waiting
            .front()
            .is_none_or(|first| Arc::ptr_eq(first, waker))
    }

    /// Removes a waker from any position.
    pub(crate) fn remove(&self, waker: &Arc<AtomicWaker>) {
        let mut waiting = self.waiting.lock();
        // The usual case: the first has got its place.
        if waiting
            .front()
            .is_some_and(|first| Arc::ptr_eq(first, waker))
        {
            waiting.pop_front();
        } else {
            waiting.retain(|other| !Arc::ptr_eq(other, waker));
        }
        if waiting.is_empty() {
            self.occupied.clear();
        }
    }

    /// Wakes the first. Called after a place has become free.
    pub(crate) fn wake_first(&self) {
        if self.occupied.is_set() {
            // Woken outside the lock, which its turn takes.
            let first = self.waiting.lock().front().cloned();
            if let Some(first) = first {
                first.wake();
            }
        }
    }
}
