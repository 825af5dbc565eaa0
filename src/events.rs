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
/// `onReceiveError`.
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

/// The listeners of one event of one app, shared by everything that raises it.
pub(crate) struct Listeners<E: Event> {
    list: RwLock<Vec<Arc<Recipient<E>>>>,
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
            list.push(Arc::new(recipient));
        }
    }

    pub(crate) fn remove(&self, recipient: &Recipient<E>) {
        self.living().retain(|known| **known != *recipient);
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
    pub(crate) fn dispatch(&self, mut copy: impl FnMut(&Arc<Recipient<E>>, bool) -> E) -> usize {
        let list = self.read();
        let mut sent = 0;
        for (i, listener) in list.iter().enumerate() {
            if listener.connected() {
                listener.do_send(copy(listener, i + 1 < list.len()));
                sent += 1;
            }
        }
        let dead = list.len() - sent;
        drop(list);
        if dead > 0 {
            drop(self.living());
        }
        sent
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Recipient<E>>>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list, to be changed, after the dead are forgotten.
    fn living(&self) -> RwLockWriteGuard<'_, Vec<Arc<Recipient<E>>>> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let before = list.len();
        list.retain(|known| known.connected());
        self.deaths.fetch_add((before - list.len()) as u64, SeqCst);
        list
    }
}
