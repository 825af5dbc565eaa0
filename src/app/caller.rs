//! Sends an app's calls to its registry.

use std::sync::Arc;

use actix::{Addr, Handler, Message};

use crate::answer::{Answer, Ask};
use crate::error::Error;
use crate::ids::AppId;
use crate::registry::{Registry, Remember};
use crate::supervision::StableAddr;

/// Who calls, and whom.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    app: AppId,
    door: Arc<StableAddr<Registry>>,
}

impl Caller {
    pub(super) fn new(app: AppId, registry: &Addr<Registry>) -> Self {
        let door = Arc::new(StableAddr::new(registry.clone()));
        registry.do_send(Remember(Arc::downgrade(&door)));
        Caller { app, door }
    }

    pub(super) fn app(&self) -> &AppId {
        &self.app
    }

    pub(super) fn registry(&self) -> Addr<Registry> {
        self.door.address()
    }

    pub(super) fn call<M, T>(&self, message: impl FnOnce(AppId) -> M) -> Answer<T>
    where
        Registry: Handler<M>,
        M: Message<Result = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, reply) = Answer::pair();
        self.registry().do_send::<Ask<M, T>>(Ask {
            message: message(self.app.clone()),
            reply,
        });
        answer
    }
}
