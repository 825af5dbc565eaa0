//! `chrome.sockets.tcp` of one app.

use bytes::Bytes;

use crate::address::Endpoint;
use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::app::event::OnEvent;
use crate::ids::ClientSocketId;
#[cfg(feature = "tls")]
use crate::tcp::SecureAsServer;
use crate::tcp::{
    ClientSocket, Close, Connect, ConnectOptions, ConnectTo, Create, CreateInfo, Disconnect,
    DnsQueryType, GetInfo, GetSocket, GetSockets, ReceiveBatch, ReceiveErrorInfo, ReceiveInfo,
    Reset, Secure, SecureOptions, Send, SendInfo, SendQueueInfo, SetKeepAlive, SetListeners,
    SetNoDelay, SetPaused, SetTimeouts, ShutdownWrite, SocketInfo, SocketListeners,
    SocketProperties, Timeouts, Update,
};

/// `chrome.sockets.tcp`: the client sockets of an [`App`](crate::App),
/// accepted or connected.
///
/// Each function answers [`Error::SocketNotFound`](crate::Error::SocketNotFound)
/// for an id that was never allocated, was closed, or belongs to another app,
/// and [`Error::Stopped`](crate::Error::Stopped) after the registry has ended.
/// For many calls on one socket, its [`ClientSocket`] is faster. The functions that
/// begin with `do_` have no answer: an error is ignored.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// `onReceive`: data was received. Without a listener, nothing is read. A listener
    /// that is a `SyncArbiter` of several threads handles the data of a socket out of
    /// order: see [`OnEvent::add_listener`].
    pub on_receive: OnEvent<ReceiveInfo>,
    /// Beyond Chrome: `onReceive` in batches. A listener gets what a turn of an arbiter has
    /// received, from all of the app's sockets there, in one message: [`Batch`](crate::Batch)
    /// describes it. It costs less where many sockets are busy and events are small, and nothing
    /// more where they are not. With an actor for each connection, or large events, it saves little.
    /// An app may have listeners of both kinds; each of them gets all events. `has_listeners` of
    /// either kind counts both.
    pub on_receive_batch: OnEvent<ReceiveBatch>,
    /// `onReceiveError`: the connection has ended, or with
    /// [`allow_half_open`](SocketProperties::allow_half_open) the peer's side of
    /// it. It is raised once for each connection, after all data
    /// that was received before, so data that waits for a listener delays it. An
    /// end without such data is raised at once, even if `onReceive` has no
    /// listener.
    pub on_receive_error: OnEvent<ReceiveErrorInfo>,
    /// Beyond Chrome: the send queue of a socket has risen above its high-water mark,
    /// or has fallen to its low-water mark ([`SocketProperties::send_marks`]).
    /// [`SendQueueInfo`] describes when it is raised.
    pub on_send_queue: OnEvent<SendQueueInfo>,
    caller: Caller,
}

impl Tcp {
    pub(super) fn new(caller: Caller) -> Self {
        Tcp {
            on_receive: OnEvent::new(caller.clone()),
            on_receive_batch: OnEvent::new(caller.clone()),
            on_receive_error: OnEvent::new(caller.clone()),
            on_send_queue: OnEvent::new(caller.clone()),
            caller,
        }
    }

    /// `tcp.create`: creates a client socket, which is not connected. By default
    /// it is not persistent, not paused, and has neither a name nor a buffer size.
    ///
    /// # Errors
    /// No socket is created then.
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes, a send limit of zero, and a low-water
    /// mark above the high-water mark.
    /// [`TooManySockets`](crate::Error::TooManySockets) if the app has as many
    /// sockets as its limits allow.
    pub fn create(&self, properties: SocketProperties) -> Answer<CreateInfo> {
        self.caller.call(|app| Create::new(app, properties))
    }

    /// `tcp.update`: sets the given properties and keeps the others.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes, a send limit of zero, and a low-water
    /// mark above the high-water mark; nothing changes then.
    pub fn update(&self, socket_id: ClientSocketId, properties: SocketProperties) -> Answer<()> {
        self.caller
            .call(|app| Update::new(app, socket_id, properties))
    }

