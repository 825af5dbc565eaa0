//! `chrome.sockets.tcp` of one app.

use bytes::Bytes;

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::app::event::OnEvent;
use crate::ids::ClientSocketId;
use crate::tcp::{
    ClientSocket, Close, Connect, Create, CreateInfo, Disconnect, DnsQueryType, GetInfo, GetSocket,
    GetSockets, ReceiveErrorInfo, ReceiveInfo, Secure, SecureOptions, Send, SendInfo, SetKeepAlive,
    SetNoDelay, SetPaused, SetTimeouts, SocketInfo, SocketProperties, Timeouts, Update,
};

/// `chrome.sockets.tcp`: the client sockets of an [`App`](crate::App),
/// accepted or connected.
///
/// Each function answers [`Error::SocketNotFound`](crate::Error::SocketNotFound)
/// for an id that was never given out, was closed, or belongs to another app,
/// and [`Error::Stopped`](crate::Error::Stopped) after the registry has ended.
/// For many calls on one socket, its [`ClientSocket`] is the shorter way.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// `onReceive`: data came in. While nobody listens, nothing is read.
    pub on_receive: OnEvent<ReceiveInfo>,
    /// `onReceiveError`: nothing more comes in. It is told after all data
    /// before it, so data that nobody has listened for yet holds it back; an
    /// end with none before it is told at once, whoever listens to
    /// `onReceive`.
    pub on_receive_error: OnEvent<ReceiveErrorInfo>,
    caller: Caller,
}

impl Tcp {
    pub(super) fn new(caller: Caller) -> Self {
        Tcp {
            on_receive: OnEvent::new(caller.clone()),
            on_receive_error: OnEvent::new(caller.clone()),
            caller,
        }
    }

    /// `tcp.create`: a new client socket, not connected; without properties
    /// not persistent, not paused, nameless, its buffer size unset.
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes.
    /// [`TooManySockets`](crate::Error::TooManySockets) if the app has as many
    /// as its limits allow. No socket is made then.
    pub fn create(&self, properties: SocketProperties) -> Answer<CreateInfo> {
        self.caller.call(|app| Create::new(app, properties))
    }

    /// `tcp.update`: sets what is given and keeps the rest.
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes; nothing changes then.
    pub fn update(&self, socket_id: ClientSocketId, properties: SocketProperties) -> Answer<()> {
        self.caller
            .call(|app| Update::new(app, socket_id, properties))
    }

    /// `tcp.setPaused`: paused, neither data nor the end of the connection is
    /// reported; TCP slows the peer. An accepted socket starts paused. The
    /// answer to `true` means that it has happened: every `onReceive` raised
    /// before has been handled, and none comes until the socket is resumed; a
    /// `false` that comes first answers it too. Legal in every state.
    ///
    /// # Errors
    /// [`EventsInFlight`](crate::Error::EventsInFlight) if a listener has not
    /// handled such an event within [`PAUSE_GRACE`](crate::PAUSE_GRACE), as
    /// one that holds it while it waits for this answer; the socket is paused
    /// all the same.
    pub fn set_paused(&self, socket_id: ClientSocketId, paused: bool) -> Answer<()> {
        self.caller
            .call(|app| SetPaused::new(app, socket_id, paused))
    }

    /// `tcp.setKeepAlive`: has the OS probe an idle connection after `delay`
    /// seconds, and again every `delay` seconds; `None` and 0 leave both as they
    /// are. By default every connection is probed, after 45 s and every 45 s.
    ///
    /// # Errors
    /// [`FAILED`](crate::NetError::FAILED) if the socket is not connected, for
    /// a negative delay, and for one that the OS refuses.
    pub fn set_keep_alive(
        &self,
        socket_id: ClientSocketId,
        enable: bool,
        delay: Option<i32>,
    ) -> Answer<()> {
        self.caller
            .call(|app| SetKeepAlive::new(app, socket_id, enable, delay))
    }

    /// `tcp.setNoDelay`: small packets leave at once (`true`), or are gathered
    /// by Nagle's algorithm. By default they leave at once.
    ///
    /// # Errors
    /// [`FAILED`](crate::NetError::FAILED) if the socket is not connected.
    pub fn set_no_delay(&self, socket_id: ClientSocketId, no_delay: bool) -> Answer<()> {
        self.caller
            .call(|app| SetNoDelay::new(app, socket_id, no_delay))
    }

