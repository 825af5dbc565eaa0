//! Limits on accepted connections: of a server socket, an app and a registry.

pub(super) mod admission;
pub(super) mod limiter;
pub(super) mod types;