    /// `tcp.setPaused`: a paused socket reports neither data nor the end of its
    /// connection, and TCP slows the peer. An accepted socket starts paused. The
    /// answer to `true` means that every earlier `onReceive` was handled, and that
    /// none is raised until the socket is resumed. A later call with `false`
    /// answers it too. Legal in every state.
    ///
    /// # Errors
    /// [`EventsInFlight`](crate::Error::EventsInFlight) if a listener has not
    /// handled an earlier event within [`PAUSE_GRACE`](crate::PAUSE_GRACE), for
    /// instance because it keeps the event while it waits for this answer. The
    /// socket is paused nevertheless.
    pub fn set_paused(&self, socket_id: ClientSocketId, paused: bool) -> Answer<()> {
        self.caller
            .call(|app| SetPaused::new(app, socket_id, paused))
    }

    /// `tcp.setKeepAlive`: has the OS probe an idle connection after `delay`
    /// seconds, and again every `delay` seconds. `None` and 0 keep the present
    /// delays. By default every connection is probed after 45 s and every 45 s.
    ///
    /// # Errors
    /// [`FAILED`](crate::NetError::FAILED) if the socket is not connected, for
    /// a negative delay, and for a delay that the OS refuses.
    pub fn set_keep_alive(
        &self,
        socket_id: ClientSocketId,
        enable: bool,
        delay: Option<i32>,
    ) -> Answer<()> {
        self.caller
            .call(|app| SetKeepAlive::new(app, socket_id, enable, delay))
    }

    /// `tcp.setNoDelay`: small packets are sent at once (`true`, the default), or
    /// are collected by Nagle's algorithm (`false`).
    ///
    /// # Errors
    /// [`FAILED`](crate::NetError::FAILED) if the socket is not connected.
    pub fn set_no_delay(&self, socket_id: ClientSocketId, no_delay: bool) -> Answer<()> {
        self.caller
            .call(|app| SetNoDelay::new(app, socket_id, no_delay))
    }

    /// Beyond Chrome: replaces the socket's timeouts, after which an inactive
    /// connection is ended as [`Timeouts`] describes; by default there are none.
    /// All timeouts start now. They stay with the socket, from one connection to
    /// the next, and in a handover. Legal in every state.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) if one of them
    /// is zero; nothing changes then.
    pub fn set_timeouts(&self, socket_id: ClientSocketId, timeouts: Timeouts) -> Answer<()> {
        self.caller
            .call(|app| SetTimeouts::new(app, socket_id, timeouts))
    }

    /// Beyond Chrome: the events of this socket go to `listeners` from now on, and not
    /// to the app's listeners; `None` gives it back to those. The listeners may be in
    /// any arbiter. Those of the socket's own arbiter
    /// ([`LocalArbiter`](crate::LocalArbiter)) get data without a change of threads.
    ///
    /// Windows, pauses, order and redelivery are as with the app's listeners. Events in
    /// flight stay with the listeners that they were sent to, and the new listeners get
    /// nothing before those are handled, or after [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    /// Events that wait for a listener go to the new ones. An accepted client is
    /// paused: listeners that are set before its first `setPaused(false)` miss nothing.
    ///
    /// The listeners stay, also for later connections of the socket, until others are
    /// set, the socket is closed, or the app is suspended. A
    /// [handover](crate::handover) does not carry them: the next process sets its own.
    /// The socket holds the addresses, so an actor without another address ends with
    /// them. [`SocketListeners::when_dead`] says what happens if a listener dies.
    pub fn set_listeners(
        &self,
        socket_id: ClientSocketId,
        listeners: impl Into<Option<SocketListeners>>,
    ) -> Answer<()> {
        let listeners = listeners.into();
        self.caller
            .call(|app| SetListeners::new(app, socket_id, listeners))
    }

