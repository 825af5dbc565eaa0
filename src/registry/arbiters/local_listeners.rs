//! Listeners of the client sockets of one arbiter, which live there too.

use std::sync::Arc;

use actix::prelude::*;
use futures::future::join_all;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::events::Event;
use crate::ids::AppId;
use crate::registry::lifecycle::calls::IsSuspended;
use crate::registry::listeners::Heard;
use crate::registry::state::{AppState, ArbiterInit, Registry};
use crate::tcp::{ReceiveErrorInfo, ReceiveInfo, Shard};

/// Runs this in every arbiter that client sockets live in, now, and in each
/// that takes the place of one.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub(crate) struct OnEachArbiter {
    pub(crate) app: AppId,
    pub(crate) setup: ArbiterInit,
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
    setup: &ArbiterInit,
    app: &AppId,
    registry: &Addr<Registry>,
    shard: &Shard,
) -> oneshot::Receiver<()> {
    let (done, is_done) = oneshot::channel();
    let (setup, app, registry, index) = (setup.clone(), app.clone(), registry.clone(), shard.index);
    // If it has ended, the one that takes its place has it run.
    shard.arbiter().spawn_fn(move || {
        setup(&app, &registry, index);
        let _ = done.send(());
    });
    is_done
}

impl AppState {
    /// Has its listeners start again in these arbiters, which are new. An event
    /// page does that itself.
    pub(in crate::registry) fn start_locals(
        &self,
        sites: &[Arc<Shard>],
        registry: &Addr<Registry>,
    ) {
        if self.lifecycle.has_page() {
            return;
        }
        for shard in sites {
            for setup in &self.setups {
                run(setup, &self.app_shards.app_context.app, registry, shard);
            }
        }
    }
}

impl Handler<OnEachArbiter> for Registry {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, call: OnEachArbiter, ctx: &mut Self::Context) -> Self::Result {
        let OnEachArbiter { app, setup } = call;
        let registry = ctx.address();
        let state = self.app(&app);
        let sites = state.app_shards.each().map(|app_shard| &*app_shard.shard);
        let running: Vec<_> = sites
            .map(|shard| run(&setup, &app, &registry, shard))
            .collect();
        state.setups.push(setup);
        Box::pin(async move {
            join_all(running).await;
            // Behind the listeners that were added.
            let behind = registry.send(IsSuspended { app }).await;
            behind.map(drop).map_err(|_| Error::Stopped)
        })
    }
}

macro_rules! local {
    ($($event:ty)*) => {$(
        impl Handler<AddLocalListener<$event>> for Registry {
            type Result = Result<(), Error>;

            fn handle(
                &mut self,
                call: AddLocalListener<$event>,
                _: &mut Self::Context,
            ) -> Self::Result {
                let app = self.app(&call.app);
                if let Some(them) = <$event>::listeners(app).nth(call.arbiter) {
                    them.add(call.recipient);
                }
                <$event>::changed(app);
                Ok(())
            }
        }
    )*};
}

local! { ReceiveInfo ReceiveErrorInfo }
