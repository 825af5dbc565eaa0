//! Messages to the registry from what it owns.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use actix::WeakRecipient;
use actix::prelude::*;
use parking_lot::RwLock;

use crate::ids::{AppId, ServerSocketId};
use crate::supervision::types::{ActorKind, Cause, RestartLimit};
use crate::telemetry::Telemetry;

/// What the registry's actors and sockets report to it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum RegistryMessage {
    /// A socket has something to report to an app that is not loaded. Sent once,
    /// until the app is loaded.
    LoadApp(AppId),
    /// A server socket has closed itself.
    ServerClosed(AppId, ServerSocketId),
    ActorFailed(ActorFailed),
    /// Dropped when it is handled, which runs its function.
    Barrier(MailboxBarrier),
}

/// One of the registry's actors, or the registry itself, has failed.
#[derive(Clone, Debug)]
pub(crate) struct ActorFailed {
    pub(crate) actor: ActorKind,
    /// The app that it belongs to; `None` if it serves every app.
    pub(crate) app: Option<AppId>,
    pub(crate) cause: Cause,
    pub(crate) restarts: u64,
    pub(crate) gave_up: bool,
}

/// Runs its function when the registry has passed on every call that was sent to
/// it before; also when the registry ends, since then it passes on no more. The
/// default has no function, for a sender that awaits the message's answer.
#[derive(Default)]
pub(crate) struct MailboxBarrier(Option<Box<dyn FnOnce() + Send>>);

impl MailboxBarrier {
    pub(crate) fn new(then: impl FnOnce() + Send + 'static) -> Self {
        MailboxBarrier(Some(Box::new(then)))
    }
}

impl Drop for MailboxBarrier {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then();
        }
    }
}

/// Sends to the registry, wherever it lives now. It does not keep the registry
/// alive.
#[derive(Clone, Default)]
pub(crate) struct RegistryLink {
    registry: Arc<RwLock<Option<WeakRecipient<RegistryMessage>>>>,
    /// Whether the registry has ended for good.
    ended: Arc<AtomicBool>,
    /// How often each actor of this registry may fail.
    pub(crate) limit: RestartLimit,
    /// What its parts count with.
    pub(crate) telemetry: Telemetry,
}

impl RegistryLink {
    /// The registry ends for good and closes everything.
    pub(crate) fn mark_ended(&self) {
        self.ended.store(true, SeqCst);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// Sets the registry's address: it has started, or was restarted.
    pub(crate) fn set_registry<A>(&self, address: &Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<RegistryMessage>,
    {
        *self.registry.write() = Some(address.downgrade().recipient());
    }

    /// Sends a message. It is dropped if the registry has ended.
    pub(crate) fn send(&self, message: RegistryMessage) {
        let registry = self.registry.read().clone();
        if let Some(registry) = registry.and_then(|registry| registry.upgrade()) {
            registry.do_send(message);
        }
    }

    /// Calls `then` when the registry has passed on every call that was sent to
    /// it before.
    pub(crate) fn after_pending_calls(&self, then: impl FnOnce() + Send + 'static) {
        self.send(RegistryMessage::Barrier(MailboxBarrier::new(then)));
    }
}
