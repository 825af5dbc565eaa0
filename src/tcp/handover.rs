//! Client sockets on their way to another process.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use futures::future::join_all;

use crate::answer::Answer;
use crate::connections::{ConnectionCounter, ConnectionGuard};
use crate::handover_state::{
    Client, ClientRecord, ConnectionRecord, HandoverOutcome, MAX_UNSENT, NotTransferred,
    OutboundRecord, SocketName, check_app_id,
};
use crate::ids::{ClientSocketId, ServerSocketId};
use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::command::QueuedCall;
use crate::tcp::connection::state::{Claim, SocketState, Transfer};
use crate::tcp::connection::{
    Connection, ConnectionMeta, FailureReport, Link, Outbound, ReadSide, WriteSide,
};
use crate::tcp::socket::ClientSocket;
use crate::tcp::{SocketProperties, Timeouts};

/// Persistent sockets raise nothing any more until the verdict; answered when
/// listeners have handled what was raised before, or after
/// [`PAUSE_GRACE`](crate::PAUSE_GRACE).
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce(pub(crate) HandoverOutcome);

/// What persistent sockets leave, and clients that nobody has heard of. From
/// here on they stand still: their calls wait for the verdict.
#[derive(Message)]
#[rtype(result = "Exported")]
pub(crate) struct Export {
    pub(crate) offered: Arc<HashMap<ClientSocketId, ServerSocketId>>,
    /// That of [`Quiesce`], which this actor may not have had: it may be younger.
    pub(crate) outcome: HandoverOutcome,
}

/// A handover that goes on, and the calls that wait for its end.
pub(super) struct PendingHandover {
    outcome: HandoverOutcome,
    calls: VecDeque<QueuedCall>,
}

#[derive(Default)]
pub(crate) struct Exported {
    pub(crate) clients: Vec<Client>,
    pub(crate) not_transferred: Vec<NotTransferred>,
}

/// What another process has left.
pub(crate) struct Inherited {
    pub(crate) record: ClientRecord,
    pub(crate) connection: Option<InheritedConnection>,
}

pub(crate) struct InheritedConnection {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) record: ConnectionRecord,
    pub(crate) unsent: Bytes,
    /// Only its end is left of it.
    pub(crate) is_released: bool,
    /// It is one of those that are open, from when it is taken over.
    pub(crate) connection_guard: Option<ConnectionGuard>,
}

impl Inherited {
    /// It is taken over, and counts before anybody else comes.
    pub(crate) fn count_connection(&mut self, counter: &Arc<ConnectionCounter>) {
        if let Some(connection) = &mut self.connection
            && !connection.is_released
        {
            let was_accepted = connection.record.dialled.is_none();
            // Which server socket accepted it is not known here.
            connection.connection_guard =
                Some(ConnectionGuard::opened(counter.clone(), was_accepted));
        }
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        let timeouts = self.record.timeouts.map(Timeouts::from);
        // What another process says is as good as what the app says.
        timeouts
            .and_then(|it| it.checked().ok())
            .unwrap_or_default()
    }
}

impl SocketState {
    pub(super) fn inherited(socket: ClientSocket, inherited: Inherited) -> Self {
        let Inherited { record, connection } = inherited;
        let mut state = SocketState::new(socket);
        // The name has been checked before.
        let _ = state.update(SocketProperties {
            persistent: Some(true),
            name: record.name,
            buffer_size: record.buffer_size,
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
            } = from.record;
            let outbound = dialled.map(|record| {
                Box::new(Outbound {
                    local: record.local,
                    host: record.host.into(),
                    is_secured: false,
                })
            });
            let meta = ConnectionMeta {
                peer,
                outbound,
                connection_guard: from.connection_guard,
                pinned_shard: None,
            };
            let mut connection = Connection::new(from.stream, Box::new(meta));
            if let Some(end) = end.and_then(NetError::from_code) {
                connection.read_side = match from.is_released {
                    true => ReadSide::Released(end),
                    false => ReadSide::Ended(end),
                };
            }
            match write_error.and_then(NetError::from_code) {
                Some(error) => {
                    let report = FailureReport::ByReading;
                    connection.write_side = WriteSide::Failed(error, report);
                }
                None => connection.queue.inherit(&state.socket, from.unsent),
            }
            state.link = Link::Connected(connection);
        }
        state.register_with_arbiter()
    }

