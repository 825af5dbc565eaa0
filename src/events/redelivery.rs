//! Bounded queue of events for listeners; events whose listeners died unread return to its front.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Context;

use parking_lot::Mutex;

use crate::events::event_copy::{EventCopy, FanOut};
use crate::events::hold_back::HoldBack;
use crate::events::listeners::{Listeners, dispatch};
use crate::events::types::{Event, MAX_PANICS};
use crate::sync::InFlight;

/// How many events of one kind and one socket may be in flight, and how
/// many may be queued. Events beyond are only counted.
pub(crate) const MAX_UNHANDLED: usize = 64;

/// Events of one kind and one socket that are not raised yet. Most kinds are rare, so a queue
/// without an event so far is a null pointer.
pub(crate) struct EventQueue<T>(Option<Box<State<T>>>);

struct State<T> {
    waiting: VecDeque<QueuedEvent<T>>,
    /// Events at which a listener has panicked. They are raised after the
    /// others, so that they delay none of them.
    suspects: VecDeque<QueuedEvent<T>>,
    hold_back: HoldBack,
    /// How many events were only counted since the last one was queued.
    missed: u64,
    raised: Arc<RaisedEvents<T>>,
}

#[derive(Clone)]
struct QueuedEvent<T> {
    content: T,
    /// How many events before this one were only counted.
    missed: u64,
    /// How many listeners have panicked at it.
    panics: u32,
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        EventQueue(None)
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        State {
            waiting: VecDeque::new(),
            suspects: VecDeque::new(),
            hold_back: HoldBack::default(),
            missed: 0,
            raised: Arc::new(RaisedEvents {
                in_flight: InFlight::default(),
                returned: Mutex::default(),
                dropped: AtomicU64::new(0),
            }),
        }
    }
}

impl<T: Clone> EventQueue<T> {
    pub(crate) fn push(&mut self, content: T) {
        let state = self.0.get_or_insert_default();
        if state.waiting.len() < MAX_UNHANDLED {
            state.waiting.push_back(QueuedEvent {
                content,
                missed: std::mem::take(&mut state.missed),
                panics: 0,
            });
        } else {
            state.missed += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|state| state.is_empty())
    }

    /// Whether nothing is queued or in flight. If not, `cx` is woken when an event was handled or
    /// has returned. No [`raise`](Self::raise) may follow in the same poll, unless this is `true`.
    pub(crate) fn is_idle(&self, cx: &Context<'_>) -> bool {
        self.0.as_ref().is_none_or(|state| {
            state.raised.in_flight.register(cx);
            state.raised.in_flight.is_below(1) && state.is_empty()
        })
    }

    pub(crate) fn last(&self) -> Option<&T> {
        let state = self.0.as_ref()?;
        let last = state.waiting.back().or(state.suspects.back());
        last.map(|queued| &queued.content)
    }

    /// How many events were dropped because too many listeners panicked at
    /// them.
    pub(crate) fn dropped(&self) -> u64 {
        let state = self.0.as_ref();
        state.map_or(0, |state| state.raised.dropped.load(SeqCst))
    }

    /// Forgets a delay whose timer belongs to a thread that has ended.
    pub(crate) fn reset_hold_back(&mut self) {
        if let Some(state) = &mut self.0 {
            state.hold_back.reset();
        }
    }

    /// Raises as many events as the bound allows. `event` makes an event of its
    /// content, the number of events that were only counted before it, and its
    /// token. `cx` is woken when more may be raised. If the last listener has
    /// died, all events wait for the next one.
    #[inline]
    pub(crate) fn raise<E: Event>(
        &mut self,
        to: &Listeners<E>,
        cx: &mut Context<'_>,
        event: impl Fn(T, u64, InFlightEvent<E, T>) -> E,
    ) {
        if let Some(state) = &mut self.0 {
            state.raise(to, cx, event);
        }
    }
}

