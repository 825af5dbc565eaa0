//! From the listener to the app's listeners, as far as they may be told.

use crate::connections::ConnectionGuard;
use crate::os::{self, try_close_gracefully};
use crate::tcp_server::AtLimit;
use crate::tcp_server::LimitKind;
use crate::tcp_server::RefusedInfo;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use actix::prelude::*;

use crate::ids::ClientSocketId;
#[cfg(feature = "testing")]
use crate::os::Checkpoint;
use crate::tcp::{AcceptNotifier, ClientSocket, Command, ConnectionMeta};
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::PendingAccept;
use crate::tcp_server::tls::handshakes::AcceptedStream;

/// How many connections are accepted before other actors have their turn.
const ACCEPTS_A_TURN: usize = 64;

/// How long a server socket waits for what a dead listener has left unhandled:
/// its mailbox is emptied in far less. It cannot wait for good, because a
/// listener that lives may keep an event for as long as it likes.
const RECOVERY: Duration = Duration::from_millis(100);

/// Has a turn whenever the actor is woken: by a call, the listener, or an
/// event that was handled or came back.
pub(in crate::tcp_server) struct AcceptLoop;

impl ActorFuture<ServerSocket> for AcceptLoop {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        socket: &mut ServerSocket,
        ctx: &mut Context<ServerSocket>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        #[cfg(feature = "testing")]
        if socket.network.checkpoint(Checkpoint::ServerSocket) {
            ctx.stop();
            return Poll::Pending;
        }
        socket.accepts_in_flight.begin_turn(cx);
        let recovering = socket.recovering;
        // The actor of a closed socket still answers calls, but raises no events.
        if !socket.ended {
            socket.turn(cx);
        }
        socket.admission.end_turn(cx);
        if socket.recovering && !recovering {
            socket.recover_later(ctx);
        }
        if !socket.pausing.is_empty() && socket.accepts_in_flight.are_handled() {
            socket.pausing.answer_all(Ok(()));
        }
        Poll::Pending
    }
}

impl ServerSocket {
    pub(in crate::tcp_server) fn start_accept_loop(ctx: &mut Context<Self>) {
        ctx.spawn(AcceptLoop);
    }

    /// Whether one more `onAccept` may be raised. If events on their way are
    /// why it may not, the actor is woken when they have been handled: the
    /// same reading decides both.
    fn may_raise(&mut self) -> bool {
        if self.is_paused() || !self.accepts_in_flight.has_room() {
            return false;
        }
        let (anybody, deaths) = self.app_listeners.on_accept.liveness();
        if self.deaths != deaths {
            // Its mailbox is emptied on its own thread: later clients wait
            // until all of it has come back.
            self.deaths = deaths;
            self.recovering = true;
        }
        if self.recovering && self.accepts_in_flight.are_handled() {
            self.recover();
        }
        anybody && !self.recovering
    }

    pub(in crate::tcp_server) fn recover_later(&self, ctx: &mut Context<Self>) {
        ctx.run_later(RECOVERY, |socket, _| {
            socket.recover();
            // The loop has had its turn before the clock had.
            socket.accepts_in_flight.nudge();
        });
    }

    /// Takes up what a dead listener has left, before anything later.
    pub(in crate::tcp_server) fn recover(&mut self) {
        self.recovering = false;
        self.take_returned();
    }

    fn take_returned(&mut self) {
        let returned = self.accepts_in_flight.take_returned();
        if !returned.is_empty() {
            self.undelivered.extend(returned);
            self.undelivered
                .make_contiguous()
                .sort_by_key(|pending_accept| {
                    (pending_accept.is_suspect(), pending_accept.client.id())
                });
        }
    }

    /// The next client that was offered before. Those at whose event a listener
    /// has panicked come last, and not at once.
    fn next_undelivered(&mut self, cx: &mut TaskContext<'_>) -> Option<Arc<PendingAccept>> {
        let next = self.undelivered.front()?;
        if next.is_suspect() && next.is_open() {
            let (_, deaths) = self.app_listeners.on_accept.liveness();
            if !self.held_back.is_elapsed(deaths, cx) {
                return None;
            }
        }
        self.undelivered.pop_front()
    }

