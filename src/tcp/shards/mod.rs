//! What the client sockets of one app share in one arbiter, and in which arbiter a socket lives.

pub(super) mod id_table;
pub(super) mod lookups;
pub(super) mod placement;
pub(super) mod shard;
pub(super) mod windows;