    /// `tcp.connect`: connects to a host name or an IP address. A name is resolved
    /// outside the actor's thread; a name that is not ASCII by its ASCII form
    /// (UTS 46). A socket that is not paused receives at once. `close` and `disconnect` end the attempt,
    /// which answers [`ABORTED`](crate::NetError::ABORTED).
    ///
    /// If a name has several addresses, this follows RFC 8305 (happy eyeballs). The
    /// addresses of IPv4 and IPv6 are tried alternately, beginning with the
    /// resolver's first address. An attempt starts 250 ms after the one before it,
    /// or as soon as an attempt fails; at most eight run at once. The first that
    /// succeeds is the connection, and the others are cancelled.
    ///
    /// # Errors
    /// After an error the socket is as before and may connect again. If no address of
    /// a name can be reached, the error is that of the last one, or
    /// [`NETWORK_ACCESS_DENIED`](crate::NetError::NETWORK_ACCESS_DENIED) if any of
    /// them was denied.
    /// - [`PermissionDenied`](crate::Error::PermissionDenied): the app may not
    ///   connect to this host and port. This is checked first, before the other
    ///   arguments and the state of the socket, and before the name is resolved.
    /// - [`CONNECTION_REFUSED`](crate::NetError::CONNECTION_REFUSED)
    /// - [`NAME_NOT_RESOLVED`](crate::NetError::NAME_NOT_RESOLVED): the name
    ///   has no address of the requested kind, or is an IPv4 literal and IPv6 is
    ///   requested.
    /// - [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED)
    /// - [`CONNECTION_FAILED`](crate::NetError::CONNECTION_FAILED): another
    ///   attempt is running.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): a port
    ///   outside 0–65535; port 0 is
    ///   [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID).
    /// - any other error of the OS.
    pub fn connect(
        &self,
        socket_id: ClientSocketId,
        peer_address: impl Into<String>,
        peer_port: i32,
        dns_query_type: DnsQueryType,
    ) -> Answer<()> {
        self.caller.call(|app| {
            Connect::new(
                app,
                socket_id,
                peer_address.into(),
                peer_port,
                dns_query_type,
            )
        })
    }

