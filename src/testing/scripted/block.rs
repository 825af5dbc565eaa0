//! Calls that stay pending until the test releases them.

use std::collections::HashMap;
use std::net::SocketAddr;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Shared, WeakShared};

/// Keeps `resolve` or `connect` calls pending: see
/// [`ScriptedNetwork::block_resolve`](super::ScriptedNetwork::block_resolve) and
/// [`block_connect`](super::ScriptedNetwork::block_connect). Dropping it releases
/// the calls.
#[derive(Debug)]
#[must_use = "dropping the guard releases the calls"]
pub struct BlockGuard {
    release: oneshot::Sender<()>,
    released: Shared<oneshot::Receiver<()>>,
}

impl BlockGuard {
    /// How many calls are blocked. A call whose future was dropped does not count.
    pub fn waiting(&self) -> usize {
        // One count is the guard's own.
        self.released
            .strong_count()
            .map_or(0, |holders| holders - 1)
    }

    /// Releases the calls, as dropping the guard does.
    pub fn release(self) {
        drop(self.release);
    }
}

/// The calls that a [`BlockGuard`] blocks.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Blockable {
    Resolve(String),
    Connect(SocketAddr),
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Weak, so that a guard counts nothing but its calls.
    by_call: HashMap<Blockable, WeakShared<oneshot::Receiver<()>>>,
}

impl Blocks {
    pub(super) fn block(&mut self, call: Blockable) -> BlockGuard {
        let (release, released) = oneshot::channel();
        let released = released.shared();
        if let Some(weak) = released.downgrade() {
            self.by_call.insert(call, weak);
        }
        BlockGuard { release, released }
    }

    /// Waits until the guard that blocks this call now, if there is one, is dropped.
    pub(super) fn released(&self, call: Blockable) -> impl Future<Output = ()> + use<> {
        let released = self.by_call.get(&call).and_then(WeakShared::upgrade);
        async move {
            if let Some(released) = released {
                // The dropped sender is the signal.
                let _: Result<(), oneshot::Canceled> = released.await;
            }
        }
    }
}
