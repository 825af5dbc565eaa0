//! `chrome.sockets.tcpServer` of one app.

use std::time::Duration;

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::app::event::OnEvent;
use crate::draining::Drained;
use crate::ids::ServerSocketId;
use crate::tcp::Timeouts;
#[cfg(feature = "tls")]
use crate::tcp_server::SetTls;
use crate::tcp_server::{
    AcceptErrorInfo, AcceptInfo, AcceptPolicy, Close, Create, CreateInfo, Disconnect, Drain,
    GetInfo, GetSockets, HandshakeErrorInfo, Limits, Listen, RefusedInfo, SetAcceptPolicy,
    SetLimits, SetPaused, SetReusePort, SetTimeouts, SocketInfo, SocketProperties, Update,
};
#[cfg(feature = "tls")]
use crate::tls;

/// `chrome.sockets.tcpServer`: the server sockets of an [`App`](crate::App).
///
/// Each function answers [`Error::SocketNotFound`](crate::Error::SocketNotFound)
/// for an id that was never given out, was closed, or belongs to another app,
/// and [`Error::Stopped`](crate::Error::Stopped) after the registry has ended.
#[derive(Clone, Debug)]
pub struct TcpServer {
    /// `onAccept`: a connection was accepted. While nobody listens, none is.
    pub on_accept: OnEvent<AcceptInfo>,
    /// `onAcceptError`: the network failed while waiting; the socket is
    /// paused, or what [`set_accept_policy`](Self::set_accept_policy) says.
    pub on_accept_error: OnEvent<AcceptErrorInfo>,
    /// `onHandshakeError` (beyond Chrome): a connection could not be encrypted
    /// as `set_tls` says, and is closed.
    pub on_handshake_error: OnEvent<HandshakeErrorInfo>,
    /// `onRefused` (beyond Chrome): a connection was closed at a limit.
    pub on_refused: OnEvent<RefusedInfo>,
    caller: Caller,
}

impl TcpServer {
    pub(super) fn new(caller: Caller) -> Self {
        TcpServer {
            on_accept: OnEvent::new(caller.clone()),
            on_accept_error: OnEvent::new(caller.clone()),
            on_handshake_error: OnEvent::new(caller.clone()),
            on_refused: OnEvent::new(caller.clone()),
            caller,
        }
    }

    /// `tcpServer.create`: a new server socket; without properties it is not
    /// persistent, not paused, and has no name.
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes.
    /// [`TooManySockets`](crate::Error::TooManySockets) if the app has as many
    /// as its limits allow. No socket is made then.
    pub fn create(&self, properties: SocketProperties) -> Answer<CreateInfo> {
        self.caller.call(|app| Create::new(app, properties))
    }

    /// `tcpServer.update`: sets what is given and keeps the rest.
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes; nothing changes then.
    pub fn update(&self, socket_id: ServerSocketId, properties: SocketProperties) -> Answer<()> {
        self.caller
            .call(|app| Update::new(app, socket_id, properties))
    }

    /// `tcpServer.setPaused`: paused, the socket raises no `onAccept` and
    /// connections wait in the kernel's backlog, which refuses more once it
    /// is full. Resumed, those that wait are delivered in order.
    ///
    /// Legal at any time: before `listen`, twice, after an accept error. It
    /// survives `disconnect`. The answer to `true` means that it has
    /// happened: every event raised before has reached its handlers, and none
    /// comes until the socket is resumed; a `false` that comes first answers it
    /// too.
    ///
    /// # Errors
    /// [`EventsInFlight`](crate::Error::EventsInFlight) if a listener has not
    /// handled such an event within [`PAUSE_GRACE`](crate::PAUSE_GRACE), as
    /// one that waits for this answer with `ctx.wait` while an event is in its
    /// mailbox cannot; the socket is paused all the same.
    pub fn set_paused(&self, socket_id: ServerSocketId, paused: bool) -> Answer<()> {
        self.caller
            .call(|app| SetPaused::new(app, socket_id, paused))
    }

