//! Handshakes that failed, told no faster than listeners take it.

use std::net::{IpAddr, SocketAddr};
use std::task::Context;

use actix::Message;

use crate::events::redelivery;
use crate::events::redelivery::{EventQueue, InFlightEvent};
use crate::events::{Event, Listeners};
use crate::ids::ServerSocketId;
use crate::net_error::NetError;

/// The most `onHandshakeError` events of one server socket that listeners have
/// not handled, and as many that wait; beyond it failures are only counted.
pub const UNHANDLED_HANDSHAKE_ERRORS: usize = redelivery::MAX_UNHANDLED;

/// `onHandshakeError` (beyond Chrome): an accepted connection could not be
/// encrypted, and is closed. The server socket goes on.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct HandshakeErrorInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The other end's address.
    pub peer_address: IpAddr,
    /// The other end's port.
    pub peer_port: u16,
    /// [`SSL_PROTOCOL_ERROR`](NetError::SSL_PROTOCOL_ERROR) if it does not
    /// speak TLS,
    /// [`SSL_VERSION_OR_CIPHER_MISMATCH`](NetError::SSL_VERSION_OR_CIPHER_MISMATCH),
    /// [`BAD_SSL_CLIENT_AUTH_CERT`](NetError::BAD_SSL_CLIENT_AUTH_CERT) if it
    /// refused the server's certificate,
    /// [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED) or
    /// [`CONNECTION_RESET`](NetError::CONNECTION_RESET) if it gave up,
    /// [`TIMED_OUT`](NetError::TIMED_OUT), or
    /// [`INSUFFICIENT_RESOURCES`](NetError::INSUFFICIENT_RESOURCES) if it was
    /// given up for a newer one because too many went on.
    pub result_code: NetError,
    /// How many failures before this one were not told, because listeners had
    /// [`UNHANDLED_HANDSHAKE_ERRORS`] events to handle.
    pub missed: u64,
    #[debug(skip)]
    _unhandled: InFlightEvent<HandshakeErrorInfo, (SocketAddr, NetError)>,
}

impl HandshakeErrorInfo {
    /// `peer_address` and `peer_port` in one.
    pub fn peer_addr(&self) -> SocketAddr {
        (self.peer_address, self.peer_port).into()
    }
}

impl Event for HandshakeErrorInfo {}

/// The failures of one server socket that have not been told.
#[derive(Default)]
pub(in crate::tcp_server) struct Failures {
    event_queue: EventQueue<(SocketAddr, NetError)>,
    /// All, told or not.
    count: u64,
}

impl Failures {
    pub(in crate::tcp_server) fn count(&self) -> u64 {
        self.count
    }

    /// How many events were dropped, as too many listeners had panicked.
    pub(in crate::tcp_server) fn dropped(&self) -> u64 {
        self.event_queue.dropped()
    }

    pub(in crate::tcp_server) fn forget_clock(&mut self) {
        self.event_queue.reset_hold_back();
    }

    pub(in crate::tcp_server) fn add(&mut self, peer: SocketAddr, error: NetError) {
        self.count += 1;
        self.event_queue.push((peer, error));
    }

    /// Tells what may be told now, and has `cx` woken for the rest.
    pub(in crate::tcp_server) fn tell(
        &mut self,
        socket_id: ServerSocketId,
        to: &Listeners<HandshakeErrorInfo>,
        cx: &mut Context<'_>,
    ) {
        let event = |(peer, result_code): (SocketAddr, _), missed, _unhandled| {
            log::debug!("server socket {socket_id}: no TLS with {peer}: {result_code}");
            HandshakeErrorInfo {
                socket_id,
                peer_address: peer.ip(),
                peer_port: peer.port(),
                result_code,
                missed,
                _unhandled,
            }
        };
        self.event_queue.raise(to, cx, event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use actix::{Actor, Handler};
    use futures::task::ArcWake;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    /// Keeps every event.
    struct Keeper(UnboundedSender<HandshakeErrorInfo>);

    impl Actor for Keeper {
        type Context = actix::Context<Self>;
    }

    impl Handler<HandshakeErrorInfo> for Keeper {
        type Result = ();

        fn handle(&mut self, info: HandshakeErrorInfo, _: &mut Self::Context) {
            self.0.send(info).expect("the test listens");
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, SeqCst);
        }
    }

    #[actix_rt::test]
    async fn a_flood_of_failures_is_counted_and_not_kept() {
        let (sender, mut kept) = unbounded_channel();
        let restarter = Keeper(sender).start();
        let listeners = Listeners::default();
        listeners.add(restarter.recipient());
        let mut event_queue = Failures::default();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let most = UNHANDLED_HANDSHAKE_ERRORS;
        let wakes = Arc::new(Wakes::default());
        let waker = futures::task::waker(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 * most {
            event_queue.add(peer, NetError::SSL_PROTOCOL_ERROR);
            event_queue.tell(1.into(), &listeners, &mut cx);
        }
        let mut held = Vec::new();
        for _ in 0..most {
            held.push(kept.recv().await.expect("the keeper runs"));
        }
        assert_eq!(wakes.0.load(SeqCst), 0, "no more may be told yet");
        event_queue.tell(1.into(), &listeners, &mut cx);
        assert!(kept.try_recv().is_err(), "one more was told");
        held.clear();
        assert_eq!(wakes.0.load(SeqCst), 1, "the rest may be told");
        event_queue.tell(1.into(), &listeners, &mut cx);
        for _ in 0..most {
            let info = kept.recv().await.expect("the keeper runs");
            assert_eq!(info.missed, 0);
        }
        event_queue.add(peer, NetError::TIMED_OUT);
        event_queue.tell(1.into(), &listeners, &mut cx);
        let info = kept.recv().await.expect("the keeper runs");
        assert_eq!(info.missed, most as u64);
        assert_eq!(info.peer_addr(), peer);
        assert_eq!(info.result_code, NetError::TIMED_OUT);
    }
}
