//! Listeners of one socket, which get its events instead of the app's listeners.
//!
//! A socket without any has a null pointer. `types.rs` is what an app gives to `set_listeners`;
//! `own.rs` is what the socket makes of it; `handler.rs` is an actor that ends with its socket. A
//! stream takes the events of its socket the same way. They get single events: a turn seldom has
//! more than one for the same socket, so batches would save nothing.

mod handler;
mod own;
mod types;

pub(crate) use handler::HandlerEnd;
pub(in crate::tcp) use handler::HandlerLink;
pub(in crate::tcp) use own::{DataRoute, OwnListeners, Receivers};
pub use types::{SocketListeners, WhenDead};
