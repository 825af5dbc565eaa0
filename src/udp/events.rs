//! The events of `chrome.sockets.udp`.

use std::net::{IpAddr, SocketAddr};

use actix::Message;
use bytes::Bytes;

use crate::events::redelivery::InFlightEvent;
use crate::events::{Batch, Event, EventCopy};
use crate::ids::UdpSocketId;
use crate::net_error::NetError;
use crate::udp::binding::redelivery::Undelivered;
use crate::udp::socket::{ActiveEvent, Credit, Socket};

/// `udp.onReceive`: a datagram was received on a socket that is bound and not paused.
///
/// **Credit.** The event holds a *credit* until it is dropped, which happens by itself at the end of
/// its handler. While the listeners of a socket hold [`WINDOW`](crate::tcp::WINDOW) bytes or more (a
/// datagram counts 256 bytes at least), the socket is not read. What comes meanwhile waits in the
/// OS's buffer. When that is full the OS drops datagrams, and counts them
/// ([`SocketInfo::dropped_datagrams`](super::SocketInfo::dropped_datagrams)). A clone of the event
/// holds a credit of its own.
///
/// **Redelivery.** A datagram that no listener has handled is raised again for the listeners of that
/// time, before a later one is received. An event counts as unhandled if it is dropped by a panic,
/// or after its listener's death (in its mailbox, for instance), and if no other listener has
/// handled it. It waits while there is no listener, and while the socket is paused. A clone never
/// returns. If a later event was handled meanwhile, the order changes, as on a network.
///
/// **Poison.** A datagram at which [`MAX_PANICS`](crate::MAX_PANICS) listeners have panicked is
/// dropped, and counted in [`SocketInfo::dropped_events`](super::SocketInfo::dropped_events). Before
/// that, it is held back for 100 ms and raised behind the others.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveInfo {
    /// The socket.
    pub socket_id: UdpSocketId,
    /// The datagram: 0 to `bufferSize` bytes.
    pub data: Bytes,
    /// The address of the sender. A socket that is bound to `::` shows IPv4 as
    /// `::ffff:127.0.0.1`.
    pub remote_address: IpAddr,
    /// The port of the sender.
    pub remote_port: u16,
    #[debug(skip)]
    pub(super) remote: SocketAddr,
    /// The length of the datagram: an event whose data was taken out is shorter.
    #[debug(skip)]
    pub(super) length: usize,
    #[debug(skip)]
    pub(super) credit: Credit,
    #[debug(skip)]
    pub(super) sequence: u64,
    /// How many listeners have panicked at the datagram before.
    #[debug(skip)]
    pub(super) panics: u32,
    #[debug(skip)]
    pub(super) delivery: EventCopy,
}

impl ReceiveInfo {
    /// The handle of the socket that received the datagram.
    pub fn socket(&self) -> &Socket {
        self.credit.socket()
    }

    /// The address and port of the sender, with the scope id of a link-local address.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// Returns the datagram, and releases the credit.
    pub fn into_data(mut self) -> Bytes {
        self.length = usize::MAX;
        std::mem::take(&mut self.data)
    }
}

impl Drop for ReceiveInfo {
    #[inline]
    fn drop(&mut self) {
        let is_taken = self.data.is_empty() && self.length > 0;
        if let Some(panics) = self.delivery.finish(is_taken) {
            let undelivered = Undelivered {
                sequence: self.sequence,
                data: std::mem::take(&mut self.data),
                from: self.remote,
                panics: self.panics.saturating_add(panics),
                credit: self.credit.take(),
            };
            self.socket().return_event(undelivered);
        }
    }
}

impl Event for ReceiveInfo {}

/// The `onReceive` events of a turn in one message, for listeners of
/// [`Udp::on_receive_batch`](crate::Udp::on_receive_batch).
pub type ReceiveBatch = Batch<ReceiveInfo>;

/// `udp.onReceiveError`: receiving has failed, or a bound socket that was not paused was closed
/// ([`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED)). The socket is paused; it is still bound,
/// and `setPaused(false)` receives again.
///
/// If no listener handles it because its listeners died, it is raised again. After
/// [`MAX_PANICS`](crate::MAX_PANICS) listeners have panicked at it, it is dropped, and counted in
/// [`SocketInfo::dropped_events`](super::SocketInfo::dropped_events).
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveErrorInfo {
    /// The socket.
    pub socket_id: UdpSocketId,
    /// Why. [`MSG_TOO_BIG`](NetError::MSG_TOO_BIG): a datagram was longer than `bufferSize`, and is
    /// lost.
    pub result_code: NetError,
    #[debug(skip)]
    pub(super) socket: Socket,
    #[debug(skip)]
    pub(super) _token: InFlightEvent<ReceiveErrorInfo, NetError>,
    #[debug(skip)]
    pub(super) _active: ActiveEvent,
}

impl ReceiveErrorInfo {
    /// The handle of the socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl Event for ReceiveErrorInfo {}
