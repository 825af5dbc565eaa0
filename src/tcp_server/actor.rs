//! One server socket: what the app set, its listener, and its accept loop.

use crate::handover_state::HandoverOutcome;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};

use actix::prelude::*;

#[cfg(feature = "tls")]
use super::SetTls;
use super::events::{AcceptErrorInfo, AcceptInfo, AcceptsInFlight, PendingAccept};
use super::{
    AcceptCounts, AcceptPolicy, Close, DEFAULT_BACKLOG, Disconnect, GetInfo, LimitScope, Listen,
    RefusedInfo, SetAcceptPolicy, SetLimits, SetPaused, SetReusePort, SetTimeouts, SocketInfo,
    SocketProperties, Update,
};
use crate::answer::{Reply, Request};
use crate::connections::ConnectionCounter;
use crate::draining::DrainInfo;
use crate::error::Error;
use crate::events::{HoldBack, Listeners};
use crate::ids::{AppId, ServerSocketId};
use crate::name::checked_name;
use crate::net_error::{self, NetError};
use crate::os::{self, Network};
use crate::pending_pauses::PendingPauses;
use crate::supervision::{ActorKind, RestartCounter, Restarter, SupervisedActor};
use crate::tcp::{AppShards, IdTable};
use crate::tcp_server::accept::errors::AcceptErrors;
use crate::tcp_server::accept::escalation::EscalationTarget;
use crate::tcp_server::limits::admission::Admission;
use crate::tcp_server::limits::limiter::Limiter;
use crate::tcp_server::tls::handshake_errors::HandshakeErrorInfo;
use crate::tcp_server::tls::handshakes::Handshakes;

/// What one app's server sockets have in common.
pub(crate) struct AppListeners {
    pub(crate) on_accept: Listeners<AcceptInfo>,
    pub(crate) on_accept_error: Listeners<AcceptErrorInfo>,
    pub(crate) on_handshake_error: Listeners<HandshakeErrorInfo>,
    pub(crate) on_refused: Listeners<RefusedInfo>,
    pub(crate) on_drain: Listeners<DrainInfo>,
    /// The app's limits, and the registry's.
    pub(super) limits: [Arc<Limiter>; 2],
    /// Who decides on accept errors, if the policy leaves them to others.
    pub(super) escalation_target: Arc<EscalationTarget>,
}

impl AppListeners {
    /// Of an app with these connections, in a registry with these limits.
    pub(crate) fn new(
        counter: Arc<ConnectionCounter>,
        registry: Arc<Limiter>,
        escalation_target: Arc<EscalationTarget>,
    ) -> Self {
        let app = Arc::new(Limiter::new(LimitScope::App, counter));
        AppListeners {
            on_accept: Listeners::default(),
            on_accept_error: Listeners::default(),
            on_handshake_error: Listeners::default(),
            on_refused: Listeners::default(),
            on_drain: Listeners::default(),
            limits: [app, registry],
            escalation_target,
        }
    }

    /// The app's.
    pub(crate) fn limits(&self) -> &Limiter {
        &self.limits[0]
    }
}

/// The app has a new listener of `onAccept`.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ListenersChanged;

/// The app is suspended: closes the socket if it is not persistent, and says
/// which one it was then.
#[derive(Clone, Message)]
#[rtype(result = "Option<ServerSocketId>")]
pub(crate) struct EndUnlessPersistent;

/// Closes the socket and ends the actor; the answer means that it is done.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

