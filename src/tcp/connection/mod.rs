//! The connection of a client socket: its link, its read side and its write side.

pub(super) mod buffer_pool;
pub(super) mod connect;
pub(super) mod ending;
pub(super) mod fast_path;
pub(super) mod linger;
pub(super) mod read;
pub(super) mod redelivery;
pub(super) mod secure;
pub(super) mod state;
pub(super) mod timeouts;
pub(super) mod write;

use std::io;
use std::task::{Context, Poll};

use actix_rt::task::JoinHandle;

use crate::address::Address;
use crate::answer::Reply;
use crate::app_activity::PendingCall;
use crate::connections::{ConnectionGuard, PeerKey};
use crate::ids::ClientSocketId;
use crate::net_error::{self, NetError};
use crate::os::{Stream, retry_if_spurious};
use crate::tcp::connection::connect::Connected;
use crate::tcp::connection::fast_path::FastPath;
use crate::tcp::connection::secure::Securing;
use crate::tcp::connection::timeouts::TimeoutState;
use crate::tcp::connection::write::{PendingSend, WriteQueue};
use crate::tcp::socket::ClientSocket;
use crate::telemetry::Span;

pub(in crate::tcp) enum Link {
    None,
    Connecting(Box<Connecting>),
    Connected(Connection),
    Securing(Box<Securing>),
}

pub(in crate::tcp) struct Connecting {
    pub(in crate::tcp) attempt: u64,
    pub(in crate::tcp) task: JoinHandle<()>,
    pub(in crate::tcp) reply: Reply<()>,
    pub(in crate::tcp) _pending: PendingCall,
}

pub(in crate::tcp) struct Connection {
    /// Declared before `stream`: dropping it closes the fast path, which must happen before the
    /// stream is closed.
    pub(in crate::tcp) write_side: WriteSide,
    pub(in crate::tcp) read_side: ReadSide,
    pub(in crate::tcp) stream: Box<dyn Stream>,
    pub(in crate::tcp) queue: WriteQueue,
    /// Boxed, because only `getInfo` and the end of the connection need it; what every event
    /// touches stays together.
    pub(in crate::tcp) meta: Box<ConnectionMeta>,
    /// Whether anything may have been written that the peer could lose.
    pub(in crate::tcp) maybe_written: bool,
}

/// How sends reach the OS.
pub(in crate::tcp) enum WriteSide {
    /// Through the write queue, which the actor flushes.
    Queued,
    /// In the caller's thread, while the write queue is empty and no call is in flight.
    Fast {
        /// Closes the fast path when it is dropped.
        _guard: FastPath,
    },
    /// Not any more: `shutdown_write` was called, and each later send fails. The write queue ends
    /// with the call until the OS has everything before it; empty, it means that the OS sends its
    /// end (FIN). Data may still be read.
    Shut,
    /// Not any more: each send fails with this error. The write queue is empty. Data may still be
    /// read.
    Failed(NetError, ReportedBy),
}

/// How the app learns that the write side has failed, besides the answers of its sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum ReportedBy {
    /// Reading meets the same end, and `onReceiveError` reports it.
    Reading,
    /// Reading does not show the failure. The answer of each failed send has reported it.
    Answers,
    /// A fire-and-forget send failed: the app learns of it only from `onReceiveError`.
    End,
}

/// Whether data may still be read. `state/half_close.rs` has the rules for one side that ends before
/// the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum ReadSide {
    Open,
    /// No more data comes, for this reason. `onReceiveError` has not reported it yet.
    Ended(ReadEnd),
    /// As `Ended`, and the descriptor is closed.
    Released(ReadEnd),
    /// The peer has ended its side, and `onReceiveError` has reported it. The app may still send.
    HalfClosed,
}

/// Why no more data comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum ReadEnd {
    /// The peer has shut its writing side (FIN). It may still receive.
    Fin,
    /// The connection is gone both ways.
    Error(NetError),
}

impl ReadEnd {
    /// The result code of `onReceiveError`.
    pub(in crate::tcp) fn code(self) -> NetError {
        match self {
            ReadEnd::Fin => NetError::CONNECTION_CLOSED,
            ReadEnd::Error(error) => error,
        }
    }
}

/// What the next read would return.
pub(in crate::tcp) enum Peeked {
    Nothing,
    Data,
    End(ReadEnd),
}

