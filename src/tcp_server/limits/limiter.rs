//! The limits of one scope: of a server socket, an app or a registry.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use actix_rt::time::Instant;
use parking_lot::Mutex;

use crate::connections::{ConnectionCounter, PeerKey};
use crate::invalid_argument::InvalidArgument;
use crate::tcp_server::{AtLimit, LimitKind, LimitScope, Limits, RateLimit};

/// The limits of one scope and how far they are used up. The server sockets of
/// the scope share it.
pub(crate) struct Limiter {
    scope: LimitScope,
    counter: Arc<ConnectionCounter>,
    /// Whether there are any limits. Without limits, the usual case, accepting
    /// does not take the lock.
    is_limited: AtomicBool,
    /// `Some` from the first limits on.
    state: Mutex<Option<Box<State>>>,
}

#[derive(Default)]
struct State {
    limits: Limits,
    /// The rate limit is a GCRA (generic cell rate algorithm). It needs one time
    /// instead of a history: when the next connection would be due if all came
    /// at even intervals. In the past after a quiet time.
    theoretical_arrival: Option<Instant>,
}

impl State {
    /// When the rate limit allows the next connection; `None` if it does now.
    fn allowed_at(&self, rate: RateLimit) -> Option<Instant> {
        // A connection may come early by so much that `most` of them may come at
        // once after a quiet time.
        let burst_tolerance = rate.per - rate.per / rate.most;
        let at = self.theoretical_arrival?.checked_sub(burst_tolerance)?;
        (at > Instant::now()).then_some(at)
    }
}

/// A limit that is reached.
pub(in crate::tcp_server) struct Reached {
    pub(in crate::tcp_server) limit: LimitKind,
    pub(in crate::tcp_server) then: AtLimit,
    /// For a rate limit: when it allows the next connection.
    pub(in crate::tcp_server) allowed_at: Option<Instant>,
}

impl Limiter {
    pub(crate) fn new(scope: LimitScope, counter: Arc<ConnectionCounter>) -> Self {
        Limiter {
            scope,
            counter,
            is_limited: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, limits: Limits) -> Result<(), InvalidArgument> {
        limits.check()?;
        let mut guard = self.state.lock();
        let state = guard.get_or_insert_default();
        // A new rate starts with a full burst.
        if state.limits.rate != limits.rate {
            state.theoretical_arrival = None;
        }
        state.limits = limits;
        self.is_limited.store(limits != Limits::default(), SeqCst);
        drop(guard);
        // There may be room now. The first in the queue wakes the others in turn.
        self.counter.wait_queue.wake_first();
        Ok(())
    }

    /// Whether there is any limit.
    pub(in crate::tcp_server) fn is_limited(&self) -> bool {
        self.is_limited.load(SeqCst)
    }

    pub(crate) fn limits(&self) -> Limits {
        let state = self.state.lock();
        state.as_ref().map_or_else(Limits::default, |it| it.limits)
    }

    pub(crate) fn counter(&self) -> &Arc<ConnectionCounter> {
        &self.counter
    }

    /// The limits that are reached for every peer. The first one decides.
    pub(in crate::tcp_server) fn reached(&self) -> impl Iterator<Item = Reached> + use<> {
        let reached = self.is_limited.load(SeqCst).then(|| {
            let guard = self.state.lock();
            let state = guard.as_ref()?;
            let connections = state.limits.connections;
            let connections = connections.filter(|it| self.counter.accepted() >= it.most);
            let rate = state.limits.rate;
            let rate = rate.and_then(|it| Some((it.then, state.allowed_at(it)?)));
            Some([
                connections.map(|it| Reached {
                    limit: LimitKind::Connections(self.scope),
                    then: it.then,
                    allowed_at: None,
                }),
                rate.map(|(then, allowed_at)| Reached {
                    limit: LimitKind::Rate(self.scope),
                    then,
                    allowed_at: Some(allowed_at),
                }),
            ])
        });
        reached.flatten().into_iter().flatten().flatten()
    }

    /// Whether there is a limit at which connections wait.
    pub(in crate::tcp_server) fn may_queue(&self) -> bool {
        self.is_limited.load(SeqCst) && {
            let limits = self.limits();
            let connections = limits.connections.map(|limit| limit.then);
            let rate = limits.rate.map(|limit| limit.then);
            [connections, rate].contains(&Some(AtLimit::Queue))
        }
    }

    /// The limit per peer, if this peer has reached it.
    pub(in crate::tcp_server) fn reached_by(&self, peer: PeerKey) -> Option<(LimitKind, AtLimit)> {
        if !self.is_limited.load(SeqCst) {
            return None;
        }
        let limit = self.limits().per_peer?;
        let is_reached = self.counter.accepted_from(peer) >= limit.most;
        is_reached.then_some((LimitKind::PerPeer(self.scope), limit.then))
    }

    /// Counts an accepted connection for the rate. Returns whether it has to be
    /// counted for its peer.
    pub(in crate::tcp_server) fn count_accepted(&self) -> bool {
        if !self.is_limited.load(SeqCst) {
            return false;
        }
        let mut guard = self.state.lock();
        let Some(state) = &mut *guard else {
            return false;
        };
        if let Some(rate) = state.limits.rate {
            let now = Instant::now();
            // After a quiet time the intervals begin now: unused time beyond one
            // burst is not saved up.
            let arrival = state.theoretical_arrival.map_or(now, |it| it.max(now));
            state.theoretical_arrival = Some(arrival + rate.per / rate.most);
        }
        state.limits.per_peer.is_some()
    }

    /// Whether connections have to be counted for their peers.
    pub(in crate::tcp_server) fn counts_per_peer(&self) -> bool {
        self.is_limited.load(SeqCst) && self.limits().per_peer.is_some()
    }
}
