//! The registry's part of a handover, on both sides.

pub(super) mod incoming;
pub(super) mod outgoing;
pub(super) mod types;
