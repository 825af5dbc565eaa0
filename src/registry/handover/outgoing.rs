//! The registry's part of a handover to another process: its persistent sockets are exported.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::future::join_all;

use crate::error::Error;
use crate::handover_state::{AppLimitsRecord, HandoverOutcome, HandoverState};
use crate::ids::{AppId, ServerSocketId};
use crate::registry::handover::types::{HandoverToken, OutgoingHandover};
use crate::registry::state::Registry;
use crate::supervision::ask_all;
use crate::tcp;
use crate::tcp_server::{self, Exported, unless_default};
use crate::udp;

/// Begins a handover: persistent sockets raise no event until [`FinishExport`].
/// Answered when all earlier events are handled; `false` if another handover is
/// running.
#[derive(Message)]
#[rtype(result = "Result<bool, Error>")]
pub(crate) struct Quiesce(pub(crate) HandoverToken);

/// Exports the persistent sockets, which are frozen until [`FinishExport`].
#[derive(Message)]
#[rtype(result = "Result<HandoverState, Error>")]
pub(crate) struct Export(pub(crate) HandoverToken);

/// Ends a handover.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FinishExport {
    pub(crate) token: HandoverToken,
    /// The server sockets that belong to the other process now, and with them all
    /// other exported sockets; `None` if everything stays here.
    pub(crate) transferred: Option<Vec<(AppId, ServerSocketId)>>,
}

/// Waits until the peers of connections that have ended here have acknowledged
/// what was sent, for at most this time. Then the process may end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Deliver(pub(crate) Duration);

impl Handler<Quiesce> for Registry {
    type Result = ResponseFuture<Result<bool, Error>>;

    fn handle(&mut self, Quiesce(token): Quiesce, _: &mut Self::Context) -> Self::Result {
        if self.outgoing.is_some() {
            return Box::pin(std::future::ready(Ok(false)));
        }
        let (decision, outcome) = HandoverOutcome::pair();
        let servers = self.servers();
        let servers: Vec<_> = servers
            .map(|server| server.address().send(tcp_server::Quiesce(outcome.clone())))
            .collect();
        let tables = self.socket_tables().into_iter();
        let clients: Vec<_> = tables
            .map(|table| table.address().send(tcp::Quiesce(outcome.clone())))
            .collect();
        let tables = self.udp_tables().into_iter();
        let udp_sockets: Vec<_> = tables
            .map(|table| table.address().send(udp::Quiesce(outcome.clone())))
            .collect();
        self.outgoing = Some(OutgoingHandover {
            token,
            outcome,
            decision,
        });
        Box::pin(async move {
            // A server socket that has ended raises no event either.
            join_all(servers).await;
            for quiesced in join_all(clients).await {
                quiesced.map_err(|_| Error::Stopped)?;
            }
            for quiesced in join_all(udp_sockets).await {
                quiesced.map_err(|_| Error::Stopped)?;
            }
            Ok(true)
        })
    }
}

impl Handler<Export> for Registry {
    type Result = ResponseFuture<Result<HandoverState, Error>>;

    /// Calls that handlers made before the last event was handled were routed
    /// before this message, so the export has their effects.
    fn handle(&mut self, Export(token): Export, _: &mut Self::Context) -> Self::Result {
        let Some(outgoing) = self.outgoing.as_ref().filter(|it| it.token == token) else {
            return Box::pin(std::future::ready(Err(Error::Stopped)));
        };
        let outcome = outgoing.outcome.clone();
        let servers = self.servers();
        let servers: Vec<_> = servers
            .map(|server| server.address().send(tcp_server::Export(outcome.clone())))
            .collect();
        let tables = self.socket_tables().into_iter();
        let tables: Vec<_> = tables.map(|table| table.address()).collect();
        let udp_tables = self.udp_tables().into_iter();
        let udp_tables: Vec<_> = udp_tables.map(|table| table.address()).collect();
        let limits = self.apps.values().filter_map(|state| {
            let app = state.app_shards.app_context.app.as_str().to_owned();
            unless_default(state.limits()).map(|limits| (app, limits))
        });
        let limits: HashMap<String, AppLimitsRecord> = limits.collect();
        let id_table = self.id_table.clone();
        let udp_ids = self.udp_ids.clone();
        let last_server = self.server_ids.last_allocated();
        Box::pin(async move {
            let mut handover_state = HandoverState {
                last_server,
                ..HandoverState::default()
            };
            let mut offered = HashMap::new();
            for exported in join_all(servers).await {
                // A server socket that has ended exports nothing.
                match exported.ok().flatten() {
                    Some(Exported::Server(mut server, clients)) => {
                        let limits = limits.get(&server.record.app).copied();
                        server.record.app_limits = limits.map(Box::new);
                        let id = ServerSocketId::new(server.record.id);
                        offered.extend(clients.iter().map(|client| (client.id(), id)));
                        handover_state.servers.push(server);
                    }
                    Some(Exported::NotTransferred(server)) => {
                        handover_state.not_transferred.push(server);
                    }
                    None => {}
                }
            }
            let offered = Arc::new(offered);
            let clients = tables.iter().map(|table| {
                let (offered, outcome) = (offered.clone(), outcome.clone());
                table.send(tcp::Export { offered, outcome })
            });
            for exported in join_all(clients.collect::<Vec<_>>()).await {
                let exported = exported.map_err(|_| Error::Stopped)?;
                handover_state.clients.extend(exported.clients);
                handover_state
                    .not_transferred
                    .extend(exported.not_transferred);
            }
            let udp_sockets = udp_tables
                .iter()
                .map(|table| table.send(udp::Export(outcome.clone())));
            for exported in join_all(udp_sockets.collect::<Vec<_>>()).await {
                let exported = exported.map_err(|_| Error::Stopped)?;
                handover_state.udp_sockets.extend(exported.sockets);
                handover_state
                    .not_transferred
                    .extend(exported.not_transferred);
            }
            handover_state.udp_sockets.sort_by_key(|it| it.record.id);
            handover_state.last_udp = udp_ids.ids().last_allocated();
            handover_state.servers.sort_by_key(|it| it.record.id);
            handover_state.clients.sort_by_key(|it| it.record.id);
            // Read last: connections may have been accepted meanwhile.
            handover_state.last_client = id_table.ids().last_allocated();
            Ok(handover_state)
        })
    }
}

impl Handler<Deliver> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Deliver(limit): Deliver, _: &mut Self::Context) -> Self::Result {
        let delivered = ask_all(&self.socket_tables(), &tcp::AwaitDelivery(limit));
        Box::pin(async move {
            delivered.await;
        })
    }
}

impl Handler<FinishExport> for Registry {
    type Result = ();

    fn handle(&mut self, call: FinishExport, _: &mut Self::Context) {
        let FinishExport { token, transferred } = call;
        let Some(outgoing) = self.outgoing.take_if(|it| it.token == token) else {
            return;
        };
        let Some(servers) = transferred else {
            // Dropping the sender means that everything stays.
            return;
        };
        for (app, id) in servers {
            // Fails for a server socket that was closed meanwhile.
            let _ = self.remove_server(&app, id);
        }
        // Fails if all sockets that wait for the outcome have ended.
        let _ = outgoing.decision.send(());
    }
}
