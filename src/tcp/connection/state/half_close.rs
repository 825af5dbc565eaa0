//! Half-close: one side of a connection ends before the other.
//!
//! Either side may end first. The app ends its side by `shutdown_write`, with or without
//! `allow_half_open`. The peer ends its side by FIN; what follows is Chrome's way by default, and
//! half-open with `allow_half_open`.
//!
//! [`ReadSide`] × [`WriteSide`]:
//!
//! | | `Queued`, `Fast` | `Shut`, queue not empty | `Shut`, queue empty | `Failed` |
//! |---|---|---|---|---|
//! | `Open` | both ways | the FIN waits behind the sends | reads only | reads what is left |
//! | `Ended` | the end waits for its report | the same | the same | the same |
//! | `Released` | – | – | – | the end waits for its report |
//! | `HalfClosed` | sends only | sends what waits, then over | over | over |
//!
//! - **One report.** `onReceiveError` is raised once for each connection, when the read side has
//!   ended, all data was handled, and the socket is not paused. Then the connection leaves the
//!   socket, unless all of this holds: `allow_half_open` is set, the end was a FIN, and the app can
//!   still send (`Queued`, `Fast`) or sends are still leaving (`Shut` with a queue). Such a
//!   connection becomes `HalfClosed`: connected, and paused as after every report.
//! - **Over.** A half-closed connection whose write side has ended too is over. The call or the
//!   poll that sees it takes it from the socket, which is not connected and paused then. Nothing is
//!   raised: the app has had its report. It learns why from the answers of its sends.
//! - **`disconnect`, `close`, suspension, `Shutdown`** end a half-closed connection as any other,
//!   by lingering, so that earlier sends and the FIN arrive; they raise nothing, even if the app
//!   has resumed the socket. A waiting `shutdown_write` lingers with the sends before it, and is
//!   answered with them. A persistent socket stays half-closed while its app is suspended.
//! - **A reset, or the loss of the peer,** ends both sides. Before the report it is reported as
//!   ever; after it the connection is over: a half-closed socket is not read, so it waits for the
//!   error by `poll_error_ready`, as a paused one does.
//! - **Limits and drains** count the connection until it is over, since it keeps its descriptor. The
//!   deadline of a drain ends it without another report.
//! - **Timeouts.** `idle` and `send` run. A pause does not stop `idle`: there is nothing to read.
//! - **Handover.** The record says whether the peer has ended its side, whether that was reported,
//!   and whether the FIN was asked for; the other process sends what waits, and the FIN behind it.
//!   A FIN that was sent already is asked for again, which has no effect.
//! - **`secure`** is refused if either side has ended by FIN or `shutdown_write`, and changes
//!   nothing: a handshake needs both. During a handshake `shutdown_write` is refused.

use crate::answer::Reply;
use crate::error::Error;
use crate::net_error::NetError;
use crate::tcp::actor::SocketTable;
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::connection::timeouts::TimeoutState;
use crate::tcp::connection::write::PendingSend;
use crate::tcp::connection::{Connection, Link, Peeked, ReadEnd, ReadSide, WriteSide};
use crate::tcp::socket::ClientSocket;
use crate::tcp::stream::end::StreamEnd;

impl SocketTable {
    pub(in crate::tcp) fn shutdown_write(&mut self, socket: &ClientSocket, reply: Reply<()>) {
        let Some(state) = self.get(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        state.acknowledge();
        state.shutdown_write(reply);
        // Before the next call: the answer means that the socket is not connected.
        let closed = state.take_if_over();
        self.linger(closed, socket);
    }
}

impl SocketState {
    /// Ends the write side behind the sends that wait.
    pub(in crate::tcp) fn shutdown_write(&mut self, reply: Reply<()>) {
        let Link::Connected(connection) = &mut self.link else {
            return reply.send(Err(NetError::SOCKET_NOT_CONNECTED.into()));
        };
        let nothing_waits = connection.queue.is_empty();
        connection.shutdown_write(&self.socket, self.timeout_state.as_deref_mut(), reply);
        // As with data that waits, the send timeout starts.
        if nothing_waits
            && !connection.queue.is_empty()
            && let Some(timeout_state) = &mut self.timeout_state
        {
            timeout_state.record_sent();
            self.arm();
        }
    }

