//! The arbiters that client sockets live in.

pub(super) mod local_listeners;
pub(super) mod shard_slot;
