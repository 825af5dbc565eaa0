//! The events of `chrome.sockets.tcp`.

use actix::Message;
use bytes::Bytes;

use crate::app_activity::UnhandledEvent;
use crate::events::redelivery::InFlightEvent;
use crate::events::{Batch, Event, EventCopy, NumberedCopy};
use crate::ids::ClientSocketId;
use crate::net_error::NetError;
use crate::tcp::connection::redelivery::{Undelivered, UndeliveredData};
use crate::tcp::socket::{ClientSocket, Credit};

/// `tcp.onReceive`: data was received on a socket that is not paused.
///
/// **Credit.** The event holds a *credit* until it is dropped, which happens by itself at the end
/// of its handler. While the listeners of a socket hold [`WINDOW`](super::WINDOW) bytes or more,
/// the socket is not read, and TCP slows its peer. A listener that cannot take more keeps the
/// event. A listener that needs only the bytes takes them, by [`into_data`](Self::into_data) or
/// `std::mem::take(&mut info.data)`. A clone of the event holds a credit of its own.
///
/// **Redelivery.** Data that no listener has handled is not lost. An event counts as unhandled if
/// it is dropped by a panic, or after its listener's death (in its mailbox, for instance), before
/// its data was taken out, and if no other listener has handled it. Its data is then raised again
/// for the listeners of that time: in order, and before anything later is read. It waits while
/// there is no listener, and while the socket is paused. So a handler that panics receives the data
/// again, unless it has taken the data out or [forwarded](ClientSocket::forward) it. A listener
/// that keeps an event after it has used the data should take the data out first. A clone never
/// returns. If a later event was handled already, the data cannot come in order: the connection
/// ends with [`CONNECTION_ABORTED`](NetError::CONNECTION_ABORTED) in `onReceiveError`.
///
/// **Poison.** Data that makes listeners panic does not stop an app. If
/// [`MAX_PANICS`](crate::MAX_PANICS) listeners in a row have panicked at events of one socket, and
/// no event of that socket was handled between, its connection ends with
/// [`FAILED`](NetError::FAILED) in `onReceiveError`. Events in the mailbox of a listener that
/// panics do not count. They are raised before the event at which the listener panicked. That event
/// is held back for 100 ms after the next listener was added, so one socket delays the events of
/// others by one restart at most. A panic does not count for an event that was dropped before it,
/// by [`into_data`](Self::into_data) for instance.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// The received data: 1 to `bufferSize` bytes.
    pub data: Bytes,
    #[debug(skip)]
    pub(in crate::tcp) credit: Credit,
    #[debug(skip)]
    pub(super) copy: NumberedCopy,
}

impl ReceiveInfo {
    /// The handle of the socket that received the data.
    pub fn client(&self) -> &ClientSocket {
        self.credit.socket()
    }

    /// Returns the data, and releases the credit: at once in the thread of the socket's arbiter, in
    /// another thread when the current handler returns. So calls of the handler are carried out
    /// before the end of the connection is reported, in whichever thread it runs.
    pub fn into_data(mut self) -> Bytes {
        let data = std::mem::take(&mut self.data);
        if !self.client().app_shard().command_queue.is_current_thread() {
            // The socket's thread may see the credit before calls that this handler has still to
            // make.
            self.credit.take().release_after_handler();
        }
        data
    }

    #[cold]
    /// Returns the unhandled data to its socket.
    fn return_data(&mut self, panics: u32) {
        let data = UndeliveredData {
            sequence: self.copy.number(),
            bytes: std::mem::take(&mut self.data),
            credit: self.credit.take(),
            panics,
        };
        self.client().return_event(Undelivered::Data(data));
    }

    /// A panic has dropped the event after its data was taken out: only the panic is reported.
    #[cold]
    fn report_consumed(&self) {
        if self.copy.panicked_after_take(self.client().first_probe()) {
            let consumed = Undelivered::Consumed(self.copy.number());
            self.client().return_event(consumed);
        }
    }
}

impl Drop for ReceiveInfo {
    #[inline]
    fn drop(&mut self) {
        let taken = self.data.is_empty();
        if let Some(panics) = self.copy.finish(taken, self.client().first_probe()) {
            self.return_data(panics);
        } else if taken && std::thread::panicking() {
            self.report_consumed();
        }
    }
}

