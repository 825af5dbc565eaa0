//! `chrome.sockets.tcpServer` of one app.

use crate::error::Error;
use crate::registry::Registry;
use crate::tcp_server::ListenCall;
use actix::{Actor, Context, Handler, Message};
use std::time::Duration;

use crate::address::Endpoint;
use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::app::event::OnEvent;
use crate::draining::Drained;
use crate::ids::ServerSocketId;
use crate::proxy_protocol::ProxyProtocol;
use crate::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo, Timeouts};
#[cfg(feature = "tls")]
use crate::tcp_server::SetTls;
use crate::tcp_server::{
    AcceptErrorInfo, AcceptInfo, AcceptPolicy, Close, Create, CreateInfo, Disconnect, Drain,
    GetInfo, GetSockets, HandlerFactory, HandshakeErrorInfo, Limits, Listen, ListenOn,
    ListenOptions, ProxyErrorInfo, RefusedInfo, Serve, SetAcceptPolicy, SetLimits, SetPaused,
    SetProxyProtocol, SetReusePort, SetTimeouts, SocketInfo, SocketProperties, Update,
};
#[cfg(feature = "tls")]
use crate::tls;

/// `chrome.sockets.tcpServer`: the server sockets of an [`App`](crate::App).
///
/// Each function answers [`Error::SocketNotFound`](crate::Error::SocketNotFound)
/// for an id that was never allocated, was closed, or belongs to another app,
/// and [`Error::Stopped`](crate::Error::Stopped) after the registry has ended. The
/// functions that begin with `do_` have no answer: an error is ignored.
#[derive(Clone, Debug)]
pub struct TcpServer {
    /// `onAccept`: a connection was accepted. Without a listener, none is. A server socket
    /// that [serves](Self::serve) its clients raises none.
    pub on_accept: OnEvent<AcceptInfo>,
    /// `onAcceptError`: accepting failed. The socket is paused, or does what
    /// [`set_accept_policy`](Self::set_accept_policy) has set.
    pub on_accept_error: OnEvent<AcceptErrorInfo>,
    /// `onHandshakeError` (beyond Chrome): the TLS handshake of a connection
    /// failed (see `set_tls`), and the connection is closed.
    pub on_handshake_error: OnEvent<HandshakeErrorInfo>,
    /// `onProxyError` (beyond Chrome): a connection had no valid PROXY header (see
    /// [`set_proxy_protocol`](Self::set_proxy_protocol)), and is closed.
    pub on_proxy_error: OnEvent<ProxyErrorInfo>,
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
            on_proxy_error: OnEvent::new(caller.clone()),
            on_refused: OnEvent::new(caller.clone()),
            caller,
        }
    }

    /// `tcpServer.create`: creates a server socket. By default it is not
    /// persistent, not paused, and has no name.
    ///
    /// # Errors
    /// No socket is created then.
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes.
    /// [`TooManySockets`](crate::Error::TooManySockets) if the app has as many
    /// sockets as its limits allow.
    pub fn create(&self, properties: SocketProperties) -> Answer<CreateInfo> {
        self.caller.call(|app| Create::new(app, properties))
    }

    /// `tcpServer.update`: sets the given properties and keeps the others.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a name
    /// above [`MAX_NAME`](crate::MAX_NAME) bytes; nothing changes then.
    pub fn update(&self, socket_id: ServerSocketId, properties: SocketProperties) -> Answer<()> {
        self.caller
            .call(|app| Update::new(app, socket_id, properties))
    }

    /// `tcpServer.setPaused`: a paused socket raises no `onAccept`, and connections
    /// wait in the kernel's backlog, which refuses more when it is full. When the
    /// socket is resumed, they are accepted in order.
    ///
    /// Legal at any time: before `listen`, twice, after an accept error. The
    /// setting survives `disconnect`. The answer to `true` means that every
    /// earlier event was handled, and that none is raised until the socket is
    /// resumed. A later call with `false` answers it too.
    ///
    /// # Errors
    /// [`EventsInFlight`](crate::Error::EventsInFlight) if a listener has not
    /// handled an earlier event within [`PAUSE_GRACE`](crate::PAUSE_GRACE), for
    /// instance because it waits for this answer with `ctx.wait` while an event
    /// is in its mailbox. The socket is paused nevertheless.
    pub fn set_paused(&self, socket_id: ServerSocketId, paused: bool) -> Answer<()> {
        self.caller
            .call(|app| SetPaused::new(app, socket_id, paused))
    }

    /// Beyond Chrome: sets what the socket does when accepting fails. By default
    /// it is paused, as in Chrome. Legal at any time; the policy survives
    /// `disconnect`, and is kept in a [handover](crate::handover). A back-off that
    /// is running ends, so the next attempt is under the new policy; a pause
    /// stays.
    ///
    /// # Errors
    /// The policy is unchanged then.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument) for bounds or
    ///   an error class that the documentation of
    ///   [`AcceptAction`](crate::tcp_server::AcceptAction) excludes.
    /// - [`INSUFFICIENT_RESOURCES`](crate::NetError::INSUFFICIENT_RESOURCES)
    ///   if no descriptor can be reserved to
    ///   [`Shed`](crate::tcp_server::AcceptAction::Shed). If the socket does not
    ///   listen yet, `listen` answers this error.
    pub fn set_accept_policy(&self, socket_id: ServerSocketId, policy: AcceptPolicy) -> Answer<()> {
        self.caller
            .call(|app| SetAcceptPolicy::new(app, socket_id, policy))
    }

    /// Beyond Chrome: limits the connections that the socket accepts; by default
    /// it has no limits of its own. The limits of its app
    /// ([`App::set_limits`](crate::App::set_limits)) and of the registry apply
    /// too. Legal at any time; the limits survive `disconnect`, and are kept in a
    /// [handover](crate::handover). Open connections stay open, and count.
    /// Connections that are closed at a limit are counted (`getInfo`) and reported
    /// ([`on_refused`](Self::on_refused)).
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for values that the
    /// documentation of [`Limits`] excludes; the limits are unchanged then.
    pub fn set_limits(&self, socket_id: ServerSocketId, limits: Limits) -> Answer<()> {
        self.caller
            .call(|app| SetLimits::new(app, socket_id, limits))
    }

    /// Beyond Chrome: sets whether the socket's next `listen` uses `SO_REUSEPORT`
    /// and opens a listener in each arbiter that client sockets live in
    /// ([`Registry::arbiters`](crate::Registry::arbiters)); `false` by default. The
    /// kernel spreads connections over the listeners, and each connection stays in
    /// the arbiter that accepts it. It is still one socket: with one id, one pause,
    /// one policy, exact limits, and the same events in one order.
    ///
    /// Each arbiter raises `onAccept` itself, so a busy registry's arbiter delays no
    /// client of another one, if the listener lives there too, as with
    /// [`serve`](Self::serve). While the socket is paused, has limits, TLS or PROXY
    /// headers, or has to raise an event again, they are raised in the registry's arbiter.
    /// Then up to 16 connections per arbiter are accepted ahead, even while the socket
    /// is paused. They wait like connections in the backlog: no limit counts them,
    /// and they are reset if the socket is closed before they are delivered to
    /// a listener. An error that is not a single connection's is reported once, however
    /// many listeners have met it. Each listener has its own backlog; `backlog` in
    /// `getInfo` is the sum, if the OS reports it for a shared port.
    ///
    /// Any other program of the same user may then listen on the port too, if it
    /// also uses `SO_REUSEPORT`, and gets a part of the connections. A socket that
    /// listens in several arbiters stays in its process in a
    /// [handover](crate::handover), which reports it. A socket that does not
    /// listen, or listens in one arbiter, is handed over with this setting.
    ///
    /// # Errors
    /// [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED) while it
    /// listens. `listen` answers
    /// [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED) on a network of
    /// your own without such listeners.
    pub fn set_reuse_port(&self, socket_id: ServerSocketId, reuse_port: bool) -> Answer<()> {
        self.caller
            .call(|app| SetReusePort::new(app, socket_id, reuse_port))
    }

    /// Beyond Chrome: sets which connections begin with a PROXY header, in which a proxy
    /// or load balancer names the client that it connects for; `None`, the default: none.
    /// Versions 1 and 2 are read, whichever a proxy sends.
    ///
    /// The header comes before everything else, TLS too, and `onAccept` is raised when it
    /// is complete. If it names a client by IP address, that is the client's
    /// [`peer`](AcceptInfo::peer), `peer_address` in `getInfo`, and what
    /// [`Limits::per_peer`] counts. If it does not (`LOCAL`, `UNKNOWN`, an unspecified
    /// address, a Unix socket), the real peer is all that. In both cases
    /// [`proxy_peer`](AcceptInfo::proxy_peer) has the proxy's address and the header with its
    /// TLVs. What the client sends behind the header is its data, whole.
    ///
    /// The limits on connections and rate apply when the connection is accepted, and
    /// [`Limits::per_peer`] when its client is known. A client that one of these refuses
    /// is closed or reset, and reported by [`on_refused`](Self::on_refused).
    ///
    /// Headers arrive concurrently, so a slow proxy delays no other, and are read while the
    /// socket is paused too. A connection without a valid header within
    /// [`timeout`](ProxyProtocol::timeout) is closed, counted
    /// ([`AcceptCounts::failed`](crate::tcp_server::AcceptCounts::failed)) and reported by
    /// [`on_proxy_error`](Self::on_proxy_error).
    ///
    /// Legal at any time, for connections that are accepted from then on; the setting survives
    /// `disconnect`, and is kept in a [handover](crate::handover). A connection whose header is
    /// not complete within [`PAUSE_GRACE`](crate::PAUSE_GRACE) of a handover is closed.
    ///
    /// ```
    /// use chrome_sockets::proxy_protocol::ProxyProtocol;
    /// use chrome_sockets::{App, Registry};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new("my-app", &Registry::new().start());
    /// let server = app.tcp_server.create(Default::default()).await?.socket_id;
    /// let settings = ProxyProtocol {
    ///     networks: vec!["10.1.0.0/16".parse().expect("a network")],
    ///     ..ProxyProtocol::default()
    /// };
    /// app.tcp_server.set_proxy_protocol(server, settings).await?;
    /// # Ok::<_, chrome_sockets::Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for values that the documentation of
    /// [`ProxyProtocol`] excludes; nothing changes then.
    pub fn set_proxy_protocol(
        &self,
        socket_id: ServerSocketId,
        settings: impl Into<Option<ProxyProtocol>>,
    ) -> Answer<()> {
        let settings = settings.into();
        self.caller
            .call(|app| SetProxyProtocol::new(app, socket_id, settings))
    }

    /// Beyond Chrome: sets the [`Timeouts`] of every client that is accepted from
    /// now on; [`Tcp::set_timeouts`](crate::Tcp::set_timeouts) changes those of one
    /// client. Legal at any time; the setting survives `disconnect`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) if one of them
    /// is zero; nothing changes then.
    pub fn set_timeouts(&self, socket_id: ServerSocketId, timeouts: Timeouts) -> Answer<()> {
        self.caller
            .call(|app| SetTimeouts::new(app, socket_id, timeouts))
    }

    /// Beyond Chrome: gives each client that is accepted from now on a *handler*, an
    /// actor of its own, instead of raising `onAccept` for this server socket.
    ///
    /// `factory` is called with the event and the handle of each client, in the arbiter
    /// of the client's connection ([`Registry::arbiters`](crate::Registry::arbiters)),
    /// and makes the handler, which lives there: with several arbiters no byte changes
    /// threads. The handler gets the `onReceive` and `onReceiveError` of its client
    /// only, and no other listener gets them. When [`Actor::started`] has run, the client is
    /// resumed, unless the factory or `started` has called `set_paused(true)` on it. A
    /// handler can do everything with its client that an app can.
    ///
    /// The handler and the connection end together:
    /// - **The handler stops**: the client is closed, as by
    ///   [`close`](crate::Tcp::close). What was sent still arrives. No event is raised.
    /// - **The handler panics**, or the factory does: that connection ends, and only
    ///   that one. It is not retried. A warning is logged, and `onReceiveError` of the app's
    ///   listeners ([`Tcp::on_receive_error`](crate::Tcp::on_receive_error)) reports
    ///   [`FAILED`](crate::NetError::FAILED); the client's id is gone by then. Data that
    ///   waits to be sent is lost; the peer sees a reset then. The loss of the handler's
    ///   thread is reported in the same way.
    /// - **The connection ends**, by the peer, a timeout or a drain: the handler gets
    ///   `onReceiveError`, when it has handled all data. When it has handled that too,
    ///   the client is closed. Nothing of this crate holds the handler then, so it ends
    ///   unless something else holds its address. With
    ///   [`allow_half_open`](crate::tcp::SocketProperties::allow_half_open) the peer's
    ///   end leaves it the connection, which it ends by stopping.
    ///
    /// A handler that wants events of the send queue too calls
    /// [`set_listeners`](crate::tcp::ClientSocket::set_listeners) in `started`, with its
    /// own address: `SocketListeners::of(&ctx.address()).on_send_queue(..)`. While it is
    /// the listener of `onReceive`, it is the handler. With other listeners it gives its
    /// client away: both go on without each other. For handlers that are restarted, use that function with
    /// [`on_accept`](Self::on_accept), not this one. An actor under
    /// [`actix::Supervisor`] survives its stop there, since its address stays, but no
    /// panic; [`WhenDead::Wait`](crate::tcp::WhenDead::Wait) keeps the connection for
    /// the next actor.
    ///
    /// Pauses, limits, drains, timeouts and TLS are as with `onAccept`; the claim
    /// timeout ends with the resumption. Legal at any time. Clients whose event is not
    /// handled yet get a handler too. A second call replaces the factory; clients keep the
    /// handlers that they have. [`stop_serving`](Self::stop_serving) has the socket
    /// raise `onAccept` again. The setting survives `disconnect`. Like listeners it ends with a suspension
    /// of the app: an event page calls `serve` again, and `set_listeners` for persistent
    /// clients that are open. The same holds for the next process after a
    /// [handover](crate::handover), which finds them by `get_sockets`.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
    /// use chrome_sockets::{App, Registry};
    ///
    /// /// Counts what its client sends, and answers with the sum.
    /// #[derive(Default)]
    /// struct Counter {
    ///     bytes: usize,
    /// }
    ///
    /// impl Actor for Counter {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<ReceiveInfo> for Counter {
    ///     type Result = ();
    ///
    ///     fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
    ///         self.bytes += info.data.len();
    ///         let client = info.client();
    ///         if client.try_send(format!("{} bytes\n", self.bytes)).is_err() {
    ///             ctx.stop();
    ///         }
    ///     }
    /// }
    ///
    /// impl Handler<ReceiveErrorInfo> for Counter {
    ///     type Result = ();
    ///
    ///     fn handle(&mut self, _: ReceiveErrorInfo, ctx: &mut Self::Context) {
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let registry = Registry::new().arbiters(2).start();
    /// let app = App::new("counter", &registry);
    /// let server = app.tcp_server.create(Default::default()).await?.socket_id;
    /// app.tcp_server.serve(server, |_, _| Counter::default()).await?;
    /// app.tcp_server.listen(server, "127.0.0.1", 0, None).await?;
    /// # registry.send(chrome_sockets::Shutdown).await.expect("it runs")?;
    /// # Ok::<_, chrome_sockets::Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    ///
    /// [`Actor::started`]: actix::Actor::started
    pub fn serve<A>(
        &self,
        socket_id: ServerSocketId,
        factory: impl Fn(AcceptInfo, ClientSocket) -> A + Send + Sync + 'static,
    ) -> Answer<()>
    where
        A: Actor<Context = Context<A>> + Handler<ReceiveInfo> + Handler<ReceiveErrorInfo>,
    {
        let factory = Some(HandlerFactory::new(factory));
        self.caller.call(|app| Serve::new(app, socket_id, factory))
    }

    /// [`serve`](Self::serve) without an answer.
    pub fn do_serve<A>(
        &self,
        socket_id: ServerSocketId,
        factory: impl Fn(AcceptInfo, ClientSocket) -> A + Send + Sync + 'static,
    ) where
        A: Actor<Context = Context<A>> + Handler<ReceiveInfo> + Handler<ReceiveErrorInfo>,
    {
        let factory = Some(HandlerFactory::new(factory));
        self.caller
            .do_call(|app| Serve::new(app, socket_id, factory));
    }

    /// Beyond Chrome: ends the effect of [`serve`](Self::serve) for clients that are
    /// accepted from now on, for which `onAccept` is raised again. Handlers that exist
    /// keep their clients. A socket that does not serve is unchanged.
    pub fn stop_serving(&self, socket_id: ServerSocketId) -> Answer<()> {
        self.caller.call(|app| Serve::new(app, socket_id, None))
    }

    /// [`stop_serving`](Self::stop_serving) without an answer.
    pub fn do_stop_serving(&self, socket_id: ServerSocketId) {
        self.caller.do_call(|app| Serve::new(app, socket_id, None));
    }

    /// `tcpServer.listen`: binds to an address of this machine and listens.
    ///
    /// `address` is an IPv4 or IPv6 literal. `::` accepts IPv4 clients too, whose
    /// addresses are then `::ffff:a.b.c.d`. With port 0 the OS chooses a port,
    /// which [`get_info`](Self::get_info) returns. `backlog` is how many
    /// connections may wait ([`DEFAULT_BACKLOG`](crate::tcp_server::DEFAULT_BACKLOG)
    /// if it is `None`; the OS may reduce it to its own limit). A paused socket
    /// listens too, and its connections wait.
    ///
    /// # Errors
    /// After an error the socket is as before and may listen again.
    /// - [`PermissionDenied`](crate::Error::PermissionDenied): the app may not
    ///   listen on this address and port. This is checked first, before the other
    ///   arguments and the state of the socket. Port 0 needs the permission for
    ///   any port.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): the address is
    ///   no IP literal (but a host name, an empty or bracketed address, or
    ///   `127.1`), the port is outside 0–65535, or the backlog is below 1.
    /// - [`Draining`](crate::Error::Draining): a drain is running.
    /// - [`ADDRESS_IN_USE`](crate::NetError::ADDRESS_IN_USE)
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): not an
    ///   address of this machine.
    /// - [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED): it is
    ///   listening already, and keeps listening.
    /// - [`ACCESS_DENIED`](crate::NetError::ACCESS_DENIED),
    ///   [`INSUFFICIENT_RESOURCES`](crate::NetError::INSUFFICIENT_RESOURCES)
    ///   and any other error of the OS.
    ///
    /// If the answer is dropped, an error is logged as a warning, since without it
    /// nothing shows that the server does not listen.
    pub fn listen(
        &self,
        socket_id: ServerSocketId,
        address: impl Into<String>,
        port: i32,
        backlog: Option<i32>,
    ) -> Answer<()> {
        let app = self.caller.app().clone();
        self.send_listen(Listen::new(app, socket_id, address.into(), port, backlog))
    }

    /// Beyond Chrome: as [`listen`](Self::listen), with an address of Rust and with
    /// [`ListenOptions`].
    ///
    /// `endpoint` is a `SocketAddr`, or a pair of an IP address and a port. The IP
    /// address may be a text, which may name the interface of a link-local address:
    /// `("fe80::1%eth0", 80)` or `("fe80::1%2", 80)`. A link-local `SocketAddrV6` needs
    /// its scope id. Permissions name addresses without scopes. It may also be a
    /// [`UnixAddress`](crate::UnixAddress), as for [`listen_unix`](Self::listen_unix).
    ///
    /// With [`ipv6_only`](ListenOptions::ipv6_only), `::` and `0.0.0.0` can have a
    /// server socket each, on the same port.
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and:
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): there is no such
    ///   interface.
    /// - [`Error::InvalidArgument`]: `ipv6_only` with an IPv4 address
    ///   ([`Ipv6OnlyForIpv4`](crate::InvalidArgument::Ipv6OnlyForIpv4)), a link-local
    ///   address without a scope
    ///   ([`ScopeMissing`](crate::InvalidArgument::ScopeMissing)), or a scope at another
    ///   address ([`ScopeNotAllowed`](crate::InvalidArgument::ScopeNotAllowed); in a
    ///   text [`AddressNotIp`](crate::InvalidArgument::AddressNotIp)).
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): `ipv6_only` on a
    ///   network of your own that has not implemented it.
    pub fn listen_on(
        &self,
        socket_id: ServerSocketId,
        endpoint: impl Into<Endpoint>,
        options: ListenOptions,
    ) -> Answer<()> {
        let app = self.caller.app().clone();
        self.send_listen(ListenOn::new(app, socket_id, endpoint.into(), options))
    }

    fn send_listen<M>(&self, call: M) -> Answer<()>
    where
        Registry: Handler<M>,
        M: ListenCall + Message<Result = Result<(), Error>> + Clone + Send + Sync + 'static,
    {
        let ignored = call.clone();
        let (answer, reply) = Answer::logged_pair(move |error| ignored.log_ignored(error));
        self.caller.send(|_| call, reply);
        answer
    }

    /// Beyond Chrome, with the feature `tls`: encrypts the connections that are
    /// accepted from now on by TLS, as its server; with `None` they are not
    /// encrypted. Legal at any time; the setting survives `disconnect`.
    ///
    /// Handshakes run concurrently, so a client that stalls delays no other.
    /// `onAccept` is raised when a handshake is complete, in the order of
    /// completion; then the client is used like any other. A handshake that fails
    /// raises [`on_handshake_error`](Self::on_handshake_error) instead.
    ///
    /// [`handshakes`](tls::Server::handshakes) limits the clients whose handshake
    /// is running, or is complete and waits for a listener. At the limit the
    /// oldest handshake is dropped for a new connection; but if it has run for
    /// less than a second, connections wait in the kernel's backlog. While the
    /// socket is paused, handshakes continue but raise no event. `disconnect` does
    /// not end them, nor accepted clients; `close` ends them without an event.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, socket_id: ServerSocketId, tls: Option<tls::Server>) -> Answer<()> {
        self.caller.call(|app| SetTls::new(app, socket_id, tls))
    }

    /// `tcpServer.disconnect`: stops listening; the answer means that the port is
    /// free. The socket keeps its id and properties, accepted clients stay
    /// connected, and the socket may listen again. A socket that does not listen
    /// is unchanged. The OS resets connections in the backlog.
    pub fn disconnect(&self, socket_id: ServerSocketId) -> Answer<()> {
        self.caller.call(|app| Disconnect::new(app, socket_id))
    }

    /// Beyond Chrome: stops listening, as [`disconnect`](Self::disconnect) does,
    /// lets the accepted clients finish, and ends those that are still connected
    /// at the deadline. The answer means that none is left.
    ///
    /// A client has finished when its connection was ended, by the peer or by the
    /// app, and all its sends have left. At the deadline the others are ended:
    /// sends that wait fail with [`ABORTED`](crate::NetError::ABORTED), and
    /// `onReceiveError` reports the same error when the socket is not paused and
    /// all earlier data was handled. Their ids exist until `close`. Connections in
    /// the backlog are closed at once, so that a load balancer notices that the
    /// server is gone. Running handshakes may finish until the deadline.
    ///
    /// During the drain `listen` answers [`Draining`](crate::Error::Draining);
    /// everything else works as usual. `close` closes the server socket, and its
    /// clients stay connected. A second drain runs beside the first; the earlier
    /// deadline ends the clients, for both. Clients that a suspension of the app
    /// closes have finished, and so have clients that are handed over to another
    /// process; the drain waits for a client that is being handed over at the
    /// deadline. [`on_drain`](crate::App::on_drain) reports the progress.
    pub fn drain(&self, socket_id: ServerSocketId, deadline: Duration) -> Answer<Drained> {
        self.caller.call(|app| Drain::new(app, socket_id, deadline))
    }

    /// `tcpServer.close`: as [`disconnect`](Self::disconnect), and removes the
    /// socket; its id is unknown at once. The answer means that the port is free.
    pub fn close(&self, socket_id: ServerSocketId) -> Answer<()> {
        self.caller.call(|app| Close::new(app, socket_id))
    }

    /// [`close`](Self::close) without an answer.
    pub fn do_close(&self, socket_id: ServerSocketId) {
        self.caller.do_call(|app| Close::new(app, socket_id));
    }

    /// [`disconnect`](Self::disconnect) without an answer.
    pub fn do_disconnect(&self, socket_id: ServerSocketId) {
        self.caller.do_call(|app| Disconnect::new(app, socket_id));
    }

    /// [`set_paused`](Self::set_paused) without an answer. Handlers may still be
    /// called after `do_set_paused(id, true)`: only an answer tells when none is.
    pub fn do_set_paused(&self, socket_id: ServerSocketId, paused: bool) {
        self.caller
            .do_call(|app| SetPaused::new(app, socket_id, paused));
    }

    /// [`update`](Self::update) without an answer.
    pub fn do_update(&self, socket_id: ServerSocketId, properties: SocketProperties) {
        self.caller
            .do_call(|app| Update::new(app, socket_id, properties));
    }

    /// [`set_timeouts`](Self::set_timeouts) without an answer.
    pub fn do_set_timeouts(&self, socket_id: ServerSocketId, timeouts: Timeouts) {
        self.caller
            .do_call(|app| SetTimeouts::new(app, socket_id, timeouts));
    }

    /// `tcpServer.getInfo`: address and port exist only while the socket listens.
    /// Beyond Chrome it has the reasons why the socket accepts no connection, the
    /// numbers of its connections and of those in the backlog, and the policy,
    /// limits and timeouts that were set.
    pub fn get_info(&self, socket_id: ServerSocketId) -> Answer<SocketInfo> {
        self.caller.call(|app| GetInfo::new(app, socket_id))
    }

    /// `tcpServer.getSockets`: the app's server sockets, in the order of their ids.
    pub fn get_sockets(&self) -> Answer<Vec<SocketInfo>> {
        self.caller.call(GetSockets::new)
    }
}
