//! Who hears of an event: Chrome's `addListener`, with [`Recipient`]s.
//!
//! A listener is forgotten when its actor is dead. Dispatching never waits:
//! what bounds the events that are on their way is the credit that each one
//! carries (see [`tcp::ReceiveInfo`](crate::tcp::ReceiveInfo) and
//! [`tcp_server::AcceptInfo`](crate::tcp_server::AcceptInfo)).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use actix::{Message, Recipient, WeakRecipient};

use crate::error::Error;
use crate::ids::AppId;

/// An event of Chrome's API: `onAccept`, `onAcceptError`, `onReceive` or
/// `onReceiveError`; or `onHandshakeError`, `onRefused`, `onDrain` and
/// `onSuspend`, beyond it.
pub trait Event: Message<Result = ()> + Send + Sized + 'static {}

/// `onAccept.addListener` and the like: events of `app` go to `recipient`
/// from now on. Adding a recipient twice is adding it once.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub struct AddListener<E: Event> {
    /// Whose events.
    pub app: AppId,
    /// Where they go.
    pub recipient: Recipient<E>,
}

/// `removeListener`: no event goes to `recipient` any more. Those already in
/// its mailbox stay there. Removing one that was never added does nothing.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub struct RemoveListener<E: Event> {
    /// Whose events.
    pub app: AppId,
    /// Who leaves.
    pub recipient: Recipient<E>,
}

/// `hasListeners`, and `hasListener` when a recipient is given. Dead ones do
/// not count.
#[derive(Message)]
#[rtype(result = "Result<bool, Error>")]
pub struct HasListener<E: Event> {
    /// Whose events.
    pub app: AppId,
    /// Who is asked for; anyone, if `None`.
    pub recipient: Option<Recipient<E>>,
}

/// The listeners of one moment.
pub(crate) type Snapshot<E> = Arc<Vec<Listener<E>>>;

/// One listener of an event.
pub(crate) struct Listener<E: Event> {
    recipient: Arc<Recipient<E>>,
    ear: Arc<Ear<E>>,
}

impl<E: Event> Listener<E> {
    fn new(recipient: Recipient<E>) -> Self {
        let actor = Arc::new(recipient.downgrade());
        let recipient = Arc::new(recipient);
        let ear = Arc::new(Ear {
            known: Arc::downgrade(&recipient),
            actor,
            copies: None,
        });
        Listener { recipient, ear }
    }

    pub(crate) fn connected(&self) -> bool {
        self.recipient.connected()
    }
}

impl<E: Event> Clone for Listener<E> {
    fn clone(&self) -> Self {
        Listener {
            recipient: self.recipient.clone(),
            ear: self.ear.clone(),
        }
    }
}

/// Whose copy of an event it is. It is no address: an event that a listener
/// keeps must not keep the listener.
pub(crate) struct Ear<E: Event> {
    /// While it is a listener: cheaper to ask.
    known: Weak<Recipient<E>>,
    actor: Arc<WeakRecipient<E>>,
    /// Of an event that others have copies of as well.
    copies: Option<Arc<Copies>>,
}

impl<E: Event> Ear<E> {
    /// Whether a copy that is dropped now has been handled: a mailbox closes
    /// before it drops what is in it, and a handler that panics drops its
    /// event while panicking.
    pub(crate) fn has_handled(&self) -> bool {
        let lives = || match self.known.upgrade() {
            Some(recipient) => recipient.connected(),
            None => self.actor.upgrade().is_some_and(|it| it.connected()),
        };
        !std::thread::panicking() && lives()
    }

    fn has_lost(&self, taken: bool) -> bool {
        let handled = taken || self.has_handled();
        match &self.copies {
            None => !handled,
            Some(copies) => {
                if handled {
                    copies.reached.store(true, SeqCst);
                }
                copies.drop_one()
            }
        }
    }
}

/// One listener's copy of an event that is raised again if it reaches nobody.
/// A clone of it is the listener's own: it does not count.
pub(crate) struct Delivery<E: Event>(Option<Arc<Ear<E>>>);

impl<E: Event> Delivery<E> {
    #[inline]
    pub(crate) fn new(ear: &Arc<Ear<E>>, copies: Option<&Arc<Copies>>) -> Self {
        Delivery(Some(match copies {
            None => ear.clone(),
            Some(copies) => copies.one_for(ear),
        }))
    }

    /// The copy is dropped: whether the event has reached nobody. Something
    /// that was `taken` out of a copy has reached somebody.
    #[inline]
    pub(crate) fn is_lost(&self, taken: bool) -> bool {
        match &self.0 {
            None => false,
            Some(ear) if taken && ear.copies.is_none() => false,
            Some(ear) => ear.has_lost(taken),
        }
    }
}

impl<E: Event> Clone for Delivery<E> {
    fn clone(&self) -> Self {
        Delivery(None)
    }
}

