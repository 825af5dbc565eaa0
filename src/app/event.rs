//! `addListener`, `removeListener` and `hasListener(s)` of an app's events.

use std::marker::PhantomData;

use actix::{Handler, Recipient};

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::events::{AddListener, Event, HasListener, RemoveListener};
use crate::registry::Registry;

/// An event of an app, with its listeners.
///
/// Each listener gets the events of all the app's sockets. Events of one socket
/// arrive in the order in which they were raised. A listener whose actor has
/// stopped is removed.
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

    /// `addListener`: events are sent to `recipient` from now on, events that
    /// have waited for a listener first. Adding a recipient twice is adding it
    /// once.
    ///
    /// Do not add a [`SyncArbiter`] of more than one thread as a listener of
    /// `onReceive`. Its threads take the events in their order, but handle them at the
    /// same time, so a later part of a stream may be handled first, and the end of a
    /// connection before its last data. With one thread the order holds. To use
    /// several, add an ordinary actor, which cuts the stream into requests and sends
    /// those to the `SyncArbiter`. This crate cannot tell such a recipient from another.
    ///
    /// [`SyncArbiter`]: actix::SyncArbiter
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn add_listener(&self, recipient: Recipient<E>) -> Answer<()>
    where
        Registry: Handler<AddListener<E>>,
    {
        self.caller.call(|app| AddListener { app, recipient })
    }

    /// [`add_listener`](Self::add_listener) without an answer.
    pub fn do_add_listener(&self, recipient: Recipient<E>)
    where
        Registry: Handler<AddListener<E>>,
    {
        self.caller.do_call(|app| AddListener { app, recipient });
    }

    /// [`remove_listener`](Self::remove_listener) without an answer.
    pub fn do_remove_listener(&self, recipient: Recipient<E>)
    where
        Registry: Handler<RemoveListener<E>>,
    {
        self.caller.do_call(|app| RemoveListener { app, recipient });
    }

    /// `removeListener`: no further event is sent to `recipient`. It still gets
    /// the events in its mailbox. Removing a recipient that was never added does
    /// nothing.
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
        let recipient = Some(recipient);
        self.caller.call(|app| HasListener { app, recipient })
    }

    /// `hasListeners`.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped).
    pub fn has_listeners(&self) -> Answer<bool>
    where
        Registry: Handler<HasListener<E>>,
    {
        let recipient = None;
        self.caller.call(|app| HasListener { app, recipient })
    }
}
