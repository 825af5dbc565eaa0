//! Which client socket has which id.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ClientSocket;
use crate::ids::{AppId, ClientSocketId, IdAllocator};

/// The ids of one registry's client sockets. Shared with the actors that make
/// and close them, so that an accepted connection costs no message to the
/// registry.
#[derive(Default)]
pub(crate) struct Table {
    ids: IdAllocator,
    sockets: Mutex<HashMap<ClientSocketId, ClientSocket>>,
}

impl Table {
    pub(crate) fn allocate(&self) -> ClientSocketId {
        ClientSocketId::new(self.ids.allocate())
    }

    pub(crate) fn ids(&self) -> &IdAllocator {
        &self.ids
    }

    pub(crate) fn has(&self, id: ClientSocketId) -> bool {
        self.lock().contains_key(&id)
    }

    pub(crate) fn insert(&self, socket: ClientSocket) {
        self.lock().insert(socket.id(), socket);
    }

    /// The socket, if it is `app`'s.
    pub(crate) fn get(&self, app: &AppId, id: ClientSocketId) -> Option<ClientSocket> {
        let sockets = self.lock();
        let socket = sockets.get(&id)?;
        (socket.app() == app).then(|| socket.clone())
    }

    pub(crate) fn remove(&self, id: ClientSocketId) {
        self.lock().remove(&id);
    }

    pub(crate) fn clear(&self) {
        let sockets = std::mem::take(&mut *self.lock());
        drop(sockets);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientSocketId, ClientSocket>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
