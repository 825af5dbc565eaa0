//! Why a connection has no valid header.

use derive_more::Display;

use crate::net_error::NetError;

/// Why a connection that should begin with a PROXY header is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Display, derive_more::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The peer is in none of the [`networks`](super::ProxyProtocol::networks), and
    /// [`others`](super::ProxyProtocol::others) refuses it.
    #[display("the peer is not a trusted proxy")]
    NotTrusted,
    /// The first bytes are not those of a header.
    #[display("there is no PROXY header")]
    NoHeader,
    /// The header is invalid: an unknown version, command or address family, an address that
    /// is none, or lengths that contradict each other.
    #[display("the PROXY header is malformed")]
    Malformed,
    /// The header has more than 107 bytes (version 1) or [`MAX_HEADER`](super::MAX_HEADER)
    /// (version 2).
    #[display("the PROXY header is too long")]
    TooLong,
    /// The checksum in the header is another one.
    #[display("the checksum of the PROXY header is wrong")]
    WrongChecksum,
    /// The connection failed before its header was complete:
    /// - [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED) or
    ///   [`CONNECTION_RESET`](NetError::CONNECTION_RESET): the peer gave up;
    /// - [`TIMED_OUT`](NetError::TIMED_OUT);
    /// - [`INSUFFICIENT_RESOURCES`](NetError::INSUFFICIENT_RESOURCES): too many connections
    ///   owed their header, and this one made room for a newer one;
    /// - [`ABORTED`](NetError::ABORTED): the deadline of a drain ended it;
    /// - [`FAILED`](NetError::FAILED): its thread ended or its task panicked.
    #[display("the PROXY header did not arrive: {_0}")]
    Failed(#[error(not(source))] NetError),
}

impl From<NetError> for ProxyError {
    fn from(error: NetError) -> Self {
        ProxyError::Failed(error)
    }
}
