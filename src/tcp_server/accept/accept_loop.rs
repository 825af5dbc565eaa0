//! The accept loop: takes connections from the listener and raises `onAccept` for them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use actix::prelude::*;

use crate::address::Address;
use crate::connections::PeerKey;
use crate::ids::ClientSocketId;
#[cfg(feature = "testing")]
use crate::os::Checkpoint;
use crate::proxy_protocol::HeaderRule;
use crate::tcp::{AcceptNotifier, ConnectionMeta};
use crate::tcp_server::accept::new_clients::NewClients;
use crate::tcp_server::accept::setup_tasks::AcceptedStream;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::PendingAccept;
use crate::tcp_server::proxy::setup::refuse;
use crate::tcp_server::{LimitKind, RefusedInfo};
use crate::telemetry::Span;

/// How many clients are accepted and raised before other actors have their turn. With 64 in one
/// turn, what is allocated for them exceeds what the allocator keeps at hand, and each client costs
/// 4 % more.
const MAX_CLIENTS_PER_TURN: usize = 16;

/// How long a server socket waits for the events in a dead listener's mailbox.
/// The mailbox is emptied much faster. The wait has an end because a live
/// listener may keep an event for as long as it likes.
const RETURN_TIMEOUT: Duration = Duration::from_millis(100);

/// The future of a server socket. It is polled after every message and
/// wake-up: a call, a readable listener, an event that was handled or returned.
struct AcceptLoop;

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
        socket.begin_turn();
        socket.accepts_in_flight.begin_turn(cx);
        let awaited_returned = socket.awaits_returned;
        // The actor of a closed socket still answers calls, but raises no events.
        if !socket.is_closed {
            socket.poll_loop(cx);
        }
        socket.adopting.wake();
        socket.admission.end_turn(cx);
        if socket.awaits_returned && !awaited_returned {
            socket.start_return_timer(ctx);
        }
        if !socket.pending_pauses.is_empty() && socket.accepts_in_flight.are_handled() {
            socket.pending_pauses.answer_all(Ok(()));
        }
        Poll::Pending
    }
}

impl ServerSocket {
    pub(in crate::tcp_server) fn start_accept_loop(ctx: &mut Context<Self>) {
        ctx.spawn(AcceptLoop);
    }

    /// Whether one more `onAccept` may be raised. If not, because events are in
    /// flight, the actor is woken when one of them is handled.
    fn may_raise(&mut self) -> bool {
        if self.is_paused() || !self.accepts_in_flight.has_room() {
            return false;
        }
        let (has_listener, deaths) = self.on_accept().liveness();
        if self.listener_deaths != deaths {
            // The dead listener's mailbox is emptied in its own thread. Clients
            // keep their order only if all of its events have returned before
            // the next one is raised.
            self.listener_deaths = deaths;
            self.awaits_returned = true;
        }
        if self.awaits_returned && self.accepts_in_flight.are_handled() {
            self.finish_returns();
        }
        has_listener && !self.awaits_returned
    }

    pub(in crate::tcp_server) fn start_return_timer(&self, ctx: &mut Context<Self>) {
        ctx.run_later(RETURN_TIMEOUT, |socket, _| {
            socket.finish_returns();
            // actix polls the accept loop before its timers, so the loop needs
            // another turn.
            socket.accepts_in_flight.wake();
        });
    }

    /// Queues the events that dead listeners left, and stops waiting for more.
    pub(in crate::tcp_server) fn finish_returns(&mut self) {
        // A timer calls this too.
        self.begin_turn();
        self.awaits_returned = false;
        self.requeue_returned();
    }

    /// Queues clients whose event reached no listener, in the order in which they
    /// were accepted. Those at whose event a listener panicked come last, so
    /// that they delay no other client.
    fn requeue_returned(&mut self) {
        let returned = self.accepts_in_flight.take_returned();
        if !returned.is_empty() {
            self.undelivered.extend(returned);
            self.undelivered
                .make_contiguous()
                .sort_by_key(|pending| (pending.is_suspect(), pending.client.id()));
        }
    }

    /// The next client whose event reached no listener. A suspect one is held
    /// back for a while after each death of a listener.
    fn pop_undelivered(&mut self, cx: &mut TaskContext<'_>) -> Option<Arc<PendingAccept>> {
        let next = self.undelivered.front()?;
        if next.is_suspect() && next.is_open() {
            let (_, deaths) = self.on_accept().liveness();
            if !self.hold_back.is_elapsed(deaths, cx) {
                return None;
            }
        }
        self.undelivered.pop_front()
    }

