//! The actor that owns the sockets: it gives out their ids, and passes calls
//! on to them.

use std::mem;
use std::sync::Arc;

use actix::prelude::*;
use futures::future::join_all;

use super::arbiters::shard_slot::ShardSlot;
use super::state::{AppState, Apps, RecoveryState, Registry};
use crate::app_activity::AppActivity;
use crate::connections::ConnectionCounter;
use crate::error::Error;
use crate::ids::{AppId, IdAllocator};
use crate::manifest::Permissions;
use crate::os::{DeniedAddresses, DenyingNetwork};
use crate::os::{Network, TokioNetwork};
use crate::supervision::{
    CallsPassed, Child, RegistryLink, RestartLimit, ServerClosed, StableAddr,
};
use crate::tcp::{self, AppShards, SocketTable};
use crate::tcp_server::{self, LimitScope, Limiter, ServerDeps, ServerSocket};
use crate::tls;

/// The most arbiters of one registry.
const MAX_ARBITERS: usize = 1024;

/// Closes every socket and ends the [`Registry`]; the answer means that every
/// port is free. Calls that come after it answer [`Error::Stopped`].
///
/// It waits until the peers of all connections have acknowledged what was sent to
/// them, up to [`SHUTDOWN_TIMEOUT`](crate::tcp::SHUTDOWN_TIMEOUT), 5 seconds. A
/// connection whose peer does not have everything by then is reset. Drain first
/// ([`DrainAll`](crate::draining::DrainAll)) to give them longer.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct Shutdown;

impl Default for Registry {
    fn default() -> Self {
        Registry::new()
    }
}

impl Registry {
    /// A registry on the sockets of this machine.
    pub fn new() -> Self {
        Registry::with_network(TokioNetwork)
    }

    /// A registry on another network: a scripted one, for instance.
    pub fn with_network(network: impl Network) -> Self {
        let denied = DeniedAddresses::default();
        let network = DenyingNetwork {
            inner: Arc::new(network),
            denied: denied.clone(),
        };
        Registry {
            network: Arc::new(network),
            denied,
            write_quota: tcp::DEFAULT_WRITE_QUOTA,
            permissions: Arc::new(Permissions::all()),
            limits: Arc::new(Limiter::new(LimitScope::Registry, Arc::default())),
            escalation_target: Arc::default(),
            lookups: Arc::default(),
            tls: tls::Client::default(),
            server_ids: IdAllocator::default(),
            apps: Apps::default(),
            table: Arc::default(),
            arbiters: 1,
            seats: Vec::new(),
            registry_link: RegistryLink::default(),
            fall: RecoveryState::default(),
            leaving: None,
            prepared: None,
        }
    }

    /// How many bytes of each app's sends may be in flight
    /// ([`tcp::DEFAULT_WRITE_QUOTA`]); a send beyond fails with
    /// [`Error::WriteQuotaExceeded`]. A send counts for at least 64 bytes.
    pub fn write_quota(mut self, bytes: usize) -> Self {
        self.write_quota = bytes;
        self
    }

