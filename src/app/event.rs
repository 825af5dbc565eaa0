//! `onAccept.addListener` and its like.

use std::marker::PhantomData;

use actix::{Handler, Recipient};

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::events::{AddListener, Event, HasListener, RemoveListener};
use crate::registry::Registry;

/// An event of an app: who is told.
///
/// Each listener gets every event of all the app's sockets, in the order in
/// which each socket raised them. A listener whose actor has stopped is
/// forgotten.
#[derive(derive_more::Debug)]
pub struct OnEvent<E: Event> {
    caller: Caller,
    #[debug(skip)]
    event: PhantomData<fn(E)>,
}

impl<E: Event> Clone for OnEvent<E> {
    fn clone(&self) -> Self {
        OnEvent::new(self.caller.clone())
    }
}

impl<E: Event> OnEvent<E> {
    pub(super) fn new(caller: Caller) -> Self {
        OnEvent {
            caller,
            event: PhantomData,
        }
    }

    /// `addListener`: events go to `recipient` from now on, what has waited
    /// for a listener first. Adding a recipient twice is adding it once.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn add_listener(&self, recipient: Recipient<E>) -> Answer<()>
    where
        Registry: Handler<AddListener<E>>,
    {
        self.caller.call(|app| AddListener { app, recipient })
    }

    /// `removeListener`: no event is sent to `recipient` any more; what its
    /// mailbox holds, it still gets. Nothing happens if it never listened.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn remove_listener(&self, recipient: Recipient<E>) -> Answer<()>
    where
        Registry: Handler<RemoveListener<E>>,
    {
        self.caller.call(|app| RemoveListener { app, recipient })
    }

    /// `hasListener`.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn has_listener(&self, recipient: Recipient<E>) -> Answer<bool>
    where
        Registry: Handler<HasListener<E>>,
    {
        self.has(Some(recipient))
    }

    /// `hasListeners`.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn has_listeners(&self) -> Answer<bool>
    where
        Registry: Handler<HasListener<E>>,
    {
        self.has(None)
    }

    fn has(&self, recipient: Option<Recipient<E>>) -> Answer<bool>
    where
        Registry: Handler<HasListener<E>>,
    {
        self.caller.call(|app| HasListener { app, recipient })
    }
}
