//! The protocol with clients (`docs/protocol.md`), without I/O.

pub(crate) mod arguments;
pub(crate) mod call;
pub(crate) mod close_reason;
pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod outbox;
pub(crate) mod outcome;
