//! The short way of a send: straight to the OS, where it is called.
//!
//! A send that nothing is before needs no turn of the rows actor: it is written
//! in its caller's thread, and only what the OS does not take at once goes the
//! long way, through the inbox. The order of a socket's calls holds, because
//! the way is open only while no call of the socket is under way
//! ([`InFlightCall`]), and shut before anything that sends may not pass.

use std::io;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::os::Writer;
use crate::sync::SharedWriterGuard;
use crate::tcp::connection::state::{Claim, SocketState, Transfer};
use crate::tcp::connection::{Link, WriteSide};
use crate::tcp::socket::ClientSocket;

/// A call on its way: while one is, later sends go behind it.
pub(in crate::tcp) struct InFlightCall(ClientSocket);

impl InFlightCall {
    pub(in crate::tcp) fn new(socket: ClientSocket) -> Self {
        socket.fast_path().begin_call();
        InFlightCall(socket)
    }

    pub(in crate::tcp) fn socket(&self) -> &ClientSocket {
        &self.0
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.0.fast_path().end_call();
    }
}

/// What has become of a send.
pub(in crate::tcp) enum WriteAttempt {
    /// The OS has taken all of it.
    Complete,
    /// The rest goes through the command queue, with the OS's error if there was one.
    Partial(Option<io::Error>),
}

/// Writes what the OS takes of `data` at once, if the way is open.
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
        Ok(written) if written == data.len() => WriteAttempt::Complete,
        Ok(written) => {
            data.advance(written);
            WriteAttempt::Partial(None)
        }
        Err(error) => {
            let is_retried = matches!(error.kind(), Interrupted | WouldBlock);
            // An error that is not the OS's comes from an event loop that has ended. The stream
            // may move to another one.
            let is_final = !is_retried && error.raw_os_error().is_some();
            // The OS may report an error once only, so the queued rest carries it.
            WriteAttempt::Partial(is_final.then_some(error))
        }
    }
}

/// That the short way to a connection is open; it is shut when this is dropped.
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
        // It may close the connection: not under the lock.
        drop(writer);
    }
}

impl SocketState {
    /// Opens or shuts the short way, as the row is now. It is never wrong to
    /// leave it shut.
    pub(in crate::tcp) fn update_fast_path(&mut self) {
        let is_claimed = !matches!(self.claim, Claim::Offered(_));
        let is_clear =
            self.transfer == Transfer::None && is_claimed && self.timeout_state.is_none();
        let Link::Connected(connection) = &mut self.link else {
            return;
        };
        if !is_clear {
            connection.close_fast_path();
        } else if matches!(connection.write_side, WriteSide::Queued)
            && let Some(writer) = connection.stream.writer()
        {
            let _guard = FastPath::open(&self.socket, writer);
            connection.write_side = WriteSide::Fast { _guard };
            // The actor does not see what is written this way.
            connection.maybe_written = true;
        }
    }
}
