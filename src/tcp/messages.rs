//! One message per function of `chrome.sockets.tcp`, for the [`Registry`](crate::Registry). The
//! method of [`Tcp`](crate::Tcp) with the same name documents the call and its edge cases.

use bytes::Bytes;

use crate::address::Endpoint;
use crate::answer::messages;
use crate::ids::ClientSocketId;
use crate::tcp::{
    ClientSocket, ConnectOptions, CreateInfo, DnsQueryType, SecureOptions, SendInfo, SocketInfo,
    SocketListeners, SocketProperties, Timeouts,
};

messages! {
    /// `tcp.create`.
    Create {
        /// The properties of the new socket.
        properties: SocketProperties,
    } -> CreateInfo;

    /// `tcp.update`.
    Update {
        /// The socket.
        socket_id: ClientSocketId,
        /// The properties that change.
        properties: SocketProperties,
    } -> ();

    /// `tcp.setPaused`.
    SetPaused {
        /// The socket.
        socket_id: ClientSocketId,
        /// `true` to stop receiving, `false` to receive.
        paused: bool,
    } -> ();

    /// `tcp.setKeepAlive`.
    SetKeepAlive {
        /// The socket.
        socket_id: ClientSocketId,
        /// Whether the system probes an idle connection.
        enable: bool,
        /// Seconds without data before the first probe. 0 and `None` leave the system's default.
        delay: Option<i32>,
    } -> ();

    /// `tcp.setNoDelay`.
    SetNoDelay {
        /// The socket.
        socket_id: ClientSocketId,
        /// Whether small packets are sent at once: `true` turns Nagle's algorithm off.
        no_delay: bool,
    } -> ();

    /// `setTimeouts` (beyond Chrome).
    SetTimeouts {
        /// The socket.
        socket_id: ClientSocketId,
        /// The new timeouts. They replace the earlier ones.
        timeouts: Timeouts,
    } -> ();

    /// `setListeners` (beyond Chrome).
    SetListeners {
        /// The socket.
        socket_id: ClientSocketId,
        /// Its own listeners. `None`: its events go to the app's listeners.
        listeners: Option<SocketListeners>,
    } -> ();

    /// `tcp.connect`.
    Connect {
        /// The socket.
        socket_id: ClientSocketId,
        /// A host name or an IP address.
        peer_address: String,
        /// The peer's port, 1–65535.
        peer_port: i32,
        /// Which addresses of the name are allowed.
        dns_query_type: DnsQueryType,
    } -> ();

    /// `connectTo` (beyond Chrome).
    ConnectTo {
        /// The socket.
        socket_id: ClientSocketId,
        /// Where it connects to.
        endpoint: Endpoint,
        /// How it connects.
        options: ConnectOptions,
    } -> ();

    /// `tcp.disconnect`.
    Disconnect {
        /// The socket.
        socket_id: ClientSocketId,
    } -> ();

    /// `shutdownWrite` (beyond Chrome).
    ShutdownWrite {
        /// The socket.
        socket_id: ClientSocketId,
    } -> ();

    /// Resets the connection (beyond Chrome): see [`Tcp::reset`](crate::Tcp::reset).
    Reset {
        /// The socket.
        socket_id: ClientSocketId,
    } -> ();

    /// `tcp.secure`.
    Secure {
        /// The socket.
        socket_id: ClientSocketId,
        /// Which versions of TLS are allowed.
        options: SecureOptions,
    } -> ();

    /// `tcp.send`.
    Send {
        /// The socket.
        socket_id: ClientSocketId,
        /// The bytes to send.
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

    /// Returns the handle of a socket. Calls through the handle bypass the registry.
    GetSocket {
        /// The socket.
        socket_id: ClientSocketId,
    } -> ClientSocket;
}

#[cfg(feature = "tls")]
messages! {
    /// `secureAsServer` (beyond Chrome, with the feature `tls`).
    SecureAsServer {
        /// The socket.
        socket_id: ClientSocketId,
        /// The certificate, and how the connection is encrypted.
        tls: crate::tls::Server,
    } -> ();
}
