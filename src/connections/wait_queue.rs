//! Who waits for a connection to end, in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sync::{AtomicWaker, Mutex, WaitFlag};

/// Only the first is called when there is room: with a thousand that wait, one
/// place wakes one. So whoever is first and does not need it has to
/// [`leave`](Self::leave), and to [`call`](Self::call) the next. Whoever stands
/// here registers its waker in each turn before it looks where it stands.
pub(crate) struct WaitQueue {
    waiting: Mutex<VecDeque<Arc<AtomicWaker>>>,
    /// Whether there are any: asked at the end of every connection.
    any: WaitFlag,
}

impl Default for WaitQueue {
    fn default() -> Self {
        WaitQueue {
            waiting: Mutex::new(VecDeque::new()),
            any: WaitFlag::default(),
        }
    }
}

impl WaitQueue {
    /// Behind the others. After joining, look again: [`look`](Self::look).
    pub(crate) fn join(&self, who: &Arc<AtomicWaker>) {
        self.waiting.lock().push_back(who.clone());
    }

    /// For the first: the reading that decides whether there is room. If not,
    /// the next place that becomes free [calls](Self::call) it.
    pub(crate) fn look<T>(&self, room: impl FnOnce() -> T) -> T {
        self.any.set_and_check(room)
    }

    /// Whether nobody is before this one.
    pub(crate) fn is_first(&self, who: &Arc<AtomicWaker>) -> bool {
        let first = self
            .waiting
            .lock()
            .front()
            .map(|first| Arc::ptr_eq(first, who));
        first.unwrap_or(true)
    }

    /// Wherever it stands.
    pub(crate) fn leave(&self, who: &Arc<AtomicWaker>) {
        let mut waiting = self.waiting.lock();
        if waiting.front().is_some_and(|first| Arc::ptr_eq(first, who)) {
            waiting.pop_front();
        } else {
            waiting.retain(|other| !Arc::ptr_eq(other, who));
        }
        if waiting.is_empty() {
            self.any.clear();
        }
    }

    /// Wakes the first; called after a place has become free.
    pub(crate) fn call(&self) {
        if self.any.is_set() {
            let first = self.waiting.lock().front().cloned();
            if let Some(first) = first {
                first.wake();
            }
        }
    }
}
