//! The registry's actor: its configuration, its start, and its end.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use actix::prelude::*;
use futures::future::join_all;
use tokio::runtime::Handle;

use crate::app_activity::AppActivity;
use crate::connections::ConnectionCounter;
use crate::error::Error;
use crate::ids::{AppId, IdAllocator};
use crate::manifest::Permissions;
use crate::os::{DeniedAddresses, DenyingNetwork, Network, TokioNetwork};
use crate::registry::arbiters::shard_slot::ShardSlot;
use crate::registry::state::{AppState, RecoveryState, Registry};
use crate::supervision::{
    RegistryLink, RegistryMessage, RestartLimit, StableAddr, SupervisedActor, ask_all,
};
use crate::tcp::{self, AppShards, SocketTable};
use crate::tcp_server::{self, LimitScope, Limiter, ServerDeps, ServerSocket};
use crate::tls;
use crate::udp;

/// The most arbiters of one registry.
const MAX_ARBITERS: usize = 1024;

const NEEDS_SYSTEM: &str = "`Registry::start` starts actors, so it needs a running actix `System`: \
    call it in the async function of `#[actix_rt::main]`, `#[actix_rt::test]` or \
    `actix_rt::System::new().block_on(…)`. A program on `#[tokio::main]` runs a `System` in a \
    thread of its own: see \"In a plain tokio program\" in the documentation of chrome_sockets";

/// Closes every socket and ends the [`Registry`]. The answer means that every
/// port is free. Later calls answer [`Error::Stopped`].
///
/// It waits until the peers of all connections have acknowledged what was sent to
/// them, for at most [`SHUTDOWN_TIMEOUT`](crate::tcp::SHUTDOWN_TIMEOUT), 5
/// seconds. A connection whose peer does not have everything by then is reset.
/// To give connections longer, drain first
/// ([`DrainAll`](crate::draining::DrainAll)).
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct Shutdown;

impl Default for Registry {
    fn default() -> Self {
        Registry::new()
    }
}

impl Registry {
    /// A registry with the network of this machine.
    pub fn new() -> Self {
        Registry::with_network(TokioNetwork)
    }

    /// A registry with another network: a scripted one, for instance.
    pub fn with_network(network: impl Network) -> Self {
        let denied_addresses = DeniedAddresses::default();
        let network = DenyingNetwork {
            inner: Arc::new(network),
            denied: denied_addresses.clone(),
        };
        Registry {
            network: Arc::new(network),
            denied_addresses,
            write_quota: tcp::DEFAULT_WRITE_QUOTA,
            permissions: Arc::new(Permissions::all()),
            limiter: Arc::new(Limiter::new(LimitScope::Registry, Arc::default())),
            escalation_target: Arc::default(),
            lookups: Arc::default(),
            send_reserve: Arc::default(),
            tls: tls::Client::default(),
            server_ids: IdAllocator::default(),
            apps: HashMap::new(),
            id_table: Arc::default(),
            udp_ids: Arc::default(),
            arbiter_count: 1,
            shard_slots: Vec::new(),
            registry_link: RegistryLink::default(),
            #[cfg(feature = "metrics")]
            publish_interval: None,
            recovery: RecoveryState::default(),
            outgoing: None,
            incoming: None,
        }
    }

    /// How many bytes of each app's sends may be in flight
    /// ([`tcp::DEFAULT_WRITE_QUOTA`] by default). A send beyond fails with
    /// [`Error::WriteQuotaExceeded`]. A send counts as at least 64 bytes.
    ///
    /// Beyond the quota, each socket of which nothing waits may have one send of up to
    /// [`tcp::RESERVED_SEND`] bytes in flight, for at most
    /// [`tcp::RESERVED_SENDS_OF_APP`] sockets of an app. So peers that do not read
    /// do not keep the others from their answers.
    pub fn write_quota(mut self, bytes: usize) -> Self {
        self.write_quota = bytes;
        self
    }