/// The copies of one event for several listeners.
pub(crate) struct Copies {
    /// Those that have not been dropped, and one for the time of the dispatch.
    count: AtomicUsize,
    reached: AtomicBool,
}

impl Copies {
    /// For as many listeners; a single one needs none.
    #[inline]
    pub(crate) fn among(listeners: usize) -> Option<Arc<Self>> {
        (listeners > 1).then(|| {
            Arc::new(Copies {
                count: AtomicUsize::new(1),
                reached: AtomicBool::new(false),
            })
        })
    }

    fn one_for<E: Event>(self: &Arc<Self>, ear: &Ear<E>) -> Arc<Ear<E>> {
        self.count.fetch_add(1, SeqCst);
        Arc::new(Ear {
            known: ear.known.clone(),
            actor: ear.actor.clone(),
            copies: Some(self.clone()),
        })
    }

    /// One is dropped: whether it was the last, and none has reached anybody.
    pub(crate) fn drop_one(&self) -> bool {
        self.count.fetch_sub(1, SeqCst) == 1 && !self.reached.load(SeqCst)
    }
}

/// Sends each live listener its copy; see [`Listeners::dispatch`].
pub(crate) fn dispatch<E: Event>(
    list: &[Listener<E>],
    mut copy: impl FnMut(&Arc<Ear<E>>) -> E,
) -> usize {
    let mut sent = 0;
    for listener in list {
        if listener.connected() {
            listener.recipient.do_send(copy(&listener.ear));
            sent += 1;
        }
    }
    sent
}

/// The listeners of one event of one app, shared by everything that raises it.
pub(crate) struct Listeners<E: Event> {
    list: RwLock<Snapshot<E>>,
    /// How many have been found dead.
    deaths: AtomicU64,
    /// Whether nobody listens because the last one has died.
    orphaned: AtomicBool,
}

impl<E: Event> Default for Listeners<E> {
    fn default() -> Self {
        Listeners {
            list: RwLock::default(),
            deaths: AtomicU64::new(0),
            orphaned: AtomicBool::new(false),
        }
    }
}

impl<E: Event> Listeners<E> {
    pub(crate) fn add(&self, recipient: Recipient<E>) {
        let mut list = self.living();
        if !list.iter().any(|known| *known.recipient == recipient) {
            Arc::make_mut(&mut list).push(Listener::new(recipient));
        }
        self.orphaned.store(false, SeqCst);
    }

    pub(crate) fn remove(&self, recipient: &Recipient<E>) {
        let mut list = self.living();
        Arc::make_mut(&mut list).retain(|known| *known.recipient != *recipient);
        if list.is_empty() {
            // The app sees to its listeners itself.
            self.orphaned.store(false, SeqCst);
        }
    }

    /// Forgets everybody.
    pub(crate) fn clear(&self) {
        let mut living = self.living();
        let list = std::mem::take(&mut *living);
        self.orphaned.store(false, SeqCst);
        drop(living);
        // The last address of an actor may go here: not under the lock.
        drop(list);
    }

    pub(crate) fn has(&self, recipient: Option<&Recipient<E>>) -> bool {
        self.read().iter().any(|known| {
            known.connected() && recipient.is_none_or(|wanted| *known.recipient == *wanted)
        })
    }

    /// Whether anybody listens, and how many listeners have died so far.
    pub(crate) fn census(&self) -> (bool, u64) {
        let (list, deaths) = self.snapshot();
        (!list.is_empty(), deaths)
    }

    /// Whether nobody listens though somebody did, and did not leave but died.
    pub(crate) fn is_orphaned(&self) -> bool {
        let (anybody, _) = self.census();
        !anybody && self.orphaned.load(SeqCst)
    }

    /// Sends each live listener the copy that `copy` makes for it, in the
    /// order in which they were added, and says how many there were.
    pub(crate) fn dispatch(&self, copy: impl FnMut(&Arc<Ear<E>>) -> E) -> usize {
        dispatch(&self.snapshot().0, copy)
    }

    /// The living listeners of this moment, for many events at once, and how
    /// many have died before.
    pub(crate) fn snapshot(&self) -> (Snapshot<E>, u64) {
        let mut list = self.read().clone();
        if !list.iter().all(Listener::connected) {
            list = self.living().clone();
        }
        (list, self.deaths.load(SeqCst))
    }

    fn read(&self) -> RwLockReadGuard<'_, Snapshot<E>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list, to be changed, after the dead are forgotten.
    fn living(&self) -> RwLockWriteGuard<'_, Snapshot<E>> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let dead = list.iter().filter(|known| !known.connected()).count();
        if dead > 0 {
            Arc::make_mut(&mut list).retain(Listener::connected);
            self.deaths.fetch_add(dead as u64, SeqCst);
            self.orphaned.store(list.is_empty(), SeqCst);
        }
        list
    }
}
