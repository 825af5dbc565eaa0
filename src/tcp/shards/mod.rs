//! What the client sockets of one app share in one arbiter, and in which arbiter a socket lives.

pub(super) mod id_table;
pub(super) mod name_lookups;
pub(super) mod placement;
pub(super) mod receive_windows;
pub(super) mod shard;
