//! Client sockets in a handover to another process: quiesced, exported, imported.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use futures::future::join_all;

use crate::address::Address;
use crate::answer::{Answer, Reply};
use crate::connections::{ConnectionCounter, ConnectionGuard};
use crate::handover_state::{
    AnySocketId, ClientRecord, ConnectionRecord, HandoverOutcome, MAX_UNSENT, NotTransferred,
    OutboundRecord, ProxyRecord, TransferredClient, check_app_id,
};
use crate::ids::{ClientSocketId, ServerSocketId};
use crate::net_error::NetError;
use crate::os::Stream;
use crate::proxy_protocol::ProxyPeer;
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::command::QueuedCall;
use crate::tcp::connection::state::{Claim, SocketState, Transfer};
use crate::tcp::connection::write::PendingSend;
use crate::tcp::connection::{
    Connection, ConnectionMeta, Link, Outbound, ReadEnd, ReadSide, ReportedBy, WriteSide,
};
use crate::tcp::socket::ClientSocket;
use crate::tcp::stream::end::StreamEnd;
use crate::tcp::{SocketProperties, Timeouts};
use crate::telemetry::Span;

/// Persistent sockets raise no events until the handover's outcome is known. Answered when
/// listeners have handled the events raised before, or after [`PAUSE_GRACE`](crate::PAUSE_GRACE).
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce(pub(crate) HandoverOutcome);

/// Exports persistent sockets, and clients whose `onAccept` has reached no listener. They are
/// frozen from here on: their calls wait for the outcome.
#[derive(Message)]
#[rtype(result = "Exported")]
pub(crate) struct Export {
    pub(crate) offered: Arc<HashMap<ClientSocketId, ServerSocketId>>,
    /// That of [`Quiesce`]. This actor may not have received that message, if it was started later.
    pub(crate) outcome: HandoverOutcome,
}

/// The handover in progress, and the calls that wait for its outcome.
pub(super) struct PendingHandover {
    outcome: HandoverOutcome,
    calls: VecDeque<QueuedCall>,
}

#[derive(Default)]
pub(crate) struct Exported {
    pub(crate) clients: Vec<TransferredClient>,
    pub(crate) not_transferred: Vec<NotTransferred>,
}

/// A socket that another process has exported.
pub(crate) struct Inherited {
    pub(crate) record: ClientRecord,
    pub(crate) connection: Option<InheritedConnection>,
}

pub(crate) struct InheritedConnection {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) record: ConnectionRecord,
    pub(crate) unsent: Bytes,
    /// Its peer was gone: it has no descriptor, and only its end is left to report.
    pub(crate) is_released: bool,
    /// Counts the connection from the import on.
    pub(crate) connection_guard: Option<ConnectionGuard>,
}

fn proxy_record(proxy: &ProxyPeer) -> Option<Box<ProxyRecord>> {
    Some(Box::new(ProxyRecord {
        address: (&proxy.address).into(),
        header: proxy.header.to_bytes().ok()?,
    }))
}

impl Inherited {
    /// Counts the connection before any limit is checked.
    pub(crate) fn count_connection(&mut self, counter: &Arc<ConnectionCounter>) {
        if let Some(connection) = &mut self.connection
            && !connection.is_released
        {
            let was_accepted = connection.record.dialled.is_none();
            // The server socket that accepted it is not known here.
            connection.connection_guard =
                Some(ConnectionGuard::opened(counter.clone(), was_accepted));
        }
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        let timeouts = self.record.timeouts.map(Timeouts::from);
        // A record of another process is checked like an argument of the app.
        timeouts
            .and_then(|it| it.checked().ok())
            .unwrap_or_default()
    }
}

