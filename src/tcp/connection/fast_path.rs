//! The short way of a send: straight to the OS, where it is called.
//!
//! A send that nothing is before needs no turn of the rows actor: it is written
//! in its caller's thread, and only what the OS does not take at once goes the
//! long way, through the inbox. The order of a socket's calls holds, because
//! the way is open only while no call of the socket is under way
//! ([`Ticket`]), and shut before anything that sends may not pass.

use std::io;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::os::Writer;
use crate::tcp::actor::Rows;
use crate::tcp::connection::fast_path_guard::FastPathGuard;
use crate::tcp::connection::state::{Connection, Hold, Link, Row};
use crate::tcp::socket::ClientSocket;

/// A call on its way: while one is, later sends go behind it.
pub(in crate::tcp) struct Ticket(ClientSocket);

impl Ticket {
    pub(in crate::tcp) fn new(socket: ClientSocket) -> Self {
        socket.fast_path().enter();
        Ticket(socket)
    }

    pub(in crate::tcp) fn socket(&self) -> &ClientSocket {
        &self.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fast_path().leave();
    }
}

/// What has become of a send.
pub(in crate::tcp) enum Tried {
    /// All of it has left.
    Gone,
    /// The rest goes the long way, and with it what the OS said, if it is an
    /// error.
    Left(Option<io::Error>),
}

/// Writes what the OS takes of `data` at once, if the way is open.
pub(in crate::tcp) fn try_write(
    guard: &FastPathGuard<'_, Arc<dyn Writer>>,
    socket: &ClientSocket,
    data: &mut Bytes,
) -> Tried {
    let Some(writer) = socket.fast_path().writer(guard) else {
        return Tried::Left(None);
    };
    if data.is_empty() {
        return Tried::Left(None);
    }
    match writer.try_write(data) {
        Ok(written) if written == data.len() => Tried::Gone,
        Ok(written) => {
            data.advance(written);
            Tried::Left(None)
        }
        Err(error) if matches!(error.kind(), Interrupted | WouldBlock) => Tried::Left(None),
        // The OS says it once.
        Err(error) if error.raw_os_error().is_some() => Tried::Left(Some(error)),
        // The event loop that it belongs to has ended; it may go on elsewhere.
        Err(_) => Tried::Left(None),
    }
}

/// That the short way to a connection is open; it is shut when this is dropped.
pub(in crate::tcp) struct Shortcut(ClientSocket);

impl Shortcut {
    fn open(socket: &ClientSocket, writer: Arc<dyn Writer>) -> Self {
        socket.fast_path().open(writer);
        Shortcut(socket.clone())
    }
}

impl Drop for Shortcut {
    fn drop(&mut self) {
        let writer = self.0.fast_path().shut();
        // It may close the connection: not under the lock.
        drop(writer);
    }
}

impl Rows {
    pub(in crate::tcp) fn settle(&mut self, socket: &ClientSocket) {
        if let Some(row) = self.row(socket) {
            row.settle();
        }
    }
}

impl Row {
    /// Opens or shuts the short way, as the row is now. It is never wrong to
    /// leave it shut.
    pub(in crate::tcp) fn settle(&mut self) {
        let is_clear = self.hold == Hold::No && self.offer.is_none() && self.timing.is_none();
        if let Link::Connected(connection) = &mut self.link {
            connection.settle(is_clear, &self.socket);
        }
    }
}

impl Connection {
    fn settle(&mut self, is_clear: bool, socket: &ClientSocket) {
        if !is_clear || self.write_error.is_some() {
            self.shortcut = None;
        } else if self.shortcut.is_none() {
            let writer = self.stream.writer();
            self.shortcut = writer.map(|writer| Shortcut::open(socket, writer));
            // It is not told of what goes this way.
            self.is_used |= self.shortcut.is_some();
        }
    }
}
