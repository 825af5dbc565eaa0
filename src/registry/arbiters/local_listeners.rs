//! Listeners that live in one arbiter and get only the events of its client sockets.

use std::sync::Arc;

use actix::prelude::*;
use futures::future::join_all;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::events::Event;
use crate::ids::AppId;
use crate::registry::listeners::AppEvent;
use crate::registry::state::{AppState, ArbiterInit, Registry};
use crate::supervision::{MailboxBarrier, RegistryMessage};
use crate::tcp::{ReceiveBatch, ReceiveErrorInfo, ReceiveInfo, SendQueueInfo, Shard};
use crate::udp;

/// Calls `init` in every arbiter that client sockets live in: now, and in each
/// arbiter that replaces one. The answer means that all have run, and that the
/// listeners that they added are registered.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub(crate) struct OnEachArbiter {
    pub(crate) app: AppId,
    pub(crate) init: ArbiterInit,
}

/// `addListener` for the client sockets of one arbiter.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub struct AddLocalListener<E: Event> {
    pub(crate) app: AppId,
    pub(crate) arbiter: usize,
    pub(crate) recipient: Recipient<E>,
}

fn run(
    init: &ArbiterInit,
    app: &AppId,
    registry: &Addr<Registry>,
    shard: &Shard,
) -> oneshot::Receiver<()> {
    let (sender, done) = oneshot::channel();
    let (init, app, registry, index) = (init.clone(), app.clone(), registry.clone(), shard.index);
    // If the arbiter has ended, `init` runs in the one that replaces it.
    shard.arbiter().spawn_fn(move || {
        init(&app, &registry, index);
        let _ = sender.send(());
    });
    done
}

impl AppState {
    /// Starts the app's local listeners again in these arbiters, which are new.
    pub(in crate::registry) fn start_local_listeners(
        &self,
        shards: &[Arc<Shard>],
        registry: &Addr<Registry>,
    ) {
        // The event page starts them itself when it is loaded.
        if self.lifecycle.event_page.is_some() {
            return;
        }
        for shard in shards {
            for init in &self.arbiter_inits {
                run(init, &self.app_shards.app_context.app, registry, shard);
            }
        }
    }
}

impl Handler<OnEachArbiter> for Registry {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, call: OnEachArbiter, ctx: &mut Self::Context) -> Self::Result {
        let OnEachArbiter { app, init } = call;
        let registry = ctx.address();
        let state = self.app(&app);
        let shards = state.app_shards.shards().map(|app_shard| &*app_shard.shard);
        let running: Vec<_> = shards
            .map(|shard| run(&init, &app, &registry, shard))
            .collect();
        state.arbiter_inits.push(init);
        Box::pin(async move {
            join_all(running).await;
            // The listeners were added by messages, which this one follows.
            let barrier = RegistryMessage::Barrier(MailboxBarrier::default());
            registry.send(barrier).await.map_err(|_| Error::Stopped)
        })
    }
}

macro_rules! local_events {
    ($($event:ty)*) => {$(
        impl Handler<AddLocalListener<$event>> for Registry {
            type Result = Result<(), Error>;

            fn handle(
                &mut self,
                call: AddLocalListener<$event>,
                _: &mut Self::Context,
            ) -> Self::Result {
                let app = self.app(&call.app);
                if let Some(listeners) = <$event>::listeners(app).nth(call.arbiter) {
                    listeners.add(<$event>::target(call.recipient));
                }
                app.listeners_changed(<$event>::RAISED_BY);
                Ok(())
            }
        }
    )*};
}

local_events! {
    ReceiveInfo ReceiveBatch ReceiveErrorInfo SendQueueInfo
    udp::ReceiveInfo udp::ReceiveBatch udp::ReceiveErrorInfo
}
