//! The apps of a registry, and their server sockets.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join3;

use crate::error::Error;
use crate::events::Listeners;
use crate::ids::{AppId, ServerSocketId};
use crate::registry::state::{AppState, Lifecycle, Registry};
use crate::supervision::{StableAddr, SupervisedActor, ask_all};
use crate::tcp::{self, AppShards};
use crate::tcp_server::{self, ServerSocket};
use crate::telemetry::Span;
use crate::udp;

impl Registry {
    /// Adds the gauges of the registry to its metrics.
    pub(super) fn add_gauges(&self) {
        let limiter = Arc::downgrade(&self.limiter);
        self.registry_link.telemetry.add_source(move |readings| {
            let limiter = limiter.upgrade();
            let open = limiter.map(|limiter| limiter.counter().open());
            open.map(|open| readings.add_connections(open)).is_some()
        });
    }

    /// The server socket, if it is `app`'s.
    pub(super) fn server(
        &self,
        app: &AppId,
        id: ServerSocketId,
    ) -> Result<&SupervisedActor<ServerSocket>, Error> {
        Span::current().set_socket(id);
        let state = self.apps.get(app).ok_or(Error::SocketNotFound)?;
        state.app_shards.activity.mark_active();
        state.servers.get(&id).ok_or(Error::SocketNotFound)
    }

    /// Removes a server socket: its id is unknown from now on.
    pub(super) fn remove_server(
        &mut self,
        app: &AppId,
        id: ServerSocketId,
    ) -> Result<SupervisedActor<ServerSocket>, Error> {
        Span::current().set_socket(id);
        let state = self.apps.get_mut(app).ok_or(Error::SocketNotFound)?;
        state.servers.remove(&id).ok_or(Error::SocketNotFound)
    }

    /// The server sockets of all apps.
    pub(super) fn servers(&self) -> impl Iterator<Item = &SupervisedActor<ServerSocket>> {
        self.apps.values().flat_map(|state| state.servers.values())
    }
}

impl AppState {
    pub(super) fn new(
        app_shards: AppShards,
        udp: udp::AppShards,
        app_listeners: tcp_server::AppListeners,
    ) -> Self {
        AppState {
            lifecycle: Lifecycle::default(),
            on_suspend: Listeners::default(),
            on_restart: Listeners::default(),
            unhandled_restarts: Arc::default(),
            missed_restarts: 0,
            app_listeners: Arc::new(app_listeners),
            app_shards: Arc::new(app_shards),
            udp: Arc::new(udp),
            arbiter_inits: Vec::new(),
            servers: BTreeMap::new(),
            socket_limit: None,
        }
    }

    /// Adds the gauges of the app's sockets to the metrics.
    pub(super) fn add_gauges(&self) {
        let app_shards = Arc::downgrade(&self.app_shards);
        let udp = Arc::downgrade(&self.udp);
        let telemetry = &self.app_shards.activity.registry_link().telemetry;
        telemetry.add_source(move |readings| {
            let (app_shards, udp) = (app_shards.upgrade(), udp.upgrade());
            let is_there = app_shards.is_some() || udp.is_some();
            app_shards.inspect(|it| it.read_gauges(readings));
            udp.inspect(|it| it.read_gauges(readings));
            is_there
        });
    }

    /// Removes a server socket that has closed itself, and ends its actor. The
    /// calls in its mailbox are answered first.
    pub(super) fn remove_closed_server(&mut self, id: ServerSocketId) {
        if let Some(server) = self.servers.remove(&id) {
            server.address().do_send(tcp_server::Stop);
        }
    }

    /// Removes the listeners of all events.
    pub(super) fn clear_listeners(&mut self) {
        self.arbiter_inits.clear();
        self.on_suspend.clear();
        self.on_restart.clear();
        self.app_listeners.on_accept.clear();
        self.app_listeners.on_accept_error.clear();
        self.app_listeners.on_handshake_error.clear();
        self.app_listeners.on_proxy_error.clear();
        self.app_listeners.on_refused.clear();
        self.app_listeners.on_drain.clear();
        for app_shard in self.app_shards.shards() {
            app_shard.on_receive.clear();
            app_shard.on_receive_error.clear();
            app_shard.on_send_queue.clear();
        }
        for app_shard in self.udp.shards() {
            app_shard.on_receive.clear();
            app_shard.on_receive_error.clear();
        }
    }

    /// Whether the last listener of an event that loads the app has died.
    pub(super) fn is_orphaned(&self) -> bool {
        self.app_listeners.on_accept.is_orphaned()
            || self.app_listeners.on_accept_error.is_orphaned()
            || self.app_shards.shards().any(|app_shard| {
                app_shard.on_receive.is_orphaned() || app_shard.on_receive_error.is_orphaned()
            })
            || self.udp.shards().any(|app_shard| {
                app_shard.on_receive.is_orphaned() || app_shard.on_receive_error.is_orphaned()
            })
    }

    /// Whether an event that loads the app has a listener.
    pub(super) fn has_listeners(&self) -> bool {
        self.app_listeners.on_accept.contains(None)
            || self.app_listeners.on_accept_error.contains(None)
            || self.app_shards.shards().any(|app_shard| {
                app_shard.on_receive.contains(None) || app_shard.on_receive_error.contains(None)
            })
            || self.udp.shards().any(|app_shard| {
                app_shard.on_receive.contains(None) || app_shard.on_receive_error.contains(None)
            })
    }

    /// Has all sockets check whether they may raise events; complete when each
    /// of them has.
    pub(super) fn recheck_events(&self) -> impl Future<Output = ()> + use<> {
        let servers = ask_all(&self.server_addrs(), &tcp_server::ListenersChanged);
        let app = self.app_shards.app_context.app.clone();
        let udp = self.udp.recheck_events(&app);
        let clients = self.app_shards.ask(&tcp::ListenersChanged(app));
        join3(servers, clients, udp).map(drop)
    }

    /// Closes all sockets.
    pub(super) fn close_all(&self) -> impl Future<Output = ()> + use<> {
        let closed = ask_all(&self.server_addrs(), &tcp_server::Stop);
        join3(closed, self.app_shards.close(true), self.udp.close(true)).map(drop)
    }

    /// The actors of the server sockets, in the order of their ids.
    pub(super) fn server_addrs(&self) -> Vec<Arc<StableAddr<ServerSocket>>> {
        let servers = self.servers.values();
        servers.map(|server| server.stable_addr.clone()).collect()
    }
}