    /// The permissions of apps that have none of their own
    /// ([`App::set_permissions`](crate::App::set_permissions)):
    /// [`Permissions::all`] by default, because a Rust program needs no
    /// permission. [`Permissions::none`] is for a program that carries out the
    /// calls of others.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = Arc::new(permissions);
        self
    }

    /// How often each of the registry's own actors may fail before it ends;
    /// [`RestartInfo`](crate::supervision::RestartInfo) tells what ends with it.
    pub fn restart_limit(mut self, limit: RestartLimit) -> Self {
        self.registry_link.limit = limit;
        self
    }

    /// Beyond Chrome: how many arbiters client sockets live in. 1 by default and
    /// for 0; at most 1024.
    ///
    /// The first is the arbiter of the registry and its server sockets, so 1
    /// starts no thread. Each other arbiter has a thread of its own, which starts
    /// and ends with the registry. A socket is placed in the arbiter with the
    /// fewest sockets when it is created or accepted, and stays there. Calls,
    /// events, their order and every bound are the same.
    /// [`ReceiveInfo`](tcp::ReceiveInfo)s are sent to the app's listeners in
    /// whatever arbiter those live. An actor that blocks the registry's arbiter
    /// delays every socket in it.
    ///
    /// The 4 MiB of received data that an app's listeners may hold are divided
    /// among the arbiters, with at least 256 KiB for each. So one arbiter at its
    /// bound delays none of the others.
    ///
    /// If the OS refuses a thread, which is logged, those sockets live in the
    /// registry's arbiter. An arbiter that ends is replaced, and its sockets
    /// continue in the new one ([`supervision`](crate::supervision)).
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.arbiter_count = arbiters.clamp(1, MAX_ARBITERS);
        self
    }

    /// Beyond Chrome: has the registry count what it does, and publish it to the recorder of
    /// `metrics`: see [`telemetry`](crate::telemetry). By default nothing is collected.
    ///
    /// At every `interval` the registry publishes by itself, for exporters that send; with `None`,
    /// [`Metrics::publish`](crate::telemetry::Metrics::publish) has to be called. Some gauges are
    /// the peak since the last publication, so an exporter that publishes whenever it is asked
    /// should be the only one to do so.
    #[cfg(feature = "metrics")]
    pub fn metrics(
        mut self,
        metrics: &crate::telemetry::Metrics,
        interval: Option<std::time::Duration>,
    ) -> Self {
        self.registry_link.telemetry = metrics.into();
        self.publish_interval = interval;
        self
    }

    /// Sets what `tcp.secure` trusts: the certificates of the machine, by
    /// default.
    #[cfg(feature = "tls")]
    pub fn tls_client(mut self, client: tls::Client) -> Self {
        self.tls = client;
        self
    }

    /// Starts the registry in the current arbiter, which its sockets live in too
    /// (but see [`arbiters`](Self::arbiters)). If that arbiter ends, the registry
    /// continues in the system's arbiter, and this address is dead:
    /// [`App::registry`](crate::App::registry) has the new one.
    ///
    /// # Panics
    /// Outside a running actix `System`, as every actor's start does:
    ///
    /// - in `#[tokio::main]` and in a thread without a `System`. The crate's
    ///   documentation has a
    ///   [recipe for plain tokio programs](crate#in-a-plain-tokio-program);
    /// - before the `System` of this thread runs. Call it in the future of
    ///   `block_on`;
    /// - in a task of `tokio::spawn`. Use `actix_rt::spawn`.
    #[track_caller]
    pub fn start(mut self) -> Addr<Self> {
        let has_system = System::is_registered() && Arbiter::try_current().is_some();
        assert!(
            has_system && Handle::try_current().is_ok(),
            "{NEEDS_SYSTEM}"
        );
        // With one arbiter there is no thread to start, so it is done when it is
        // needed.
        if self.arbiter_count > 1 {
            self.start_shards();
        }
        self.add_gauges();
        self.run()
    }

    /// Starts the actors of client sockets, unless they are started.
    fn start_shards(&mut self) {
        if self.shard_slots.is_empty() {
            let start =
                |index| ShardSlot::start(index, &self.network, &self.tls, &self.registry_link);
            self.shard_slots = (0..self.arbiter_count).map(start).collect();
        }
    }

    /// The state of an app, which is created if the app is new.
    pub(super) fn app(&mut self, app: &AppId) -> &mut AppState {
        self.start_shards();
        let create = || {
            let counter = Arc::new(ConnectionCounter::with_parent(self.limiter.counter()));
            let app_shards = AppShards::new(
                Arc::new(tcp::AppContext::new(
                    app.clone(),
                    tcp::WriteQuota::new(self.write_quota, self.send_reserve.clone()),
                    self.permissions.clone(),
                    self.lookups.clone(),
                )),
                Arc::new(AppActivity::new(app.clone(), self.registry_link.clone())),
                self.shard_slots.iter().map(|slot| &slot.shard),
                &self.id_table,
                counter.clone(),
            );
            let app_listeners = tcp_server::AppListeners::new(
                counter,
                self.limiter.clone(),
                self.escalation_target.clone(),
            );
            let udp_shards = udp::AppShards::new(
                &app_shards.app_context,
                &app_shards.activity,
                self.shard_slots.iter().map(|slot| &slot.udp_shard),
                &self.udp_ids,
            );
            let state = AppState::new(app_shards, udp_shards, app_listeners);
            state.add_gauges();
            state
        };
        self.apps.entry(app.clone()).or_insert_with(create)
    }

    /// The actors of all client sockets.
    pub(super) fn socket_tables(&self) -> Vec<Arc<StableAddr<SocketTable>>> {
        let slots = self.shard_slots.iter();
        slots.map(|slot| slot.table.stable_addr.clone()).collect()
    }

    /// The actors of all sockets of `chrome.sockets.udp`.
    pub(super) fn udp_tables(&self) -> Vec<Arc<StableAddr<udp::SocketTable>>> {
        let slots = self.shard_slots.iter();
        slots
            .map(|slot| slot.udp_table.stable_addr.clone())
            .collect()
    }

    /// Restarts the actors that were dropped.
    pub(super) fn restart_dropped(&mut self, here: &Addr<Self>) {
        let slots = self.shard_slots.iter_mut();
        let moved: Vec<_> = slots.filter_map(ShardSlot::restart_if_dropped).collect();
        for app in self.apps.values() {
            app.start_local_listeners(&moved, here);
        }
        for server in self.servers() {
            server.restart_if_dropped(|| None);
        }
    }

    pub(super) fn server_deps(&mut self, app: &AppId) -> ServerDeps {
        let (network, table) = (self.network.clone(), self.id_table.clone());
        let app = self.app(app);
        ServerDeps {
            app_listeners: app.app_listeners.clone(),
            network,
            app_shards: app.app_shards.clone(),
            table,
        }
    }

    /// Ends the registry: forgets its state, and returns the actors that have to
    /// be stopped.
    fn end(&mut self) -> (Vec<SupervisedActor<ServerSocket>>, Vec<ShardSlot>) {
        self.recovery.has_ended = true;
        self.registry_link.mark_ended();
        // Dropping it returns the sockets that were quiesced for a handover.
        self.outgoing = None;
        self.discard_import();
        self.id_table.clear();
        self.udp_ids.clear();
        let states = self.apps.drain().map(|(_, state)| state);
        let servers = states.flat_map(|state| state.servers.into_values());
        (servers.collect(), mem::take(&mut self.shard_slots))
    }

    /// Closes every socket, without waiting.
    pub(super) fn close_all(&mut self) {
        let (servers, shard_slots) = self.end();
        for server in servers {
            server.address().do_send(tcp_server::Stop);
        }
        shard_slots.into_iter().for_each(ShardSlot::stop_detached);
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.publish_address(ctx);
    }

    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        if !ctx.connected() {
            // Its last address was dropped, so this is no failure.
            self.recovery.has_ended = true;
            let (servers, clients) = (self.servers().count(), self.id_table.len());
            let udp = self.udp_ids.len();
            if servers + clients + udp > 0 {
                let udp = match udp {
                    0 => String::new(),
                    count => format!(", {count} udp sockets"),
                };
                log::info!(
                    "the last App of a registry was dropped, so it closes its sockets: \
                     {servers} server sockets, {clients} client sockets{udp}"
                );
            }
        }
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if self.recovery.has_ended {
            self.close_all();
        }
    }
}