    /// Raises the events of one turn, and accepts connections for them.
    fn poll_loop(&mut self, cx: &mut TaskContext<'_>) {
        self.report_lost();
        self.requeue_returned();
        self.poll_decision(cx);
        self.poll_setups(cx);
        if self.app_shards.activity.is_suspended() {
            // During a handover the backlog belongs to the next process, which
            // loads the app itself.
            if self.transfer.is_none() {
                self.accept_one_and_request_load(cx);
            }
            return;
        }
        self.raise_accept_errors(cx);
        if !self.is_paused() {
            self.raise_setup_errors(cx);
        }
        for _ in 0..MAX_CLIENTS_PER_TURN {
            if self.poll_client(cx).is_pending() {
                return;
            }
        }
        // There may be more clients: other actors have their turn first.
        cx.waker().wake_by_ref();
    }

    /// Raises `onAccept` for one client, or accepts one connection that does not
    /// become a client yet. If nothing more can be done in this turn, this is
    /// `Pending`, and the actor is woken when something can.
    fn poll_client(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if !self.is_paused() {
            self.raise_refusals(cx);
        }
        if !self.may_raise() {
            // Nothing can be raised, but if the last listener has died, a waiting
            // connection is a reason to start the event page again.
            if self.needs_reload() && self.transfer.is_none() {
                self.accept_one_and_request_load(cx);
            }
            return Poll::Pending;
        }
        // Older clients come first. During a handover they stay queued, because
        // they go to the next process. A TLS connection cannot go there, so its
        // client is raised here even then.
        if (self.transfer.is_none() || self.uses_tls())
            && let Some(pending_accept) = self.pop_undelivered(cx)
        {
            // The app may have closed it by its id meanwhile.
            if pending_accept.is_open() {
                self.on_accept().raise(&pending_accept, self.id);
            }
            return Poll::Ready(());
        }
        if let Some(handshakes) = &mut self.handshakes {
            // During a handover too: see above.
            if let Some(finished) = handshakes.tasks.pop_finished(cx) {
                // The socket may listen elsewhere by now, so the OS is asked.
                let pending_accept = self.create_client(finished, None);
                self.on_accept().raise(&pending_accept, self.id);
                return Poll::Ready(());
            }
            // Without room for a handshake, connections wait in the backlog.
            if !handshakes.has_room(cx) {
                return Poll::Pending;
            }
        }
        if self.proxy.is_some() {
            // With TLS, the handshake comes first.
            if !self.uses_tls()
                && let Some(accepted) = self.pop_proxied(cx)
            {
                let pending_accept = self.create_client(accepted, None);
                self.on_accept().raise(&pending_accept, self.id);
                return Poll::Ready(());
            }
            if !self.has_room_for_header(cx) {
                return Poll::Pending;
            }
        }
        // A handover passes the backlog on with the listener. Without `setTls`
        // it is not known how a connection is to be encrypted.
        if self.transfer.is_some() || self.awaits_set_tls() {
            return Poll::Pending;
        }
        match self.poll_accept(cx) {
            Poll::Ready(Some(pending_accept)) => {
                self.on_accept().raise(&pending_accept, self.id);
                Poll::Ready(())
            }
            Poll::Ready(None) => Poll::Ready(()),
            Poll::Pending => {
                self.permit_direct_accepts();
                Poll::Pending
            }
        }
    }

    /// Whether the app's listeners have died, and its event page can add others.
    fn needs_reload(&self) -> bool {
        !self.awaits_returned && self.on_accept().needs_reload(&self.app_shards.activity)
    }

    /// For an app that is suspended, or whose listeners have died: asks for it to
    /// be loaded if there is an event for it. To find that out, at most one
    /// connection is accepted, whose `onAccept` is then the first event of the
    /// loaded app. With TLS, connections are accepted until the first handshake
    /// is finished.
    fn accept_one_and_request_load(&mut self, cx: &mut TaskContext<'_>) {
        self.undelivered.retain(|pending| pending.is_open());
        if !self.persistent && self.app_shards.activity.is_suspended() {
            // The suspension is about to close this socket.
            return;
        }
        let is_paused = self.is_paused();
        let handshakes = self.handshakes.as_mut();
        if !is_paused
            && self.undelivered.is_empty()
            && handshakes.is_none_or(|it| !it.needs_app() && it.has_room(cx))
            && !self.has_proxied_client()
            && self.has_room_for_header(cx)
        {
            match self.poll_accept(cx) {
                Poll::Pending => {}
                Poll::Ready(Some(client)) => self.undelivered.push_back(client),
                // Nothing was kept: the next turn accepts another one.
                Poll::Ready(None) => cx.waker().wake_by_ref(),
            }
        }
        let handshakes = self.handshakes.as_ref();
        let has_client = handshakes.is_some_and(|it| it.needs_app())
            || !self.undelivered.is_empty()
            || self.has_proxied_client();
        // Accept errors are reported by a paused socket too.
        if !self.errors.event_queue.is_empty() || (!self.is_paused() && has_client) {
            self.app_shards.activity.request_load();
        }
    }