pub(crate) struct ServerSocket {
    pub(super) id: ServerSocketId,
    pub(super) persistent: bool,
    pub(super) name: Option<Box<str>>,
    /// Whether it has a listener in each arbiter, when it listens.
    pub(super) reuse_port: bool,
    /// By `setPaused(true)`.
    pub(super) paused_by_app: bool,
    /// Nothing is raised until this handover is over.
    pub(super) transfer: Option<Transfer>,
    pub(super) listener: Option<Bound>,
    pub(super) app_listeners: Arc<AppListeners>,
    pub(super) network: Arc<dyn Network>,
    pub(super) app_shards: Arc<AppShards>,
    pub(super) table: Arc<IdTable>,
    pub(super) accepts_in_flight: Arc<AcceptsInFlight>,
    /// Made by the first `setTls`, or with what another process left.
    pub(super) handshakes: Option<Box<Handshakes>>,
    /// Whose connection is between the listener and a client socket.
    pub(super) in_hand: Option<SocketAddr>,
    /// Accepted, and heard of by nobody.
    pub(super) undelivered: VecDeque<Arc<PendingAccept>>,
    /// Of those at whose event a listener has panicked.
    pub(super) held_back: HoldBack,
    /// How many listeners had died when it was last looked.
    pub(super) deaths: u64,
    /// Whether what a dead listener leaves behind is still coming back.
    pub(super) recovering: bool,
    /// Whether it is closed, and the registry does not know it yet.
    pub(super) ended: bool,
    pub(super) errors: AcceptErrors,
    pub(super) admission: Admission,
    /// The `setPaused(true)` calls that wait for the events on their way, and
    /// until when.
    pub(super) pausing: PendingPauses,
    /// As far as this actor counts itself.
    pub(super) counts: AcceptCounts,
    pub(super) restarter: Weak<Restarter<ServerSocket>>,
}

/// How far a handover has come.
#[derive(Clone)]
pub(super) struct Transfer {
    pub(super) outcome: HandoverOutcome,
    /// Whether it stands still.
    pub(super) is_frozen: bool,
}

/// What a server socket finds around it.
#[derive(Clone)]
pub(crate) struct ServerDeps {
    pub(crate) app_listeners: Arc<AppListeners>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) app_shards: Arc<AppShards>,
    pub(crate) table: Arc<IdTable>,
}

pub(crate) struct Bound {
    pub(super) listener: Box<dyn os::Listener>,
    pub(super) address: SocketAddr,
    /// In which arbiter the last connection was accepted, if it stays there.
    pub(super) accepted_in: Option<Arc<AtomicUsize>>,
}

impl Bound {
    pub(crate) fn new(listener: Box<dyn os::Listener>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let accepted_in = None;
        Ok(Bound {
            listener,
            address,
            accepted_in,
        })
    }

    /// # Errors
    /// There is no descriptor left to be held in reserve.
    pub(crate) fn prepare_for(&mut self, policy: &AcceptPolicy) -> io::Result<()> {
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
        listener: Option<Bound>,
        deps: ServerDeps,
    ) -> Result<SupervisedActor<Self>, Error> {
        let mut socket = Self::new(id, deps);
        socket.update(properties)?;
        socket.listener = listener;
        Ok(socket.run())
    }

    pub(super) fn new(id: ServerSocketId, deps: ServerDeps) -> Self {
        let ServerDeps {
            app_listeners,
            network,
            app_shards,
            table,
        } = deps;
        ServerSocket {
            id,
            persistent: false,
            name: None,
            reuse_port: false,
            paused_by_app: false,
            transfer: None,
            in_hand: None,
            listener: None,
            network,
            accepts_in_flight: Arc::default(),
            admission: Admission::new(app_listeners.limits.clone()),
            app_shards,
            table,
            handshakes: None,
            undelivered: VecDeque::new(),
            held_back: HoldBack::default(),
            deaths: 0,
            recovering: false,
            ended: false,
            errors: AcceptErrors::default(),
            pausing: PendingPauses::default(),
            counts: AcceptCounts::default(),
            app_listeners,
            restarter: Weak::new(),
        }
    }

