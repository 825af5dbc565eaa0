//! What the client sockets of one app share, and in which arbiter a socket lives.

pub(super) mod app_context;
pub(super) mod id_table;
pub(super) mod name_lookups;
pub(super) mod placement;
pub(super) mod receive_windows;
pub(super) mod send_limits;
pub(super) mod shard;
pub(super) mod write_quota;
