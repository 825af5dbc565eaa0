//! How many connections, and how fast: of a server socket, an app and a registry.

pub(super) mod admission;
pub(super) mod limiter;
pub(super) mod types;
