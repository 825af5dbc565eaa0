//! Acceptors that raise `onAccept` in their own threads.
//!
//! On a shared port each arbiter has an acceptor. While nothing has to be decided, because the
//! server socket has neither a pause nor a limit, TLS, PROXY headers or an event that has returned,
//! it permits them to make clients of connections and to raise `onAccept` themselves. Every message
//! and every turn of the server socket revokes that first (`ServerSocket::begin_turn`). A client is
//! made and raised under the lock of the permission, so once it is revoked, nothing is raised that
//! the server socket does not raise itself. Without a permission connections are accepted ahead.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use parking_lot::Mutex;

use crate::address::Address;
use crate::connections::{ConnectionGuard, PeerKey};
use crate::ids::ServerSocketId;
use crate::os::Stream;
use crate::tcp::{AdoptingShards, AppShards, ConnectionMeta, IdTable};
use crate::tcp_server::accept::new_clients::NewClients;
use crate::tcp_server::accept::setup_tasks::AcceptedStream;
use crate::tcp_server::app_listeners::AppListeners;
use crate::tcp_server::events::{AcceptsInFlight, UNHANDLED_ACCEPTS};
use crate::tcp_server::limits::limiter::Limiter;
use crate::tcp_server::serve::factory::HandlerFactory;
use crate::tcp_server::serve::on_accept::OnAccept;
use crate::telemetry::{ServerStats, Span};

/// What a server socket shares with the acceptors of its port.
pub(in crate::tcp_server) struct DirectAccepts {
    pub(super) shared: SharedWithAcceptors,
    state: Mutex<State>,
    /// The index of the arbiter that accepted the last connection that was accepted ahead.
    last_arbiter: AtomicUsize,
}

/// What clients are made and raised with.
pub(super) struct SharedWithAcceptors {
    pub(super) socket_id: ServerSocketId,
    pub(super) app_listeners: Arc<AppListeners>,
    pub(super) app_shards: Arc<AppShards>,
    pub(super) table: Arc<IdTable>,
    pub(super) accepts_in_flight: Arc<AcceptsInFlight>,
    pub(super) limiters: [Arc<Limiter>; 3],
    pub(super) stats: ServerStats,
}

/// Since the last turn of the server socket.
#[derive(Default)]
pub(super) struct State {
    permit: Option<Permit>,
    /// How many connections were accepted.
    pub(super) accepted: u64,
    /// The peer of a connection that is no client socket yet. Set while it is accepted: if that
    /// panics, the connection is reported as lost.
    pub(super) accepting_from: Option<Address>,
}

/// The permission.
pub(super) struct Permit {
    /// Makes handlers of the clients, instead of `onAccept`.
    pub(super) serving: Option<HandlerFactory>,
    /// How many listeners of `onAccept` had died.
    pub(super) listener_deaths: u64,
    /// The local address of every connection, if it is one.
    pub(super) local: Option<Address>,
}

impl DirectAccepts {
    pub(super) fn new(shared: SharedWithAcceptors) -> Self {
        DirectAccepts {
            shared,
            state: Mutex::default(),
            last_arbiter: AtomicUsize::new(0),
        }
    }

    pub(super) fn permit(&self, permit: Permit) {
        self.state.lock().permit = Some(permit);
    }

    /// Revokes the permission. From now on no acceptor raises anything.
    pub(super) fn revoke(&self) -> State {
        std::mem::take(&mut *self.state.lock())
    }

    /// Acceptors raise nothing more before the server socket has had a turn.
    pub(super) fn stop(&self) {
        let revoked = self.state.lock().permit.take();
        drop(revoked);
    }

    /// `stream` is a connection of this arbiter: makes a client of it and raises `onAccept`.
    /// Without a permission the connection is returned.
    ///
    /// # Errors
    /// The connection, if the server socket has to decide about it.
    pub(super) fn raise(
        &self,
        arbiter: usize,
        (stream, peer): (Box<dyn Stream>, Address),
        adopting: &mut AdoptingShards,
    ) -> Result<(), (Box<dyn Stream>, Address)> {
        let SharedWithAcceptors {
            socket_id,
            app_listeners,
            app_shards,
            table,
            accepts_in_flight,
            limiters,
            stats,
        } = &self.shared;
        let mut guard = self.state.lock();
        let State {
            permit,
            accepted,
            accepting_from,
        } = &mut *guard;
        // If another acceptor has panicked, the connection that it lost is to be reported.
        let valid = |permit: &&Permit| accepting_from.is_none() && self.is_valid(permit);
        let Some(Permit { serving, local, .. }) = permit.as_ref().filter(valid) else {
            let revoked = permit.take();
            drop(guard);
            // The factory of handlers is the app's code.
            drop(revoked);
            return Err((stream, peer));
        };
        *accepted += 1;
        *accepting_from = Some(peer.clone());
        stats.accepted();
        let key = PeerKey::of(&peer, || stream.peer_credentials());
        let counter = limiters[0].counter().clone();
        let connection_guard = ConnectionGuard::accepted(counter, key, [false; 3]);
        let app = &app_shards.app_context.app;
        let span = Span::connection(app, Some(*socket_id), &peer);
        let mut meta = ConnectionMeta::accepted(peer, connection_guard, span);
        meta.pin_to(Some(arbiter));
        let accepted = AcceptedStream {
            stream,
            meta,
            proxy: None,
        };
        let clients = NewClients {
            app_shards,
            table,
            accepts_in_flight,
            may_encrypt: false,
            adopting,
        };
        let pending_accept = clients.create(table.allocate(), accepted, local.clone());
        *accepting_from = None;
        let on_accept = OnAccept::new(serving.as_ref(), app_listeners);
        on_accept.raise(&pending_accept, *socket_id);
        Ok(())
    }

    /// Whether there is still nothing to decide. What is asked here changes without a turn of the
    /// server socket.
    fn is_valid(&self, permit: &Permit) -> bool {
        let shared = &self.shared;
        let on_accept = OnAccept::new(permit.serving.as_ref(), &shared.app_listeners);
        !shared.app_shards.activity.is_suspended()
            && shared.accepts_in_flight.count() < UNHANDLED_ACCEPTS
            && !shared.accepts_in_flight.has_returned()
            && !shared.limiters.iter().any(|it| it.is_limited())
            && on_accept.liveness() == (true, permit.listener_deaths)
    }

    pub(super) fn set_last_arbiter(&self, index: usize) {
        self.last_arbiter.store(index, SeqCst);
    }

    pub(super) fn last_arbiter(&self) -> usize {
        self.last_arbiter.load(SeqCst)
    }
}
