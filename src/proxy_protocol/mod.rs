//! The PROXY protocol (beyond Chrome): a header with which a proxy says, before everything else on
//! a connection, which client it connects for. Versions 1 (text) and 2 (binary), as specified by
//! HAProxy's `proxy-protocol.txt`.
//!
//! [`TcpServer::set_proxy_protocol`](crate::TcpServer::set_proxy_protocol) has a server socket
//! expect headers; [`ConnectOptions::proxy_header`](crate::tcp::ConnectOptions::proxy_header) has
//! `connect_to` send one. [`read_header`] is for programs with a listener of their own.

mod encode;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod header;
mod ip_network;
mod parse;
mod read;
mod settings;

pub use error::ProxyError;
pub use header::{Addresses, MAX_HEADER, ProxyHeader, ProxyPeer, UnixPath, Version, tlv};
pub use ip_network::{IpNetwork, IpNetworkError};
pub use read::read_header;
pub(crate) use settings::HeaderRule;
pub use settings::{DEFAULT_MAX_PENDING, DEFAULT_TIMEOUT, MAX_NETWORKS, OtherPeers, ProxyProtocol};
