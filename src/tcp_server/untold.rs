//! What is to be told, no faster than listeners take it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Context;

use futures::task::AtomicWaker;

/// The most events of one kind and one server socket that listeners have not
/// handled, and as many that wait; beyond it they are only counted.
pub(super) const UNHANDLED: usize = 64;

/// Events of one kind that have not been told.
pub(super) struct Untold<T> {
    /// Each with the number of those before it that are only counted.
    waiting: VecDeque<(T, u64)>,
    missed: u64,
    way: Arc<Way>,
}

impl<T> Default for Untold<T> {
    fn default() -> Self {
        Untold {
            waiting: VecDeque::new(),
            missed: 0,
            way: Arc::default(),
        }
    }
}

impl<T> Untold<T> {
    pub(super) fn add(&mut self, event: T) {
        if self.waiting.len() < UNHANDLED {
            let missed = std::mem::take(&mut self.missed);
            self.waiting.push_back((event, missed));
        } else {
            self.missed += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.waiting.back().map(|(event, _)| event)
    }

    /// What may be told now, with the number of those that were missed before
    /// it and what its copies carry. `cx` is woken for the rest.
    pub(super) fn next(&mut self, cx: &Context<'_>) -> Option<(T, u64, Carried)> {
        if self.waiting.is_empty() {
            return None;
        }
        self.way.actor.register(cx.waker());
        if self.way.count.load(SeqCst) >= UNHANDLED {
            return None;
        }
        let (event, missed) = self.waiting.pop_front()?;
        Some((event, missed, Carried(self.way.clone())))
    }
}

/// Makes what each copy of an event carries.
pub(super) struct Carried(Arc<Way>);

impl Carried {
    pub(super) fn copy(&self) -> Unhandled {
        Unhandled::new(&self.0)
    }
}

/// The events on their way.
#[derive(Default)]
struct Way {
    count: AtomicUsize,
    actor: AtomicWaker,
}

/// A copy of an event that its listener has not dropped.
pub(super) struct Unhandled(Arc<Way>);

impl Unhandled {
    fn new(way: &Arc<Way>) -> Self {
        way.count.fetch_add(1, SeqCst);
        Unhandled(way.clone())
    }
}

impl Clone for Unhandled {
    fn clone(&self) -> Self {
        Unhandled::new(&self.0)
    }
}

impl Drop for Unhandled {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, SeqCst) == UNHANDLED {
            self.0.actor.wake();
        }
    }
}
