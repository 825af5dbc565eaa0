//! Sends an app's calls to its registry.

use std::sync::Arc;

use actix::{Addr, Handler, Message};

use crate::answer::{Answer, Request};
use crate::error::Error;
use crate::ids::AppId;
use crate::registry::{Registry, TrackAddress};
use crate::supervision::StableAddr;

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
        let message = message(self.app.clone());
        self.registry()
            .do_send::<Request<M, T>>(Request { message, reply });
        answer
    }
}