impl<T: Clone> State<T> {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
            && self.suspects.is_empty()
            && self.raised.returned.lock().is_empty()
    }

    fn raise<E: Event>(
        &mut self,
        to: &Listeners<E>,
        cx: &mut Context<'_>,
        event: impl Fn(T, u64, InFlightEvent<E, T>) -> E,
    ) {
        let in_flight = &self.raised.in_flight;
        // The usual case. Without an event in flight none can return, so no
        // waker is needed.
        if self.waiting.is_empty() && in_flight.count() == 0 && self.is_empty() {
            return;
        }
        in_flight.register(cx);
        for queued in self.raised.returned.lock().drain(..).rev() {
            match queued.panics {
                0 => self.waiting.push_front(queued),
                _ => self.suspects.push_front(queued),
            }
        }
        while in_flight.is_below(MAX_UNHANDLED) {
            let (_, deaths) = to.liveness();
            let recipients = to.recipients();
            if recipients.is_orphaned {
                return;
            }
            let queued = match self.waiting.pop_front() {
                Some(queued) => queued,
                None if self.suspects.is_empty() || !self.hold_back.is_elapsed(deaths, cx) => {
                    return;
                }
                None => match self.suspects.pop_front() {
                    Some(queued) => queued,
                    None => return,
                },
            };
            let fan_out = FanOut::for_listeners(recipients.listeners.len());
            let sent = dispatch(&recipients.listeners, |probe| {
                let copy = EventCopy::new(probe, fan_out.as_ref());
                let token = InFlightEvent::new(&self.raised, copy, queued.clone());
                event(queued.content.clone(), queued.missed, token)
            });
            let undelivered = match fan_out {
                None => recipients.is_undelivered(sent).then_some(0),
                Some(fan_out) => fan_out.finish_copy(),
            };
            if let Some(panics) = undelivered {
                self.raised.requeue::<E>(queued, panics);
                // A listener may have been added meanwhile.
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// What an [`EventQueue`] shares with its events in flight.
struct RaisedEvents<T> {
    in_flight: InFlight,
    /// Events that reached no listener.
    returned: Mutex<Vec<QueuedEvent<T>>>,
    dropped: AtomicU64,
}

impl<T> RaisedEvents<T> {
    /// Returns an event that reached no listener. `panics` listeners panicked at
    /// it this time.
    fn requeue<E: Event>(&self, mut queued: QueuedEvent<T>, panics: u32) {
        queued.panics += panics;
        if queued.panics < MAX_PANICS {
            return self.returned.lock().push(queued);
        }
        self.dropped.fetch_add(1, SeqCst);
        log::error!(
            "an event is dropped, {} listeners panicked at it: {}",
            queued.panics,
            std::any::type_name::<E>()
        );
    }
}

/// Counts a listener's copy of an event until it is dropped, and returns the
/// event to its queue if no listener has handled it.
pub(crate) struct InFlightEvent<E: Event, T: Clone> {
    raised: Arc<RaisedEvents<T>>,
    copy: EventCopy,
    queued: QueuedEvent<T>,
    event: PhantomData<fn(E)>,
}

impl<E: Event, T: Clone> InFlightEvent<E, T> {
    fn new(raised: &Arc<RaisedEvents<T>>, copy: EventCopy, queued: QueuedEvent<T>) -> Self {
        raised.in_flight.add();
        InFlightEvent {
            raised: raised.clone(),
            copy,
            queued,
            event: PhantomData,
        }
    }
}

impl<E: Event, T: Clone> Clone for InFlightEvent<E, T> {
    fn clone(&self) -> Self {
        InFlightEvent::new(&self.raised, self.copy.clone(), self.queued.clone())
    }
}

impl<E: Event, T: Clone> Drop for InFlightEvent<E, T> {
    fn drop(&mut self) {
        let undelivered = self.copy.finish(false);
        if let Some(panics) = undelivered {
            self.raised.requeue::<E>(self.queued.clone(), panics);
        }
        self.raised.in_flight.remove();
        if undelivered.is_some() {
            self.raised.in_flight.wake();
        }
    }
}
