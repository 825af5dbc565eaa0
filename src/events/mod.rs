//! Events and their listeners: Chrome's `addListener`, with actix recipients.
//!
//! `listeners.rs` sends events, `dispatcher.rs` those of a turn, several of them in one message
//! (`batch.rs`) if a listener wants that. `event_copy.rs` follows their copies, and `redelivery.rs`
//! raises events again if their listeners died. Sending an event never waits. What bounds the events in flight is the
//! credit of each one: see [`tcp::ReceiveInfo`](crate::tcp::ReceiveInfo) and
//! [`tcp_server::AcceptInfo`](crate::tcp_server::AcceptInfo).

pub(crate) mod redelivery;

mod batch;
mod dispatcher;
mod event_copy;
mod hold_back;
mod listeners;
mod types;

pub use batch::{Batch, BatchIntoIter, BatchIter, MAX_BATCH};
pub(crate) use dispatcher::{Alone, Dispatcher};
pub(crate) use event_copy::{DeliveryProbe, EventCopy, FanOut, Fate, FirstProbe, NumberedCopy};
pub(crate) use hold_back::{HOLD_BACK, HoldBack};
pub(crate) use listeners::{Listeners, Snapshot, Target, dispatch};
pub use types::{AddListener, Event, HasListener, MAX_PANICS, RemoveListener};
