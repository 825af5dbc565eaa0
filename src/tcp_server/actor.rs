//! The actor of one server socket: its state, its calls and its end.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};

use actix::dev::MessageResponse;
use actix::prelude::*;

use crate::address::Address;
use crate::answer::{Reply, Request};
use crate::error::Error;
use crate::events::HoldBack;
use crate::handover_state::HandoverOutcome;
use crate::ids::{AppId, ServerSocketId};
use crate::name::checked_name;
use crate::os::{self, Network};
use crate::pending_pauses::PendingPauses;
use crate::supervision::{ActorKind, RestartCounter, Restarter, SupervisedActor};
use crate::tcp::{AdoptingShards, AppShards, IdTable};
#[cfg(feature = "tls")]
use crate::tcp_server::SetTls;
use crate::tcp_server::accept::direct_accepts::DirectAccepts;
use crate::tcp_server::accept::error_state::{AcceptErrors, AfterError};
use crate::tcp_server::app_listeners::AppListeners;
use crate::tcp_server::events::{AcceptsInFlight, PendingAccept};
use crate::tcp_server::limits::admission::Admission;
use crate::tcp_server::proxy::headers::ProxyHeaders;
use crate::tcp_server::serve::factory::HandlerFactory;
use crate::tcp_server::tls::handshakes::Handshakes;
use crate::tcp_server::{
    AcceptCounts, AcceptPolicy, Close, Disconnect, GetInfo, SetAcceptPolicy, SetLimits, SetPaused,
    SetProxyProtocol, SetReusePort, SetTimeouts, SocketInfo, SocketProperties, Update,
};
use crate::telemetry::{ServerStats, Telemetry};

/// The app has a new listener, so the accept loop has to look.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ListenersChanged;

/// The app is suspended: closes the socket and returns its id, unless it is
/// persistent.
#[derive(Clone, Message)]
#[rtype(result = "Option<ServerSocketId>")]
pub(crate) struct CloseUnlessPersistent;

/// Closes the socket and stops the actor. Answered when the port is free.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

pub(crate) struct ServerSocket {
    pub(super) id: ServerSocketId,
    pub(super) persistent: bool,
    pub(super) name: Option<Box<str>>,
    /// Whether `listen` makes a listener in each arbiter.
    pub(super) reuse_port: bool,
    /// The app has called `setPaused(true)`.
    pub(super) paused_by_app: bool,
    /// The handover that is running, if there is one.
    pub(super) transfer: Option<Transfer>,
    pub(super) listener: Option<BoundListener>,
    pub(super) app_listeners: Arc<AppListeners>,
    /// Makes handlers of its clients, instead of `onAccept`.
    pub(super) serving: Option<HandlerFactory>,
    pub(super) network: Arc<dyn Network>,
    pub(super) app_shards: Arc<AppShards>,
    pub(super) table: Arc<IdTable>,
    pub(super) accepts_in_flight: Arc<AcceptsInFlight>,
    /// `Some` after the first `setTls`, or if the previous process used TLS.
    pub(super) handshakes: Option<Box<Handshakes>>,
    /// `Some` after the first `setProxyProtocol` with settings.
    pub(super) proxy: Option<Box<ProxyHeaders>>,
    /// The peer of the connection that is no client socket yet. Set while it is
    /// accepted: if that panics, the connection is reported as lost.
    pub(super) accepting_from: Option<Address>,
    /// The arbiters that this turn gives connections to.
    pub(super) adopting: AdoptingShards,
    /// Clients that no listener has heard of.
    pub(super) undelivered: VecDeque<Arc<PendingAccept>>,
    /// Delays those clients at whose event a listener has panicked.
    pub(super) hold_back: HoldBack,
    /// How many listeners of `onAccept` had died in the last turn.
    pub(super) listener_deaths: u64,
    /// Whether events of a dead listener may still return. Nothing is raised
    /// before, so that clients keep their order.
    pub(super) awaits_returned: bool,
    /// A closed socket still answers calls until the registry has forgotten it.
    pub(super) is_closed: bool,
    pub(super) errors: AcceptErrors,
    pub(super) admission: Admission,
    /// `setPaused(true)` calls that wait until all events are handled.
    pub(super) pending_pauses: PendingPauses,
    /// The counts that are not kept elsewhere: see `info.rs`.
    pub(super) counts: AcceptCounts,
    /// The same for the registry's metrics.
    pub(super) stats: ServerStats,
    pub(super) restarter: Weak<Restarter<ServerSocket>>,
}

/// A running handover of the socket.
#[derive(Clone)]
pub(super) struct Transfer {
    pub(super) outcome: HandoverOutcome,
    /// Whether the socket was exported. It then handles no message.
    pub(super) is_frozen: bool,
}

/// What a server socket shares with its app and the registry.
#[derive(Clone)]
pub(crate) struct ServerDeps {
    pub(crate) app_listeners: Arc<AppListeners>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) app_shards: Arc<AppShards>,
    pub(crate) table: Arc<IdTable>,
}

