//! The apps of a registry, and their server sockets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix::Addr;

use crate::error::Error;
use crate::ids::{AppId, ServerSocketId};
use crate::tcp::{self, Lane};
use crate::tcp_server::{self, ServerSocket};

/// What is kept of one app.
pub(super) struct AppState {
    pub(super) on_accept: Arc<tcp_server::Audience>,
    /// Its way to the rows actor, its listeners and its bounds.
    pub(super) lane: Arc<Lane>,
    servers: BTreeMap<ServerSocketId, Addr<ServerSocket>>,
}

#[derive(Default)]
pub(super) struct Apps(HashMap<AppId, AppState>);

impl Apps {
    pub(super) fn get(&self, app: &AppId) -> Option<&AppState> {
        self.0.get(app)
    }

    /// The app, made now if it has not been heard of.
    pub(super) fn get_or_make(
        &mut self,
        app: &AppId,
        lane: impl FnOnce(tcp::Audience) -> Lane,
        write_quota: usize,
    ) -> &mut AppState {
        self.0.entry(app.clone()).or_insert_with(|| AppState {
            on_accept: Arc::default(),
            lane: Arc::new(lane(tcp::Audience::new(app.clone(), write_quota))),
            servers: BTreeMap::new(),
        })
    }

    /// The server socket, if it is `app`'s.
    pub(super) fn server(
        &self,
        app: &AppId,
        id: ServerSocketId,
    ) -> Result<&Addr<ServerSocket>, Error> {
        self.get(app)
            .and_then(|state| state.servers.get(&id))
            .ok_or(Error::SocketNotFound)
    }

    /// Takes the id out of use.
    pub(super) fn remove_server(
        &mut self,
        app: &AppId,
        id: ServerSocketId,
    ) -> Result<Addr<ServerSocket>, Error> {
        self.0
            .get_mut(app)
            .and_then(|state| state.servers.remove(&id))
            .ok_or(Error::SocketNotFound)
    }

    /// Takes everything out of use.
    pub(super) fn drain_servers(&mut self) -> Vec<Addr<ServerSocket>> {
        self.0
            .drain()
            .flat_map(|(_, state)| state.servers.into_values())
            .collect()
    }
}

impl AppState {
    pub(super) fn insert_server(&mut self, id: ServerSocketId, server: Addr<ServerSocket>) {
        self.servers.insert(id, server);
    }

    /// In the order of their ids.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Addr<ServerSocket>> {
        self.servers.values()
    }
}
