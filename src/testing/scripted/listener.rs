//! The app's side of a backlog.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;

use crate::address::Address;
use crate::os::{Accepted, Listener, Stream};
use crate::testing::scripted::connection::os_error;
use crate::testing::scripted::state::NetworkState;

/// A listener, whose [`Backlog`](super::backlog::Backlog) the network keeps.
pub(super) struct ScriptedListener {
    pub(super) network: Arc<Mutex<NetworkState>>,
    pub(super) address: Address,
    pub(super) id: u64,
}

impl Listener for ScriptedListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let mut network = self.network.lock();
        let Some(backlog) = network.backlog_mut(&self.address, self.id) else {
            return Poll::Ready(Err(os_error(libc::EINVAL)));
        };
        let accepted = backlog.poll_accept(cx);
        accepted.map_ok(|(stream, from)| (Box::new(stream) as Box<dyn Stream>, from))
    }

    fn backlog(&self) -> Option<u32> {
        let mut network = self.network.lock();
        let backlog = network.backlog_mut(&self.address, self.id)?;
        u32::try_from(backlog.clients()).ok()
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(self.address.clone())
    }
}

impl Drop for ScriptedListener {
    fn drop(&mut self) {
        let backlog = self.network.lock().remove_listener(&self.address, self.id);
        if let Some(backlog) = backlog {
            backlog.reset();
        }
    }
}