/// A listener and its address.
pub(crate) struct BoundListener {
    pub(super) listener: Box<dyn os::Listener>,
    pub(super) address: Address,
    /// Whether it listens on all addresses.
    is_of_all: bool,
    /// What it shares with the acceptors of a shared port.
    pub(super) direct: Option<Arc<DirectAccepts>>,
}

impl BoundListener {
    pub(crate) fn new(listener: Box<dyn os::Listener>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let is_of_all = address.ip().is_some_and(|ip| ip.is_unspecified());
        Ok(BoundListener {
            listener,
            address,
            is_of_all,
            direct: None,
        })
    }

    /// The local address of every connection, unless it listens on all addresses.
    pub(super) fn local_of_clients(&self) -> Option<Address> {
        (!self.is_of_all).then(|| self.address.clone())
    }

    /// Holds a descriptor in reserve if the policy needs one.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn apply_policy(&mut self, policy: &AcceptPolicy) -> io::Result<()> {
        match policy.sheds() {
            true => self.listener.set_reserve_fd(true),
            false => Ok(()),
        }
    }
}

impl ServerSocket {
    pub(crate) fn start(
        id: ServerSocketId,
        properties: SocketProperties,
        listener: Option<BoundListener>,
        deps: ServerDeps,
    ) -> Result<SupervisedActor<Self>, Error> {
        let mut socket = Self::new(id, deps);
        socket.update(properties)?;
        socket.listener = listener;
        Ok(socket.start_actor())
    }

    pub(super) fn new(id: ServerSocketId, deps: ServerDeps) -> Self {
        let stats = deps
            .app_shards
            .activity
            .registry_link()
            .telemetry
            .new_server();
        ServerSocket {
            id,
            persistent: false,
            name: None,
            reuse_port: false,
            paused_by_app: false,
            transfer: None,
            accepting_from: None,
            listener: None,
            network: deps.network,
            accepts_in_flight: Arc::default(),
            admission: Admission::new(deps.app_listeners.limits.clone()),
            app_listeners: deps.app_listeners,
            app_shards: deps.app_shards,
            table: deps.table,
            serving: None,
            handshakes: None,
            proxy: None,
            adopting: AdoptingShards::default(),
            undelivered: VecDeque::new(),
            hold_back: HoldBack::default(),
            listener_deaths: 0,
            awaits_returned: false,
            is_closed: false,
            errors: AcceptErrors::default(),
            pending_pauses: PendingPauses::default(),
            counts: AcceptCounts::default(),
            stats,
            restarter: Weak::new(),
        }
    }

    pub(super) fn start_actor(mut self) -> SupervisedActor<Self> {
        self.add_gauges();
        let actor = ActorKind::ServerSocket(self.id);
        let registry_link = self.app_shards.activity.registry_link().clone();
        let restart_counter = RestartCounter::new(actor, Some(self.app().clone()), registry_link);
        SupervisedActor::start(restart_counter, None, |restarter| {
            self.restarter = restarter;
            self
        })
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.app_shards.activity.registry_link().telemetry
    }

    pub(super) fn app(&self) -> &AppId {
        &self.app_shards.app_context.app
    }

    pub(super) fn update(&mut self, properties: SocketProperties) -> Result<(), Error> {
        if let Some(name) = properties.name.map(checked_name).transpose()? {
            self.name = name;
            self.stats.set_name(self.name.as_deref());
        }
        if let Some(persistent) = properties.persistent {
            self.persistent = persistent;
        }
        Ok(())
    }

    /// Frees the port. Clients that no listener has heard of are still raised.
    fn disconnect(&mut self) {
        self.listener = None;
    }

    /// Closes the socket, with the clients that no listener has heard of.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.disconnect();
        // The actor may stop before the other events are handled, so pauses cannot
        // wait for them.
        let are_handled = self.accepts_in_flight.count() == 0;
        let answer = are_handled.then_some(()).ok_or(Error::EventsInFlight);
        self.pending_pauses.answer_all(answer);
        self.handshakes = None;
        self.proxy = None;
        self.serving = None;
        for pending_accept in self.undelivered.drain(..) {
            pending_accept.discard();
        }
        self.accepts_in_flight.close();
    }

    /// Closes the socket without a call of the app, and has the registry forget it.
    pub(super) fn close_and_report(&mut self) {
        self.close();
        self.app_shards.activity.report_server_closed(self.id);
    }

    /// Chrome's `paused`: by the app, or by an accept error.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_by_app || self.errors.paused_by().is_some()
    }

    fn set_paused(&mut self, paused: bool, reply: Reply<()>, ctx: &mut Context<Self>) {
        self.paused_by_app = paused;
        if paused {
            self.reply_when_handled(reply, ctx);
        } else {
            // The app has decided what to do after an accept error.
            self.errors.after = AfterError::None;
            self.pending_pauses.answer_all(Ok(()));
            reply.send(Ok(()));
        }
    }

    /// Replies when all events are handled, or after
    /// [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    pub(super) fn reply_when_handled(&mut self, reply: Reply<()>, ctx: &mut Context<Self>) {
        if self.accepts_in_flight.count() == 0 {
            return reply.send(Ok(()));
        }
        self.pending_pauses.add(reply);
        // The accept loop replies. It may have had its turn before the future that
        // calls this, so it needs another one to wait for the events.
        self.accepts_in_flight.wake();
        self.start_pause_timer(ctx);
    }

    /// Starts the timer of pending pauses, if they need one.
    pub(super) fn start_pause_timer(&mut self, ctx: &mut Context<Self>) {
        if let Some(delay) = self.pending_pauses.needs_timer() {
            ctx.run_later(delay, |this, ctx| {
                this.pending_pauses.answer_overdue();
                this.pending_pauses.timer_ended();
                this.start_pause_timer(ctx);
            });
        }
    }
}

