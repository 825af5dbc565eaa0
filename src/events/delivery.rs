//! Follows the copies of an event: which were handled, and which were dropped unread.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::thread::panicking;

use actix::{Recipient, WeakRecipient};

use crate::events::types::Event;

/// Whose copy of an event it is. It is no address: an event that a listener
/// keeps must not keep the listener.
pub(crate) struct DeliveryProbe<E: Event> {
    /// While it is a listener: cheaper to ask.
    known: Weak<Recipient<E>>,
    actor: Arc<WeakRecipient<E>>,
    /// Whether a copy was dropped by a panic since the last one was sent.
    has_panicked: Arc<AtomicBool>,
    /// Of an event that others have copies of as well.
    copies: Option<Arc<FanOut>>,
}

/// What became of a copy that is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Handled,
    /// The listener has panicked while it handled this copy.
    Panicked,
    /// The listener has died before it came to this copy.
    Unread,
}

impl<E: Event> DeliveryProbe<E> {
    pub(super) fn new(recipient: &Arc<Recipient<E>>, actor: Arc<WeakRecipient<E>>) -> Self {
        DeliveryProbe {
            known: Arc::downgrade(recipient),
            actor,
            has_panicked: Arc::default(),
            copies: None,
        }
    }

    /// What has become of a copy that is dropped now. A mailbox closes before
    /// it drops its messages. A handler that panics drops its event first,
    /// while the mailbox is still open; then the actor drops the events that
    /// it has kept, and then the mailbox its messages.
    pub(crate) fn fate(&self) -> Fate {
        let lives = || match self.known.upgrade() {
            Some(recipient) => recipient.connected(),
            None => self.actor.upgrade().is_some_and(|it| it.connected()),
        };
        if !lives() {
            return Fate::Unread;
        }
        match panicking() {
            false => Fate::Handled,
            true if self.has_panicked.swap(true, SeqCst) => Fate::Unread,
            true => Fate::Panicked,
        }
    }

    /// A copy is sent: the next panic is another one.
    #[inline]
    pub(super) fn begin_anew(&self) {
        if self.has_panicked.load(SeqCst) {
            self.has_panicked.store(false, SeqCst);
        }
    }

    fn lost(&self, taken: bool) -> Option<u32> {
        let fate = self.fate();
        let handled = taken || fate == Fate::Handled;
        let panics = u32::from(fate == Fate::Panicked);
        match &self.copies {
            None => (!handled).then_some(panics),
            Some(copies) => {
                if handled {
                    copies.reached.store(true, SeqCst);
                }
                copies.panics.fetch_add(panics, SeqCst);
                copies.drop_one()
            }
        }
    }
}

/// One listener's copy of an event that is raised again if it reaches nobody.
/// A clone of it is the listener's own: it does not count.
pub(crate) struct Delivery<E: Event>(Option<Arc<DeliveryProbe<E>>>);

impl<E: Event> Delivery<E> {
    #[inline]
    pub(crate) fn new(ear: &Arc<DeliveryProbe<E>>, copies: Option<&Arc<FanOut>>) -> Self {
        Delivery(Some(match copies {
            None => ear.clone(),
            Some(copies) => copies.one_for(ear),
        }))
    }

    /// The copy is dropped: if the event has reached nobody, how many
    /// listeners have panicked at it. Something that was `taken` out of a copy
    /// has reached somebody.
    #[inline]
    pub(crate) fn lost(&self, taken: bool) -> Option<u32> {
        match &self.0 {
            None => None,
            Some(ear) if taken && ear.copies.is_none() => None,
            Some(ear) => ear.lost(taken),
        }
    }

    /// Whether the only listener has panicked after it took everything out of
    /// the copy.
    #[cold]
    pub(crate) fn panicked_after_taking(&self) -> bool {
        let ear = self.0.as_ref().filter(|ear| ear.copies.is_none());
        ear.is_some_and(|ear| ear.fate() == Fate::Panicked)
    }
}

impl<E: Event> Clone for Delivery<E> {
    fn clone(&self) -> Self {
        Delivery(None)
    }
}

/// The copies of one event for several listeners.
pub(crate) struct FanOut {
    /// Those that have not been dropped, and one for the time of the dispatch.
    count: AtomicUsize,
    reached: AtomicBool,
    /// How many listeners have panicked at theirs.
    panics: AtomicU32,
}

impl FanOut {
    /// For as many listeners; a single one needs none.
    #[inline]
    pub(crate) fn among(listeners: usize) -> Option<Arc<Self>> {
        (listeners > 1).then(|| {
            Arc::new(FanOut {
                count: AtomicUsize::new(1),
                reached: AtomicBool::new(false),
                panics: AtomicU32::new(0),
            })
        })
    }

    fn one_for<E: Event>(self: &Arc<Self>, ear: &DeliveryProbe<E>) -> Arc<DeliveryProbe<E>> {
        self.count.fetch_add(1, SeqCst);
        Arc::new(DeliveryProbe {
            known: ear.known.clone(),
            actor: ear.actor.clone(),
            has_panicked: ear.has_panicked.clone(),
            copies: Some(self.clone()),
        })
    }

    /// One is dropped: if it was the last, and none has reached anybody, how
    /// many listeners have panicked at theirs.
    pub(crate) fn drop_one(&self) -> Option<u32> {
        let lost = self.count.fetch_sub(1, SeqCst) == 1 && !self.reached.load(SeqCst);
        lost.then(|| self.panics.load(SeqCst))
    }
}