impl SocketState {
    pub(super) fn inherited(socket: ClientSocket, inherited: Inherited) -> Self {
        let Inherited { record, connection } = inherited;
        let mut state = SocketState::new(socket);
        // The record's name was checked when it was read.
        let _ = state.update(SocketProperties {
            persistent: Some(true),
            name: record.name,
            buffer_size: record.buffer_size,
            allow_half_open: Some(record.allow_half_open),
            ..SocketProperties::default()
        });
        if let Some(user_timeout) = record.user_timeout {
            // The descriptor has it already. A record of another process is checked like an argument
            // of the app.
            let _ = state.update(SocketProperties {
                user_timeout: Some(user_timeout),
                ..SocketProperties::default()
            });
        }
        let _ = state.update(SocketProperties {
            send_limit: record.send_limit,
            ..SocketProperties::default()
        });
        let _ = state.update(SocketProperties {
            send_marks: record.send_marks.map(Into::into),
            ..SocketProperties::default()
        });
        state.paused = record.paused;
        state.claim = match record.never_resumed {
            true => Claim::Paused,
            false => Claim::Resumed,
        };
        if let Some(from) = connection {
            let ConnectionRecord {
                peer,
                dialled,
                write_error,
                end,
                peer_ended,
                write_shut,
                proxy: _,
            } = from.record;
            let outbound = dialled.map(|record| {
                Box::new(Outbound {
                    local: record.local.map(Into::into),
                    host: record.host.into(),
                })
            });
            let peer = Address::from(peer);
            let span = Span::connection(state.socket.app(), None, &peer);
            span.set_socket(state.socket.id());
            let meta = ConnectionMeta {
                peer,
                outbound,
                connection_guard: from.connection_guard,
                pinned_shard: None,
                // Encrypted connections stay in their process.
                is_encrypted: false,
                write_met_reset: false,
                span,
            };
            let mut connection = Connection::new(from.stream, Box::new(meta));
            state.socket.begin_traffic();
            connection.read_side = match end.and_then(NetError::from_code) {
                Some(end) if from.is_released => ReadSide::Released(ReadEnd::Error(end)),
                Some(_) if peer_ended => ReadSide::Ended(ReadEnd::Fin),
                Some(end) => ReadSide::Ended(ReadEnd::Error(end)),
                None if peer_ended => ReadSide::HalfClosed,
                None => ReadSide::Open,
            };
            match write_error.and_then(NetError::from_code) {
                Some(error) => {
                    let report = ReportedBy::Reading;
                    connection.write_side = WriteSide::Failed(error, report);
                }
                None => {
                    connection.queue.inherit(&state.socket, from.unsent);
                    if write_shut {
                        // If the other process has shut it already, this has no effect.
                        let shutdown =
                            PendingSend::shutdown(state.socket.clone(), Reply::discard());
                        connection.write_side = WriteSide::Shut;
                        connection.queue.push(shutdown);
                    }
                }
            }
            state.link = Link::Connected(connection);
        }
        state.register_with_arbiter();
        state
    }

    /// Freezes the socket, and returns it for another process. An error leaves it here.
    fn export(&mut self, offered_by: Option<ServerSocketId>) -> io::Result<TransferredClient> {
        // An attempt to connect and a handshake belong to a task of this process.
        if let Link::Connecting(_) | Link::Securing(_) = self.link {
            return Err(io::Error::other("it is still connecting, or being secured"));
        }
        // Returned events are not part of a record: the other process would lose them.
        if self.has_returned() {
            return Err(io::Error::other(
                "its listener died, and its events have to be raised again",
            ));
        }
        if self.has_unread_stream() {
            return Err(io::Error::other("its stream has not read everything"));
        }
        check_app_id(self.socket.app())?;
        if let Link::Connected(connection) = &mut self.link {
            // A send of another thread must not write once the unsent data is recorded.
            connection.close_fast_path();
        }
        let connection = self.connection();
        if connection.is_some_and(|connection| connection.queue.bytes() > MAX_UNSENT) {
            return Err(io::Error::other("too many bytes of it wait to be sent"));
        }
        let stream = connection
            .filter(|connection| !matches!(connection.read_side, ReadSide::Released(_)))
            .map(|connection| connection.stream.duplicate());
        let client = TransferredClient {
            stream: stream.transpose()?,
            unsent: connection.map_or_else(Vec::new, |connection| connection.queue.unsent()),
            record: ClientRecord {
                app: self.socket.app().as_str().to_owned(),
                id: self.socket.id().get(),
                name: self.name.as_deref().map(str::to_owned),
                buffer_size: self.buffer_size(),
                paused: self.paused,
                allow_half_open: self.allow_half_open,
                never_resumed: !matches!(self.claim, Claim::Resumed),
                timeouts: self.timeout_state.as_ref().map(|it| it.settings.into()),
                user_timeout: self.user_timeout(),
                send_limit: self.send_limit(),
                send_marks: self.send_marks().map(Into::into),
                suspended: self.socket.app_shard().activity.is_suspended(),
                offered_by: offered_by.map(ServerSocketId::get),
                connection: connection.map(|connection| ConnectionRecord {
                    peer: (&connection.meta.peer).into(),
                    dialled: connection.meta.outbound.as_ref().map(|it| OutboundRecord {
                        local: it.local.as_ref().map(Into::into),
                        host: it.host.to_string(),
                    }),
                    write_error: connection.write_error().map(NetError::code),
                    end: connection.end().map(NetError::code),
                    peer_ended: matches!(
                        connection.read_side,
                        ReadSide::Ended(ReadEnd::Fin) | ReadSide::HalfClosed
                    ),
                    write_shut: matches!(connection.write_side, WriteSide::Shut),
                    proxy: match &self.claim {
                        Claim::Offered(notifier) => notifier.proxy_peer().and_then(proxy_record),
                        Claim::Paused | Claim::Resumed => None,
                    },
                }),
            },
        };
        self.transfer = Transfer::Frozen;
        Ok(client)
    }

    /// The socket stays in this process: it raises events again.
    fn end_transfer(&mut self) {
        self.transfer = Transfer::None;
        self.freeze_stream(false);
        self.update_fast_path();
        self.restart_timeouts();
        self.restart_rate();
        self.socket.make_ready();
    }
}

