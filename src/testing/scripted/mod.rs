//! A network without I/O, whose results a test scripts.
//!
//! Nothing here takes time or depends on the machine: a call that is not scripted succeeds or is
//! refused by fixed rules, and a pending call is woken by the change that completes it.

mod backlog;
mod block;
mod connection;
mod datagram;
mod listener;
mod network;
mod peer;
mod state;
#[cfg(test)]
mod tests;

pub use crate::testing::scripted::block::BlockGuard;
pub use crate::testing::scripted::datagram::SentDatagram;
pub use crate::testing::scripted::network::ScriptedNetwork;
pub use crate::testing::scripted::peer::Peer;
pub use crate::testing::scripted::state::Call;
