//! What is to be told, no faster than listeners take it, and again if it
//! reached nobody because they died.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;

use crate::events::{Copies, Delivery, Event, Listeners, dispatch};

/// The most events of one kind and one server socket that listeners have not
/// handled, and as many that wait; beyond it they are only counted.
pub(super) const UNHANDLED: usize = 64;

/// Events of one kind that have not been told.
pub(super) struct Untold<T> {
    /// Each with the number of those before it that are only counted.
    waiting: VecDeque<Told<T>>,
    missed: u64,
    way: Arc<Way<T>>,
}

/// What an event tells, and how many before it are only counted.
type Told<T> = (T, u64);

impl<T> Default for Untold<T> {
    fn default() -> Self {
        Untold {
            waiting: VecDeque::new(),
            missed: 0,
            way: Arc::default(),
        }
    }
}

impl<T: Copy> Untold<T> {
    pub(super) fn add(&mut self, event: T) {
        if self.waiting.len() < UNHANDLED {
            let missed = std::mem::take(&mut self.missed);
            self.waiting.push_back((event, missed));
        } else {
            self.missed += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.way.returned().is_empty()
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.waiting.back().map(|(event, _)| event)
    }

    /// Tells what may be told now, by the events that `event` makes of it, of
    /// the number of those that were missed before, and of what each carries.
    /// `cx` is woken for the rest. If the last listener has died, it all waits
    /// for the next one.
    pub(super) fn tell<E: Event>(
        &mut self,
        to: &Listeners<E>,
        cx: &Context<'_>,
        event: impl Fn(T, u64, Unhandled<E, T>) -> E,
    ) {
        if self.waiting.is_empty() && self.way.count.load(SeqCst) == 0 && self.is_empty() {
            return;
        }
        self.way.actor.register(cx.waker());
        for told in self.way.returned().drain(..).rev() {
            self.waiting.push_front(told);
        }
        while self.way.count.load(SeqCst) < UNHANDLED && !to.is_orphaned() {
            let Some(told) = self.waiting.pop_front() else {
                return;
            };
            let (listeners, _) = to.snapshot();
            let copies = Copies::among(listeners.len());
            let (what, missed) = told;
            dispatch(&listeners, |ear| {
                let delivery = Delivery::new(ear, copies.as_ref());
                event(what, missed, Unhandled::new(&self.way, delivery, told))
            });
            if copies.is_some_and(|copies| copies.drop_one()) {
                self.way.returned().push(told);
            }
        }
    }
}

/// The events on their way.
struct Way<T> {
    count: AtomicUsize,
    /// Those that have reached nobody.
    returned: Mutex<Vec<Told<T>>>,
    actor: AtomicWaker,
}

impl<T> Default for Way<T> {
    fn default() -> Self {
        Way {
            count: AtomicUsize::new(0),
            returned: Mutex::default(),
            actor: AtomicWaker::new(),
        }
    }
}

impl<T> Way<T> {
    fn returned(&self) -> MutexGuard<'_, Vec<Told<T>>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy of an event that its listener has not dropped.
pub(super) struct Unhandled<E: Event, T: Copy> {
    way: Arc<Way<T>>,
    delivery: Delivery<E>,
    told: Told<T>,
}

impl<E: Event, T: Copy> Unhandled<E, T> {
    fn new(way: &Arc<Way<T>>, delivery: Delivery<E>, told: Told<T>) -> Self {
        way.count.fetch_add(1, SeqCst);
        Unhandled {
            way: way.clone(),
            delivery,
            told,
        }
    }
}

impl<E: Event, T: Copy> Clone for Unhandled<E, T> {
    fn clone(&self) -> Self {
        Unhandled::new(&self.way, self.delivery.clone(), self.told)
    }
}

impl<E: Event, T: Copy> Drop for Unhandled<E, T> {
    fn drop(&mut self) {
        let lost = self.delivery.is_lost(false);
        if lost {
            self.way.returned().push(self.told);
        }
        if self.way.count.fetch_sub(1, SeqCst) == UNHANDLED || lost {
            self.way.actor.wake();
        }
    }
}
