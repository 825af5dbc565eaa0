//! Properties, information and counts of a server socket.

use std::net::{IpAddr, SocketAddr};

use crate::address::Address;
use crate::ids::ServerSocketId;
use crate::net_error::NetError;
use crate::proxy_protocol::ProxyProtocol;
use crate::tcp::Timeouts;
use crate::tcp_server::{AcceptPolicy, LimitKind, Limits};

/// The default backlog of `listen`: 4096. The OS reduces it to its own limit
/// (`net.core.somaxconn` on Linux).
pub const DEFAULT_BACKLOG: i32 = 4096;

/// `tcpServer.SocketProperties`. A field that is `None` keeps its value, or has its
/// default in `create`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketProperties {
    /// Whether the socket stays open when its app is suspended, and goes to the next
    /// process in a [handover](crate::handover). The default is `false`.
    pub persistent: Option<bool>,
    /// Any text of the app, at most [`MAX_NAME`](crate::MAX_NAME) bytes. An empty
    /// text removes the name.
    pub name: Option<String>,
}

/// How [`listen_on`](crate::TcpServer::listen_on) listens (beyond Chrome).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted, at least 1. The default is
    /// [`DEFAULT_BACKLOG`]; the OS may reduce it to its own limit.
    pub backlog: Option<i32>,
    /// Whether an IPv6 address takes no IPv4 connections (`IPV6_V6ONLY`). By default
    /// `::` takes both. If it is set, another server socket may listen on `0.0.0.0`
    /// and the same port. Not for IPv4 addresses.
    pub ipv6_only: bool,
    /// The mode of the file of a Unix socket, for instance `0o660`: at most `0o777`.
    /// Whoever may write to the file may connect, on Linux; other systems may look at
    /// the folder only. The mode is set before the socket listens, so nobody can
    /// connect with wider rights. By default the OS sets it by the umask of the
    /// process. Not for addresses without a file.
    pub mode: Option<u32>,
}

/// `tcpServer.CreateInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateInfo {
    /// The new socket's id.
    pub socket_id: ServerSocketId,
}

/// `tcpServer.SocketInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The socket.
    pub socket_id: ServerSocketId,
    /// Whether it stays open when its app is suspended.
    pub persistent: bool,
    /// The text that the app has set.
    pub name: Option<String>,
    /// Whether the app or an accept error has paused the socket. Connections then
    /// wait in the backlog.
    pub paused: bool,
    /// The address it listens on, while it listens. `None` for a Unix socket: see
    /// `local`.
    pub local_address: Option<IpAddr>,
    /// The port it listens on. If `listen` was given 0, the OS has chosen it.
    pub local_port: Option<u16>,
    /// Beyond Chrome: the address it listens on, with the scope id if it is link-local.
    pub local: Option<Address>,
    /// Beyond Chrome: whether it has a listener in each arbiter
    /// ([`TcpServer::set_reuse_port`](crate::TcpServer::set_reuse_port)).
    pub reuse_port: bool,
    /// Beyond Chrome: all reasons why it does not accept at this moment, except that
    /// it does not listen. Empty if it accepts.
    pub blocked_by: Vec<BlockReason>,
    /// Beyond Chrome: what became of its connections in this process.
    pub counts: AcceptCounts,
    /// Beyond Chrome: how many connections wait in the backlog. `None` if it does not
    /// listen, or if the OS does not say. Linux says it by `sock_diag`, unless a
    /// sandbox forbids that or the process has no descriptor left for it. The query
    /// takes about 0.1 ms.
    pub backlog: Option<u32>,
    /// Beyond Chrome: its policy for accept errors.
    pub accept_policy: AcceptPolicy,
    /// Beyond Chrome: its own limits.
    pub limits: Limits,
    /// Beyond Chrome: the timeouts of the clients that it accepts.
    pub timeouts: Timeouts,
    /// Beyond Chrome: which of its connections begin with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// A reason why a server socket accepts nothing (beyond Chrome). There may be several
/// at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BlockReason {
    /// The app has called `setPaused(true)`. Ends with `setPaused(false)`.
    App,
    /// Accepting failed, and the socket is paused. Ends with `setPaused(false)`, as in
    /// Chrome.
    AcceptError(NetError),
    /// Accepting failed, and the socket tries again by itself
    /// ([`AcceptAction::BackOff`](super::AcceptAction::BackOff)).
    BackingOff(NetError),
    /// A limit is reached, and connections wait in the backlog.
    Limit(LimitKind),
    /// `onAccept` has no listener.
    NoListener,
    /// [`UNHANDLED_ACCEPTS`](super::UNHANDLED_ACCEPTS) events are unhandled, or events
    /// of a dead listener are still returning.
    Unhandled,
    /// The app is suspended. A persistent socket still accepts one connection, and
    /// has the app loaded for it.
    Suspended,
    /// A drain of the socket or its app is running. `listen` fails until it is over.
    Draining,
    /// The socket is being handed over to another process.
    Handover,
    /// The previous process used TLS, and the app has not called `setTls` in this
    /// one.
    TlsNotSet,
}

/// What became of the connections of a server socket in this process (beyond
/// Chrome). An accepted connection that no other field counts is waiting for a
/// listener, or was closed before any listener heard of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AcceptCounts {
    /// Connections from the backlog, and connections from the previous process that
    /// no listener had heard of.
    pub accepted: u64,
    /// Connections that a listener of `onAccept` has heard of.
    pub delivered: u64,
    /// Connections that were closed or reset at a limit.
    pub refused: u64,
    /// Accept errors, failed TLS handshakes, connections without their PROXY header or
    /// from elsewhere than a proxy, and connections that were lost because the actor of
    /// the socket panicked.
    pub failed: u64,
    /// Events that were dropped because [`MAX_PANICS`](crate::MAX_PANICS) listeners
    /// panicked at each: `onAccept`, whose client is then closed, `onAcceptError`,
    /// `onRefused`, `onHandshakeError` and `onProxyError`.
    pub dropped_events: u64,
}

impl SocketInfo {
    /// `local` as an IP address with its port.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local.as_ref()?.socket_addr()
    }
}
