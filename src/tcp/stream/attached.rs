//! The socket's side of a stream: it receives the socket's data and its end in place of listeners.

use std::sync::Arc;

use crate::answer::Reply;
use crate::error::Error;
use crate::net_error::NetError;
use crate::tcp::actor::SocketTable;
use crate::tcp::connection::buffer_pool::Filled;
use crate::tcp::connection::read::ListenerCache;
use crate::tcp::connection::redelivery::{Undelivered, UndeliveredData};
use crate::tcp::connection::state::SocketState;
use crate::tcp::connection::{Link, ReadEnd, ReadSide};
use crate::tcp::shards::receive_windows::MIN_EVENT_CHARGE;
use crate::tcp::socket::{ClientSocket, Credit};
use crate::tcp::socket_listeners::OwnListeners;
use crate::tcp::stream::ClientStream;
use crate::tcp::stream::end::StreamEnd;
use crate::tcp::stream::shared::{Chunk, Reader, StreamShared};

/// The stream of a socket, while it has one. Dropping it with the socket ends the stream.
pub(crate) struct AttachedStream(Arc<StreamShared>);

impl Drop for AttachedStream {
    fn drop(&mut self) {
        // An earlier end counts.
        self.0.end(StreamEnd::Closed);
    }
}

impl SocketTable {
    pub(in crate::tcp) fn start_stream(
        &mut self,
        socket: &ClientSocket,
        reply: Reply<ClientStream>,
    ) {
        let Some(state) = self.get(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        state.acknowledge();
        let stream = state.attach_stream();
        let is_attached = stream.is_ok();
        reply.send(stream);
        if is_attached {
            self.poll_slot(socket.slot(), &mut ListenerCache::default());
        }
    }
}

impl SocketState {
    fn attach_stream(&mut self) -> Result<ClientStream, Error> {
        if self.stream().is_some() {
            return Err(Error::AlreadyStream);
        }
        if self.socket.app_shard().activity.is_suspended() {
            return Err(Error::Suspended);
        }
        let Link::Connected(connection) = &self.link else {
            return Err(NetError::SOCKET_NOT_CONNECTED.into());
        };
        let is_half_closed = connection.is_half_closed();
        let shared = Arc::<StreamShared>::default();
        let stream = OwnListeners::Stream(AttachedStream(shared.clone()));
        self.set_own_listeners(Some(Box::new(stream)));
        self.allow_half_open = true;
        if is_half_closed {
            // `onReceiveError` has reported it.
            shared.end_reads(StreamEnd::PeerShut);
        } else {
            self.paused = false;
            self.pausing.answer_all(Ok(()));
        }
        self.mark_claimed();
        self.restart_timeouts();
        Ok(ClientStream::new(self.socket.clone(), shared))
    }

    /// Gives received data to the stream.
    pub(in crate::tcp) fn push_to_stream(&mut self, data: Filled<'_>) {
        self.last_raised += 1;
        let Some(AttachedStream(shared)) = self.stream() else {
            return;
        };
        let charge = data.len().max(MIN_EVENT_CHARGE);
        let amount = self.socket.acquire(charge);
        match shared.push(data, amount, self.last_raised) {
            Ok(()) => {}
            // The next call takes the socket from its stream.
            Err((Reader::Returned, chunk)) => {
                let data = chunk.into_undelivered(&self.socket);
                self.requeue(Undelivered::Data(data));
            }
            // The next call closes the socket.
            Err((_, chunk)) => self.socket.release(chunk.amount),
        }
    }

    /// Reports an end to the stream, if there is one, in place of `onReceiveError`.
    pub(in crate::tcp) fn report_to_stream(&mut self, result_code: NetError) -> bool {
        let Some(AttachedStream(shared)) = self.stream() else {
            return false;
        };
        let connection = self.connection();
        let was_reset = connection.is_some_and(|connection| connection.meta.write_met_reset);
        match connection.map(|connection| connection.read_side) {
            // The OS reports a reset once, and a write has met it: a read returns 0 bytes.
            Some(ReadSide::Ended(_) | ReadSide::Released(_)) if was_reset => {
                self.end_stream(StreamEnd::Failed(result_code));
            }
            // It can still write.
            Some(ReadSide::HalfClosed) => shared.end_reads(StreamEnd::PeerShut),
            Some(ReadSide::Ended(ReadEnd::Fin) | ReadSide::Released(ReadEnd::Fin)) => {
                self.end_stream(StreamEnd::PeerShut);
            }
            _ => self.end_stream(StreamEnd::Failed(result_code)),
        }
        true
    }

    /// The socket loses its connection, and the stream its socket.
    pub(in crate::tcp) fn end_stream(&mut self, end: StreamEnd) {
        if let Some(stream) = self.take_stream() {
            stream.0.end(end);
        }
    }

    /// Whether the socket has a stream that has not read everything.
    pub(in crate::tcp) fn has_unread_stream(&self) -> bool {
        self.stream().is_some_and(|stream| !stream.0.is_read())
    }

    /// Writes of the stream wait for the outcome of a handover, or go on.
    pub(in crate::tcp) fn freeze_stream(&self, frozen: bool) {
        if let Some(AttachedStream(shared)) = self.stream() {
            shared.set_frozen(frozen);
        }
    }

    /// The app is suspended, and the socket stays: what the stream has not read waits for
    /// listeners.
    pub(in crate::tcp) fn detach_stream(&mut self, end: StreamEnd) {
        if let Some(stream) = self.take_stream() {
            let (chunks, _) = stream.0.release(Reader::Returned);
            stream.0.end(end);
            for chunk in chunks {
                let data = chunk.into_undelivered(&self.socket);
                self.requeue(Undelivered::Data(data));
            }
        }
    }

    /// The app has taken the socket from its stream.
    pub(in crate::tcp) fn take_from_stream(&mut self, unread: Vec<UndeliveredData>) {
        self.set_own_listeners(None);
        self.paused = true;
        for data in unread {
            self.requeue(Undelivered::Data(data));
        }
    }
}

impl Chunk {
    /// As data that returns to the socket, with its part of the window.
    pub(in crate::tcp) fn into_undelivered(self, socket: &ClientSocket) -> UndeliveredData {
        UndeliveredData {
            sequence: self.sequence,
            bytes: self.data.into_bytes(),
            credit: Credit::from_amount(socket, self.amount),
            panics: 0,
        }
    }
}
