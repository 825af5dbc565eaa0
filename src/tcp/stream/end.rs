//! Why a stream has ended, and the `io::Error` that its owner gets.

use std::io;

use crate::error::Error;
use crate::net_error::NetError;

/// Why a stream delivers or accepts nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum StreamEnd {
    /// The peer has shut its writing side (FIN): reads return 0 bytes.
    PeerShut,
    /// The network, a timeout or the deadline of a drain has ended the connection.
    Failed(NetError),
    /// The app has closed, disconnected or reset the socket by its handle, or its registry has
    /// ended.
    Closed,
    /// The app was suspended or unloaded.
    Suspended,
    /// Another process owns the socket.
    HandedOver,
}

impl StreamEnd {
    /// As `Failed`, with the error of a send.
    pub(in crate::tcp) fn of_send(error: Error) -> Self {
        match error {
            Error::Net(error) => StreamEnd::Failed(error),
            _ => StreamEnd::Closed,
        }
    }

    /// The error of a write, and of a read unless the end is orderly.
    pub(in crate::tcp) fn error(self) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted};
        match self {
            StreamEnd::PeerShut => io::Error::new(BrokenPipe, "the connection has ended"),
            StreamEnd::Failed(error) => Error::Net(error).into(),
            StreamEnd::Closed => io::Error::new(ConnectionAborted, "the socket was closed"),
            StreamEnd::Suspended => Error::Suspended.into(),
            StreamEnd::HandedOver => io::Error::new(
                ConnectionAborted,
                "the socket was handed over to another process",
            ),
        }
    }
}

/// The error of a call that a stream has made.
pub(in crate::tcp) fn call_error(error: Error) -> io::Error {
    StreamEnd::of_send(error).error()
}