    /// Beyond Chrome: ends the connection when nothing happens on it for so
    /// long, each way as [`Timeouts`] tells, in place of what was set before.
    /// All timeouts begin now. They stay with the socket, from one connection
    /// to the next, and go to another process with it. Legal in every state.
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) if one of them
    /// is zero; nothing changes then.
    pub fn set_timeouts(&self, socket_id: ClientSocketId, timeouts: Timeouts) -> Answer<()> {
        self.caller
            .call(|app| SetTimeouts::new(app, socket_id, timeouts))
    }

    /// `tcp.connect`: to a host name or an IP address. A name is resolved off
    /// the actor's thread, one in another script by its ASCII form (UTS 46),
    /// and its addresses are tried in the resolver's order. The socket
    /// receives at once unless it is paused. `close` and `disconnect` end the
    /// attempt: it answers [`ABORTED`](crate::NetError::ABORTED).
    ///
    /// # Errors
    /// After any of them the socket is as before and may connect again.
    /// - [`PermissionDenied`](crate::Error::PermissionDenied): the app may not
    ///   connect to this host and port. This is looked at first, whatever the
    ///   arguments and the socket are, and before the name is resolved.
    /// - [`CONNECTION_REFUSED`](crate::NetError::CONNECTION_REFUSED)
    /// - [`NAME_NOT_RESOLVED`](crate::NetError::NAME_NOT_RESOLVED): the name
    ///   has no address of the kind asked for; also an IPv4 literal asked for
    ///   as IPv6.
    /// - [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED); while
    ///   another attempt runs,
    ///   [`CONNECTION_FAILED`](crate::NetError::CONNECTION_FAILED).
    /// - [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT): a port
    ///   outside 0–65535; port 0 is
    ///   [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID).
    /// - whatever else the OS says.
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

    /// `tcp.disconnect`: ends the connection; the id stays and may connect
    /// again. An un-paused connected socket raises `onReceiveError`, before the
    /// answer, and becomes paused. Nothing happens if it is not connected.
    ///
    /// Sends that were called before still arrive, and the peer finds a clean
    /// end behind them, also if it has sent input that nobody has read. The
    /// answer does not wait for that. The connection *lingers*: its writing side
    /// is shut, and input is read and discarded until the peer ends its side. One
    /// whose peer has ended its side already, or on which nothing was sent, is
    /// closed at once. These bounds end the lingering:
    ///
    /// - 30 seconds in which the peer acknowledges nothing. If it does not have
    ///   everything, it is reset, and sends that wait answer
    ///   [`TIMED_OUT`](crate::NetError::TIMED_OUT). On Linux the kernel tells what
    ///   the peer acknowledges (`sock_diag`). On other systems, and in a sandbox
    ///   without it, what the own kernel takes is progress.
    /// - 1 MiB of discarded input: the connection is reset.
    /// - 256 lingering connections of the app, an equal part of them in each
    ///   arbiter and 32 at least: the oldest is closed. If sends of it wait, it is
    ///   reset, and they answer [`ABORTED`](crate::NetError::ABORTED); what the
    ///   kernel has taken it goes on to deliver, as long as no more input comes.
    ///
    /// A lingering connection gives its place in limits back when the kernel has
    /// all of it. Drains, [`Shutdown`](crate::Shutdown) and a handover wait until
    /// the peer has acknowledged all of it, each within its own deadline.
    pub fn disconnect(&self, socket_id: ClientSocketId) -> Answer<()> {
        self.caller.call(|app| Disconnect::new(app, socket_id))
    }

    /// `tcp.secure`: encrypts the connection of a paused socket by TLS, as its
    /// client. The server's certificate has to have the host name or IP address
    /// that [`connect`](Self::connect) was given, and be trusted: by the
    /// machine, or by what `Registry::tls_client` says. Afterwards the socket is
    /// used as before, and what ends the connection without saying so (TLS's
    /// `close_notify`) is an end like any other.
    ///
    /// Sends that were called before leave unencrypted, before the handshake
    /// begins; those that are called during it wait, and leave encrypted.
    /// `setPaused` and `getInfo` work meanwhile, `setKeepAlive` and
    /// `setNoDelay` fail; `close` and `disconnect` end the attempt, which
    /// answers [`ABORTED`](crate::NetError::ABORTED), as the sends that wait do.
    ///
    /// # Errors
    /// After these the socket is as before:
    /// - [`Error::SocketNotConnected`](crate::Error::SocketNotConnected): it is
    ///   not connected.
    /// - [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT): it is secured
    ///   already, or is just being secured, which goes on.
    /// - [`NO_SSL_VERSIONS_ENABLED`](crate::NetError::NO_SSL_VERSIONS_ENABLED):
    ///   `min` is above `max`, or `max` is a version that nobody speaks any
    ///   more.
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): the crate was
    ///   built without its feature `tls`.
    ///
    /// After these it is closed, and what waits to be sent fails likewise:
    /// - [`FAILED`](crate::NetError::FAILED): it is not paused, it was
    ///   accepted, or data that came before has not been handled because its
    ///   listener died.
    /// - [`SSL_PROTOCOL_ERROR`](crate::NetError::SSL_PROTOCOL_ERROR): the peer
    ///   does not speak TLS.
    /// - [`SSL_VERSION_OR_CIPHER_MISMATCH`](crate::NetError::SSL_VERSION_OR_CIPHER_MISMATCH)
    /// - [`CERT_COMMON_NAME_INVALID`](crate::NetError::CERT_COMMON_NAME_INVALID),
    ///   [`CERT_DATE_INVALID`](crate::NetError::CERT_DATE_INVALID),
    ///   [`CERT_AUTHORITY_INVALID`](crate::NetError::CERT_AUTHORITY_INVALID)
    ///   and the others that begin with `CERT_`: the first thing that is wrong
    ///   with the certificate.
    /// - [`SSL_CLIENT_AUTH_CERT_NEEDED`](crate::NetError::SSL_CLIENT_AUTH_CERT_NEEDED):
    ///   no certificate is ever shown to the server. One that speaks TLS 1.3
    ///   may say so only afterwards, and `onReceiveError` tells it.
    /// - [`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED) and
    ///   [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET): the peer gave
    ///   up.
    /// - [`TIMED_OUT`](crate::NetError::TIMED_OUT): not done within
    ///   [`HANDSHAKE_TIMEOUT`](crate::tcp::HANDSHAKE_TIMEOUT).
    pub fn secure(&self, socket_id: ClientSocketId, options: SecureOptions) -> Answer<()> {
        self.caller.call(|app| Secure::new(app, socket_id, options))
    }

    /// `tcp.send`: all of `data`, in the order of the calls, also when none is
    /// awaited. The answer means that the OS has it. An empty send succeeds
    /// with 0 bytes. A peer that has only ended its own side still receives,
    /// as long as `onReceiveError` has not told of that end.
    ///
    /// # Errors
    /// - [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED)
    /// - [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET) and whatever
    ///   else the OS says: some of `data` may have been sent, and every later
    ///   send fails likewise.
    /// - [`WriteQuotaExceeded`](crate::Error::WriteQuotaExceeded): nothing was
    ///   sent; a later call works.
    pub fn send(&self, socket_id: ClientSocketId, data: impl Into<Bytes>) -> Answer<SendInfo> {
        self.caller
            .call(|app| Send::new(app, socket_id, data.into()))
    }

    /// `tcp.close`: as [`disconnect`](Self::disconnect), and the id is gone at
    /// once.
    pub fn close(&self, socket_id: ClientSocketId) -> Answer<()> {
        self.caller.call(|app| Close::new(app, socket_id))
    }

    /// `tcp.getInfo`.
    pub fn get_info(&self, socket_id: ClientSocketId) -> Answer<SocketInfo> {
        self.caller.call(|app| GetInfo::new(app, socket_id))
    }

    /// `tcp.getSockets`: the app's own, in the order of their ids.
    pub fn get_sockets(&self) -> Answer<Vec<SocketInfo>> {
        self.caller.call(|app| GetSockets::new(app))
    }

    /// The handle of a socket, for calls that do not pass the registry.
    pub fn socket(&self, socket_id: ClientSocketId) -> Answer<ClientSocket> {
        self.caller.call(|app| GetSocket::new(app, socket_id))
    }
}
