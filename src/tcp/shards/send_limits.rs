//! The send limits of an app's sockets in one arbiter.

use parking_lot::RwLock;

use crate::ids::{ClientSocketId, IdMap};

/// The limits of the sockets that have one. A table, so that the others need no room for it.
#[derive(Default)]
pub(in crate::tcp) struct SendLimits(RwLock<IdMap<ClientSocketId, usize>>);

impl SendLimits {
    pub(in crate::tcp) fn get(&self, id: ClientSocketId) -> Option<usize> {
        self.0.read().get(&id).copied()
    }

    pub(in crate::tcp) fn set(&self, id: ClientSocketId, bytes: usize) {
        self.0.write().insert(id, bytes);
    }

    pub(in crate::tcp) fn remove(&self, id: ClientSocketId) {
        self.0.write().remove(&id);
    }
}