    fn export(&mut self, offered_by: Option<ServerSocketId>) -> io::Result<Client> {
        if let Link::Connecting(_) | Link::Securing(_) = self.link {
            return Err(io::Error::other("it is still connecting, or being secured"));
        }
        if self.has_returned() {
            return Err(io::Error::other(
                "its listener died, and it has data to tell again",
            ));
        }
        check_app_id(self.socket.app())?;
        if let Link::Connected(connection) = &mut self.link {
            connection.close_fast_path();
        }
        let connection = self.connection();
        if connection.is_some_and(|connection| connection.queue.bytes() > MAX_UNSENT) {
            return Err(io::Error::other("too many bytes of it wait to be sent"));
        }
        let stream = connection
            .filter(|connection| !matches!(connection.read_side, ReadSide::Released(_)))
            .map(|connection| connection.stream.duplicate());
        let client = Client {
            stream: stream.transpose()?,
            unsent: connection.map_or_else(Vec::new, |connection| connection.queue.unsent()),
            record: ClientRecord {
                app: self.socket.app().as_str().to_owned(),
                id: self.socket.id().get(),
                name: self.name.as_deref().map(str::to_owned),
                buffer_size: self.buffer_size,
                paused: self.paused,
                never_resumed: !matches!(self.claim, Claim::Resumed),
                timeouts: self.timeout_state.as_ref().map(|it| it.settings.into()),
                suspended: self.socket.app_shard().activity.is_suspended(),
                offered_by: offered_by.map(ServerSocketId::get),
                connection: connection.map(|connection| ConnectionRecord {
                    peer: connection.meta.peer,
                    dialled: connection.meta.outbound.as_ref().map(|it| OutboundRecord {
                        local: it.local,
                        host: it.host.to_string(),
                    }),
                    write_error: connection.write_error().map(NetError::code),
                    end: connection.end().map(NetError::code),
                }),
            },
        };
        self.transfer = Transfer::Frozen;
        Ok(client)
    }

    fn end_transfer(&mut self) {
        self.transfer = Transfer::None;
        self.update_fast_path();
        self.restart_timeouts();
        self.socket.make_ready();
    }
}

impl SocketTable {
    /// The call, unless its row stands still: then it waits.
    #[inline]
    pub(super) fn defer_if_frozen(&mut self, call: QueuedCall) -> Option<QueuedCall> {
        if self.handover.is_none() {
            return Some(call);
        }
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

    /// Goes on when the handover is over, if there is one.
    pub(super) fn await_outcome(&self, ctx: &mut Context<Self>) {
        if let Some(PendingHandover { outcome, .. }) = &self.handover {
            let outcome = outcome.clone().is_transferred().into_actor(self);
            ctx.spawn(
                outcome.map(|is_transferred, table, _| table.finish_handover(is_transferred)),
            );
        }
    }

    /// The end of a handover: what was taken is forgotten or goes on, and then
    /// come the calls that have waited.
    fn finish_handover(&mut self, is_transferred: bool) {
        let mut calls = self
            .handover
            .take()
            .map_or_else(VecDeque::new, |it| it.calls);
        if is_transferred {
            self.entries.retain(|_, entry| match entry {
                Entry::Socket(state) if state.transfer == Transfer::Frozen => {
                    state.finish_transfer();
                    false
                }
                _ => true,
            });
        }
        for state in self
            .states_mut()
            .filter(|state| state.transfer != Transfer::None)
        {
            state.end_transfer();
        }
        calls.append(&mut self.calls);
        self.calls = calls;
        self.run_calls();
    }
}

impl SocketState {
    /// Another process has it now.
    fn finish_transfer(&mut self) {
        if self.socket.mark_closed() {
            self.socket.app_shard().id_table.remove(self.socket.id());
        }
        self.pausing.answer_all(Ok(()));
        if let Link::Connected(connection) = &mut self.link {
            connection.queue.complete_all();
        }
    }
}

impl Handler<Quiesce> for SocketTable {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Quiesce(outcome): Quiesce, ctx: &mut Self::Context) -> Self::Result {
        // What was called before is done before.
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
            // After the grace it goes all the same: the events were raised.
            join_all(answers).await;
        })
    }
}

impl Handler<Export> for SocketTable {
    type Result = MessageResult<Export>;

    fn handle(&mut self, call: Export, ctx: &mut Self::Context) -> Self::Result {
        let Export { offered, outcome } = call;
        self.flush_calls();
        self.begin_handover(outcome, ctx);
        let mut exported = Exported::default();
        for state in self.states_mut() {
            let offered_by = match state.claim {
                Claim::Offered(_) => offered.get(&state.socket.id()).copied(),
                Claim::Paused | Claim::Resumed => None,
            };
            if !state.persistent && offered_by.is_none() {
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
                        socket: SocketName::Client(state.socket.app().clone(), state.socket.id()),
                        reason: error.to_string(),
                    });
                }
            }
        }
        MessageResult(exported)
    }
}
