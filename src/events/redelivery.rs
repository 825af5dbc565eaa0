//! What is to be told, no faster than listeners take it, and again if it
//! reached nobody because they died.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::Context;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::events::delivery::{Delivery, FanOut};
use crate::events::hold_back::HoldBack;
use crate::events::listeners::{Listeners, dispatch};
use crate::events::types::{Event, MAX_PANICS};

/// The most events of one kind and one server socket that listeners have not
/// handled, and as many that wait; beyond it they are only counted.
pub(crate) const UNHANDLED: usize = 64;

/// Events of one kind that have not been told.
pub(crate) struct EventQueue<T> {
    waiting: VecDeque<QueuedEvent<T>>,
    /// Those at which a listener has panicked: they are told after the others.
    suspects: VecDeque<QueuedEvent<T>>,
    held_back: HoldBack,
    missed: u64,
    way: Arc<InFlightEvents<T>>,
}

/// What an event tells.
#[derive(Clone, Copy)]
struct QueuedEvent<T> {
    what: T,
    /// How many before it are only counted.
    missed: u64,
    /// How many listeners have panicked at it.
    panics: u32,
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        EventQueue {
            waiting: VecDeque::new(),
            suspects: VecDeque::new(),
            held_back: HoldBack::default(),
            missed: 0,
            way: Arc::default(),
        }
    }
}

impl<T: Copy> EventQueue<T> {
    pub(crate) fn add(&mut self, event: T) {
        if self.waiting.len() < UNHANDLED {
            let missed = std::mem::take(&mut self.missed);
            self.waiting.push_back(QueuedEvent {
                what: event,
                missed,
                panics: 0,
            });
        } else {
            self.missed += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.suspects.is_empty() && self.way.returned.lock().is_empty()
    }

    pub(crate) fn last(&self) -> Option<&T> {
        let last = self.waiting.back().or(self.suspects.back());
        last.map(|told| &told.what)
    }

    /// How many were dropped, as too many listeners had panicked at them.
    pub(crate) fn dropped(&self) -> u64 {
        self.way.dropped.load(SeqCst)
    }

    /// What it waited for was by the clock of another thread.
    pub(crate) fn forget_clock(&mut self) {
        self.held_back.forget_clock();
    }

    /// Tells what may be told now, by the events that `event` makes of it, of
    /// the number of those that were missed before, and of what each carries.
    /// `cx` is woken for the rest. If the last listener has died, it all waits
    /// for the next one.
    pub(crate) fn tell<E: Event>(
        &mut self,
        to: &Listeners<E>,
        cx: &mut Context<'_>,
        event: impl Fn(T, u64, InFlightEvent<E, T>) -> E,
    ) {
        if self.waiting.is_empty() && self.way.count.load(SeqCst) == 0 && self.is_empty() {
            return;
        }
        self.way.actor.register(cx.waker());
        for told in self.way.returned.lock().drain(..).rev() {
            match told.panics {
                0 => self.waiting.push_front(told),
                _ => self.suspects.push_front(told),
            }
        }
        while self.way.count.load(SeqCst) < UNHANDLED {
            let (_, deaths) = to.liveness();
            let recipients = to.recipients();
            if recipients.is_orphaned {
                return;
            }
            let told = match self.waiting.pop_front() {
                Some(told) => told,
                None if self.suspects.is_empty() || !self.held_back.is_over(deaths, cx) => return,
                None => match self.suspects.pop_front() {
                    Some(told) => told,
                    None => return,
                },
            };
            let copies = FanOut::among(recipients.listeners.len());
            let sent = dispatch(&recipients.listeners, |ear| {
                let delivery = Delivery::new(ear, copies.as_ref());
                let unhandled = InFlightEvent::new(&self.way, delivery, told);
                event(told.what, told.missed, unhandled)
            });
            let missed = match copies {
                None => recipients.is_missed(sent).then_some(0),
                Some(copies) => copies.drop_one(),
            };
            if let Some(panics) = missed {
                self.way.requeue::<E>(told, panics);
                // Others may listen by now.
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// The events on their way.
struct InFlightEvents<T> {
    count: AtomicUsize,
    /// Those that have reached nobody.
    returned: Mutex<Vec<QueuedEvent<T>>>,
    dropped: AtomicU64,
    actor: AtomicWaker,
}

impl<T> Default for InFlightEvents<T> {
    fn default() -> Self {
        InFlightEvents {
            count: AtomicUsize::new(0),
            returned: Mutex::default(),
            dropped: AtomicU64::new(0),
            actor: AtomicWaker::new(),
        }
    }
}

impl<T> InFlightEvents<T> {
    /// It has reached nobody, and so many listeners have panicked at it this
    /// time.
    fn requeue<E: Event>(&self, mut told: QueuedEvent<T>, panics: u32) {
        told.panics += panics;
        if told.panics < MAX_PANICS {
            return self.returned.lock().push(told);
        }
        self.dropped.fetch_add(1, SeqCst);
        log::error!(
            "an event is dropped, {} listeners panicked at it: {}",
            told.panics,
            std::any::type_name::<E>()
        );
    }
}

/// A copy of an event that its listener has not dropped.
pub(crate) struct InFlightEvent<E: Event, T: Copy> {
    way: Arc<InFlightEvents<T>>,
    delivery: Delivery<E>,
    told: QueuedEvent<T>,
}

impl<E: Event, T: Copy> InFlightEvent<E, T> {
    fn new(way: &Arc<InFlightEvents<T>>, delivery: Delivery<E>, told: QueuedEvent<T>) -> Self {
        way.count.fetch_add(1, SeqCst);
        InFlightEvent {
            way: way.clone(),
            delivery,
            told,
        }
    }
}

impl<E: Event, T: Copy> Clone for InFlightEvent<E, T> {
    fn clone(&self) -> Self {
        InFlightEvent::new(&self.way, self.delivery.clone(), self.told)
    }
}

impl<E: Event, T: Copy> Drop for InFlightEvent<E, T> {
    fn drop(&mut self) {
        let lost = self.delivery.lost(false);
        if let Some(panics) = lost {
            self.way.requeue::<E>(self.told, panics);
        }
        if self.way.count.fetch_sub(1, SeqCst) == UNHANDLED || lost.is_some() {
            self.way.actor.wake();
        }
    }
}
