//! The messages for the [`Registry`](crate::Registry): one per function of `chrome.sockets.tcpServer`.
//!
//! Each is the same call as the method of [`TcpServer`](crate::TcpServer) with
//! its name, where defaults, errors and edges are documented.

use std::time::Duration;

use crate::answer::{Reply, messages};
use crate::draining::Drained;
use crate::error::Error;
use crate::ids::ServerSocketId;
use crate::tcp::Timeouts;
use crate::tcp_server::{AcceptPolicy, CreateInfo, Limits, SocketInfo, SocketProperties};

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

impl Listen {
    /// Answers the call. An error that nobody awaits is logged.
    pub(crate) fn answer(&self, reply: Reply<()>, answer: Result<(), Error>) {
        if let Err(error) = reply.deliver(answer) {
            self.log_ignored(error);
        }
    }

    /// Logs the error of an answer that nobody awaits.
    pub(crate) fn log_ignored(&self, error: Error) {
        // The text may be long, and come from outside.
        let address: String = self.address.chars().take(MAX_LOGGED_ADDRESS).collect();
        log::warn!(
            "app {:?}: server socket {} does not listen on {address:?}, port {}, and nobody awaits the answer: {error}",
            self.app.as_str(),
            self.socket_id,
            self.port,
        );
    }
}

/// The longest IPv6 literal has 45 characters.
const MAX_LOGGED_ADDRESS: usize = 45;

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
