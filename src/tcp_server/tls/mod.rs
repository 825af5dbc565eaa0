//! TLS handshakes of accepted connections.

pub(super) mod handshake_errors;
pub(super) mod handshakes;
