//! What `chrome.sockets.tcpServer` passes in and out.

use std::net::{IpAddr, SocketAddr};

use super::{AcceptPolicy, LimitKind, Limits};
use crate::ids::ServerSocketId;
use crate::net_error::NetError;
use crate::tcp::Timeouts;

/// The backlog of `listen` where none is given: SOMAXCONN, which the OS cuts
/// to its own limit (`net.core.somaxconn` on Linux).
pub const DEFAULT_BACKLOG: i32 = 4096;

/// `tcpServer.SocketProperties`: what is `None` keeps its value, or its
/// default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketProperties {
    /// Whether the socket stays open when its app is suspended, and goes to
    /// the next process by a [handover](crate::handover) (`false`).
    pub persistent: Option<bool>,
    /// A text of the app's own; the empty one is no name. At most
    /// [`MAX_NAME`](crate::MAX_NAME) bytes.
    pub name: Option<String>,
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
    /// The app's own text, if there is one.
    pub name: Option<String>,
    /// Whether connections wait in the backlog instead of raising `onAccept`.
    pub paused: bool,
    /// The address it listens on, while it listens.
    pub local_address: Option<IpAddr>,
    /// The port it listens on, the one that the OS chose for 0 included.
    pub local_port: Option<u16>,
    /// Beyond Chrome: whether it has a listener in each arbiter
    /// ([`TcpServer::set_reuse_port`](crate::TcpServer::set_reuse_port)).
    pub reuse_port: bool,
    /// Beyond Chrome: all that keeps it from accepting at this moment, besides
    /// not listening; empty if nothing else does.
    pub blocked_by: Vec<BlockReason>,
    /// Beyond Chrome: what became of its connections so far.
    pub counts: AcceptCounts,
    /// Beyond Chrome: how many connections wait in the backlog, while it
    /// listens and where the OS tells it. Linux does, unless a sandbox keeps the
    /// process from asking (`sock_diag`) or it has no descriptor left to ask
    /// with; asking takes about a tenth of a millisecond.
    pub backlog: Option<u32>,
    /// Beyond Chrome: what it does when accepting fails.
    pub accept_policy: AcceptPolicy,
    /// Beyond Chrome: its own limits.
    pub limits: Limits,
    /// Beyond Chrome: those of the clients that it accepts.
    pub timeouts: Timeouts,
}

/// Why a server socket accepts nothing (beyond Chrome). There may be several
/// reasons at once, and each has its own end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BlockReason {
    /// The app has called `setPaused(true)`; until `setPaused(false)`.
    App,
    /// Accepting failed; until `setPaused(false)`, as Chrome has it.
    AcceptError(NetError),
    /// Accepting failed, and is tried again by itself
    /// ([`AcceptAction::BackOff`](super::AcceptAction::BackOff)).
    BackingOff(NetError),
    /// A limit at which connections wait.
    Limit(LimitKind),
    /// Nobody listens for `onAccept`.
    NoListener,
    /// [`UNHANDLED_ACCEPTS`](super::UNHANDLED_ACCEPTS) events have not been
    /// handled, or what a dead listener has left is still coming back.
    Unhandled,
    /// The app is suspended. One connection is accepted all the same if the
    /// socket is persistent: the app is loaded for it.
    Suspended,
    /// It, or its app, is being drained: it does not listen until that is over.
    Draining,
    /// It is being handed over to another process.
    Handover,
    /// Another process has encrypted its connections, and `setTls` has not
    /// been called in this one.
    TlsNotSet,
}

/// What became of the connections of a server socket, in this process (beyond
/// Chrome). What is in none of the others is on its way to a listener, or was
/// closed before anybody had heard of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AcceptCounts {
    /// Connections taken from the backlog, or taken over from another process
    /// before anybody had heard of them.
    pub accepted: u64,
    /// Those that a listener of `onAccept` has heard of.
    pub delivered: u64,
    /// Those that were closed at a limit.
    pub refused: u64,
    /// Those whose handshake failed, every accept error, and those that were lost
    /// when the socket's actor panicked.
    pub failed: u64,
    /// Events that were dropped because [`MAX_PANICS`](crate::MAX_PANICS)
    /// listeners panicked at each: `onAccept`, whose client was closed then,
    /// `onAcceptError`, `onRefused` and `onHandshakeError`.
    pub dropped_events: u64,
}

impl SocketInfo {
    /// `local_address` and `local_port` in one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        Some((self.local_address?, self.local_port?).into())
    }
}
