//! `onProxyError`, and raising these events.

use std::net::SocketAddr;
use std::task::Context;

use actix::Message;

use crate::address::Address;
use crate::events::redelivery::{self, EventQueue, InFlightEvent};
use crate::events::{Event, Listeners};
use crate::ids::ServerSocketId;
use crate::proxy_protocol::ProxyError;

/// How many `onProxyError` events of one server socket may be unhandled by listeners, and how
/// many more may be queued. Errors beyond that are only counted.
pub const UNHANDLED_PROXY_ERRORS: usize = redelivery::MAX_UNHANDLED;

/// `onProxyError` (beyond Chrome): an accepted connection had no valid PROXY header, or came from
/// elsewhere than a proxy, and is closed. The server socket goes on accepting.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ProxyErrorInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The address of the real peer: the proxy, if it is one.
    pub peer: Address,
    /// What is wrong.
    pub error: ProxyError,
    /// How many errors before this one raised no event, because listeners had
    /// [`UNHANDLED_PROXY_ERRORS`] events to handle.
    pub missed: u64,
    #[debug(skip)]
    _token: InFlightEvent<ProxyErrorInfo, (Address, ProxyError)>,
}

impl ProxyErrorInfo {
    /// `peer` as an IP address with its port; `None` at a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.socket_addr()
    }
}

impl Event for ProxyErrorInfo {}

/// Raises as many events as listeners have room for. `cx` is woken when more may be raised.
pub(super) fn raise(
    queue: &mut EventQueue<(Address, ProxyError)>,
    socket_id: ServerSocketId,
    listeners: &Listeners<ProxyErrorInfo>,
    cx: &mut Context<'_>,
) {
    let event = |(peer, error): (Address, _), missed, _token| {
        log::debug!("server socket {socket_id}: connection from {peer} refused: {error}");
        ProxyErrorInfo {
            socket_id,
            peer,
            error,
            missed,
            _token,
        }
    };
    queue.raise(listeners, cx, event);
}
