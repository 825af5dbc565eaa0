//! The apps of a registry, and their server sockets.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{join, join_all};

use super::state::{AppState, Apps, Lifecycle};
use crate::error::Error;
use crate::events::Listeners;
use crate::ids::{AppId, ServerSocketId};
use crate::supervision::Child;
use crate::tcp::{self, AppShards};
use crate::tcp_server::{self, ServerSocket};

impl Apps {
    pub(super) fn get(&self, app: &AppId) -> Option<&AppState> {
        self.0.get(app)
    }

    /// The app, made now if it has not been heard of.
    pub(super) fn get_or_make(
        &mut self,
        app: &AppId,
        make: impl FnOnce() -> (AppShards, tcp_server::AppListeners),
    ) -> &mut AppState {
        self.0.entry(app.clone()).or_insert_with(|| {
            let (app_shards, on_accept) = make();
            AppState {
                lifecycle: Lifecycle::default(),
                on_suspend: Listeners::default(),
                on_restart: Listeners::default(),
                untold_restarts: Default::default(),
                on_accept: Arc::new(on_accept),
                app_shards: Arc::new(app_shards),
                setups: Vec::new(),
                servers: BTreeMap::new(),
                sockets: None,
            }
        })
    }

    /// The server socket, if it is `app`'s.
    pub(super) fn server(
        &self,
        app: &AppId,
        id: ServerSocketId,
    ) -> Result<&Child<ServerSocket>, Error> {
        let state = self.get(app).ok_or(Error::SocketNotFound)?;
        state.app_shards.activity.mark_active();
        state.servers.get(&id).ok_or(Error::SocketNotFound)
    }

    /// Takes the id out of use.
    pub(super) fn remove_server(
        &mut self,
        app: &AppId,
        id: ServerSocketId,
    ) -> Result<Child<ServerSocket>, Error> {
        self.0
            .get_mut(app)
            .and_then(|state| state.servers.remove(&id))
            .ok_or(Error::SocketNotFound)
    }

    pub(super) fn get_mut(&mut self, app: &AppId) -> Option<&mut AppState> {
        self.0.get_mut(app)
    }

    /// Takes all that an app has out of use.
    pub(super) fn remove(&mut self, app: &AppId) -> Option<AppState> {
        self.0.remove(app)
    }

    /// Every server socket of every app.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Child<ServerSocket>> {
        self.0.values().flat_map(AppState::servers)
    }

    pub(super) fn ids(&self) -> Vec<AppId> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &AppState> {
        self.0.values()
    }

    /// Whether any app has it.
    pub(super) fn has_server(&self, id: ServerSocketId) -> bool {
        self.0.values().any(|state| state.servers.contains_key(&id))
    }

    /// Takes everything out of use.
    pub(super) fn drain_servers(&mut self) -> Vec<Child<ServerSocket>> {
        self.0
            .drain()
            .flat_map(|(_, state)| state.servers.into_values())
            .collect()
    }
}

impl AppState {
    pub(super) fn insert_server(&mut self, id: ServerSocketId, server: Child<ServerSocket>) {
        self.servers.insert(id, server);
    }

    /// Forgets a server socket that has closed itself, and ends its actor: behind
    /// the calls that are on their way, and nothing else ends it.
    pub(super) fn forget_closed(&mut self, id: ServerSocketId) {
        if let Some(server) = self.servers.remove(&id) {
            server.address().do_send(tcp_server::Stop);
        }
    }

    /// Nobody hears of anything any more.
    pub(super) fn clear_listeners(&mut self) {
        self.setups.clear();
        self.on_suspend.clear();
        self.on_restart.clear();
        self.on_accept.on_accept.clear();
        self.on_accept.on_accept_error.clear();
        self.on_accept.on_handshake_error.clear();
        self.on_accept.on_refused.clear();
        self.on_accept.on_drain.clear();
        for app_shard in self.app_shards.each() {
            app_shard.on_receive.clear();
            app_shard.on_receive_error.clear();
        }
    }

    /// Whether the last listener of something has died.
    pub(super) fn is_orphaned(&self) -> bool {
        self.on_accept.on_accept.is_orphaned()
            || self.on_accept.on_accept_error.is_orphaned()
            || self.app_shards.each().any(|app_shard| {
                app_shard.on_receive.is_orphaned() || app_shard.on_receive_error.is_orphaned()
            })
    }

    /// Whether anybody hears of anything.
    pub(super) fn has_listeners(&self) -> bool {
        self.on_accept.on_accept.contains(None)
            || self.on_accept.on_accept_error.contains(None)
            || self.app_shards.each().any(|app_shard| {
                app_shard.on_receive.contains(None) || app_shard.on_receive_error.contains(None)
            })
    }

    /// Has the sockets look again whether they may raise events; done when
    /// each of them has.
    pub(super) fn look_again(&self) -> impl Future<Output = ()> + use<> {
        let servers = self
            .servers()
            .map(|server| server.place.ask(tcp_server::ListenersChanged));
        let servers = join_all(servers.collect::<Vec<_>>());
        let app = self.app_shards.app_context.app.clone();
        let rows = self.app_shards.ask(&tcp::ListenersChanged(app));
        join(servers, rows).map(drop)
    }

    /// Closes what does not outlive a suspension, and tells which server
    /// sockets that were.
    pub(super) fn end_transient(&self) -> impl Future<Output = Vec<ServerSocketId>> + use<> {
        let ended = self
            .servers()
            .map(|server| server.place.ask(tcp_server::EndUnlessPersistent));
        let ended = join_all(ended.collect::<Vec<_>>());
        let app_shards = self.app_shards.clone();
        async move {
            let ended = ended.await.into_iter().flatten().flatten().collect();
            // Clients last: those that nobody has heard of end with their
            // server socket.
            app_shards.close(false).await;
            ended
        }
    }

    /// Closes everything.
    pub(super) fn end_all(&self) -> impl Future<Output = ()> + use<> {
        let ended = self.servers();
        let ended = ended.map(|server| server.place.ask(tcp_server::Stop));
        let ended = join_all(ended.collect::<Vec<_>>());
        join(ended, self.app_shards.close(true)).map(drop)
    }

    /// In the order of their ids.
    pub(super) fn servers(&self) -> impl ExactSizeIterator<Item = &Child<ServerSocket>> {
        self.servers.values()
    }
}
