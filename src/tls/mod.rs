//! TLS over a connection of [`os`](crate::os), as `tcp.secure` and server
//! sockets use it (the `tls` feature).
//!
//! # Whom a client trusts
//!
//! The certificates that the machine trusts, as every browser on it does:
//! those of a company are among them, and those that were revoked by an update
//! are not. A list of Mozilla's that is compiled in would know neither. The
//! price is that a machine without any (a container without the package
//! `ca-certificates`) trusts nobody: every handshake fails with
//! [`CERT_AUTHORITY_INVALID`](crate::NetError::CERT_AUTHORITY_INVALID), and the
//! log says why. [`Client`] and
//! [`Registry::tls_client`](crate::Registry::tls_client) set other ones.
//!
//! They are read once, at the first `secure`, on a thread where blocking is
//! allowed: it takes tens of milliseconds.

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
pub use client::Client;
#[cfg(not(feature = "tls"))]
pub(crate) use off::{Client, Server};
#[cfg(feature = "tls")]
pub use server::{DEFAULT_HANDSHAKES, DEFAULT_TIME_OUT, Error, Server};

/// The versions of TLS that may be spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Versions {
    Tls1_2,
    Tls1_3,
    Both,
}
