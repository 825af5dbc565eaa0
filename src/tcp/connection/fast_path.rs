//! The fast path of a send: a system call in the caller's thread.
//!
//! A send that no other call precedes needs no turn of the actor. Only the part that the OS does
//! not take at once goes through the command queue. The order of a socket's calls is kept, because
//! the fast path is used only while no call of the socket is in flight ([`InFlightCall`]). It is
//! closed before everything that a send must not overtake.

use std::io;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::os::Writer;
use crate::sync::SharedWriterGuard;
use crate::tcp::connection::state::{Claim, SocketState, Transfer};
use crate::tcp::connection::{Connection, Link, WriteSide};
use crate::tcp::socket::ClientSocket;

/// A call of a socket that is not finished. While there is one, the fast path is not used.
pub(in crate::tcp) struct InFlightCall {
    socket: ClientSocket,
    /// The bytes of a send that count as queued.
    unsent: usize,
}

impl InFlightCall {
    pub(in crate::tcp) fn new(socket: ClientSocket) -> Self {
        InFlightCall::send(socket, 0)
    }

    /// A send of which this many bytes wait.
    pub(in crate::tcp) fn send(socket: ClientSocket, unsent: usize) -> Self {
        socket.fast_path().begin_call(unsent);
        InFlightCall { socket, unsent }
    }

    pub(in crate::tcp) fn socket(&self) -> &ClientSocket {
        &self.socket
    }

    /// The OS has accepted a part of the send: no more than this waits.
    pub(in crate::tcp) fn set_unsent(&mut self, unsent: usize) {
        if let Some(accepted @ 1..) = self.unsent.checked_sub(unsent) {
            self.unsent = unsent;
            self.socket.fast_path().accept_bytes(accepted);
        }
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.socket.fast_path().finish_call(self.unsent);
    }
}

/// The result of a write on the fast path.
pub(in crate::tcp) enum WriteAttempt {
    /// The OS has taken all of it.
    Complete,
    /// The rest goes through the command queue, with the OS's error if there was one.
    Partial(Option<io::Error>),
}

/// Writes as much of `data` as the OS takes at once, if the fast path is usable.
pub(in crate::tcp) fn try_write(
    guard: &SharedWriterGuard<'_, Arc<dyn Writer>>,
    socket: &ClientSocket,
    data: &mut Bytes,
) -> WriteAttempt {
    let Some(writer) = socket.fast_path().writer(guard) else {
        return WriteAttempt::Partial(None);
    };
    if data.is_empty() {
        return WriteAttempt::Partial(None);
    }
    match writer.try_write(data) {
        Ok(written) if written == data.len() => {
            socket.count_sent(written);
            WriteAttempt::Complete
        }
        Ok(written) => {
            socket.count_sent(written);
            data.advance(written);
            WriteAttempt::Partial(None)
        }
        Err(error) => {
            // The OS may report an error only once, so the rest carries it.
            WriteAttempt::Partial(is_final(&error).then_some(error))
        }
    }
}

/// The result of a stream's write on the fast path.
pub(in crate::tcp) enum DirectWrite {
    /// The OS has taken this many bytes.
    Written(usize),
    /// The fast path is not usable now, or the OS takes nothing at once.
    Unavailable,
    Failed(io::Error),
}

/// Writes as much of `data` as the OS takes at once, if the fast path is usable. The caller keeps
/// the rest.
pub(in crate::tcp) fn write_directly(socket: &ClientSocket, data: &[u8]) -> DirectWrite {
    let guard = socket.fast_path().lock();
    let Some(writer) = socket.fast_path().writer(&guard) else {
        return DirectWrite::Unavailable;
    };
    match writer.try_write(data) {
        Ok(0) => DirectWrite::Unavailable,
        Ok(written) => {
            socket.count_sent(written);
            DirectWrite::Written(written)
        }
        Err(error) if is_final(&error) => DirectWrite::Failed(error),
        Err(_) => DirectWrite::Unavailable,
    }
}

/// Whether a write must not be tried again. An error without an OS number comes from an event loop
/// that has ended. The stream may move to another one, so the rest is only queued.
fn is_final(error: &io::Error) -> bool {
    let is_retried = matches!(error.kind(), Interrupted | WouldBlock);
    !is_retried && error.raw_os_error().is_some()
}

/// The fast path of a connection is open. Dropping this closes it.
pub(in crate::tcp) struct FastPath(ClientSocket);

impl FastPath {
    fn open(socket: &ClientSocket, writer: Arc<dyn Writer>) -> Self {
        socket.fast_path().open(writer);
        FastPath(socket.clone())
    }
}

impl Drop for FastPath {
    fn drop(&mut self) {
        let writer = self.0.fast_path().close();
        // Dropping the writer may close the connection, which must not happen under the lock.
        drop(writer);
    }
}

impl Connection {
    #[inline(never)]
    fn open_fast_path(&mut self, socket: &ClientSocket) {
        if let Some(writer) = self.stream.writer() {
            let _guard = FastPath::open(socket, writer);
            self.write_side = WriteSide::Fast { _guard };
            // The actor does not see what is written on the fast path.
            self.maybe_written = true;
        }
    }
}

impl SocketState {
    /// Opens or closes the fast path as the socket's state requires. A closed fast path is always
    /// correct.
    #[inline(always)]
    pub(in crate::tcp) fn update_fast_path(&mut self) {
        // The actor has to see the app's first call, which notifies the server socket. In a
        // handover, the other process may write to the connection. With timeouts, the actor has to
        // see each write.
        let is_claimed = !matches!(self.claim, Claim::Offered(_));
        let is_in_handover = self.transfer != Transfer::None;
        let is_allowed = is_claimed && !is_in_handover && self.timeout_state.is_none();
        let Link::Connected(connection) = &mut self.link else {
            return;
        };
        match connection.write_side {
            WriteSide::Fast { .. } if !is_allowed => connection.close_fast_path(),
            WriteSide::Queued if is_allowed => connection.open_fast_path(&self.socket),
            _ => {}
        }
    }
}
