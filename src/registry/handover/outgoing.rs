//! A registry's side of leaving its persistent sockets to another process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::future::join_all;

use crate::error::Error;
use crate::handover_state::{AppLimitsRecord, HandoverOutcome, HandoverState};
use crate::ids::{AppId, ServerSocketId};
use crate::registry::handover::types::{Leaving, Token};
use crate::registry::state::Registry;
use crate::tcp;
use crate::tcp_server::{self, Exported, unless_default};

/// Persistent sockets raise nothing any more until [`FinishExport`]; answered when
/// what was raised before is handled. `false`: another handover is going on.
#[derive(Message)]
#[rtype(result = "Result<bool, Error>")]
pub(crate) struct Quiesce(pub(crate) Token);

/// What they leave; they stand still until [`FinishExport`].
#[derive(Message)]
#[rtype(result = "Result<HandoverState, Error>")]
pub(crate) struct Export(pub(crate) Token);

/// The end of a handover.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FinishExport {
    pub(crate) token: Token,
    /// The server sockets that are another process's now, and with them all
    /// that was taken; `None`: everything stays here.
    pub(crate) gone: Option<Vec<(AppId, ServerSocketId)>>,
}

/// Waits until the peers of connections that have ended here have what was
/// sent, but no longer than this: the process may end then.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Deliver(pub(crate) Duration);

impl Registry {
    fn leaving(&self, token: &Token) -> Option<&Leaving> {
        self.leaving.as_ref().filter(|it| it.token == *token)
    }
}

impl Handler<Quiesce> for Registry {
    type Result = ResponseFuture<Result<bool, Error>>;

    fn handle(&mut self, Quiesce(token): Quiesce, _: &mut Self::Context) -> Self::Result {
        if self.leaving.is_some() {
            return Box::pin(std::future::ready(Ok(false)));
        }
        let (end, outcome) = HandoverOutcome::pair();
        let servers = self.apps.servers();
        let servers: Vec<_> = servers
            .map(|server| server.address().send(tcp_server::Quiesce(outcome.clone())))
            .collect();
        let rows: Vec<_> = self
            .rows()
            .map(|rows| rows.address().send(tcp::Quiesce(outcome.clone())))
            .collect();
        self.leaving = Some(Leaving {
            token,
            outcome,
            end,
        });
        Box::pin(async move {
            // One that has ended raises nothing either.
            join_all(servers).await;
            for held in join_all(rows).await {
                held.map_err(|_| Error::Stopped)?;
            }
            Ok(true)
        })
    }
}

impl Handler<Export> for Registry {
    type Result = ResponseFuture<Result<HandoverState, Error>>;

    /// What was called before the last event was handled has passed here.
    fn handle(&mut self, Export(token): Export, _: &mut Self::Context) -> Self::Result {
        let Some(leaving) = self.leaving(&token) else {
            return Box::pin(std::future::ready(Err(Error::Stopped)));
        };
        let outcome = leaving.outcome.clone();
        let servers = self.apps.servers();
        let servers: Vec<_> = servers
            .map(|server| server.address().send(tcp_server::Export(outcome.clone())))
            .collect();
        let rows: Vec<_> = self.rows().map(|rows| rows.address()).collect();
        let limits = self.apps.states().filter_map(|state| {
            let app = state.app_shards.app_context.app.as_str().to_owned();
            unless_default(state.limits()).map(|limits| (app, limits))
        });
        let limits: HashMap<String, AppLimitsRecord> = limits.collect();
        let table = self.table.clone();
        let last_server = self.server_ids.last();
        Box::pin(async move {
            let mut handover_state = HandoverState {
                last_server,
                ..HandoverState::default()
            };
            let mut offered = HashMap::new();
            for taken in join_all(servers).await {
                // One that has ended leaves nothing.
                match taken.ok().flatten() {
                    Some(Exported::Server(mut server, clients)) => {
                        server.record.app_limits =
                            limits.get(&server.record.app).copied().map(Box::new);
                        let id = ServerSocketId::new(server.record.id);
                        offered.extend(clients.iter().map(|client| (client.id(), id)));
                        handover_state.servers.push(server);
                    }
                    Some(Exported::NotTransferred(left)) => handover_state.left.push(left),
                    None => {}
                }
            }
            let offered = Arc::new(offered);
            let taken = rows.iter().map(|rows| {
                let (offered, outcome) = (offered.clone(), outcome.clone());
                rows.send(tcp::Export { offered, outcome })
            });
            for taken in join_all(taken.collect::<Vec<_>>()).await {
                let taken = taken.map_err(|_| Error::Stopped)?;
                handover_state.clients.extend(taken.clients);
                handover_state.left.extend(taken.left);
            }
            handover_state
                .servers
                .sort_by_key(|server| server.record.id);
            handover_state
                .clients
                .sort_by_key(|client| client.record.id);
            handover_state.last_client = table.ids().last();
            Ok(handover_state)
        })
    }
}

impl Handler<Deliver> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Deliver(limit): Deliver, _: &mut Self::Context) -> Self::Result {
        let rows = self.rows().map(|rows| rows.ask(tcp::Deliver(limit)));
        let delivered = join_all(rows.collect::<Vec<_>>());
        Box::pin(async move {
            delivered.await;
        })
    }
}

impl Handler<FinishExport> for Registry {
    type Result = ();

    fn handle(&mut self, FinishExport { token, gone }: FinishExport, _: &mut Self::Context) {
        if self.leaving(&token).is_none() {
            return;
        }
        let Some(leaving) = self.leaving.take() else {
            return;
        };
        let Some(servers) = gone else {
            // Dropping the sender says that everything stays.
            return;
        };
        for (app, id) in servers {
            // One that was closed meanwhile has left before.
            let _ = self.apps.remove_server(&app, id);
        }
        // Nobody listening means that all of them have ended.
        let _ = leaving.end.send(());
    }
}