    /// Accepts one connection. `None`: it was refused, or its PROXY header or its
    /// handshake comes first, or accepting failed and may be tried again.
    fn poll_accept(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Arc<PendingAccept>>> {
        if self.errors.is_backing_off(cx) {
            return Poll::Pending;
        }
        let Some(bound) = &mut self.listener else {
            return Poll::Pending;
        };
        ready!(self.admission.poll_capacity(cx));
        let (stream, peer) = match ready!(bound.listener.poll_accept(cx)) {
            Ok(accepted) => accepted,
            Err(error) => return self.accept_failed(&error, cx).map(|()| None),
        };
        let arbiter = bound.direct.as_ref().map(|it| it.last_arbiter());
        let local = bound.local_of_clients();
        let key = PeerKey::of(&peer, || stream.peer_credentials());
        self.accepting_from = Some(peer.clone());
        self.errors.attempt = 0;
        self.count_accepted();
        let proxy = self.proxy.as_mut();
        let rule = proxy.map_or(HeaderRule::None, |it| it.rule(&peer));
        if rule == HeaderRule::Refuse {
            self.refuse_other(stream, peer, cx);
            self.accepting_from = None;
            return Poll::Ready(None);
        }
        // A header names the client.
        let client = (rule == HeaderRule::None).then_some(key);
        if let Some((limit, then)) = self.admission.refusal(client) {
            refuse(stream, then);
            self.record_refusal(peer, limit);
            self.accepting_from = None;
            return Poll::Ready(None);
        }
        let mut meta = self.connection_meta(peer, client);
        meta.pin_to(arbiter);
        let accepted = AcceptedStream {
            stream,
            meta,
            proxy: None,
        };
        if let (HeaderRule::Expect, Some(proxy)) = (rule, &mut self.proxy) {
            proxy.push(accepted, cx);
            self.accepting_from = None;
            return Poll::Ready(None);
        }
        Poll::Ready(match &mut self.handshakes {
            Some(handshakes) if handshakes.uses_tls() => {
                handshakes.push(accepted, cx);
                self.accepting_from = None;
                None
            }
            _ => Some(self.create_client(accepted, local)),
        })
    }

    /// Of a connection that was accepted from this peer, which counts in limits from now on.
    /// `client` as in [`Admission::refusal`](crate::tcp_server::limits::admission::Admission).
    pub(in crate::tcp_server) fn connection_meta(
        &mut self,
        peer: Address,
        client: Option<PeerKey>,
    ) -> Box<ConnectionMeta> {
        let guard = self.admission.admit(client);
        let span = Span::connection(self.app(), Some(self.id), &peer);
        ConnectionMeta::accepted(peer, guard, span)
    }

    pub(in crate::tcp_server) fn count_accepted(&mut self) {
        self.counts.accepted += 1;
        self.stats.accepted();
    }

    /// Whether accepted connections are encrypted.
    pub(in crate::tcp_server) fn uses_tls(&self) -> bool {
        self.handshakes.as_ref().is_some_and(|it| it.uses_tls())
    }

    pub(in crate::tcp_server) fn awaits_set_tls(&self) -> bool {
        let handshakes = self.handshakes.as_ref();
        handshakes.is_some_and(|it| it.awaits_set_tls())
    }

    pub(in crate::tcp_server) fn create_client(
        &mut self,
        accepted: AcceptedStream,
        local: Option<Address>,
    ) -> Arc<PendingAccept> {
        let pending_accept = self.create_client_with_id(self.table.allocate(), accepted, local);
        self.accepting_from = None;
        pending_accept
    }

    /// As [`NewClients::create`].
    pub(in crate::tcp_server) fn create_client_with_id(
        &mut self,
        id: ClientSocketId,
        accepted: AcceptedStream,
        local: Option<Address>,
    ) -> Arc<PendingAccept> {
        let clients = NewClients {
            app_shards: &self.app_shards,
            table: &self.table,
            accepts_in_flight: &self.accepts_in_flight,
            may_encrypt: self.handshakes.is_some(),
            adopting: &mut self.adopting,
        };
        clients.create(id, accepted, local)
    }

    pub(in crate::tcp_server) fn record_refusal(&mut self, peer: Address, limit: LimitKind) {
        self.counts.refused += 1;
        self.stats.refused(limit.label());
        self.admission.record_refusal(self.id, peer, limit);
    }

    fn raise_refusals(&mut self, cx: &mut TaskContext<'_>) {
        let socket_id = self.id;
        let event = |(peer, limit): (Address, _), missed, _token| RefusedInfo {
            socket_id,
            peer,
            limit,
            missed,
            _token,
        };
        let listeners = &self.app_listeners.on_refused;
        self.admission.event_queue.raise(listeners, cx, event);
    }
}