    /// Reports the peer's end and keeps the connection, if the app may still send on it. Otherwise
    /// returns `false`: the end of the whole connection is reported.
    pub(in crate::tcp) fn report_half_close(&mut self) -> bool {
        let Link::Connected(connection) = &mut self.link else {
            return false;
        };
        let may_stay =
            self.allow_half_open && connection.read_side == ReadSide::Ended(ReadEnd::Fin);
        if !may_stay || connection.is_write_ended() {
            return false;
        }
        connection.read_side = ReadSide::HalfClosed;
        self.end_receiving(NetError::CONNECTION_CLOSED);
        self.restart_timeouts();
        true
    }

    /// Takes a connection whose second side has ended after the first was reported.
    #[must_use = "what was sent is delivered only if it lingers"]
    pub(in crate::tcp) fn take_if_over(&mut self) -> Option<Connection> {
        // Another process may use a frozen connection: the handover's outcome decides.
        if !self.connection()?.is_over() || self.transfer == Transfer::Frozen {
            return None;
        }
        self.paused = true;
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Connected(connection) => {
                let end = connection.write_error().map(StreamEnd::Failed);
                self.end_stream(end.unwrap_or(StreamEnd::PeerShut));
                Some(connection)
            }
            _ => None,
        }
    }
}

impl Connection {
    fn shutdown_write(
        &mut self,
        socket: &ClientSocket,
        timeout_state: Option<&mut TimeoutState>,
        reply: Reply<()>,
    ) {
        match self.write_side {
            WriteSide::Failed(error, _) => return reply.send(Err(error.into())),
            WriteSide::Shut if self.queue.is_empty() => return reply.send(Ok(())),
            WriteSide::Shut | WriteSide::Queued | WriteSide::Fast { .. } => {}
        }
        // Closes the fast path, so that no send of another thread comes behind the FIN.
        self.write_side = WriteSide::Shut;
        let shutdown = PendingSend::shutdown(socket.clone(), reply);
        self.queue.push(shutdown);
        self.flush(socket, timeout_state);
        if self.write_error().is_some() {
            // The next poll finds the end, and reports it.
            socket.make_ready();
        }
    }

    /// Whether nothing more leaves.
    fn is_write_ended(&self) -> bool {
        match self.write_side {
            WriteSide::Queued | WriteSide::Fast { .. } => false,
            WriteSide::Shut => self.queue.is_empty(),
            WriteSide::Failed(..) => true,
        }
    }

    /// Whether the peer's end was reported and the connection kept.
    pub(in crate::tcp) fn is_half_closed(&self) -> bool {
        self.read_side == ReadSide::HalfClosed
    }

    /// Whether one side has ended in an orderly way, as far as the app can know.
    pub(in crate::tcp) fn is_half_open(&self) -> bool {
        self.is_half_closed() || matches!(self.write_side, WriteSide::Shut)
    }

    /// Whether both sides have ended, and the end was reported.
    pub(in crate::tcp) fn is_over(&self) -> bool {
        self.is_half_closed() && self.is_write_ended()
    }

    /// Whether the connection has an end to report, or is over.
    pub(in crate::tcp) fn has_ended(&self) -> bool {
        match self.read_side {
            ReadSide::Open => false,
            ReadSide::HalfClosed => self.is_write_ended(),
            ReadSide::Ended(_) | ReadSide::Released(_) => true,
        }
    }

    /// The stream is closed: `end` is to be reported, unless the peer's end was already.
    pub(in crate::tcp) fn release_read_side(&mut self, end: ReadEnd) {
        if !self.is_half_closed() {
            self.read_side = ReadSide::Released(end);
        }
    }

    /// The OS has reported an error of a half-closed connection: it is over.
    #[cold]
    pub(in crate::tcp) fn release_half_closed(&mut self, peeked: &Peeked) {
        let why = match peeked {
            // A read reports a reset as an end, for which sends have another code.
            Peeked::End(ReadEnd::Error(error)) if *error != NetError::CONNECTION_CLOSED => *error,
            _ => NetError::CONNECTION_RESET,
        };
        self.release(ReadEnd::Error(why), self.write_error().unwrap_or(why));
    }
}