    /// Beyond Chrome: what the socket does from now on when accepting fails;
    /// Chrome's own, to pause, until this is called. Legal at any time, and
    /// survives `disconnect`. A rest that is under way ends, so the next try
    /// is under the new policy; a pause stays. It goes along in a
    /// [handover](crate::handover).
    ///
    /// # Errors
    /// The policy is as before then.
    /// - [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) for bounds or
    ///   a class that the documentation of
    ///   [`AcceptAction`](crate::tcp_server::AcceptAction) excludes.
    /// - [`INSUFFICIENT_RESOURCES`](crate::NetError::INSUFFICIENT_RESOURCES)
    ///   if no descriptor can be reserved to
    ///   [`Shed`](crate::tcp_server::AcceptAction::Shed); `listen` answers it
    ///   likewise if the socket does not listen yet.
    pub fn set_accept_policy(&self, socket_id: ServerSocketId, policy: AcceptPolicy) -> Answer<()> {
        self.caller
            .call(|app| SetAcceptPolicy::new(app, socket_id, policy))
    }

    /// Beyond Chrome: what the socket takes on from now on; without limits
    /// of its own until this is called. Those of its app
    /// ([`App::set_limits`](crate::App::set_limits)) and of the registry hold
    /// too. Legal at any time, and survives `disconnect`.
    /// Connections that are open stay open, and count. Those that are closed
    /// at a limit are counted (`getInfo`) and told
    /// ([`on_refused`](Self::on_refused)). Limits go along in a
    /// [handover](crate::handover).
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) for what the
    /// documentation of [`Limits`] excludes; the limits are as before then.
    pub fn set_limits(&self, socket_id: ServerSocketId, limits: Limits) -> Answer<()> {
        self.caller
            .call(|app| SetLimits::new(app, socket_id, limits))
    }

    /// Beyond Chrome: whether the socket, when it listens next, does so with
    /// `SO_REUSEPORT`, and with a listener in each arbiter that client sockets
    /// live in ([`Registry::arbiters`](crate::Registry::arbiters)): `false`,
    /// until this is called. The kernel spreads connections over the listeners,
    /// and each stays in the arbiter that accepts it. It is one socket all the
    /// same: one id, one pause, one policy, limits that are exact, and the same
    /// events, raised where the registry lives.
    ///
    /// Up to 16 connections an arbiter are accepted ahead, also while the socket
    /// is paused. They wait as those in the backlog do: no limit
    /// counts them, and they are reset if the socket is closed
    /// before the app has heard of them. An error that is not a single connection's
    /// is told once, however many listeners have met it. Each listener has a backlog of its own; `backlog` in `getInfo` is
    /// what all of them hold, where the OS tells it of a port that is shared.
    ///
    /// Any program of the same user may listen on the port then, if it asks for
    /// that too, and gets a part of the connections. A socket that listens in
    /// several arbiters stays in its process at a [handover](crate::handover),
    /// which says so; one that does not listen, or in one arbiter, goes with this
    /// setting.
    ///
    /// # Errors
    /// [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED) while it
    /// listens. `listen` answers
    /// [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED) on a network
    /// without such listeners, as the scripted one.
    pub fn set_reuse_port(&self, socket_id: ServerSocketId, reuse_port: bool) -> Answer<()> {
        self.caller
            .call(|app| SetReusePort::new(app, socket_id, reuse_port))
    }

    /// Beyond Chrome: the [`Timeouts`] of every client that is accepted from now
    /// on, unless [`Tcp::set_timeouts`](crate::Tcp::set_timeouts) gives it
    /// others. Legal at any time, and survives `disconnect`.
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) if one of them
    /// is zero; nothing changes then.
    pub fn set_timeouts(&self, socket_id: ServerSocketId, timeouts: Timeouts) -> Answer<()> {
        self.caller
            .call(|app| SetTimeouts::new(app, socket_id, timeouts))
    }

    /// `tcpServer.listen`: binds to an address of this machine and listens.
    ///
    /// `address` is an IPv4 or IPv6 literal; `::` takes IPv4 clients too,
    /// which then show as `::ffff:a.b.c.d`. Port 0 lets the OS choose, and
    /// [`get_info`](Self::get_info) tells what it chose. `backlog` is how many
    /// connections may wait ([`DEFAULT_BACKLOG`](crate::tcp_server::DEFAULT_BACKLOG);
    /// the OS may cut it to its own limit). A paused socket listens, and lets
    /// them wait.
    ///
    /// # Errors
    /// After any of them the socket is as before and may listen again.
    /// - [`PermissionDenied`](crate::Error::PermissionDenied): the app may not
    ///   listen on this address and port. This is looked at first, whatever
    ///   the arguments and the socket are. Port 0 needs the permission for any.
    /// - [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT): no IP
    ///   literal (a host name, an empty or bracketed address, `127.1`), a port
    ///   outside 0–65535, or a backlog below 1.
    /// - [`Draining`](crate::Error::Draining): wait for the drain.
    /// - [`ADDRESS_IN_USE`](crate::NetError::ADDRESS_IN_USE)
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): not an
    ///   address of this machine.
    /// - [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED):
    ///   already listening, which goes on.
    /// - [`ACCESS_DENIED`](crate::NetError::ACCESS_DENIED),
    ///   [`INSUFFICIENT_RESOURCES`](crate::NetError::INSUFFICIENT_RESOURCES)
    ///   and whatever else the OS says.
    pub fn listen(
        &self,
        socket_id: ServerSocketId,
        address: impl Into<String>,
        port: i32,
        backlog: Option<i32>,
    ) -> Answer<()> {
        self.caller
            .call(|app| Listen::new(app, socket_id, address.into(), port, backlog))
    }

    /// Beyond Chrome, with the feature `tls`: encrypts the connections that are
    /// accepted from now on, by TLS as its server; `None` leaves them plain
    /// again. Legal at any time, and survives `disconnect`.
    ///
    /// Each handshake goes on by itself, so that a client that stalls holds up
    /// nobody. `onAccept` is raised when it is done, in that order; the client
    /// is used as any other. One that fails raises
    /// [`on_handshake_error`](Self::on_handshake_error) instead.
    ///
    /// At most [`handshakes`](tls::Server::handshakes) go on or are done and
    /// wait for listeners. At that limit the oldest is given up for a new
    /// connection, unless it has gone on for less than a second; then
    /// connections wait in the kernel's backlog. While the socket is paused
    /// handshakes go on and raise neither event. `disconnect` leaves them, as
    /// it leaves accepted clients; `close` ends them untold.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, socket_id: ServerSocketId, tls: Option<tls::Server>) -> Answer<()> {
        self.caller.call(|app| SetTls::new(app, socket_id, tls))
    }

    /// `tcpServer.disconnect`: stops listening; the answer means that the
    /// port is free. Id, name, persistent and paused stay, accepted clients
    /// live on, and the socket may listen again. Nothing happens if it does
    /// not listen. What waits in the backlog is reset by the OS.
    pub fn disconnect(&self, socket_id: ServerSocketId) -> Answer<()> {
        self.caller.call(|app| Disconnect::new(app, socket_id))
    }

    /// Beyond Chrome: stops listening, as [`disconnect`](Self::disconnect) does,
    /// lets the clients that it has accepted finish, and ends those that are
    /// still there at the deadline. The answer comes when none is left.
    ///
    /// A client has finished when its connection has ended, by the peer or by
    /// the app, and what it had to send has left. At the deadline the others
    /// end: what waits to be sent fails with
    /// [`ABORTED`](crate::NetError::ABORTED), and `onReceiveError` tells the
    /// same when the socket is not paused and all that came before was handled.
    /// Their ids live until `close`. Connections in the backlog are closed
    /// right away, so that a balancer sees that nobody is here; handshakes that
    /// go on may finish until the deadline.
    ///
    /// Until it is over, `listen` answers
    /// [`Draining`](crate::Error::Draining); everything else works as ever.
    /// `close` ends the server socket, and its clients go on as they do then. A
    /// second drain goes on beside the first; the earlier deadline ends the
    /// clients, for both. Suspending the app closes clients, which then have
    /// finished, as those have that are handed over to another process; one that
    /// is just being handed over at the deadline is waited for.
    /// [`on_drain`](crate::App::on_drain) tells how far it has come.
    pub fn drain(&self, socket_id: ServerSocketId, deadline: Duration) -> Answer<Drained> {
        self.caller.call(|app| Drain::new(app, socket_id, deadline))
    }

    /// `tcpServer.close`: as [`disconnect`](Self::disconnect), and the id is
    /// gone at once. The answer means that the port is free.
    pub fn close(&self, socket_id: ServerSocketId) -> Answer<()> {
        self.caller.call(|app| Close::new(app, socket_id))
    }

    /// `tcpServer.getInfo`: address and port only while listening. Beyond
    /// Chrome it tells why it accepts nothing, counts its connections and those
    /// in the backlog, and shows the policy, limits and timeouts that were set.
    pub fn get_info(&self, socket_id: ServerSocketId) -> Answer<SocketInfo> {
        self.caller.call(|app| GetInfo::new(app, socket_id))
    }

    /// `tcpServer.getSockets`: the app's own, in the order of their ids.
    pub fn get_sockets(&self) -> Answer<Vec<SocketInfo>> {
        self.caller.call(|app| GetSockets::new(app))
    }
}