pub(crate) struct ConnectionMeta {
    pub(in crate::tcp) peer: Address,
    /// Only if `connect` made the connection; boxed, so that accepted sockets need no room for it.
    pub(in crate::tcp) outbound: Option<Box<Outbound>>,
    /// Counts the connection as open until it is dropped.
    pub(in crate::tcp) connection_guard: Option<ConnectionGuard>,
    /// The arbiter that accepted it, if it has to stay there.
    pub(in crate::tcp) pinned_shard: Option<u16>,
    /// Whether the stream uses TLS.
    pub(in crate::tcp) is_encrypted: bool,
    /// Whether a write has failed because the peer has reset the connection.
    pub(in crate::tcp) write_met_reset: bool,
    pub(in crate::tcp) span: Span,
}

impl ConnectionMeta {
    /// Keeps the connection in this arbiter, where an event loop has it already.
    pub(crate) fn pin_to(&mut self, arbiter: Option<usize>) {
        self.pinned_shard = arbiter.and_then(|arbiter| u16::try_from(arbiter).ok());
    }

    pub(in crate::tcp) fn pinned_shard(&self) -> Option<usize> {
        self.pinned_shard.map(usize::from)
    }

    /// The connection has this socket from now on.
    pub(crate) fn set_socket(&self, id: ClientSocketId) {
        self.span.set_socket(id);
    }

    /// The span of the connection.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Of an accepted connection.
    pub(crate) fn accepted(
        peer: Address,
        connection_guard: ConnectionGuard,
        span: Span,
    ) -> Box<Self> {
        Box::new(ConnectionMeta {
            peer,
            outbound: None,
            connection_guard: Some(connection_guard),
            pinned_shard: None,
            is_encrypted: false,
            write_met_reset: false,
            span,
        })
    }

    /// The stream of the connection uses TLS from now on.
    pub(crate) fn mark_encrypted(&mut self) {
        self.is_encrypted = true;
    }

    pub(crate) fn peer(&self) -> &Address {
        &self.peer
    }

    /// A proxy has named the client of this accepted connection. `counted_for_peer` as in
    /// [`ConnectionGuard::accepted`].
    pub(crate) fn set_client(
        &mut self,
        client: Address,
        key: PeerKey,
        counted_for_peer: [bool; 3],
    ) {
        self.peer = client;
        if let Some(guard) = &mut self.connection_guard {
            guard.count_for_peer(key, counted_for_peer);
        }
    }
}

pub(in crate::tcp) struct Outbound {
    pub(in crate::tcp) local: Option<Address>,
    /// The host that `connect` was given. The certificate must be valid for it.
    pub(in crate::tcp) host: Box<str>,
}

impl Connection {
    pub(in crate::tcp) fn new(stream: Box<dyn Stream>, meta: Box<ConnectionMeta>) -> Self {
        Connection::encrypted(stream, meta, WriteQueue::default())
    }

    /// A connection on this stream, with sends that already wait for it.
    pub(in crate::tcp) fn encrypted(
        stream: Box<dyn Stream>,
        meta: Box<ConnectionMeta>,
        queue: WriteQueue,
    ) -> Self {
        Connection {
            write_side: WriteSide::Queued,
            read_side: ReadSide::Open,
            stream,
            queue,
            meta,
            maybe_written: true,
        }
    }

    /// Why no more data comes, if that is not reported yet.
    pub(in crate::tcp) fn unreported_end(&self) -> Option<ReadEnd> {
        match self.read_side {
            ReadSide::Open | ReadSide::HalfClosed => None,
            ReadSide::Ended(end) | ReadSide::Released(end) => Some(end),
        }
    }

    /// The result code with which that end is to be reported.
    pub(in crate::tcp) fn end(&self) -> Option<NetError> {
        self.unreported_end().map(ReadEnd::code)
    }

    /// The error with which sends have failed.
    pub(in crate::tcp) fn write_error(&self) -> Option<NetError> {
        match self.write_side {
            WriteSide::Failed(error, _) => Some(error),
            WriteSide::Queued | WriteSide::Fast { .. } | WriteSide::Shut => None,
        }
    }

    /// Sends after this go through the command queue. A write side that was shut or has failed
    /// stays so.
    pub(in crate::tcp) fn close_fast_path(&mut self) {
        if let WriteSide::Fast { .. } = self.write_side {
            self.write_side = WriteSide::Queued;
        }
    }

