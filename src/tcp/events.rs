//! What `chrome.sockets.tcp` raises.

use actix::Message;
use bytes::Bytes;

use crate::events::{Event, EventCopy};
use crate::ids::ClientSocketId;
use crate::net_error::NetError;
use crate::tcp::connection::redelivery::{Undelivered, UndeliveredData};
use crate::tcp::socket::{ClientSocket, Credit};

/// `tcp.onReceive`: data came in on an un-paused socket.
///
/// The event holds a *credit* until it is dropped, which the end of its
/// handler does by itself. While a socket's listeners hold more than
/// [`WINDOW`](super::WINDOW) bytes of it, the socket is not read, and TCP
/// slows its peer. So a listener that cannot take more keeps the event, and
/// one that only wants the bytes takes them: [`into_data`](Self::into_data),
/// or `std::mem::take(&mut info.data)`. A clone of the event holds a credit of
/// its own.
///
/// Data that reached nobody is not lost. If the event is dropped by a panic,
/// or when its listener is dead (it was in its mailbox, for instance), before
/// anybody has taken the data out, and no other listener has handled it, its
/// data is raised again: in order, before anything later is read, to the
/// listeners of then. It waits for one if there is none, and while the socket
/// is paused. So a handler that panics hears it again, unless it has taken
/// the data out (or [forwarded](ClientSocket::forward) it), and a listener
/// that keeps an event whose data it has used takes the data out first. A
/// clone is the listener's own and never comes back. If a
/// later event was handled already, so that it cannot come in order, the
/// connection is ended:
/// [`CONNECTION_ABORTED`](NetError::CONNECTION_ABORTED) in `onReceiveError`.
///
/// Data that makes listeners panic does not stop an app. When
/// [`MAX_PANICS`](crate::MAX_PANICS) listeners in a row have panicked while
/// they handled an event of one socket, and nothing of that socket was handled
/// between, its connection is ended: [`FAILED`](NetError::FAILED) in
/// `onReceiveError`. Events that wait in the mailbox of a listener that
/// panics do not count. They are raised before the event at which it has
/// panicked, which is held back for 100 ms when the next listener is there, so
/// one socket delays the events of the others by one restart at most. That a
/// listener panicked is not known of an event that was dropped before, by
/// [`into_data`](Self::into_data) for instance.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// What came: 1 to `bufferSize` bytes.
    pub data: Bytes,
    #[debug(skip)]
    pub(super) credit: Credit,
    #[debug(skip)]
    pub(super) sequence: u64,
    #[debug(skip)]
    pub(super) delivery: EventCopy<ReceiveInfo>,
}

impl ReceiveInfo {
    /// The handle of the socket it came on.
    pub fn client(&self) -> &ClientSocket {
        self.credit.socket()
    }

    /// The data alone. The credit is given back: at once in the thread of the
    /// socket's arbiter, in another one when the handler is done that calls
    /// this. So what a handler sends is sent before the end of its connection is
    /// told, wherever it runs.
    pub fn into_data(mut self) -> Bytes {
        let data = std::mem::take(&mut self.data);
        if !self
            .client()
            .app_shard()
            .command_queue
            .runs_in_this_thread()
        {
            self.credit.take().release_after_handler();
        }
        data
    }

    #[cold]
    fn return_data(&mut self, panics: u32) {
        let data = UndeliveredData {
            sequence: self.sequence,
            bytes: std::mem::take(&mut self.data),
            credit: self.credit.take(),
            panics,
        };
        self.client().return_event(Undelivered::Data(data));
    }

    /// Dropped by a panic, and nothing of it comes back.
    #[cold]
    fn report_consumed(&self) {
        if self.delivery.panicked_after_take() {
            let consumed = Undelivered::Consumed(self.sequence);
            self.client().return_event(consumed);
        }
    }
}

impl Drop for ReceiveInfo {
    #[inline]
    fn drop(&mut self) {
        let taken = self.data.is_empty();
        if let Some(panics) = self.delivery.finish(taken) {
            self.return_data(panics);
        } else if taken && std::thread::panicking() {
            self.report_consumed();
        }
    }
}

impl Event for ReceiveInfo {}

/// `tcp.onReceiveError`: nothing more comes on this connection. The socket is
/// not connected and paused; its id lives until `close`. It is told when all
/// data that came before was handled. If it reached nobody because its
/// listeners died, it is told again, unless
/// [`MAX_PANICS`](crate::MAX_PANICS) listeners have panicked at it: then it is
/// dropped, and counted in
/// [`SocketInfo::dropped_events`](super::SocketInfo::dropped_events).
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveErrorInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED) when the peer
    /// closed or reset the connection, or the app ended it while un-paused;
    /// [`CONNECTION_ABORTED`](NetError::CONNECTION_ABORTED) when data of it is
    /// lost, as [`ReceiveInfo`] says; else what the network said.
    pub result_code: NetError,
    pub(super) client: ClientSocket,
    /// Of which connection: see [`SocketState`](crate::tcp::connection::state::SocketState).
    #[debug(skip)]
    pub(super) connects: u32,
    #[debug(skip)]
    pub(super) delivery: EventCopy<ReceiveErrorInfo>,
}

impl ReceiveErrorInfo {
    /// The handle of the socket it happened to.
    pub fn client(&self) -> &ClientSocket {
        &self.client
    }
}

impl Drop for ReceiveErrorInfo {
    fn drop(&mut self) {
        if let Some(panics) = self.delivery.finish(false) {
            let undelivered = Undelivered::End(self.result_code, self.connects, panics);
            self.client.return_event(undelivered);
        }
    }
}

impl Event for ReceiveErrorInfo {}
