//! One message a function of `chrome.sockets.tcp`, for the
//! [`Registry`](crate::Registry). Each is the same call as the method of
//! [`Tcp`](crate::Tcp) with its name, where the edges are documented.

use bytes::Bytes;

use crate::answer::messages;
use crate::ids::ClientSocketId;
use crate::tcp::{
    ClientSocket, CreateInfo, DnsQueryType, SecureOptions, SendInfo, SocketInfo, SocketProperties,
    Timeouts,
};

messages! {
    /// `tcp.create`.
    Create {
        /// What the socket starts with.
        properties: SocketProperties,
    } -> CreateInfo;

    /// `tcp.update`.
    Update {
        /// The socket.
        socket_id: ClientSocketId,
        /// What changes.
        properties: SocketProperties,
    } -> ();

    /// `tcp.setPaused`.
    SetPaused {
        /// The socket.
        socket_id: ClientSocketId,
        /// Whether it stops receiving, or goes on.
        paused: bool,
    } -> ();

    /// `tcp.setKeepAlive`.
    SetKeepAlive {
        /// The socket.
        socket_id: ClientSocketId,
        /// Whether an idle connection is probed.
        enable: bool,
        /// After how many seconds without data; 0 and `None` leave the
        /// system's own delay.
        delay: Option<i32>,
    } -> ();

    /// `tcp.setNoDelay`.
    SetNoDelay {
        /// The socket.
        socket_id: ClientSocketId,
        /// Whether small packets leave at once (Nagle's algorithm off).
        no_delay: bool,
    } -> ();

    /// `setTimeOuts` (beyond Chrome).
    SetTimeouts {
        /// The socket.
        socket_id: ClientSocketId,
        /// How long nothing may happen, in place of what was set before.
        timeouts: Timeouts,
    } -> ();

    /// `tcp.connect`.
    Connect {
        /// The socket.
        socket_id: ClientSocketId,
        /// A host name or an IP address.
        peer_address: String,
        /// Its port, 1–65535.
        peer_port: i32,
        /// Which of the name's addresses may be used.
        dns_query_type: DnsQueryType,
    } -> ();

    /// `tcp.disconnect`.
    Disconnect {
        /// The socket.
        socket_id: ClientSocketId,
    } -> ();

    /// `tcp.secure`.
    Secure {
        /// The socket.
        socket_id: ClientSocketId,
        /// Which versions of TLS may be spoken.
        options: SecureOptions,
    } -> ();

    /// `tcp.send`.
    Send {
        /// The socket.
        socket_id: ClientSocketId,
        /// What is sent.
        data: Bytes,
    } -> SendInfo;

    /// `tcp.close`.
    Close {
        /// The socket.
        socket_id: ClientSocketId,
    } -> ();

    /// `tcp.getInfo`.
    GetInfo {
        /// The socket.
        socket_id: ClientSocketId,
    } -> SocketInfo;

    /// `tcp.getSockets`.
    GetSockets {} -> Vec<SocketInfo>;

    /// Asks once for the handle of a socket, which needs no registry.
    GetSocket {
        /// The socket.
        socket_id: ClientSocketId,
    } -> ClientSocket;
}
