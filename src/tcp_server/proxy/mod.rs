//! PROXY headers of accepted connections.

pub(super) mod header_errors;
pub(super) mod headers;
pub(super) mod setup;
