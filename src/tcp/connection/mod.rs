//! One client socket, and its connection.

pub(super) mod buffer_pool;
pub(super) mod connect;
pub(super) mod ending;
pub(super) mod fast_path;
pub(super) mod linger;
pub(super) mod read;
pub(super) mod redelivery;
pub(super) mod secure;
pub(super) mod state;
pub(super) mod timeouts;
pub(super) mod write;
