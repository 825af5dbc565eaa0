//! The messages for the [`Registry`](crate::Registry): one per function of `chrome.sockets.tcpServer`.
//!
//! Each is the same call as the method of [`TcpServer`](crate::TcpServer) with
//! its name, where defaults, errors and edges are documented.

use std::time::Duration;

use crate::address::Endpoint;
use crate::answer::messages;
use crate::draining::Drained;
use crate::ids::ServerSocketId;
use crate::tcp::Timeouts;
use crate::tcp_server::{
    AcceptPolicy, CreateInfo, Limits, ListenOptions, SocketInfo, SocketProperties,
};

messages! {
    /// `tcpServer.create`.
    Create {
        /// The initial properties.
        properties: SocketProperties,
    } -> CreateInfo;

    /// `tcpServer.update`.
    Update {
        /// The socket.
        socket_id: ServerSocketId,
        /// The properties that change.
        properties: SocketProperties,
    } -> ();

    /// `tcpServer.setPaused`.
    SetPaused {
        /// The socket.
        socket_id: ServerSocketId,
        /// `true` stops accepting, `false` resumes it.
        paused: bool,
    } -> ();

    /// `setAcceptPolicy` (beyond Chrome).
    SetAcceptPolicy {
        /// The socket.
        socket_id: ServerSocketId,
        /// The policy for accept errors from now on.
        policy: AcceptPolicy,
    } -> ();

    /// `setLimits` (beyond Chrome).
    SetLimits {
        /// The socket.
        socket_id: ServerSocketId,
        /// The limits for connections from now on.
        limits: Limits,
    } -> ();

    /// `setTimeouts` (beyond Chrome).
    SetTimeouts {
        /// The socket.
        socket_id: ServerSocketId,
        /// The timeouts of clients that are accepted from now on.
        timeouts: Timeouts,
    } -> ();

    /// `setReusePort` (beyond Chrome).
    SetReusePort {
        /// The socket.
        socket_id: ServerSocketId,
        /// Whether `listen` makes a listener in each arbiter.
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
        /// How many connections may wait to be accepted, at least 1. The default is
        /// [`DEFAULT_BACKLOG`](super::DEFAULT_BACKLOG).
        backlog: Option<i32>,
    } -> ();

    /// `listenOn` (beyond Chrome).
    ListenOn {
        /// The socket.
        socket_id: ServerSocketId,
        /// An address of this machine.
        endpoint: Endpoint,
        /// How it listens.
        options: ListenOptions,
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
        /// After which time the connections that are still open are ended.
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
        /// How accepted connections are encrypted; `None`: they are not.
        tls: Option<crate::tls::Server>,
    } -> ();
}
