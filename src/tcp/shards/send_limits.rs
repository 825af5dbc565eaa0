//! The send limits of an app's sockets in one arbiter.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::ids::ClientSocketId;
use crate::tcp::socket::ClientSocket;

/// The limits of the sockets that have one. A table, so that the others need no room for it.
#[derive(Default)]
pub(in crate::tcp) struct SendLimits(RwLock<HashMap<ClientSocketId, usize>>);

impl SendLimits {
    pub(in crate::tcp) fn get(&self, id: ClientSocketId) -> Option<usize> {
        self.0.read().get(&id).copied()
    }
}

/// The limit of one socket, until this is dropped.
pub(in crate::tcp) struct SendLimit {
    socket: ClientSocket,
    bytes: usize,
}

impl SendLimit {
    pub(in crate::tcp) fn new(socket: &ClientSocket, bytes: usize) -> Self {
        let mut limit = SendLimit {
            socket: socket.clone(),
            bytes,
        };
        limit.set(bytes);
        socket.set_limited(true);
        limit
    }

    pub(in crate::tcp) fn set(&mut self, bytes: usize) {
        let limits = &self.socket.app_shard().send_limits;
        limits.0.write().insert(self.socket.id(), bytes);
        self.bytes = bytes;
    }

    pub(in crate::tcp) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for SendLimit {
    fn drop(&mut self) {
        self.socket.set_limited(false);
        let limits = &self.socket.app_shard().send_limits;
        limits.0.write().remove(&self.socket.id());
    }
}