    pub(super) fn run(mut self) -> SupervisedActor<Self> {
        let actor = ActorKind::ServerSocket(self.id);
        let registry_link = self.app_shards.activity.registry_link().clone();
        let restart_counter = RestartCounter::new(actor, Some(self.app().clone()), registry_link);
        SupervisedActor::start(restart_counter, None, |restarter| {
            self.restarter = restarter;
            self
        })
    }

    pub(super) fn app(&self) -> &AppId {
        &self.app_shards.app_context.app
    }

    pub(super) fn update(&mut self, properties: SocketProperties) -> Result<(), Error> {
        if let Some(name) = properties.name.map(checked_name).transpose()? {
            self.name = name;
        }
        if let Some(persistent) = properties.persistent {
            self.persistent = persistent;
        }
        Ok(())
    }

    fn listen(&mut self, call: &Listen) -> Result<(), Error> {
        let permissions = self.app_shards.app_context.permissions();
        if !permissions.may_listen(&call.address, call.port) {
            return Err(Error::PermissionDenied);
        }
        let address = parse_address(&call.address, call.port)?;
        let backlog = match call.backlog.unwrap_or(DEFAULT_BACKLOG) {
            backlog @ 1.. => backlog.unsigned_abs(),
            _ => return Err(NetError::INVALID_ARGUMENT.into()),
        };
        if self.counter().is_draining() {
            return Err(Error::Draining);
        }
        if self.listener.is_some() {
            return Err(NetError::SOCKET_IS_CONNECTED.into());
        }
        let bind = || {
            let mut bound = self.bind(address, backlog)?;
            bound.prepare_for(&self.errors.policy())?;
            Ok(bound)
        };
        self.listener = Some(bind().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::Unsupported if self.reuse_port => NetError::NOT_IMPLEMENTED,
            _ => net_error::listen(&error),
        })?);
        Ok(())
    }

    /// Frees the port. What was accepted and not heard of yet waits for a
    /// listener of the event.
    fn disconnect(&mut self) {
        self.listener = None;
    }

    /// The end of the socket. Clients that nobody has heard of end with it, as
    /// those in the backlog do.
    pub(super) fn close(&mut self) {
        self.ended = true;
        self.disconnect();
        // What they wait for may still come.
        let handled = self.accepts_in_flight.count() == 0;
        let answer = handled.then_some(()).ok_or(Error::EventsInFlight);
        self.pausing.answer_all(answer);
        self.handshakes = None;
        for pending_accept in self.undelivered.drain(..) {
            pending_accept.discard();
        }
        self.accepts_in_flight.close();
    }

    /// Closes it without a call of the app: the registry forgets it.
    pub(super) fn close_and_forget(&mut self) {
        self.close();
        self.app_shards.activity.report_server_closed(self.id);
    }

    fn set_paused(&mut self, paused: bool, reply: Reply<()>, ctx: &mut Context<Self>) {
        self.paused_by_app = paused;
        if paused {
            self.when_handled(reply, ctx);
        } else {
            self.errors.resumed();
            self.pausing.answer_all(Ok(()));
            reply.send(Ok(()));
        }
    }

    /// Answers when the events on their way have been handled, or when that
    /// takes longer than [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    pub(super) fn when_handled(&mut self, reply: Reply<()>, ctx: &mut Context<Self>) {
        if self.accepts_in_flight.count() == 0 {
            return reply.send(Ok(()));
        }
        // Answered by the accept loop, which may have had its turn before
        // the future that calls this.
        self.pausing.add(reply);
        self.accepts_in_flight.nudge();
        self.time_pauses(ctx);
    }

    /// Starts the timer of pauses that wait, if they need one.
    pub(super) fn time_pauses(&mut self, ctx: &mut Context<Self>) {
        if let Some(delay) = self.pausing.needs_timer() {
            ctx.run_later(delay, |this, ctx| {
                this.pausing.answer_overdue();
                this.pausing.timer_ended();
                this.time_pauses(ctx);
            });
        }
    }
}

