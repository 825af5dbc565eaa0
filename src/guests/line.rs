//! Who waits for a connection to end, in the order in which they came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::task::AtomicWaker;

/// Only the first is called when there is room: with a thousand that wait, one
/// place wakes one. So whoever is first and does not need it has to
/// [`leave`](Self::leave), and to [`call`](Self::call) the next.
#[derive(Default)]
pub(crate) struct Line {
    waiting: Mutex<VecDeque<Arc<AtomicWaker>>>,
    /// Whether there are any: asked at the end of every connection.
    any: AtomicBool,
}

impl Line {
    /// Behind the others. After joining, look again whether there is room.
    pub(crate) fn join(&self, who: &Arc<AtomicWaker>) {
        let mut waiting = self.lock();
        waiting.push_back(who.clone());
        self.any.store(true, SeqCst);
    }

    /// Whether nobody is before this one.
    pub(crate) fn is_first(&self, who: &Arc<AtomicWaker>) -> bool {
        let first = self.lock().front().map(|first| Arc::ptr_eq(first, who));
        first.unwrap_or(true)
    }

    /// Wherever it stands.
    pub(crate) fn leave(&self, who: &Arc<AtomicWaker>) {
        let mut waiting = self.lock();
        if waiting.front().is_some_and(|first| Arc::ptr_eq(first, who)) {
            waiting.pop_front();
        } else {
            waiting.retain(|other| !Arc::ptr_eq(other, who));
        }
        self.any.store(!waiting.is_empty(), SeqCst);
    }

    /// Wakes the first.
    pub(crate) fn call(&self) {
        if self.any.load(SeqCst) {
            let first = self.lock().front().cloned();
            if let Some(first) = first {
                first.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<AtomicWaker>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