    /// Accepts and raises what may be raised.
    fn turn(&mut self, cx: &mut TaskContext<'_>) {
        self.report_lost();
        self.take_returned();
        self.poll_decision(cx);
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.settle(cx);
        }
        if self.app_shards.activity.is_suspended() {
            if self.transfer.is_none() {
                self.accept_one_for_suspended_app(cx);
            }
            return;
        }
        self.raise_accept_errors(cx);
        let is_paused = self.is_paused();
        if let Some(handshakes) = &mut self.handshakes
            && !is_paused
        {
            handshakes.tell(self.id, &self.app_listeners.on_handshake_error, cx);
        }
        for _ in 0..ACCEPTS_A_TURN {
            if !self.is_paused() {
                self.raise_refusals(cx);
            }
            if !self.may_raise() {
                if self.is_missed() && self.transfer.is_none() {
                    self.accept_one_for_suspended_app(cx);
                }
                return;
            }
            if (self.transfer.is_none() || self.encrypts())
                && let Some(pending_accept) = self.next_undelivered(cx)
            {
                if pending_accept.is_open() {
                    pending_accept.dispatch(self.id, &self.app_listeners.on_accept);
                }
                continue;
            }
            if let Some(handshakes) = &mut self.handshakes {
                if let Some(finished) = handshakes.finished(cx) {
                    let pending_accept = self.accepted(finished);
                    pending_accept.dispatch(self.id, &self.app_listeners.on_accept);
                    continue;
                }
                if !handshakes.has_room(cx) {
                    return;
                }
            }
            if self.transfer.is_some() || self.is_undecided() {
                return;
            }
            match self.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(plain)) => {
                    let pending_accept = self.accepted(plain);
                    pending_accept.dispatch(self.id, &self.app_listeners.on_accept);
                }
                Poll::Ready(None) => {}
            }
        }
        // There may be more: after the others.
        cx.waker().wake_by_ref();
    }

    /// Whether the app's listeners have died, and its event page has others.
    fn is_missed(&self) -> bool {
        !self.recovering
            && self
                .app_shards
                .activity
                .needs_reload(&self.app_listeners.on_accept)
    }

    /// Has an app loaded that is suspended, or whose listeners have died, if
    /// there is something to tell. No more than one connection is accepted to know that: it is the first one that the
    /// app then hears of. If connections are encrypted, it is the first one
    /// whose handshake is done, and they are accepted until then.
    fn accept_one_for_suspended_app(&mut self, cx: &mut TaskContext<'_>) {
        self.undelivered
            .retain(|pending_accept| pending_accept.is_open());
        if !self.persistent && self.app_shards.activity.is_suspended() {
            return;
        }
        if !self.is_paused() && self.undelivered.is_empty() && self.may_knock(cx) {
            match self.poll_accept(cx) {
                Poll::Pending => {}
                Poll::Ready(Some(plain)) => {
                    let pending_accept = self.accepted(plain);
                    self.undelivered.push_back(pending_accept);
                }
                Poll::Ready(None) => cx.waker().wake_by_ref(),
            }
        }
        let handshakes = self.handshakes.as_ref();
        let has_clients = handshakes.is_some_and(|h| h.wants_app()) || !self.undelivered.is_empty();
        if !self.errors.event_queue.is_empty() || (!self.is_paused() && has_clients) {
            self.app_shards.activity.request_load();
        }
    }

    /// The next connection, unless it is to be encrypted first: then, and if
    /// it was refused, or accepting failed and may be tried again, `None`.
    fn poll_accept(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<AcceptedStream>> {
        if self.errors.is_backing_off(cx)
            || self.listener.is_none()
            || self.admission.poll_capacity(cx)
        {
            return Poll::Pending;
        }
        let Some(bound) = &mut self.listener else {
            return Poll::Pending;
        };
        let accepted = match self.app_shards.is_remote() && bound.accepted_in.is_none() {
            true => bound.listener.poll_accept_unregistered(cx),
            false => bound.listener.poll_accept(cx),
        };
        match ready!(accepted) {
            Ok((stream, peer)) => {
                let accepted_in = bound.accepted_in.as_ref().map(|it| it.load(SeqCst));
                self.in_hand = Some(peer);
                self.errors.accepted_one();
                self.counts.accepted += 1;
                let Some((stream, connection_guard)) = self.admit(stream, peer) else {
                    self.in_hand = None;
                    return Poll::Ready(None);
                };
                let mut ends = ConnectionMeta::accepted(peer, connection_guard);
                ends.pin_to(accepted_in);
                Poll::Ready(self.arrived((stream, ends), cx))
            }
            Err(error) => self.accept_failed(&error, cx).map(|()| None),
        }
    }

    /// Whether what is accepted is to be encrypted.
    pub(in crate::tcp_server) fn encrypts(&self) -> bool {
        self.handshakes.as_ref().is_some_and(|h| h.encrypts())
    }

    pub(in crate::tcp_server) fn is_undecided(&self) -> bool {
        self.handshakes.as_ref().is_some_and(|h| h.is_undecided())
    }

    fn may_knock(&mut self, cx: &mut TaskContext<'_>) -> bool {
        match &mut self.handshakes {
            Some(handshakes) => !handshakes.wants_app() && handshakes.has_room(cx),
            None => true,
        }
    }

    /// A connection is here, and is returned unless it is to be encrypted
    /// first.
    fn arrived(
        &mut self,
        accepted: AcceptedStream,
        cx: &mut TaskContext<'_>,
    ) -> Option<AcceptedStream> {
        let Some(handshakes) = &mut self.handshakes else {
            return Some(accepted);
        };
        let plain = handshakes.take(accepted, cx);
        if plain.is_none() {
            self.in_hand = None;
        }
        plain
    }

    fn accepted(&mut self, accepted: AcceptedStream) -> Arc<PendingAccept> {
        let pending_accept = self.offer(self.table.allocate(), accepted);
        self.in_hand = None;
        pending_accept
    }

    /// A client socket that nobody has heard of.
    pub(in crate::tcp_server) fn offer(
        &self,
        id: ClientSocketId,
        (stream, ends): AcceptedStream,
    ) -> Arc<PendingAccept> {
        let client = ClientSocket::new(id, self.app_shards.pick_shard(&ends));
        let pending_accept = PendingAccept::new(client.clone(), self.accepts_in_flight.clone());
        // The row comes first, so that every call for it finds it.
        client.do_send(Command::Adopt(stream, ends, pending_accept.clone()));
        self.table.insert(client);
        pending_accept
    }

    /// A connection that was accepted, unless it is refused.
    pub(in crate::tcp_server) fn admit(
        &mut self,
        mut stream: Box<dyn os::Stream>,
        peer: SocketAddr,
    ) -> Option<(Box<dyn os::Stream>, ConnectionGuard)> {
        match self.admission.refuses(peer.ip()) {
            None => Some((stream, self.admission.admit(peer.ip()))),
            Some((limit, then)) => {
                match then {
                    AtLimit::Reset => stream.reset(),
                    _ => {
                        try_close_gracefully(&mut *stream);
                    }
                }
                self.refused(peer, limit);
                None
            }
        }
    }

    pub(in crate::tcp_server) fn refused(&mut self, peer: SocketAddr, limit: LimitKind) {
        log::debug!("server socket {}: {peer} was refused: {limit:?}", self.id);
        self.counts.refused += 1;
        self.admission.event_queue.push((peer, limit));
    }

    /// Tells of the refusals that may be told now.
    pub(in crate::tcp_server) fn raise_refusals(&mut self, cx: &mut TaskContext<'_>) {
        let socket_id = self.id;
        let event = |(peer, limit): (SocketAddr, _), missed, _unhandled| RefusedInfo {
            socket_id,
            peer_address: peer.ip(),
            peer_port: peer.port(),
            limit,
            missed,
            _unhandled,
        };
        let to = &self.app_listeners.on_refused;
        self.admission.event_queue.raise(to, cx, event);
    }
}
