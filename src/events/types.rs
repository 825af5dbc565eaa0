//! Events, and the messages that add and remove their listeners.

use actix::{Message, Recipient};

use crate::error::Error;
use crate::ids::AppId;

/// An event of Chrome's API: `onAccept`, `onAcceptError`, `onReceive` or
/// `onReceiveError`; or `onHandshakeError`, `onRefused`, `onDrain` and
/// `onSuspend`, beyond it.
pub trait Event: Message<Result = ()> + Send + Sized + 'static {}

/// The most listeners that may panic at one event: 3. Data that was being
/// handled at the third panic in a row ends its socket; any other event is
/// dropped.
pub const MAX_PANICS: u32 = 3;

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
