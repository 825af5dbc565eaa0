//! TLS on accepted connections.

pub(super) mod handshake_errors;
pub(super) mod handshakes;