impl Handler<RegistryMessage> for Registry {
    type Result = ();

    fn handle(&mut self, message: RegistryMessage, ctx: &mut Self::Context) {
        match message {
            RegistryMessage::LoadApp(app) => self.load_if_requested(&app, ctx),
            RegistryMessage::ServerClosed(app, id) => {
                if let Some(state) = self.apps.get_mut(&app) {
                    state.remove_closed_server(id);
                }
            }
            RegistryMessage::ActorFailed(failed) => {
                self.restart_dropped(&ctx.address());
                self.report_failure(failed);
            }
            RegistryMessage::Barrier(barrier) => drop(barrier),
        }
    }
}

impl Handler<Shutdown> for Registry {
    type Result = AtomicResponse<Self, Result<(), Error>>;

    /// Handles no other message until it has ended; messages in the mailbox are
    /// dropped, which answers them with [`Error::Stopped`].
    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        let (servers, shard_slots) = self.end();
        let closed = async move {
            // An actor that has ended already has closed its sockets.
            let addrs: Vec<_> = servers.iter().map(|it| it.stable_addr.clone()).collect();
            ask_all(&addrs, &tcp_server::Stop).await;
            join_all(shard_slots.into_iter().map(ShardSlot::stop)).await;
        };
        AtomicResponse::new(Box::pin(closed.into_actor(self).map(|(), _, ctx| {
            ctx.stop();
            Ok(())
        })))
    }
}