    /// What an app may do that has no permissions of its own
    /// ([`App::set_permissions`](crate::App::set_permissions)):
    /// [`Permissions::all`] unless this is called, because a Rust program
    /// needs nobody's permission. [`Permissions::none`] is for a program that
    /// carries out the calls of others.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = Arc::new(permissions);
        self
    }

    /// How often each of the registry's own actors may fall before it is given
    /// up; [`RestartInfo`](crate::supervision::RestartInfo) tells what that
    /// means.
    pub fn restart_limit(mut self, limit: RestartLimit) -> Self {
        self.registry_link.limit = limit;
        self
    }

    /// Beyond Chrome: how many arbiters client sockets live in, at most 1024.
    ///
    /// The first is the one that the registry and its server sockets live in,
    /// so 1, as by default and for 0, makes no thread. Each other one has a
    /// thread of its own, which starts with the registry and ends with it, and a
    /// socket stays in the one that has the fewest when it is made or accepted.
    /// Calls, events, their order and every bound are the same;
    /// [`ReceiveInfo`](tcp::ReceiveInfo)s wait for the app's listeners wherever
    /// those are. An actor that takes long in the registry's arbiter holds up
    /// what lives there.
    /// The 4 MiB of an app that its listeners may hold are divided among the
    /// arbiters, so one that has its part holds up none of the others; the part
    /// is 256 KiB at least.
    ///
    /// If the OS refuses a thread, which is logged, those sockets live in the
    /// registry's arbiter. An arbiter that ends is replaced, and its sockets go on
    /// in the new one ([`supervision`](crate::supervision)).
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.arbiters = arbiters.clamp(1, MAX_ARBITERS);
        self
    }

    /// Whom `tcp.secure` trusts, if not the certificates of the machine.
    #[cfg(feature = "tls")]
    pub fn tls_client(mut self, client: tls::Client) -> Self {
        self.tls = client;
        self
    }

    /// Starts it in the current arbiter, which its sockets live in too (but see
    /// [`arbiters`](Self::arbiters)). If that ends, they go on in the system's own, and this address is dead:
    /// [`App::registry`](crate::App::registry) has the new one.
    ///
    /// # Panics
    /// As every actor's start does, outside an actix `System`.
    pub fn start(mut self) -> Addr<Self> {
        if self.arbiters > 1 {
            self.seats();
        }
        self.run()
    }

    /// The actors of client sockets, made now if that has not been.
    pub(super) fn seats(&mut self) -> &[ShardSlot] {
        if self.seats.is_empty() {
            let start =
                |index| ShardSlot::start(index, &self.network, &self.tls, &self.registry_link);
            self.seats = (0..self.arbiters).map(start).collect();
        }
        &self.seats
    }

    /// What is kept of `app`; made now if it has not been heard of.
    pub(super) fn app(&mut self, app: &AppId) -> &mut AppState {
        self.seats();
        let make = || {
            let counter = Arc::new(ConnectionCounter::with_parent(self.limits.counter()));
            let app_shards = AppShards::new(
                Arc::new(tcp::AppContext::new(
                    app.clone(),
                    self.write_quota,
                    self.permissions.clone(),
                    self.lookups.clone(),
                )),
                Arc::new(AppActivity::new(app.clone(), self.registry_link.clone())),
                self.seats.iter().map(|seat| &seat.shard),
                &self.table,
                counter.clone(),
            );
            let app_listeners = tcp_server::AppListeners::new(
                counter,
                self.limits.clone(),
                self.escalation_target.clone(),
            );
            (app_shards, app_listeners)
        };
        self.apps.get_or_make(app, make)
    }

    /// The actors of all client sockets.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Arc<StableAddr<SocketTable>>> {
        self.seats.iter().map(|seat| &seat.rows.place)
    }

    /// Has those go on that have fallen.
    pub(super) fn go_on(&mut self, here: &Addr<Self>) {
        let seats = self.seats.iter_mut();
        let new: Vec<_> = seats.filter_map(ShardSlot::go_on).collect();
        for app in self.apps.states() {
            app.start_locals(&new, here);
        }
        for server in self.apps.servers() {
            server.go_on();
        }
    }

    pub(super) fn deps(&mut self, app: &AppId) -> ServerDeps {
        let (network, table) = (self.network.clone(), self.table.clone());
        let app = self.app(app);
        ServerDeps {
            app_listeners: app.on_accept.clone(),
            network,
            app_shards: app.app_shards.clone(),
            table,
        }
    }

    /// Forgets everything, and says who has to close it.
    pub(super) fn forget_all(&mut self) -> (Vec<Child<ServerSocket>>, Vec<ShardSlot>) {
        self.fall.ended = true;
        self.registry_link.end();
        // What is held for a handover waits no longer.
        self.leaving = None;
        self.forget_prepared();
        self.table.clear();
        (self.apps.drain_servers(), mem::take(&mut self.seats))
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.is_here(ctx);
    }

    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        if !ctx.connected() {
            // Its last address has gone.
            self.fall.ended = true;
        }
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if self.fall.ended {
            self.end_all();
        }
    }
}

impl Handler<ServerClosed> for Registry {
    type Result = ();

    fn handle(&mut self, ServerClosed(app, id): ServerClosed, _: &mut Self::Context) {
        if let Some(state) = self.apps.get_mut(&app) {
            state.forget_closed(id);
        }
    }
}

impl Handler<CallsPassed> for Registry {
    type Result = ();

    /// Dropping it says so.
    fn handle(&mut self, _: CallsPassed, _: &mut Self::Context) {}
}

impl Handler<Shutdown> for Registry {
    type Result = AtomicResponse<Self, Result<(), Error>>;

    /// Nothing else is taken in meanwhile, and what has come is dropped then:
    /// its answer is [`Error::Stopped`]. The sockets wait for nobody but the peers
    /// of their connections, and for those not long.
    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        let (servers, seats) = self.forget_all();
        let closed = async move {
            // One that is gone already has closed its sockets.
            join_all(
                servers
                    .iter()
                    .map(|server| server.place.ask(tcp_server::Stop)),
            )
            .await;
            join_all(seats.into_iter().map(ShardSlot::end)).await;
        };
        AtomicResponse::new(Box::pin(closed.into_actor(self).map(|(), _, ctx| {
            ctx.stop();
            Ok(())
        })))
    }
}
