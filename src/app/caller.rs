//! Sends an app's calls to its registry.

use std::any::type_name;
use std::sync::Arc;

use actix::{Addr, Handler, Message};

use crate::answer::{Answer, Reply, Request};
use crate::error::Error;
use crate::ids::AppId;
use crate::registry::{Registry, TrackAddress};
use crate::supervision::StableAddr;
use crate::telemetry::Span;

#[derive(Clone, Debug)]
pub(super) struct Caller {
    app: AppId,
    registry: Arc<StableAddr<Registry>>,
}

impl Caller {
    pub(super) fn new(app: AppId, registry: &Addr<Registry>) -> Self {
        let stable_addr = Arc::new(StableAddr::new(registry.clone()));
        registry.do_send(TrackAddress(Arc::downgrade(&stable_addr)));
        Caller {
            app,
            registry: stable_addr,
        }
    }

    pub(super) fn app(&self) -> &AppId {
        &self.app
    }

    pub(super) fn registry(&self) -> Addr<Registry> {
        self.registry.address()
    }

    /// Sends the call that `message` makes for the app.
    pub(super) fn call<M, T>(&self, message: impl FnOnce(AppId) -> M) -> Answer<T>
    where
        Registry: Handler<M>,
        M: Message<Result = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, reply) = Answer::pair();
        self.send(message, reply);
        answer
    }

    /// As [`call`](Self::call), without an answer.
    pub(super) fn do_call<M, T>(&self, message: impl FnOnce(AppId) -> M)
    where
        Registry: Handler<M>,
        M: Message<Result = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        self.send(message, Reply::discard());
    }

    pub(super) fn send<M, T>(&self, message: impl FnOnce(AppId) -> M, reply: Reply<T>)
    where
        Registry: Handler<M>,
        M: Message<Result = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let reply = reply.in_span(&Span::message(&self.app, type_name::<M>()));
        let message = message(self.app.clone());
        self.registry()
            .do_send::<Request<M, T>>(Request { message, reply });
    }
}
