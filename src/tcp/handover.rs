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
    AnySocketId, ClientRecord, ConnectionRecord, HandoverOutcome, MAX_UNSENT, NotTransferred,
    OutboundRecord, TransferredClient, check_app_id,
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
pub(super) struct Waiting {
    outcome: HandoverOutcome,
    calls: Vec<QueuedCall>,
}

#[derive(Default)]
pub(crate) struct Exported {
    pub(crate) clients: Vec<TransferredClient>,
    pub(crate) left: Vec<NotTransferred>,
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
    pub(crate) is_let_go: bool,
    /// It is one of those that are open, from when it is taken over.
    pub(crate) connection_guard: Option<ConnectionGuard>,
}

impl Inherited {
    /// It is taken over, and counts before anybody else comes.
    pub(crate) fn arrive(&mut self, counter: &Arc<ConnectionCounter>) {
        if let Some(connection) = &mut self.connection
            && !connection.is_let_go
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
        let mut row = SocketState::new(socket);
        // The name has been checked before.
        let _ = row.update(SocketProperties {
            persistent: Some(true),
            name: record.name,
            buffer_size: record.buffer_size,
        });
        row.paused = record.paused;
        row.claim = match record.never_resumed {
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
            let dialled = dialled.map(|dialled| Outbound {
                local: dialled.local,
                host: dialled.host.into(),
                is_secured: false,
            });
            let ends = ConnectionMeta {
                peer,
                dialled: dialled.map(Box::new),
                connection_guard: from.connection_guard,
                pinned_shard: None,
            };
            let mut connection = Connection::new(from.stream, Box::new(ends));
            if let Some(end) = end.and_then(NetError::from_code) {
                connection.read_side = match from.is_let_go {
                    true => ReadSide::Released(end),
                    false => ReadSide::Ended(end),
                };
            }
            match write_error.and_then(NetError::from_code) {
                Some(error) => {
                    let report = FailureReport::ByReading;
                    connection.write_side = WriteSide::Failed(error, report);
                }
                None => connection.queue.inherit(&row.socket, from.unsent),
            }
            row.link = Link::Connected(connection);
        }
        row.arrived()
    }

    fn take(&mut self, offered_by: Option<ServerSocketId>) -> io::Result<TransferredClient> {
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
        let client = TransferredClient {
            stream: stream.transpose()?,
            unsent: connection.map_or_else(Vec::new, |connection| connection.queue.unsent()),
            record: ClientRecord {
                app: self.socket.app().as_str().to_owned(),
                id: self.socket.id().get(),
                name: self.name.as_deref().map(str::to_owned),
                buffer_size: self.buffer_size,
                paused: self.paused,
                never_resumed: !matches!(self.claim, Claim::Resumed),
                timeouts: self.timing.as_ref().map(|it| it.settings.into()),
                suspended: self.socket.app_shard().activity.is_suspended(),
                offered_by: offered_by.map(ServerSocketId::get),
                connection: connection.map(|connection| ConnectionRecord {
                    peer: connection.ends.peer,
                    dialled: connection.ends.dialled.as_ref().map(|it| OutboundRecord {
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

    fn release(&mut self) {
        self.transfer = Transfer::None;
        self.settle();
        self.restart_time_outs();
        self.socket.make_ready();
    }
}

impl SocketTable {
    /// The call, unless its row stands still: then it waits.
    #[inline]
    pub(super) fn unless_taken(&mut self, call: QueuedCall) -> Option<QueuedCall> {
        if self.waiting.is_none() {
            return Some(call);
        }
        let socket = call.socket();
        let row = self.entries.get(socket.slot() as usize);
        let taken = matches!(row, Some(Entry::Socket(row))
            if row.socket == *socket && row.transfer == Transfer::Frozen);
        match &mut self.waiting {
            Some(waiting) if taken => {
                waiting.calls.push(call);
                None
            }
            _ => Some(call),
        }
    }

    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut SocketState> {
        self.entries
            .iter_mut()
            .filter_map(|(_, entry)| match entry {
                Entry::Socket(row) => Some(row),
                Entry::Lingering(_) => None,
            })
    }

    fn wait_for(&mut self, outcome: HandoverOutcome, ctx: &mut Context<Self>) {
        if self.waiting.is_none() {
            let calls = Vec::new();
            self.waiting = Some(Waiting { outcome, calls });
            self.wait_for_verdict(ctx);
        }
    }

    /// Goes on when the handover is over, if there is one.
    pub(super) fn wait_for_verdict(&self, ctx: &mut Context<Self>) {
        if let Some(Waiting { outcome, .. }) = &self.waiting {
            let over = outcome.clone().transferred().into_actor(self);
            ctx.spawn(over.map(|gone, rows, _| rows.conclude(gone)));
        }
    }

    /// The end of a handover: what was taken is forgotten or goes on, and then
    /// come the calls that have waited.
    fn conclude(&mut self, gone: bool) {
        let waiting = self.waiting.take();
        let mut waiting = VecDeque::from(waiting.map_or_else(Vec::new, |it| it.calls));
        if gone {
            self.entries.retain(|_, entry| match entry {
                Entry::Socket(row) if row.transfer == Transfer::Frozen => {
                    row.leave();
                    false
                }
                _ => true,
            });
        }
        for row in self.rows().filter(|row| row.transfer != Transfer::None) {
            row.release();
        }
        waiting.append(&mut self.calls);
        self.calls = waiting;
        self.answer();
    }
}

impl SocketState {
    /// Another process has it now.
    fn leave(&mut self) {
        if self.socket.mark_closed() {
            self.socket.app_shard().table.remove(self.socket.id());
        }
        self.pausing.answer_all(Ok(()));
        if let Link::Connected(connection) = &mut self.link {
            connection.queue.leave();
        }
    }
}

impl Handler<Quiesce> for SocketTable {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Quiesce(outcome): Quiesce, ctx: &mut Self::Context) -> Self::Result {
        // What was called before is done before.
        self.catch_up();
        self.wait_for(outcome, ctx);
        let quiet: Vec<_> = self
            .rows()
            .filter(|row| row.persistent)
            .map(|row| {
                row.transfer = Transfer::Quiescing;
                let (quiet, reply) = Answer::pair();
                match row.socket.unhandled_events() {
                    0 => reply.send(Ok(())),
                    _ => row.when_handled(reply),
                }
                quiet
            })
            .collect();
        Box::pin(async move {
            // After the grace it goes all the same: the events were raised.
            join_all(quiet).await;
        })
    }
}

impl Handler<Export> for SocketTable {
    type Result = MessageResult<Export>;

    fn handle(&mut self, call: Export, ctx: &mut Self::Context) -> Self::Result {
        let Export { offered, outcome } = call;
        self.catch_up();
        self.wait_for(outcome, ctx);
        let mut taken = Exported::default();
        for row in self.rows() {
            let offer = match row.claim {
                Claim::Offered(_) => offered.get(&row.socket.id()).copied(),
                Claim::Paused | Claim::Resumed => None,
            };
            if !row.persistent && offer.is_none() {
                if row.transfer != Transfer::None {
                    row.release();
                }
                continue;
            }
            match row.take(offer) {
                Ok(client) => taken.clients.push(client),
                Err(error) => {
                    row.release();
                    taken.left.push(NotTransferred {
                        socket: AnySocketId::Client(row.socket.app().clone(), row.socket.id()),
                        reason: error.to_string(),
                    });
                }
            }
        }
        MessageResult(taken)
    }
}