impl Event for ReceiveInfo {}

/// The `onReceive` events of a turn in one message, for listeners of
/// [`Tcp::on_receive_batch`](crate::Tcp::on_receive_batch).
pub type ReceiveBatch = Batch<ReceiveInfo>;

/// `tcp.onReceiveError`: the connection has ended. The socket is paused and not connected. Its id
/// stays valid until `close`.
///
/// It is raised when all earlier data was handled. If no listener handles it because its listeners
/// died, it is raised again. After [`MAX_PANICS`](crate::MAX_PANICS) listeners have panicked at it,
/// it is dropped, and counted in [`SocketInfo::dropped_events`](super::SocketInfo::dropped_events).
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveErrorInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// Why the connection has ended. [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED): the peer
    /// closed or reset it, or the app ended it while the socket was not paused.
    /// [`CONNECTION_ABORTED`](NetError::CONNECTION_ABORTED): data of it is lost, see
    /// [`ReceiveInfo`]. Other codes are the network's.
    pub result_code: NetError,
    pub(super) client: ClientSocket,
    /// The number of `connect` calls before, by which a returned event is matched with its
    /// connection.
    #[debug(skip)]
    pub(super) connect_count: u32,
    #[debug(skip)]
    pub(super) delivery: EventCopy,
}

impl ReceiveErrorInfo {
    /// The handle of the socket whose connection has ended.
    pub fn client(&self) -> &ClientSocket {
        &self.client
    }
}

impl Drop for ReceiveErrorInfo {
    fn drop(&mut self) {
        if let Some(panics) = self.delivery.finish(false) {
            let undelivered = Undelivered::End(self.result_code, self.connect_count, panics);
            self.client.return_event(undelivered);
        }
    }
}

impl Event for ReceiveErrorInfo {}

/// On which side of its marks a socket's send queue is ([`SendMarks`](super::SendMarks)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendQueueLevel {
    /// It has fallen to the low-water mark: no more than [`low`](super::SendMarks::low) bytes wait.
    Low,
    /// It has risen above the high-water mark: more than [`high`](super::SendMarks::high) bytes
    /// wait.
    High,
}

/// `onSendQueue` (beyond Chrome): the send queue of a socket with
/// [`send_marks`](super::SocketProperties::send_marks) has crossed a mark.
///
/// **Order.** The levels of one connection alternate and begin with
/// [`High`](SendQueueLevel::High). A socket has one event in flight at most: while a listener has
/// not handled it, crossings are not raised, and afterwards the level of that time is raised if it
/// is another one. So a queue that rises and falls quickly floods no listener, and the last event
/// that a listener gets is true until the next. The queue is compared with the marks when the
/// socket's actor has written what the OS takes, so a rise that the OS takes at once may raise
/// nothing.
///
/// **When.** Also while the socket is paused, so that a relay that has paused its source can go on.
/// Neither while the app is suspended nor during a handover; afterwards, the level of that time is
/// raised if it differs from the last event. It does not have a suspended app loaded. The end of
/// the connection, and an error of its writing side, end the events without a last
/// [`Low`](SendQueueLevel::Low). The next connection, and the next process after a handover, begin
/// anew. `setPaused(true)` and `onReceiveError` do not wait for this event; a suspension does.
///
/// **Redelivery.** An event that no listener has handled, because its listeners died, is raised
/// again. After [`MAX_PANICS`](crate::MAX_PANICS) listeners have panicked at it, it is dropped. If
/// the app has no listener, nothing counts as raised: a listener that is added while the queue is
/// above the mark gets the event.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct SendQueueInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// The level that the queue has reached.
    pub level: SendQueueLevel,
    /// How many bytes waited at that moment. [`ClientSocket::queued_bytes`] has the present number.
    pub queued_bytes: usize,
    pub(super) client: ClientSocket,
    #[debug(skip)]
    pub(super) _token: InFlightEvent<SendQueueInfo, (SendQueueLevel, usize)>,
    #[debug(skip)]
    pub(super) _unhandled: UnhandledEvent,
}

impl SendQueueInfo {
    /// The handle of the socket.
    pub fn client(&self) -> &ClientSocket {
        &self.client
    }
}

impl Event for SendQueueInfo {}
