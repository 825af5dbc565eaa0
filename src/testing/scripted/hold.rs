//! Calls that stay pending until the test lets them go.

use std::collections::HashMap;
use std::net::SocketAddr;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Shared, WeakShared};

/// Keeps a `resolve` or `connect` pending: see
/// [`ScriptedNetwork::hold_resolve`](crate::testing::scripted::ScriptedNetwork::hold_resolve) and
/// [`hold_connect`](crate::testing::scripted::ScriptedNetwork::hold_connect). Dropping it lets
/// them go.
#[derive(Debug)]
#[must_use = "a hold that is dropped lets go"]
pub struct Hold {
    release: oneshot::Sender<()>,
    released: Shared<oneshot::Receiver<()>>,
}

impl Hold {
    /// How many calls are held. One that was given up is not.
    pub fn waiting(&self) -> usize {
        // One count is this hold's own.
        self.released
            .strong_count()
            .map_or(0, |holders| holders - 1)
    }

    /// Lets the calls go, as dropping it does.
    pub fn release(self) {
        drop(self.release);
    }
}

/// What a [`Hold`] holds.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Held {
    Resolve(String),
    Connect(SocketAddr),
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Weak, so that only calls count as waiting.
    by_call: HashMap<Held, WeakShared<oneshot::Receiver<()>>>,
}

impl Holds {
    pub(super) fn hold(&mut self, call: Held) -> Hold {
        let (release, released) = oneshot::channel();
        let released = released.shared();
        if let Some(weak) = released.downgrade() {
            self.by_call.insert(call, weak);
        }
        Hold { release, released }
    }

    /// Ends when the hold on this call, if there is one now, is gone.
    pub(super) fn let_go(&self, call: Held) -> impl Future<Output = ()> + use<> {
        let released = self.by_call.get(&call).and_then(WeakShared::upgrade);
        async move {
            if let Some(released) = released {
                // That the sender is gone is the signal.
                let _: Result<(), oneshot::Canceled> = released.await;
            }
        }
    }
}
