//! TLS over a connection of [`os`](crate::os), for `tcp.secure` and server
//! sockets (the `tls` feature).
//!
//! # Which certificates a client trusts
//!
//! A client trusts the certificates that the machine trusts, like every browser on
//! it. They include those of a company, and follow the system's updates; a
//! compiled-in list would do neither. A machine without certificates (a container
//! without the package `ca-certificates`) trusts none: every handshake fails with
//! [`CERT_AUTHORITY_INVALID`](crate::NetError::CERT_AUTHORITY_INVALID), and the
//! log has the reason. [`Client`] and
//! [`Registry::tls_client`](crate::Registry::tls_client) set others.
//!
//! The certificates are read once, at the first `secure`, on a blocking thread,
//! which takes tens of milliseconds.
//!
//! # What a handshake has agreed on
//!
//! [`AcceptInfo::tls`](crate::tcp_server::AcceptInfo::tls) and
//! [`SocketInfo::tls`](crate::tcp::SocketInfo::tls) have the version, the cipher suite,
//! the protocol (ALPN), the host name (SNI) and the peer's certificates: [`TlsInfo`].
//! A client offers protocols by [`SecureOptions::alpn`](crate::tcp::SecureOptions::alpn), a
//! server by [`Server::alpn`], and [`ClientAuth`] asks for client certificates.

#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod codes;
#[cfg(not(feature = "tls"))]
mod off;
#[cfg(feature = "tls")]
mod server;
#[cfg(feature = "tls")]
mod stream;

#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
pub use client::Client;
#[cfg(not(feature = "tls"))]
pub(crate) use off::{Client, Server};
#[cfg(feature = "tls")]
pub use server::{ClientAuth, DEFAULT_HANDSHAKES, DEFAULT_TIMEOUT, Error, Server};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

#[cfg(feature = "tls")]
pub use crate::os::tls_info::TlsInfo;

/// What a client offers in a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    pub(crate) versions: Versions,
    /// Protocol names (ALPN), best first, each of 1 to 255 bytes.
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// The versions of TLS that a connection may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Versions {
    Tls1_2,
    Tls1_3,
    Both,
}

#[cfg(feature = "tls")]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
