//! A receiver of one socket's events that is no actor.

use bytes::Bytes;

use crate::net_error::NetError;
use crate::tcp::socket::Credit;

/// Takes the events of one socket in the thread of the socket's arbiter, without a mailbox. Each
/// call is made in the turn of the socket's actor, so it only queues what it gets and wakes who
/// waits for it; it makes no call on the socket and does not block.
///
/// What it takes counts as handled when the credit is dropped. Nothing returns from it.
pub(crate) trait EventSink: Send + Sync {
    /// Takes received data: 1 byte to the socket's `bufferSize`.
    fn receive(&self, data: Bytes, credit: Credit);

    /// The connection has ended, and all earlier credits were dropped. A half-closed connection may
    /// still send.
    fn end(&self, result_code: NetError);

    /// Whether what it takes is still wanted. If not, the socket ends its connection, as at the
    /// death of a listener.
    fn is_open(&self) -> bool;
}