    /// Beyond Chrome: as [`connect`](Self::connect), with an address of Rust and with
    /// [`ConnectOptions`]: a timeout, and the local address.
    ///
    /// `endpoint` is a `SocketAddr`, or a pair of a host and a port. The host is a name
    /// or an IP address, which may name the interface of a link-local address:
    /// `("fe80::1%eth0", 80)` or `("fe80::1%2", 80)`. Permissions name addresses
    /// without scopes, and do not concern the local address. It may also be a
    /// [`UnixAddress`](crate::UnixAddress), with the errors of
    /// [`connect_unix`](Self::connect_unix).
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and:
    /// - [`CONNECTION_TIMED_OUT`](crate::NetError::CONNECTION_TIMED_OUT): the timeout
    ///   has elapsed. A look-up that is running keeps its place until the resolver
    ///   answers ([`LOOKUPS_OF_APP`](crate::tcp::LOOKUPS_OF_APP)).
    /// - [`Error::InvalidArgument`](crate::Error::InvalidArgument): a timeout of zero
    ///   ([`ConnectTimeoutZero`](crate::InvalidArgument::ConnectTimeoutZero)), a
    ///   link-local address without a scope
    ///   ([`ScopeMissing`](crate::InvalidArgument::ScopeMissing)), or a scope at another
    ///   address ([`ScopeNotAllowed`](crate::InvalidArgument::ScopeNotAllowed)).
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): the local address is
    ///   not one of this machine, or no address of the host has its family; there is
    ///   no such interface.
    /// - [`ADDRESS_IN_USE`](crate::NetError::ADDRESS_IN_USE): another socket has the
    ///   local port.
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): a local address on a
    ///   network of your own that cannot choose it.
    pub fn connect_to(
        &self,
        socket_id: ClientSocketId,
        endpoint: impl Into<Endpoint>,
        options: ConnectOptions,
    ) -> Answer<()> {
        self.caller
            .call(|app| ConnectTo::new(app, socket_id, endpoint.into(), options))
    }

    /// Beyond Chrome: shuts the writing side of the connection. The peer receives
    /// every earlier send and then the end (FIN), while the socket goes on to
    /// receive until the peer ends its side too. That is *half-close*: a client
    /// says so that its request is complete, a server that its answer is. The
    /// answer means that the OS has all earlier sends and the end. Encrypted
    /// connections send TLS's `close_notify` first; many TLS peers answer it by
    /// ending both sides.
    ///
    /// Later sends answer
    /// [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED), and a
    /// later `try_send` is dropped. A second call has no effect, and is answered
    /// with the first. If the peer has ended its side before, and
    /// [`allow_half_open`](SocketProperties::allow_half_open) has kept the
    /// connection, this ends it: the socket is not connected when the answer
    /// comes, and no event is raised. This call needs no `allow_half_open`, which
    /// is about the other order.
    ///
    /// # Errors
    /// - [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED): the
    ///   socket is not connected, or is being [secured](Self::secure).
    /// - The error of a send that fails meanwhile or has failed before: the peer
    ///   finds no orderly end.
    /// - [`FAILED`](crate::NetError::FAILED): a network of your own has no
    ///   half-close. Sends fail with it too.
    pub fn shutdown_write(&self, socket_id: ClientSocketId) -> Answer<()> {
        self.caller.call(|app| ShutdownWrite::new(app, socket_id))
    }

    /// `tcp.disconnect`: ends the connection; the socket keeps its id and may
    /// connect again. A connected socket that is not paused raises
    /// `onReceiveError`, before the answer, and becomes paused. A socket that is
    /// not connected is unchanged.
    ///
    /// Earlier sends still reach the peer, which finds a clean end behind them,
    /// even if it has sent input that was not read. The answer does not wait for
    /// that. The connection *lingers*: its writing side is shut, and input is read
    /// and discarded until the peer ends its side. A connection whose peer has
    /// ended its side already, or on which nothing was sent, is closed at once.
    /// These bounds end the lingering:
    ///
    /// - 30 seconds in which the peer acknowledges nothing. If the peer does not
    ///   have everything, the connection is reset, and sends that wait answer
    ///   [`TIMED_OUT`](crate::NetError::TIMED_OUT). On Linux the kernel reports
    ///   what the peer acknowledges (`sock_diag`). On other systems, and in a
    ///   sandbox without `sock_diag`, data that the local kernel accepts counts as
    ///   progress.
    /// - 1 MiB of discarded input: the connection is reset.
    /// - 256 lingering connections of the app, divided evenly among the arbiters,
    ///   with at least 32 for each: the oldest is closed. If sends of it wait, it
    ///   is reset, and they answer [`ABORTED`](crate::NetError::ABORTED).
    ///   Otherwise the kernel still delivers what it has, as long as no more input
    ///   arrives.
    ///
    /// A lingering connection gives back its place in limits when the kernel has
    /// all of its data. Drains, [`Shutdown`](crate::Shutdown) and a handover wait
    /// until the peer has acknowledged all of it, each within its own deadline.
    pub fn disconnect(&self, socket_id: ClientSocketId) -> Answer<()> {
        self.caller.call(|app| Disconnect::new(app, socket_id))
    }

    /// Resets the connection (beyond Chrome), as Node's `resetAndDestroy` does: the
    /// peer gets a RST and loses what it has not read, and nothing lingers. Sends
    /// that are not complete answer [`ABORTED`](crate::NetError::ABORTED).
    ///
    /// Otherwise it is as [`disconnect`](Self::disconnect): the socket keeps its id
    /// and may connect again, and a connected socket that is not paused raises
    /// `onReceiveError` ([`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED))
    /// before the answer. A socket that is not connected is unchanged.
    pub fn reset(&self, socket_id: ClientSocketId) -> Answer<()> {
        self.caller.call(|app| Reset::new(app, socket_id))
    }

    /// `tcp.secure`: encrypts the connection of a paused socket by TLS, as its
    /// client. The server's certificate must be valid for the host name or IP
    /// address that [`connect`](Self::connect) was given, and be trusted by the
    /// machine, or as set by `Registry::tls_client`. Afterwards the socket is used
    /// as before. An end of the connection without TLS's `close_notify` counts as
    /// an ordinary end.
    ///
    /// Earlier sends are sent unencrypted, before the handshake starts. Sends
    /// that are called during the handshake wait, and are sent encrypted.
    /// Meanwhile `setPaused` and `getInfo` work, and `setKeepAlive` and
    /// `setNoDelay` fail. `close` and `disconnect` end the attempt; it and the
    /// sends that wait answer [`ABORTED`](crate::NetError::ABORTED).
    ///
    /// # Errors
    /// After these errors the socket is as before:
    /// - [`Error::SocketNotConnected`](crate::Error::SocketNotConnected): it is
    ///   not connected, or one side of the connection has ended by
    ///   [`shutdown_write`](Self::shutdown_write) or half-close.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): it is secured
    ///   already, or is being secured; the running attempt continues.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): a protocol name of
    ///   [`SecureOptions::alpn`] is empty or too long.
    /// - [`NO_SSL_VERSIONS_ENABLED`](crate::NetError::NO_SSL_VERSIONS_ENABLED):
    ///   `min` is above `max`, or `max` is a version that is not supported any
    ///   more.
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): the crate was
    ///   built without its feature `tls`.
    ///
    /// After these errors the connection is closed, and sends that wait fail with
    /// the same error:
    /// - [`FAILED`](crate::NetError::FAILED): the socket is not paused, it was
    ///   accepted, or earlier data was not handled because its listener died.
    /// - [`SSL_PROTOCOL_ERROR`](crate::NetError::SSL_PROTOCOL_ERROR): the peer
    ///   does not use TLS.
    /// - [`SSL_VERSION_OR_CIPHER_MISMATCH`](crate::NetError::SSL_VERSION_OR_CIPHER_MISMATCH)
    /// - [`CERT_COMMON_NAME_INVALID`](crate::NetError::CERT_COMMON_NAME_INVALID),
    ///   [`CERT_DATE_INVALID`](crate::NetError::CERT_DATE_INVALID),
    ///   [`CERT_AUTHORITY_INVALID`](crate::NetError::CERT_AUTHORITY_INVALID)
    ///   and the others that begin with `CERT_`: the first fault of the
    ///   certificate.
    /// - [`SSL_CLIENT_AUTH_CERT_NEEDED`](crate::NetError::SSL_CLIENT_AUTH_CERT_NEEDED):
    ///   the server requires a client certificate, which is not supported. A
    ///   server with TLS 1.3 may say so only later, which `onReceiveError`
    ///   reports.
    /// - [`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED) and
    ///   [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET): the peer
    ///   ended the connection.
    /// - [`TIMED_OUT`](crate::NetError::TIMED_OUT): the handshake took longer than
    ///   [`HANDSHAKE_TIMEOUT`](crate::tcp::HANDSHAKE_TIMEOUT).
    pub fn secure(&self, socket_id: ClientSocketId, options: SecureOptions) -> Answer<()> {
        self.caller.call(|app| Secure::new(app, socket_id, options))
    }

    /// Beyond Chrome: encrypts the connection of a paused socket by TLS, as its
    /// server. That is STARTTLS: the peer asks for TLS in the protocol of the app, on a
    /// connection that was accepted without it. (For connections that are encrypted from
    /// their start, see [`TcpServer::set_tls`](crate::TcpServer::set_tls).) A socket that
    /// has connected may be the server of TLS too.
    ///
    /// The order of the calls is: await `setPaused(true)`, after whose answer no handler is
    /// called; send the protocol's reply, such as `220 go ahead`, which leaves unencrypted; call
    /// this; resume when it has answered. **Discard everything that was received behind the
    /// peer's command**: it was not encrypted, so anybody on the way may have inserted it
    /// (CVE-2011-0411). Encrypted input is read by TLS only.
    ///
    /// Otherwise it is as [`secure`](Self::secure): earlier sends are sent unencrypted before
    /// the handshake, and later ones wait and are sent encrypted. The limit of
    /// [`tls::Server::handshakes`](crate::tls::Server::handshakes) does not count it: the
    /// connection counts in the limits of its server socket.
    ///
    /// # Errors
    /// After these errors the socket is as before:
    /// - [`Error::SocketNotConnected`](crate::Error::SocketNotConnected): it is
    ///   not connected, or one side of the connection has ended.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): it is encrypted
    ///   already, or is being encrypted.
    ///
    /// After these errors the socket is closed, its id is gone, no event is raised, and sends
    /// that wait fail with the same error:
    /// - [`FAILED`](crate::NetError::FAILED): the socket is not paused, or earlier data was
    ///   not handled because its listener died.
    /// - [`SSL_PROTOCOL_ERROR`](crate::NetError::SSL_PROTOCOL_ERROR): the peer does not use TLS.
    /// - [`SSL_VERSION_OR_CIPHER_MISMATCH`](crate::NetError::SSL_VERSION_OR_CIPHER_MISMATCH)
    ///   and the other errors of TLS, as in
    ///   [`HandshakeErrorInfo`](crate::tcp_server::HandshakeErrorInfo).
    /// - [`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED) and
    ///   [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET): the peer
    ///   ended the connection.
    /// - [`TIMED_OUT`](crate::NetError::TIMED_OUT): the handshake, with the sends before it, took
    ///   longer than [`tls::Server::timeout`](crate::tls::Server::timeout).
    #[cfg(feature = "tls")]
    pub fn secure_as_server(
        &self,
        socket_id: ClientSocketId,
        tls: crate::tls::Server,
    ) -> Answer<()> {
        self.caller
            .call(|app| SecureAsServer::new(app, socket_id, tls))
    }

    /// `tcp.send`: sends all of `data`, in the order of the calls, whether or not
    /// they are awaited. The answer means that the OS has accepted the data. An
    /// empty send succeeds with 0 bytes. A peer that has ended only its own side
    /// still receives, until `onReceiveError` has reported that end, or longer with
    /// [`allow_half_open`](SocketProperties::allow_half_open).
    ///
    /// # Errors
    /// - [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED)
    /// - [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET) and any other
    ///   error of the OS: part of `data` may have been sent, and every later send
    ///   fails with the same error.
    /// - [`WriteQuotaExceeded`](crate::Error::WriteQuotaExceeded): nothing was
    ///   sent. A later call succeeds when the peers have read. A socket of which
    ///   nothing waits can send up to [`RESERVED_SEND`](crate::tcp::RESERVED_SEND)
    ///   bytes beyond the quota, as far as the reserve has room.
    /// - [`SendQueueFull`](crate::Error::SendQueueFull): the socket's own
    ///   [limit](SocketProperties::send_limit) is reached; nothing was sent.
    pub fn send(&self, socket_id: ClientSocketId, data: impl Into<Bytes>) -> Answer<SendInfo> {
        self.caller
            .call(|app| Send::new(app, socket_id, data.into()))
    }

    /// `tcp.close`: as [`disconnect`](Self::disconnect), and removes the socket;
    /// its id is unknown at once.
    pub fn close(&self, socket_id: ClientSocketId) -> Answer<()> {
        self.caller.call(|app| Close::new(app, socket_id))
    }

    /// [`close`](Self::close) without an answer.
    pub fn do_close(&self, socket_id: ClientSocketId) {
        self.caller.do_call(|app| Close::new(app, socket_id));
    }

    /// [`disconnect`](Self::disconnect) without an answer.
    pub fn do_disconnect(&self, socket_id: ClientSocketId) {
        self.caller.do_call(|app| Disconnect::new(app, socket_id));
    }

    /// [`reset`](Self::reset) without an answer.
    pub fn do_reset(&self, socket_id: ClientSocketId) {
        self.caller.do_call(|app| Reset::new(app, socket_id));
    }

    /// [`shutdown_write`](Self::shutdown_write) without an answer. `onReceiveError`
    /// reports the end of the connection, whether or not the OS could send all of it.
    pub fn do_shutdown_write(&self, socket_id: ClientSocketId) {
        self.caller
            .do_call(|app| ShutdownWrite::new(app, socket_id));
    }

    /// [`set_paused`](Self::set_paused) without an answer. Handlers may still be
    /// called after `do_set_paused(id, true)`: only an answer tells when none is.
    pub fn do_set_paused(&self, socket_id: ClientSocketId, paused: bool) {
        self.caller
            .do_call(|app| SetPaused::new(app, socket_id, paused));
    }

    /// [`update`](Self::update) without an answer.
    pub fn do_update(&self, socket_id: ClientSocketId, properties: SocketProperties) {
        self.caller
            .do_call(|app| Update::new(app, socket_id, properties));
    }

    /// [`set_keep_alive`](Self::set_keep_alive) without an answer.
    pub fn do_set_keep_alive(&self, socket_id: ClientSocketId, enable: bool, delay: Option<i32>) {
        self.caller
            .do_call(|app| SetKeepAlive::new(app, socket_id, enable, delay));
    }

    /// [`set_no_delay`](Self::set_no_delay) without an answer.
    pub fn do_set_no_delay(&self, socket_id: ClientSocketId, no_delay: bool) {
        self.caller
            .do_call(|app| SetNoDelay::new(app, socket_id, no_delay));
    }

    /// [`set_timeouts`](Self::set_timeouts) without an answer.
    pub fn do_set_timeouts(&self, socket_id: ClientSocketId, timeouts: Timeouts) {
        self.caller
            .do_call(|app| SetTimeouts::new(app, socket_id, timeouts));
    }

    /// [`set_listeners`](Self::set_listeners) without an answer.
    pub fn do_set_listeners(
        &self,
        socket_id: ClientSocketId,
        listeners: impl Into<Option<SocketListeners>>,
    ) {
        let listeners = listeners.into();
        self.caller
            .do_call(|app| SetListeners::new(app, socket_id, listeners));
    }

    /// `tcp.getInfo`.
    pub fn get_info(&self, socket_id: ClientSocketId) -> Answer<SocketInfo> {
        self.caller.call(|app| GetInfo::new(app, socket_id))
    }

    /// `tcp.getSockets`: the app's client sockets, in the order of their ids.
    pub fn get_sockets(&self) -> Answer<Vec<SocketInfo>> {
        self.caller.call(GetSockets::new)
    }

    /// The handle of a socket. Its calls do not pass through the registry.
    pub fn socket(&self, socket_id: ClientSocketId) -> Answer<ClientSocket> {
        self.caller.call(|app| GetSocket::new(app, socket_id))
    }
}
