//! Who hears of an event: Chrome's `addListener`, with [`Recipient`]s.
//!
//! A listener is forgotten when its actor is dead. Dispatching never waits:
//! what bounds the events that are on their way is the credit that each one
//! carries (see [`tcp::ReceiveInfo`](crate::tcp::ReceiveInfo) and
//! [`tcp_server::AcceptInfo`](crate::tcp_server::AcceptInfo)).

pub(crate) mod redelivery;

mod delivery;
mod hold_back;
mod listeners;
mod types;

pub(crate) use delivery::{Delivery, DeliveryProbe, FanOut, Fate};
pub(crate) use hold_back::{HOLD_BACK, HoldBack};
pub(crate) use listeners::{Listeners, Snapshot, dispatch};
pub use types::{AddListener, Event, HasListener, MAX_PANICS, RemoveListener};
