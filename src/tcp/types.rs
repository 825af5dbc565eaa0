//! What `chrome.sockets.tcp` passes in and out.

use std::net::{IpAddr, SocketAddr};

use crate::ids::ClientSocketId;

/// The most bytes of one `onReceive` where `bufferSize` is not set.
pub const DEFAULT_BUFFER_SIZE: usize = 4096;

/// `tcp.SocketProperties`: what is `None` keeps its value, or its default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketProperties {
    /// Whether the socket stays open when its app is suspended (`false`).
    pub persistent: Option<bool>,
    /// A text of the app's own; the empty one is no name. At most
    /// [`MAX_NAME`](crate::MAX_NAME) bytes.
    pub name: Option<String>,
    /// The most bytes of one `onReceive` (4096). A value below 1 counts as
    /// unset; above 65,536 nothing larger comes.
    pub buffer_size: Option<i32>,
}

/// `tcp.CreateInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateInfo {
    /// The new socket's id.
    pub socket_id: ClientSocketId,
}

/// `tcp.SocketInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// Whether it stays open when its app is suspended.
    pub persistent: bool,
    /// The app's own text, if there is one.
    pub name: Option<String>,
    /// The most bytes of one `onReceive`, where it was set.
    pub buffer_size: Option<i32>,
    /// Whether receiving is paused.
    pub paused: bool,
    /// Whether there is a connection.
    pub connected: bool,
    /// This end's address, of a socket that was connected by `connect`. An
    /// accepted socket shows none, as in Chrome.
    pub local_address: Option<IpAddr>,
    /// This end's port, shown where the address is.
    pub local_port: Option<u16>,
    /// The other end's address, while connected.
    pub peer_address: Option<IpAddr>,
    /// The other end's port, while connected.
    pub peer_port: Option<u16>,
}

impl SocketInfo {
    /// `local_address` and `local_port` in one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        Some((self.local_address?, self.local_port?).into())
    }

    /// `peer_address` and `peer_port` in one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        Some((self.peer_address?, self.peer_port?).into())
    }
}

/// `tcp.SendInfo` of a send that succeeded; one that failed is an
/// [`Error`](crate::Error).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendInfo {
    /// All the bytes of the call: a send is delivered whole or fails.
    pub bytes_sent: usize,
}

/// `tcp.DnsQueryType`: which addresses of a host name `connect` may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DnsQueryType {
    /// Either kind, in the resolver's order.
    #[default]
    Any,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}