/// Handles a message while no acceptor raises `onAccept`: every message of a server socket is
/// handled so.
pub(crate) trait HandleAlone<M: Message> {
    type Result: MessageResponse<ServerSocket, M>;

    fn handle_alone(&mut self, message: M, ctx: &mut Context<ServerSocket>) -> Self::Result;
}

impl<M: Message> Handler<M> for ServerSocket
where
    ServerSocket: HandleAlone<M>,
{
    type Result = <ServerSocket as HandleAlone<M>>::Result;

    fn handle(&mut self, message: M, ctx: &mut Self::Context) -> Self::Result {
        self.begin_turn();
        self.handle_alone(message, ctx)
    }
}

impl Actor for ServerSocket {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        Self::start_accept_loop(ctx);
        self.restart_waiting(ctx);
    }
}

/// Handlers of calls that are answered at once.
macro_rules! answers {
    ($($message:ident -> $answer:ty: |$this:ident, $call:ident| $body:expr;)*) => {$(
        impl HandleAlone<Request<$message, $answer>> for ServerSocket {
            type Result = ();

            fn handle_alone(&mut self, ask: Request<$message, $answer>, _: &mut Context<Self>) {
                let ($this, $call) = (self, ask.message);
                ask.reply.send(match $this.is_closed {
                    true => Err(Error::SocketNotFound),
                    false => $body,
                });
            }
        }
    )*};
}

answers! {
    Update -> (): |this, call| this.update(call.properties);
    SetAcceptPolicy -> (): |this, call| this.set_accept_policy(call.policy);
    SetLimits -> (): |this, call| this.admission.set(call.limits).map_err(Error::from);
    SetProxyProtocol -> (): |this, call| this.set_proxy_protocol(call.settings);
    SetReusePort -> (): |this, call| this.set_reuse_port(call.reuse_port);
    SetTimeouts -> (): |this, call| this.accepts_in_flight.set_timeouts(call.timeouts);
    Disconnect -> (): |this, _call| { this.disconnect(); Ok(()) };
    GetInfo -> SocketInfo: |this, _call| Ok(this.info());
}

#[cfg(feature = "tls")]
answers! {
    SetTls -> (): |this, call| {
        let (stats, telemetry) = (this.stats.clone(), this.telemetry().clone());
        this.handshakes
            .get_or_insert_with(|| Box::new(Handshakes::new(stats, telemetry)))
            .set_server(call.tls);
        Ok(())
    };
}

impl HandleAlone<Request<SetPaused, ()>> for ServerSocket {
    type Result = ();

    fn handle_alone(&mut self, ask: Request<SetPaused, ()>, ctx: &mut Context<Self>) {
        if self.is_closed {
            return ask.reply.send(Err(Error::SocketNotFound));
        }
        self.set_paused(ask.message.paused, ask.reply, ctx);
    }
}

impl HandleAlone<Request<Close, ()>> for ServerSocket {
    type Result = ();

    fn handle_alone(&mut self, ask: Request<Close, ()>, ctx: &mut Context<Self>) {
        if self.is_closed {
            return ask.reply.send(Err(Error::SocketNotFound));
        }
        self.close();
        ask.reply.send(Ok(()));
        ctx.stop();
    }
}

impl HandleAlone<ListenersChanged> for ServerSocket {
    type Result = ();

    /// Nothing to do: the accept loop has its turn after every message.
    fn handle_alone(&mut self, _: ListenersChanged, _: &mut Context<Self>) {}
}

impl HandleAlone<CloseUnlessPersistent> for ServerSocket {
    type Result = MessageResult<CloseUnlessPersistent>;

    /// The actor does not stop: it answers calls until the registry has forgotten
    /// it and stops it.
    fn handle_alone(&mut self, _: CloseUnlessPersistent, _: &mut Context<Self>) -> Self::Result {
        if self.persistent || self.is_closed {
            // The app's listeners are gone too.
            self.serving = None;
            return MessageResult(None);
        }
        self.close();
        MessageResult(Some(self.id))
    }
}

impl HandleAlone<Stop> for ServerSocket {
    type Result = ();

    fn handle_alone(&mut self, _: Stop, ctx: &mut Context<Self>) {
        self.close();
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What few server sockets have is boxed.
    #[test]
    fn a_server_socket_is_small() {
        let size = size_of::<ServerSocket>();
        assert!(size <= 544, "{size} bytes");
    }
}