/// `address` as `listen` takes it: a canonical IP literal.
fn parse_address(address: &str, port: i32) -> Result<SocketAddr, NetError> {
    let address: IpAddr = address.parse().map_err(|_| NetError::INVALID_ARGUMENT)?;
    let port = u16::try_from(port).map_err(|_| NetError::INVALID_ARGUMENT)?;
    Ok((address, port).into())
}

impl Actor for ServerSocket {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        Self::start_accept_loop(ctx);
        self.resume_waiting(ctx);
    }
}

macro_rules! answers {
    ($($message:ident -> $answer:ty: |$this:ident, $call:ident| $body:expr;)*) => {$(
        impl Handler<Request<$message, $answer>> for ServerSocket {
            type Result = ();

            fn handle(&mut self, ask: Request<$message, $answer>, _: &mut Self::Context) {
                let ($this, $call) = (self, ask.message);
                ask.reply.send(match $this.ended {
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
    Listen -> (): |this, call| this.listen(&call);
    SetReusePort -> (): |this, call| this.set_reuse_port(call.reuse_port);
    SetTimeouts -> (): |this, call| this.accepts_in_flight.set_timeouts(call.timeouts);
    Disconnect -> (): |this, _call| { this.disconnect(); Ok(()) };
    GetInfo -> SocketInfo: |this, _call| Ok(this.info());
}

#[cfg(feature = "tls")]
answers! {
    SetTls -> (): |this, call| {
        this.handshakes.get_or_insert_default().set(call.tls);
        Ok(())
    };
}

impl Handler<Request<SetPaused, ()>> for ServerSocket {
    type Result = ();

    fn handle(&mut self, ask: Request<SetPaused, ()>, ctx: &mut Self::Context) {
        if self.ended {
            return ask.reply.send(Err(Error::SocketNotFound));
        }
        self.set_paused(ask.message.paused, ask.reply, ctx);
    }
}

impl Handler<Request<Close, ()>> for ServerSocket {
    type Result = ();

    fn handle(&mut self, ask: Request<Close, ()>, ctx: &mut Self::Context) {
        if self.ended {
            // The registry has forgotten it, or is about to.
            return ask.reply.send(Err(Error::SocketNotFound));
        }
        self.close();
        ask.reply.send(Ok(()));
        ctx.stop();
    }
}

impl Handler<ListenersChanged> for ServerSocket {
    type Result = ();

    /// The accept loop has its turn after every message.
    fn handle(&mut self, _: ListenersChanged, _: &mut Self::Context) {}
}

impl Handler<EndUnlessPersistent> for ServerSocket {
    type Result = MessageResult<EndUnlessPersistent>;

    /// The actor goes on until the registry has forgotten it, for the calls
    /// that are on their way.
    fn handle(&mut self, _: EndUnlessPersistent, _: &mut Self::Context) -> Self::Result {
        if self.persistent || self.ended {
            return MessageResult(None);
        }
        self.close();
        MessageResult(Some(self.id))
    }
}

impl Handler<Stop> for ServerSocket {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.close();
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_ip_literals_and_ports_are_addresses() {
        for (address, port) in [
            ("", 0),
            ("localhost", 0),
            ("[::1]", 0),
            ("300.1.1.1", 0),
            ("127.1", 0),
            ("0x7f000001", 0),
            ("0177.0.0.1", 0),
            ("127.0.0.1 ", 0),
            ("127.0.0.1:80", 0),
            ("::1%lo", 0),
            ("*", 0),
            ("127.0.0.1\0", 0),
            ("127.0.0.1", -1),
            ("127.0.0.1", 65536),
            ("127.0.0.1", i32::MAX),
        ] {
            assert_eq!(
                parse_address(address, port),
                Err(NetError::INVALID_ARGUMENT),
                "{address:?}:{port}"
            );
        }
        assert!(parse_address("::", 0).is_ok());
        assert!(parse_address("0.0.0.0", 65535).is_ok());
    }
}
