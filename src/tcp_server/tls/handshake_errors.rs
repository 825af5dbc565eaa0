//! `onHandshakeError`, and the queue of these events.

use std::net::SocketAddr;
use std::task::Context;

use actix::Message;

use crate::address::Address;
use crate::events::redelivery::{self, EventQueue, InFlightEvent};
use crate::events::{Event, Listeners};
use crate::ids::ServerSocketId;
use crate::net_error::NetError;

/// How many `onHandshakeError` events of one server socket may be unhandled by
/// listeners, and how many more may be queued. Failures beyond that are only
/// counted.
pub const UNHANDLED_HANDSHAKE_ERRORS: usize = redelivery::MAX_UNHANDLED;

/// `onHandshakeError` (beyond Chrome): the TLS handshake of an accepted
/// connection failed, and the connection is closed. The server socket goes on
/// accepting.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct HandshakeErrorInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The peer's address.
    pub peer: Address,
    /// Why the handshake failed, for instance:
    /// - [`SSL_PROTOCOL_ERROR`](NetError::SSL_PROTOCOL_ERROR): the peer does not
    ///   speak TLS;
    /// - [`SSL_VERSION_OR_CIPHER_MISMATCH`](NetError::SSL_VERSION_OR_CIPHER_MISMATCH);
    /// - [`BAD_SSL_CLIENT_AUTH_CERT`](NetError::BAD_SSL_CLIENT_AUTH_CERT): the
    ///   peer refused the server's certificate;
    /// - [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED) or
    ///   [`CONNECTION_RESET`](NetError::CONNECTION_RESET): the peer gave up;
    /// - [`TIMED_OUT`](NetError::TIMED_OUT);
    /// - [`INSUFFICIENT_RESOURCES`](NetError::INSUFFICIENT_RESOURCES): too many
    ///   handshakes were running, and this one made room for a newer one;
    /// - [`ABORTED`](NetError::ABORTED): the deadline of a drain ended it;
    /// - [`FAILED`](NetError::FAILED): its thread ended or its task panicked.
    pub result_code: NetError,
    /// How many failures before this one raised no event, because listeners had
    /// [`UNHANDLED_HANDSHAKE_ERRORS`] events to handle.
    pub missed: u64,
    #[debug(skip)]
    _token: InFlightEvent<HandshakeErrorInfo, (Address, NetError)>,
}

impl HandshakeErrorInfo {
    /// `peer` as an IP address with its port; `None` at a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.socket_addr()
    }
}

impl Event for HandshakeErrorInfo {}

/// Raises as many events as listeners have room for. `cx` is woken when more may
/// be raised.
pub(in crate::tcp_server) fn raise(
    queue: &mut EventQueue<(Address, NetError)>,
    socket_id: ServerSocketId,
    listeners: &Listeners<HandshakeErrorInfo>,
    cx: &mut Context<'_>,
) {
    let event = |(peer, result_code): (Address, _), missed, _token| {
        log::debug!("server socket {socket_id}: TLS handshake with {peer} failed: {result_code}");
        HandshakeErrorInfo {
            socket_id,
            peer,
            result_code,
            missed,
            _token,
        }
    };
    queue.raise(listeners, cx, event);
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use actix::{Actor, Handler};
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;
    use crate::events::Target;
    use crate::sync::tests::WakeCounter;

    /// Sends every event to the test.
    struct Collector(UnboundedSender<HandshakeErrorInfo>);

    impl Actor for Collector {
        type Context = actix::Context<Self>;
    }

    impl Handler<HandshakeErrorInfo> for Collector {
        type Result = ();

        fn handle(&mut self, info: HandshakeErrorInfo, _: &mut Self::Context) {
            self.0.send(info).expect("the test receives");
        }
    }

    #[actix_rt::test]
    async fn failures_beyond_the_bound_are_only_counted() {
        let (sender, mut kept) = unbounded_channel();
        let collector = Collector(sender).start();
        let listeners = Listeners::default();
        listeners.add(Target::Single(collector.recipient()));
        let mut errors = EventQueue::default();
        let peer = Address::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let most = UNHANDLED_HANDSHAKE_ERRORS;
        let wakes = WakeCounter::new();
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 * most {
            errors.push((peer.clone(), NetError::SSL_PROTOCOL_ERROR));
            raise(&mut errors, 1.into(), &listeners, &mut cx);
        }
        let mut held = Vec::new();
        for _ in 0..most {
            held.push(kept.recv().await.expect("the collector runs"));
        }
        assert_eq!(wakes.count(), 0, "no more events may be raised yet");
        raise(&mut errors, 1.into(), &listeners, &mut cx);
        assert!(kept.try_recv().is_err(), "one more event was raised");
        held.clear();
        assert_eq!(wakes.count(), 1, "the other events may be raised");
        raise(&mut errors, 1.into(), &listeners, &mut cx);
        for _ in 0..most {
            let info = kept.recv().await.expect("the collector runs");
            assert_eq!(info.missed, 0);
        }
        errors.push((peer.clone(), NetError::TIMED_OUT));
        raise(&mut errors, 1.into(), &listeners, &mut cx);
        let info = kept.recv().await.expect("the collector runs");
        assert_eq!(info.missed, most as u64);
        assert_eq!(info.peer, peer);
        assert_eq!(info.result_code, NetError::TIMED_OUT);
    }
}
