//! Where the registry is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use actix::WeakRecipient;
use actix::prelude::*;
use parking_lot::RwLock;

use crate::ids::{AppId, ServerSocketId};
use crate::supervision::types::{Cause, RestartLimit, Supervised};

/// Something waits for an app that is suspended. Told once, until the app is
/// loaded.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct LoadApp(pub(crate) AppId);

/// A server socket has closed itself.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ServerClosed(pub(crate) AppId, pub(crate) ServerSocketId);

/// One of the registry's own has fallen.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ActorFailed {
    pub(crate) actor: Supervised,
    /// Whose it is; `None`: every app's.
    pub(crate) app: Option<AppId>,
    pub(crate) cause: Cause,
    pub(crate) restarts: u64,
    pub(crate) gave_up: bool,
}

/// Called by the registry when it has passed on every call that was sent to it
/// before this; and when it ends, as it passes on no more then.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CallsPassed(Option<Box<dyn FnOnce() + Send>>);

impl Drop for CallsPassed {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then();
        }
    }
}

/// The way to the registry, wherever it lives now. It keeps no registry alive.
#[derive(Clone, Default)]
pub(crate) struct RegistryLink {
    ways: Arc<RwLock<Option<Ways>>>,
    /// Whether the registry has ended for good.
    ended: Arc<AtomicBool>,
    /// How often each actor of this registry may fall.
    pub(crate) limit: RestartLimit,
}

#[derive(Clone)]
struct Ways {
    wanted: WeakRecipient<LoadApp>,
    ended: WeakRecipient<ServerClosed>,
    fell: WeakRecipient<ActorFailed>,
    passed: WeakRecipient<CallsPassed>,
}

impl RegistryLink {
    /// The registry ends for good, and closes everything.
    pub(crate) fn end(&self) {
        self.ended.store(true, SeqCst);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// From now on it is this one.
    pub(crate) fn is_now<A>(&self, address: &Addr<A>)
    where
        A: Handler<LoadApp> + Handler<ServerClosed> + Handler<ActorFailed> + Handler<CallsPassed>,
        A: Actor<Context = Context<A>>,
    {
        let address = address.downgrade();
        *self.ways.write() = Some(Ways {
            wanted: address.clone().recipient(),
            ended: address.clone().recipient(),
            fell: address.clone().recipient(),
            passed: address.recipient(),
        });
    }

    pub(crate) fn load_app(&self, load: LoadApp) {
        if let Some(registry) = self.ways().and_then(|ways| ways.wanted.upgrade()) {
            registry.do_send(load);
        }
    }

    pub(crate) fn ended(&self, ended: ServerClosed) {
        if let Some(registry) = self.ways().and_then(|ways| ways.ended.upgrade()) {
            registry.do_send(ended);
        }
    }

    pub(crate) fn fell(&self, fell: ActorFailed) {
        if let Some(registry) = self.ways().and_then(|ways| ways.fell.upgrade()) {
            registry.do_send(fell);
        }
    }

    /// Calls `then` when the registry has passed on every call that was sent to
    /// it before.
    pub(crate) fn when_passed(&self, then: impl FnOnce() + Send + 'static) {
        let passed = CallsPassed(Some(Box::new(then)));
        if let Some(registry) = self.ways().and_then(|ways| ways.passed.upgrade()) {
            registry.do_send(passed);
        }
    }

    fn ways(&self) -> Option<Ways> {
        self.ways.read().clone()
    }
}
