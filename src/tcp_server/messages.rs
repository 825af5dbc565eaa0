//! The messages for the [`Registry`](crate::Registry): one per function of `chrome.sockets.tcpServer`.
//!
//! Each is the same call as the method of [`TcpServer`](crate::TcpServer) with
//! its name, where defaults, errors and edges are documented.

use std::time::Duration;

use crate::address::Endpoint;
use crate::answer::{Reply, messages};
use crate::draining::Drained;
use crate::error::Error;
use crate::ids::{AppId, ServerSocketId};
use crate::proxy_protocol::ProxyProtocol;
use crate::tcp::Timeouts;
use crate::tcp_server::{
    AcceptPolicy, CreateInfo, HandlerFactory, Limits, ListenOptions, SocketInfo, SocketProperties,
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

    /// `serve` (beyond Chrome).
    Serve {
        /// The socket.
        socket_id: ServerSocketId,
        /// Makes the handlers of its clients. `None`: it raises `onAccept` for them.
        factory: Option<HandlerFactory>,
    } -> ();

    /// `setTimeouts` (beyond Chrome).
    SetTimeouts {
        /// The socket.
        socket_id: ServerSocketId,
        /// The timeouts of clients that are accepted from now on.
        timeouts: Timeouts,
    } -> ();

    /// `setProxyProtocol` (beyond Chrome).
    SetProxyProtocol {
        /// The socket.
        socket_id: ServerSocketId,
        /// Which connections begin with a PROXY header; `None`: no connection.
        settings: Option<ProxyProtocol>,
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

/// `listen` and `listenOn`. If the answer is dropped, an error is logged: without it nothing shows that the
/// server does not listen.
pub(crate) trait ListenCall {
    fn socket(&self) -> (&AppId, ServerSocketId);

    /// Where to listen, for the log.
    fn place(&self) -> String;

    fn answer(&self, reply: Reply<()>, answer: Result<(), Error>) {
        if let Err(error) = reply.deliver(answer) {
            self.log_ignored(error);
        }
    }

    fn log_ignored(&self, error: Error) {
        let (app, socket_id) = self.socket();
        log::warn!(
            "app {:?}: server socket {socket_id} does not listen on {}, and nobody awaits the answer: {error}",
            app.as_str(),
            self.place(),
        );
    }
}

impl ListenCall for Listen {
    fn socket(&self) -> (&AppId, ServerSocketId) {
        (&self.app, self.socket_id)
    }

    fn place(&self) -> String {
        place(&self.address, self.port)
    }
}

impl ListenCall for ListenOn {
    fn socket(&self) -> (&AppId, ServerSocketId) {
        (&self.app, self.socket_id)
    }

    fn place(&self) -> String {
        match &self.endpoint {
            Endpoint::Address(address) => address.to_string(),
            Endpoint::Host(address, port) => place(address, (*port).into()),
        }
    }
}

/// The longest IPv6 literal has 45 characters.
const MAX_LOGGED_ADDRESS: usize = 45;

/// The text of the address may be long, and come from outside.
fn place(address: &str, port: i32) -> String {
    let address: String = address.chars().take(MAX_LOGGED_ADDRESS).collect();
    format!("{address:?}, port {port}")
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
