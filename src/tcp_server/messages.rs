//! One message a function of `chrome.sockets.tcpServer`, for the
//! [`Registry`](crate::Registry). Each is the same call as the method of
//! [`TcpServer`](crate::TcpServer) with its name, where the edges are
//! documented.

use std::time::Duration;

use super::{AcceptPolicy, CreateInfo, Limits, SocketInfo, SocketProperties};
use crate::answer::messages;
use crate::draining::Drained;
use crate::ids::ServerSocketId;
use crate::tcp::Timeouts;

messages! {
    /// `tcpServer.create`.
    Create {
        /// What the socket starts with.
        properties: SocketProperties,
    } -> CreateInfo;

    /// `tcpServer.update`.
    Update {
        /// The socket.
        socket_id: ServerSocketId,
        /// What changes.
        properties: SocketProperties,
    } -> ();

    /// `tcpServer.setPaused`.
    SetPaused {
        /// The socket.
        socket_id: ServerSocketId,
        /// Whether it stops accepting, or goes on.
        paused: bool,
    } -> ();

    /// `setAcceptPolicy` (beyond Chrome).
    SetAcceptPolicy {
        /// The socket.
        socket_id: ServerSocketId,
        /// What it does from now on.
        policy: AcceptPolicy,
    } -> ();

    /// `setLimits` (beyond Chrome).
    SetLimits {
        /// The socket.
        socket_id: ServerSocketId,
        /// What it takes on from now on.
        limits: Limits,
    } -> ();

    /// `setTimeOuts` (beyond Chrome).
    SetTimeouts {
        /// The socket.
        socket_id: ServerSocketId,
        /// Those of the clients that are accepted from now on.
        timeouts: Timeouts,
    } -> ();

    /// `setReusePort` (beyond Chrome).
    SetReusePort {
        /// The socket.
        socket_id: ServerSocketId,
        /// Whether it has a listener in each arbiter.
        reuse_port: bool,
    } -> ();

    /// `tcpServer.listen`.
    Listen {
        /// The socket.
        socket_id: ServerSocketId,
        /// An IP address of this machine.
        address: String,
        /// 0–65535; 0 lets the OS choose.
        port: i32,
        /// How many connections may wait, at least 1
        /// ([`DEFAULT_BACKLOG`](super::DEFAULT_BACKLOG)).
        backlog: Option<i32>,
    } -> ();

    /// `tcpServer.disconnect`.
    Disconnect {
        /// The socket.
        socket_id: ServerSocketId,
    } -> ();

    /// `drain` (beyond Chrome).
    Drain {
        /// The socket.
        socket_id: ServerSocketId,
        /// When what is still open is ended.
        deadline: Duration,
    } -> Drained;

    /// `tcpServer.close`.
    Close {
        /// The socket.
        socket_id: ServerSocketId,
    } -> ();

    /// `tcpServer.getInfo`.
    GetInfo {
        /// The socket.
        socket_id: ServerSocketId,
    } -> SocketInfo;

    /// `tcpServer.getSockets`.
    GetSockets {} -> Vec<SocketInfo>;
}

#[cfg(feature = "tls")]
messages! {
    /// `setTls` (beyond Chrome, with the feature `tls`).
    SetTls {
        /// The socket.
        socket_id: ServerSocketId,
        /// How connections are encrypted, if they are.
        tls: Option<crate::tls::Server>,
    } -> ();
}
