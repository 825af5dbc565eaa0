//! Who hears of an event: Chrome's `addListener`, with [`Recipient`]s.
//!
//! A listener is forgotten when its actor is dead. Dispatching never waits:
//! what bounds the events that are on their way is the credit that each one
//! carries (see [`tcp::ReceiveInfo`](crate::tcp::ReceiveInfo) and
//! [`tcp_server::AcceptInfo`](crate::tcp_server::AcceptInfo)).

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use actix::{Message, Recipient};

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
pub(crate) type Snapshot<E> = Arc<Vec<Arc<Recipient<E>>>>;

/// Sends each live listener its copy; see [`Listeners::dispatch`].
pub(crate) fn dispatch<E: Event>(
    list: &[Arc<Recipient<E>>],
    mut copy: impl FnMut(&Arc<Recipient<E>>, bool) -> E,
) -> usize {
    let mut sent = 0;
    for (i, listener) in list.iter().enumerate() {
        if listener.connected() {
            listener.do_send(copy(listener, i + 1 < list.len()));
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
}

impl<E: Event> Default for Listeners<E> {
    fn default() -> Self {
        Listeners {
            list: RwLock::default(),
            deaths: AtomicU64::new(0),
        }
    }
}

impl<E: Event> Listeners<E> {
    pub(crate) fn add(&self, recipient: Recipient<E>) {
        let mut list = self.living();
        if !list.iter().any(|known| **known == recipient) {
            Arc::make_mut(&mut list).push(Arc::new(recipient));
        }
    }

    pub(crate) fn remove(&self, recipient: &Recipient<E>) {
        Arc::make_mut(&mut self.living()).retain(|known| **known != *recipient);
    }

    /// Forgets everybody.
    pub(crate) fn clear(&self) {
        let list = std::mem::take(&mut *self.living());
        // The last address of an actor may go here: not under the lock.
        drop(list);
    }

    pub(crate) fn has(&self, recipient: Option<&Recipient<E>>) -> bool {
        self.read()
            .iter()
            .any(|known| known.connected() && recipient.is_none_or(|wanted| **known == *wanted))
    }

    /// Whether anybody listens, and how many listeners have died so far.
    pub(crate) fn census(&self) -> (bool, u64) {
        let list = self.read();
        let mut anybody = !list.is_empty();
        if !list.iter().all(|known| known.connected()) {
            drop(list);
            anybody = !self.living().is_empty();
        }
        (anybody, self.deaths.load(SeqCst))
    }

    /// Sends each live listener the copy that `copy` makes for it, in the
    /// order in which they were added, and says how many there were. `copy`
    /// is also told whether another may follow.
    pub(crate) fn dispatch(&self, copy: impl FnMut(&Arc<Recipient<E>>, bool) -> E) -> usize {
        let list = self.snapshot();
        let sent = dispatch(&list, copy);
        if sent < list.len() {
            drop(self.living());
        }
        sent
    }

    /// The listeners of this moment, for many events at once.
    pub(crate) fn snapshot(&self) -> Snapshot<E> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Snapshot<E>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list, to be changed, after the dead are forgotten.
    fn living(&self) -> RwLockWriteGuard<'_, Snapshot<E>> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let dead = list.iter().filter(|known| !known.connected()).count();
        if dead > 0 {
            Arc::make_mut(&mut list).retain(|known| known.connected());
            self.deaths.fetch_add(dead as u64, SeqCst);
        }
        list
    }
}