impl SocketTable {
    /// Returns the call, unless its socket is frozen: then the call waits for the handover's
    /// outcome.
    #[cold]
    pub(super) fn pop_unless_frozen(&mut self) -> Option<QueuedCall> {
        let call = self.calls.pop_front()?;
        let socket = call.socket();
        let state = self.entries.get(socket.slot() as usize);
        let is_frozen = matches!(state, Some(Entry::Socket(state))
            if state.socket == *socket && state.transfer == Transfer::Frozen);
        match &mut self.handover {
            Some(handover) if is_frozen => {
                handover.calls.push_back(call);
                None
            }
            _ => Some(call),
        }
    }

    fn begin_handover(&mut self, outcome: HandoverOutcome, ctx: &mut Context<Self>) {
        if self.handover.is_none() {
            let calls = VecDeque::new();
            self.handover = Some(PendingHandover { outcome, calls });
            self.await_outcome(ctx);
        }
    }

    /// Resumes or forgets frozen sockets when the outcome of the handover, if there is one, is
    /// known.
    pub(super) fn await_outcome(&self, ctx: &mut Context<Self>) {
        if let Some(PendingHandover { outcome, .. }) = &self.handover {
            let outcome = outcome.clone().transferred().into_actor(self);
            let finished = outcome.map(|transferred, table, _| table.finish_handover(transferred));
            ctx.spawn(finished);
        }
    }

    /// The handover's outcome is known: exported sockets are forgotten, or resume. Then come the
    /// calls that have waited.
    fn finish_handover(&mut self, is_transferred: bool) {
        let handover = self.handover.take();
        let mut calls = handover.map_or_else(VecDeque::new, |it| it.calls);
        if is_transferred {
            self.entries.retain(|_, entry| match entry {
                Entry::Socket(state) if state.transfer == Transfer::Frozen => {
                    state.finish_transfer();
                    false
                }
                _ => true,
            });
        }
        let states = self.states_mut();
        for state in states.filter(|state| state.transfer != Transfer::None) {
            state.end_transfer();
        }
        // The calls that have waited are older than those in the turn.
        calls.append(&mut self.calls);
        self.calls = calls;
        self.run_calls();
    }
}

impl SocketState {
    /// Another process owns the socket now.
    fn finish_transfer(&mut self) {
        if self.socket.mark_closed() {
            self.socket.app_shard().id_table.remove(self.socket.id());
        }
        self.end_stream(StreamEnd::HandedOver);
        // The socket raises nothing here any more.
        self.pausing.answer_all(Ok(()));
        if let Link::Connected(connection) = &mut self.link {
            // The other process sends what waits.
            connection.queue.complete_all();
        }
    }
}

impl Handler<Quiesce> for SocketTable {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Quiesce(outcome): Quiesce, ctx: &mut Self::Context) -> Self::Result {
        // Earlier calls may make sockets persistent.
        self.flush_calls();
        self.begin_handover(outcome, ctx);
        let answers: Vec<_> = self
            .states_mut()
            .filter(|state| state.persistent)
            .map(|state| {
                state.transfer = Transfer::Quiescing;
                let (handled, reply) = Answer::pair();
                match state.socket.unhandled().events() {
                    0 => reply.send(Ok(())),
                    _ => state.answer_when_handled(reply),
                }
                handled
            })
            .collect();
        Box::pin(async move {
            // Events that are unhandled after the grace do not stop the export: they were raised.
            join_all(answers).await;
        })
    }
}

impl Handler<Export> for SocketTable {
    type Result = MessageResult<Export>;

    fn handle(&mut self, call: Export, ctx: &mut Self::Context) -> Self::Result {
        let Export { offered, outcome } = call;
        // Before the calls: what a stream writes later would wait in a queue that is not exported.
        for state in self.states_mut().filter(|state| state.persistent) {
            state.freeze_stream(true);
        }
        self.flush_calls();
        self.begin_handover(outcome, ctx);
        let mut exported = Exported::default();
        for state in self.states_mut() {
            let offered_by = match state.claim {
                Claim::Offered(_) => offered.get(&state.socket.id()).copied(),
                Claim::Paused | Claim::Resumed => None,
            };
            // It is not exported. `Quiesce` may have found it persistent, and a later call changed
            // that.
            if !state.persistent && offered_by.is_none() {
                state.freeze_stream(false);
                if state.transfer != Transfer::None {
                    state.end_transfer();
                }
                continue;
            }
            match state.export(offered_by) {
                Ok(client) => exported.clients.push(client),
                Err(error) => {
                    state.end_transfer();
                    exported.not_transferred.push(NotTransferred {
                        socket: AnySocketId::Client(state.socket.app().clone(), state.socket.id()),
                        reason: error.to_string(),
                    });
                }
            }
        }
        MessageResult(exported)
    }
}
