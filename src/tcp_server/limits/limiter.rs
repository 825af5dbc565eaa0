//! The limits of one scope, kept.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use actix_rt::time::Instant;
use parking_lot::Mutex;

use crate::connections::ConnectionCounter;
use crate::net_error::NetError;
use crate::tcp_server::{AtLimit, LimitKind, LimitScope, Limits, RateLimit};

/// The limits of a server socket, or those that several share, and how far
/// they are used up.
pub(crate) struct Limiter {
    of: LimitScope,
    pub(in crate::tcp_server) counter: Arc<ConnectionCounter>,
    /// Whether there are limits at all: where there are none, nobody takes
    /// the lock.
    is_limited: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    limits: Limits,
    /// When the rate is even again. Connections come ahead of it by no more
    /// than the time of the limit.
    even: Option<Instant>,
}

impl State {
    /// When the rate lets the next one in, if not now.
    fn opens_at(&self, rate: RateLimit) -> Option<Instant> {
        let ahead = rate.per - rate.per / rate.most;
        let at = self.even?.checked_sub(ahead)?;
        (at > Instant::now()).then_some(at)
    }
}

/// A limit that is reached.
pub(in crate::tcp_server) struct Reached {
    pub(in crate::tcp_server) limit: LimitKind,
    pub(in crate::tcp_server) then: AtLimit,
    /// When it opens, if the time does that.
    pub(in crate::tcp_server) opens: Option<Instant>,
}

impl Limiter {
    pub(crate) fn new(of: LimitScope, counter: Arc<ConnectionCounter>) -> Self {
        Limiter {
            of,
            counter,
            is_limited: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, limits: Limits) -> Result<(), NetError> {
        limits.check()?;
        let mut state = self.state.lock();
        if state.limits.rate != limits.rate {
            state.even = None;
        }
        state.limits = limits;
        self.is_limited.store(limits != Limits::default(), SeqCst);
        drop(state);
        // Those that wait look again, one after the other.
        self.counter.wait_queue.wake_first();
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        self.state.lock().limits
    }

    pub(crate) fn counter(&self) -> &Arc<ConnectionCounter> {
        &self.counter
    }

    /// What is reached, whoever the peer is; the first decides.
    pub(in crate::tcp_server) fn reached(&self) -> impl Iterator<Item = Reached> + use<> {
        let state = self.is_limited.load(SeqCst).then(|| self.state.lock());
        let [mut connections, mut rate] = [None, None];
        if let Some(state) = state {
            let limit = state.limits.connections;
            connections = limit
                .filter(|limit| self.counter.accepted() >= limit.most)
                .map(|limit| Reached {
                    limit: LimitKind::Connections(self.of),
                    then: limit.then,
                    opens: None,
                });
            rate = state.limits.rate.and_then(|limit| {
                let opens = state.opens_at(limit)?;
                Some(Reached {
                    limit: LimitKind::Rate(self.of),
                    then: limit.then,
                    opens: Some(opens),
                })
            });
        }
        [connections, rate].into_iter().flatten()
    }

    /// Whether connections may have to wait here.
    pub(in crate::tcp_server) fn queues(&self) -> bool {
        self.is_limited.load(SeqCst) && {
            let Limits {
                connections, rate, ..
            } = self.limits();
            let connections = connections.map(|limit| limit.then);
            let rate = rate.map(|limit| limit.then);
            [connections, rate].contains(&Some(AtLimit::Queue))
        }
    }

    /// The limit of this peer, if it is reached.
    pub(in crate::tcp_server) fn reached_by(&self, peer: IpAddr) -> Option<(LimitKind, AtLimit)> {
        if !self.is_limited.load(SeqCst) {
            return None;
        }
        let limit = self.limits().per_peer?;
        let reached = self.counter.accepted_from(peer) >= limit.most;
        reached.then_some((LimitKind::PerPeer(self.of), limit.then))
    }

    /// One comes in; says whether it is to be counted for its peer.
    pub(in crate::tcp_server) fn count(&self) -> bool {
        if !self.is_limited.load(SeqCst) {
            return false;
        }
        let mut state = self.state.lock();
        if let Some(rate) = state.limits.rate {
            let now = Instant::now();
            let even = state.even.map_or(now, |even| even.max(now));
            state.even = Some(even + rate.per / rate.most);
        }
        state.limits.per_peer.is_some()
    }
}
