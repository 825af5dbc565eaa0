//! Follows the copies of an event: which were handled, and which were dropped unread.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::panicking;

/// Something that knows whether an actor still takes messages.
pub(super) trait Liveness: Send + Sync {
    fn is_alive(&self) -> bool;
}

/// Tells what became of a listener's copy of an event. It holds no address: an
/// event that a listener keeps must not keep the listener alive.
pub(crate) struct DeliveryProbe {
    /// Valid while the recipient is registered as a listener, and cheaper to
    /// ask than `actor`.
    registered: Weak<dyn Liveness>,
    actor: Arc<dyn Liveness>,
    /// Whether a panic has dropped a copy since the last copy was sent.
    has_panicked: Arc<AtomicBool>,
    /// `None` if the event has a single listener.
    fan_out: Option<Arc<FanOut>>,
}

/// What became of a dropped copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Handled,
    /// The listener panicked while it handled this copy.
    Panicked,
    /// The listener died before it handled this copy.
    Unread,
}

impl DeliveryProbe {
    pub(super) fn new(registered: Weak<dyn Liveness>, actor: Arc<dyn Liveness>) -> Self {
        DeliveryProbe {
            registered,
            actor,
            has_panicked: Arc::default(),
            fan_out: None,
        }
    }

    /// The fate of a copy that is being dropped. A mailbox closes before it
    /// drops its messages. A handler that panics drops its event first, while
    /// the mailbox is still open; then the actor drops the events that it has
    /// kept, and then the mailbox drops its messages.
    pub(crate) fn fate(&self) -> Fate {
        let is_alive = || match self.registered.upgrade() {
            Some(recipient) => recipient.is_alive(),
            None => self.actor.is_alive(),
        };
        if !is_alive() {
            return Fate::Unread;
        }
        match panicking() {
            false => Fate::Handled,
            // Only the first copy that a panic drops was being handled; the
            // others were kept by the actor.
            true if self.has_panicked.swap(true, SeqCst) => Fate::Unread,
            true => Fate::Panicked,
        }
    }

    /// Called before a copy is sent: its panic is distinct from earlier ones.
    #[inline]
    pub(super) fn clear_panic(&self) {
        // Every event passes here, and a load is cheaper than a store.
        if self.has_panicked.load(SeqCst) {
            self.has_panicked.store(false, SeqCst);
        }
    }

    /// The event that was being handled in the panic that is under way is gone already: no other
    /// copy that the panic drops is the cause of it.
    pub(super) fn set_panicked(&self) {
        self.has_panicked.store(true, SeqCst);
    }

    /// As [`finish_copy`](Self::finish_copy), but a copy for a single listener whose content was
    /// taken is handled whatever becomes of the listener.
    #[inline]
    fn finish(&self, taken: bool) -> Option<u32> {
        match taken && self.fan_out.is_none() {
            true => None,
            false => self.finish_copy(taken),
        }
    }

    fn finish_copy(&self, taken: bool) -> Option<u32> {
        let fate = self.fate();
        let handled = taken || fate == Fate::Handled;
        let panics = u32::from(fate == Fate::Panicked);
        match &self.fan_out {
            None => (!handled).then_some(panics),
            Some(fan_out) => {
                if handled {
                    fan_out.is_handled.store(true, SeqCst);
                }
                fan_out.panics.fetch_add(panics, SeqCst);
                fan_out.finish_copy()
            }
        }
    }
}

/// Part of an event that is raised again if no listener has handled it: this
/// listener's copy. A clone is made by the listener and does not count.
pub(crate) struct EventCopy(Option<Arc<DeliveryProbe>>);

impl EventCopy {
    #[inline]
    pub(crate) fn new(probe: &Arc<DeliveryProbe>, fan_out: Option<&Arc<FanOut>>) -> Self {
        EventCopy(Some(match fan_out {
            None => probe.clone(),
            Some(fan_out) => fan_out.add_copy(probe),
        }))
    }

    /// Called when the copy is dropped. If it was the last one, and no
    /// listener has handled the event: how many listeners panicked at it. A
    /// copy whose content was `taken` counts as handled.
    #[inline]
    pub(crate) fn finish(&self, taken: bool) -> Option<u32> {
        self.0.as_ref()?.finish(taken)
    }
}

impl Clone for EventCopy {
    fn clone(&self) -> Self {
        EventCopy(None)
    }
}

/// The probe of the listener that got a socket's first event. Nearly always that listener gets all
/// of them, so its copies refer to this one, and count no references of their own.
#[derive(Default)]
pub(crate) struct FirstProbe(OnceLock<Arc<DeliveryProbe>>);

impl FirstProbe {
    /// `None`: it is this probe, from now on.
    #[inline]
    fn unless_first(&self, probe: &Arc<DeliveryProbe>) -> Option<Arc<DeliveryProbe>> {
        let first = self.0.get_or_init(|| probe.clone());
        (!Arc::ptr_eq(first, probe)).then(|| probe.clone())
    }
}

/// As [`EventCopy`], for the numbered events of a socket that keeps a [`FirstProbe`], which the
/// copy's methods are given.
pub(crate) struct NumberedCopy {
    /// 0 for a clone.
    number: u64,
    /// `None` for the socket's first probe.
    probe: Option<Arc<DeliveryProbe>>,
}

impl NumberedCopy {
    /// `number` is at least 1.
    #[inline]
    pub(crate) fn new(
        number: u64,
        probe: &Arc<DeliveryProbe>,
        fan_out: Option<&Arc<FanOut>>,
        first: &FirstProbe,
    ) -> Self {
        NumberedCopy {
            number,
            probe: match fan_out {
                None => first.unless_first(probe),
                Some(fan_out) => Some(fan_out.add_copy(probe)),
            },
        }
    }

