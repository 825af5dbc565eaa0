//! Events, and the messages that add and remove their listeners.

use actix::{Message, Recipient};

use crate::error::Error;
use crate::ids::AppId;

/// An event of Chrome's API (`onAccept`, `onAcceptError`, `onReceive` or
/// `onReceiveError`), or one beyond it (`onHandshakeError`, `onRefused`,
/// `onDrain`, `onRestart`, `onSuspend` or `onSendQueue`), or a
/// [`Batch`](crate::Batch) of events.
pub trait Event: Message<Result = ()> + Send + Sized + 'static {}

/// How many listeners may panic at one event: 3. At the third panic in a row,
/// received data ends its socket, and any other event is dropped.
pub const MAX_PANICS: u32 = 3;

/// `onAccept.addListener` and the like: events of `app` are sent to
/// `recipient` from now on. Adding a recipient twice is adding it once.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub struct AddListener<E: Event> {
    /// The app whose events are sent.
    pub app: AppId,
    /// The listener.
    pub recipient: Recipient<E>,
}

/// `removeListener`: no further event is sent to `recipient`. Events that are
/// in its mailbox already stay there. Removing a recipient that was never
/// added does nothing.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub struct RemoveListener<E: Event> {
    /// The app whose events were sent.
    pub app: AppId,
    /// The listener.
    pub recipient: Recipient<E>,
}

/// `hasListeners`, or `hasListener` if a recipient is given. Listeners whose
/// actors have stopped do not count.
#[derive(Message)]
#[rtype(result = "Result<bool, Error>")]
pub struct HasListener<E: Event> {
    /// The app whose listeners are searched.
    pub app: AppId,
    /// The listener to look for; `None` for any.
    pub recipient: Option<Recipient<E>>,
}
