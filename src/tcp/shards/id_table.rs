//! The ids of client sockets.

use std::sync::atomic::Ordering::SeqCst;

use parking_lot::Mutex;

use crate::ids::{AppId, ClientSocketId, IdAllocator, IdMap, IdSet};
use crate::tcp::ClientSocket;

/// The client sockets of one registry, by id. Shared with the actors that create and close them, so
/// that an accepted connection needs no message to the registry.
#[derive(Default)]
pub(crate) struct IdTable {
    ids: IdAllocator,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    all: IdMap<ClientSocketId, ClientSocket>,
    /// The sockets of `create`, which count in their app's limit.
    created: IdSet<ClientSocketId>,
}

impl IdTable {
    pub(crate) fn allocate(&self) -> ClientSocketId {
        ClientSocketId::new(self.ids.allocate())
    }

    pub(crate) fn ids(&self) -> &IdAllocator {
        &self.ids
    }

    pub(crate) fn len(&self) -> usize {
        self.sockets.lock().all.len()
    }

    pub(crate) fn has(&self, id: ClientSocketId) -> bool {
        self.sockets.lock().all.contains_key(&id)
    }

    pub(crate) fn insert(&self, socket: ClientSocket) {
        socket.app_shard().shard.sockets.fetch_add(1, SeqCst);
        self.sockets.lock().all.insert(socket.id(), socket);
    }

    /// Inserts a socket of `create`.
    pub(crate) fn insert_created(&self, socket: ClientSocket) {
        socket.app_shard().created.fetch_add(1, SeqCst);
        self.sockets.lock().created.insert(socket.id());
        self.insert(socket);
    }

    /// The socket, if it belongs to `app`.
    pub(crate) fn get(&self, app: &AppId, id: ClientSocketId) -> Option<ClientSocket> {
        let sockets = self.sockets.lock();
        let socket = sockets.all.get(&id)?;
        (socket.app() == app).then(|| socket.clone())
    }

    pub(crate) fn remove(&self, id: ClientSocketId) {
        let mut sockets = self.sockets.lock();
        if let Some(socket) = sockets.all.remove(&id) {
            socket.app_shard().shard.sockets.fetch_sub(1, SeqCst);
            // Most sockets were accepted: then nothing is hashed a second time.
            if !sockets.created.is_empty() && sockets.created.remove(&id) {
                socket.app_shard().created.fetch_sub(1, SeqCst);
            }
        }
    }

    pub(crate) fn clear(&self) {
        let sockets = std::mem::take(&mut *self.sockets.lock());
        drop(sockets);
    }
}