    /// The number of the event.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    #[inline]
    fn probe<'a>(&'a self, first: &'a FirstProbe) -> Option<&'a DeliveryProbe> {
        match &self.probe {
            Some(probe) => Some(probe),
            None if self.number == 0 => None,
            None => first.0.get().map(|probe| &**probe),
        }
    }

    /// As [`EventCopy::finish`].
    #[inline]
    pub(crate) fn finish(&self, taken: bool, first: &FirstProbe) -> Option<u32> {
        // Handled, or a clone: the first probe has no other copies to count.
        if taken && self.probe.is_none() {
            return None;
        }
        self.probe(first)?.finish(taken)
    }

    /// Whether the only listener panicked after it took everything out of the copy.
    #[cold]
    pub(crate) fn panicked_after_take(&self, first: &FirstProbe) -> bool {
        let probe = self.probe(first).filter(|probe| probe.fan_out.is_none());
        probe.is_some_and(|probe| probe.fate() == Fate::Panicked)
    }
}

impl Clone for NumberedCopy {
    fn clone(&self) -> Self {
        NumberedCopy {
            number: 0,
            probe: None,
        }
    }
}

/// Counts the copies of one event that goes to several listeners.
pub(crate) struct FanOut {
    /// Copies that are not dropped yet, and one more until all are sent.
    count: AtomicUsize,
    is_handled: AtomicBool,
    /// How many listeners panicked at their copies.
    panics: AtomicU32,
}

impl FanOut {
    /// `None` for a single listener, whose copy needs no counting.
    #[inline]
    pub(crate) fn for_listeners(listeners: usize) -> Option<Arc<Self>> {
        (listeners > 1).then(|| {
            Arc::new(FanOut {
                count: AtomicUsize::new(1),
                is_handled: AtomicBool::new(false),
                panics: AtomicU32::new(0),
            })
        })
    }

    fn add_copy(self: &Arc<Self>, probe: &DeliveryProbe) -> Arc<DeliveryProbe> {
        self.count.fetch_add(1, SeqCst);
        Arc::new(DeliveryProbe {
            registered: probe.registered.clone(),
            actor: probe.actor.clone(),
            has_panicked: probe.has_panicked.clone(),
            fan_out: Some(self.clone()),
        })
    }

    /// Called when a copy is dropped, and when all are sent. If nothing is left
    /// and no listener has handled the event: how many listeners panicked at it.
    pub(crate) fn finish_copy(&self) -> Option<u32> {
        let is_undelivered = self.count.fetch_sub(1, SeqCst) == 1 && !self.is_handled.load(SeqCst);
        is_undelivered.then(|| self.panics.load(SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listener(AtomicBool);

    impl Liveness for Listener {
        fn is_alive(&self) -> bool {
            self.0.load(SeqCst)
        }
    }

    fn listener(is_alive: bool) -> (Arc<Listener>, Arc<DeliveryProbe>) {
        let listener = Arc::new(Listener(AtomicBool::new(is_alive)));
        let weak = Arc::downgrade(&listener);
        let probe = DeliveryProbe::new(weak, listener.clone());
        (listener, Arc::new(probe))
    }

    #[test]
    fn a_copy_counts_references_unless_it_is_for_the_first_listener() {
        let first = FirstProbe::default();
        let [(_one, one), (_other, other)] = [listener(true), listener(true)];
        let copies: Vec<_> = (1..=3)
            .map(|number| NumberedCopy::new(number, &one, None, &first))
            .collect();
        assert_eq!(Arc::strong_count(&one), 2, "the socket has one");
        let counted = NumberedCopy::new(4, &other, None, &first);
        assert_eq!(Arc::strong_count(&other), 2, "the copy has one");
        assert_eq!(counted.number(), 4);
        drop((copies, counted));
        assert_eq!([&one, &other].map(Arc::strong_count), [2, 1]);
    }

    #[test]
    fn each_copy_asks_its_own_listener() {
        let first = FirstProbe::default();
        let [(alive, one), (_dead, other)] = [listener(true), listener(false)];
        let copy = |probe| NumberedCopy::new(1, probe, None, &first);
        let (handled, unread) = (copy(&one), copy(&other));
        let (taken, clone) = (copy(&other), unread.clone());
        assert_eq!(handled.finish(false, &first), None);
        assert_eq!(unread.finish(false, &first), Some(0));
        assert_eq!(taken.finish(true, &first), None, "its content is used");
        assert_eq!(clone.finish(false, &first), None, "a clone never returns");
        assert_eq!(handled.clone().finish(false, &first), None);
        alive.0.store(false, SeqCst);
        assert_eq!(copy(&one).finish(false, &first), Some(0));
        assert_eq!(copy(&one).clone().finish(false, &first), None);
    }

    #[test]
    fn of_several_copies_one_that_is_handled_is_enough() {
        for alive in [[false, false], [true, false], [false, true]] {
            let first = FirstProbe::default();
            let [(_a, one), (_b, other)] = alive.map(listener);
            let fan_out = FanOut::for_listeners(2);
            let copies =
                [&one, &other].map(|probe| NumberedCopy::new(1, probe, fan_out.as_ref(), &first));
            let returned = copies.map(|copy| copy.finish(false, &first));
            assert_eq!(returned, [None, None], "the dispatch counts as a copy");
            let last = fan_out.and_then(|it| it.finish_copy());
            assert_eq!(last, (alive == [false, false]).then_some(0));
        }
    }
}