    fn send(&mut self, pending: PendingSend, socket: &ClientSocket) {
        match &mut self.write_side {
            WriteSide::Failed(error, report) => {
                // The first send without an answer: from now on only `onReceiveError` can report
                // the failure.
                if *report == ReportedBy::Answers && pending.is_fire_and_forget() {
                    *report = ReportedBy::End;
                    socket.make_ready();
                }
                return pending.fail((*error).into());
            }
            WriteSide::Shut => return pending.fail(NetError::SOCKET_NOT_CONNECTED.into()),
            WriteSide::Queued | WriteSide::Fast { .. } => {}
        }
        self.maybe_written = true;
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        if let Err(error) = self.queue.write(pending, &mut *self.stream, &mut cx) {
            self.write_failed(&error);
            // The next poll finds the end, and reports it or takes the connection.
            if !matches!(self.write_side, WriteSide::Failed(_, ReportedBy::Answers))
                || self.is_over()
            {
                socket.make_ready();
            }
        }
    }

    /// Writes waiting data as far as the OS takes it.
    pub(in crate::tcp) fn flush(
        &mut self,
        socket: &ClientSocket,
        timeout_state: Option<&mut TimeoutState>,
    ) {
        let waker = socket.waker();
        let before = timeout_state.is_some().then(|| self.queue.progress());
        let mut cx = Context::from_waker(&waker);
        if let Poll::Ready(Err(error)) = self.queue.poll_flush(&mut *self.stream, &mut cx) {
            self.write_failed(&error);
        }
        if let Some(timeout_state) = timeout_state
            && before != Some(self.queue.progress())
        {
            // The OS took something, so the peer makes progress.
            timeout_state.record_sent();
        }
    }

    /// Looks what a read would return. After `Nothing`, the socket becomes ready when something
    /// comes.
    pub(in crate::tcp) fn peek(&mut self, socket: &ClientSocket) -> Peeked {
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        match retry_if_spurious(self.stream.poll_peek(&mut cx), &mut cx) {
            Poll::Pending => Peeked::Nothing,
            Poll::Ready(Ok(true)) => Peeked::Data,
            Poll::Ready(Ok(false)) => Peeked::End(ReadEnd::Fin),
            Poll::Ready(Err(error)) => Peeked::End(ReadEnd::Error(net_error::read(&error))),
        }
    }

    /// Whether a write has met the end of the connection.
    pub(in crate::tcp) fn has_lost_peer(&self) -> bool {
        matches!(self.write_side, WriteSide::Failed(_, ReportedBy::Reading))
    }

    /// Fails waiting and later sends. Received data can still be read.
    fn write_failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
        let report = match error.kind() {
            // These mean that the peer is gone, which the next read meets too.
            BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut => ReportedBy::Reading,
            // Others, such as `ENOBUFS`, leave the read side intact.
            _ if self.queue.has_fire_and_forget() => ReportedBy::End,
            _ => ReportedBy::Answers,
        };
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | TimedOut) {
            // Not a broken pipe: the OS reports that after the peer's orderly end.
            self.meta.write_met_reset = true;
        }
        self.fail_writes(net_error::write(error), report);
    }

    pub(in crate::tcp) fn fail_writes(&mut self, error: NetError, report: ReportedBy) {
        self.write_side = WriteSide::Failed(error, report);
        self.queue.fail(error.into());
    }

    /// A connection that `connect` made.
    pub(in crate::tcp) fn outbound(connected: Connected, socket: &ClientSocket) -> Self {
        let counter = &socket.app_shard().counter;
        let span = Span::connection(socket.app(), None, &connected.peer);
        span.set_socket(socket.id());
        let outbound = Outbound {
            local: connected.local,
            host: connected.host,
        };
        let meta = ConnectionMeta {
            peer: connected.peer,
            outbound: Some(Box::new(outbound)),
            connection_guard: Some(ConnectionGuard::opened(counter.clone(), false)),
            pinned_shard: None,
            is_encrypted: false,
            write_met_reset: false,
            span,
        };
        let mut connection = Connection::new(connected.stream, Box::new(meta));
        connection.maybe_written = connected.has_written;
        connection
    }
}

#[cfg(test)]
mod tests;
