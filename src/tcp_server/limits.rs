//! How much a server socket takes on, and what is refused.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context as TaskContext;
use std::time::Duration;

use actix::Message;
use actix_rt::time::{Instant, Sleep, sleep_until};

use super::actor::ServerSocket;
use super::untold::{self, Unhandled, Untold};
use crate::events::Event;
use crate::guests::{Guest, Guests};
use crate::ids::ServerSocketId;
use crate::net_error::NetError;
use crate::os::Stream;

/// The limits of one server socket (beyond Chrome); by default there are none.
///
/// A connection counts from when it is accepted, its TLS handshake included,
/// until it is closed and its last sends have left. What another process has
/// left does not count, except for clients that nobody had heard of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Connections that are open at once.
    pub connections: Option<Limit>,
    /// Those of one peer: of an IPv4 address, or of the /64 network of an IPv6
    /// address. Connections that were accepted before this was first set do
    /// not count here. It cannot [`Queue`](AtLimit::Queue): whose turn it is
    /// is not known before it is accepted, and others would wait behind it.
    pub per_peer: Option<Limit>,
    /// Connections that are accepted in a time.
    pub rate: Option<RateLimit>,
}

/// A limit on a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// At least 1.
    pub most: usize,
    /// What becomes of those above it.
    pub then: AtLimit,
}

/// A limit on a number in a time: after a quiet time that many at once, then
/// one for each part of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// At least 1.
    pub most: u32,
    /// More than 0, and at most a day.
    pub per: Duration,
    /// What becomes of those above it.
    pub then: AtLimit,
}

/// What becomes of a connection above a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AtLimit {
    /// It waits in the backlog, where the OS refuses more once it is full.
    #[default]
    Queue,
    /// It is accepted and closed.
    Close,
    /// It is accepted and reset (closed, on a network that cannot).
    Reset,
}

/// Which limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::connections`].
    Connections,
    /// [`Limits::per_peer`].
    PerPeer,
    /// [`Limits::rate`].
    Rate,
    /// The descriptors of the process
    /// ([`AcceptAction::Shed`](super::AcceptAction::Shed)).
    Descriptors,
}

/// `onRefused` (beyond Chrome): a connection was accepted and closed at a
/// limit. A suspended app is not loaded for it, and a paused socket raises
/// none.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RefusedInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The other end's address.
    pub peer_address: IpAddr,
    /// The other end's port.
    pub peer_port: u16,
    /// Why.
    pub limit: LimitKind,
    /// How many before this one were not told, because listeners had
    /// [`UNHANDLED_REFUSALS`] events to handle.
    pub missed: u64,
    #[debug(skip)]
    _unhandled: Unhandled,
}

impl RefusedInfo {
    /// `peer_address` and `peer_port` in one.
    pub fn peer_addr(&self) -> SocketAddr {
        (self.peer_address, self.peer_port).into()
    }
}

impl Event for RefusedInfo {}

/// The most `onRefused` events of one server socket that listeners have not
/// handled, and as many that wait; beyond it refusals are only counted.
pub const UNHANDLED_REFUSALS: usize = untold::UNHANDLED;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Limits {
    fn check(&self) -> Result<(), NetError> {
        let connections = self.connections.is_none_or(|limit| limit.most > 0);
        let per_peer = self
            .per_peer
            .is_none_or(|limit| limit.most > 0 && limit.then != AtLimit::Queue);
        let rate = self
            .rate
            .is_none_or(|rate| rate.most > 0 && !rate.per.is_zero() && rate.per <= DAY);
        match connections && per_peer && rate {
            true => Ok(()),
            false => Err(NetError::INVALID_ARGUMENT),
        }
    }
}

/// Where connections come in.
pub(super) struct Gate {
    limits: Limits,
    /// What was accepted here and is open.
    guests: Arc<Guests>,
    /// When the rate is even again. Connections come ahead of it by no more
    /// than the time of the limit.
    even: Option<Instant>,
    opens: Option<Pin<Box<Sleep>>>,
    untold: Untold<(SocketAddr, LimitKind)>,
}

impl Gate {
    pub(super) fn new(of_the_app: &Arc<Guests>) -> Self {
        Gate {
            limits: Limits::default(),
            guests: Arc::new(Guests::of(of_the_app)),
            even: None,
            opens: None,
            untold: Untold::default(),
        }
    }

    pub(super) fn guests(&self) -> &Arc<Guests> {
        &self.guests
    }

    pub(super) fn set(&mut self, limits: Limits) -> Result<(), NetError> {
        limits.check()?;
        if self.limits.rate != limits.rate {
            self.even = None;
        }
        self.limits = limits;
        Ok(())
    }

    /// The limit that has connections wait in the backlog.
    pub(super) fn full(&self) -> Option<LimitKind> {
        let queues = |then| then == AtLimit::Queue;
        let connections = self.limits.connections.filter(|limit| queues(limit.then));
        if connections.is_some_and(|limit| self.guests.accepted() >= limit.most) {
            return Some(LimitKind::Connections);
        }
        let rate = self.limits.rate.filter(|rate| queues(rate.then));
        rate.and_then(|rate| self.opens_at(rate))
            .map(|_| LimitKind::Rate)
    }

    /// Whether connections have to wait; `cx` is woken when they have not.
    pub(super) fn is_shut(&mut self, cx: &mut TaskContext<'_>) -> bool {
        match self.full() {
            None => false,
            Some(LimitKind::Rate) => {
                let at = self.limits.rate.and_then(|rate| self.opens_at(rate));
                let mut opens = Box::pin(sleep_until(at.unwrap_or_else(Instant::now)));
                let is_shut = opens.as_mut().poll(cx).is_pending();
                self.opens = Some(opens);
                is_shut
            }
            Some(_) => {
                self.guests.wake_when_fewer(cx);
                // A place may have become free just before: another turn.
                if self.full() != Some(LimitKind::Connections) {
                    cx.waker().wake_by_ref();
                }
                true
            }
        }
    }

    /// When the rate lets the next one in, if not now.
    fn opens_at(&self, rate: RateLimit) -> Option<Instant> {
        let ahead = rate.per - rate.per / rate.most;
        let at = self.even?.checked_sub(ahead)?;
        (at > Instant::now()).then_some(at)
    }

    /// Why this connection, which has been accepted, is refused.
    pub(super) fn refuses(&self, peer: IpAddr) -> Option<(LimitKind, AtLimit)> {
        let Limits {
            connections,
            per_peer,
            rate,
        } = self.limits;
        let over = |limit: Option<Limit>, count: usize, kind| {
            let limit = limit.filter(|limit| count >= limit.most)?;
            Some((kind, limit.then))
        };
        over(connections, self.guests.accepted(), LimitKind::Connections)
            .or_else(|| {
                // Asking takes a lock.
                per_peer?;
                over(per_peer, self.guests.of_peer(peer), LimitKind::PerPeer)
            })
            .or_else(|| {
                let rate = rate.filter(|rate| self.opens_at(*rate).is_some())?;
                Some((LimitKind::Rate, rate.then))
            })
    }

    /// Lets one in.
    pub(super) fn admit(&mut self, peer: IpAddr) -> Guest {
        if let Some(rate) = self.limits.rate {
            let now = Instant::now();
            let even = self.even.map_or(now, |even| even.max(now));
            self.even = Some(even + rate.per / rate.most);
        }
        Guest::accepted(self.guests.clone(), self.limits.per_peer.map(|_| peer))
    }
}

impl ServerSocket {
    pub(super) fn refuse(
        &mut self,
        stream: Box<dyn Stream>,
        peer: SocketAddr,
        limit: LimitKind,
        then: AtLimit,
    ) {
        match then {
            AtLimit::Reset => stream.reset(),
            _ => drop(stream),
        }
        self.was_refused(peer, limit);
    }

    pub(super) fn was_refused(&mut self, peer: SocketAddr, limit: LimitKind) {
        log::debug!("server socket {}: {peer} was refused: {limit:?}", self.id);
        self.counts.refused += 1;
        self.gate.untold.add((peer, limit));
    }

    /// Tells of the refusals that may be told now.
    pub(super) fn tell_refusals(&mut self, cx: &TaskContext<'_>) {
        let socket_id = self.id;
        while let Some(((peer, limit), missed, carried)) = self.gate.untold.next(cx) {
            self.audience.on_refused.dispatch(|_, _| RefusedInfo {
                socket_id,
                peer_address: peer.ip(),
                peer_port: peer.port(),
                limit,
                missed,
                _unhandled: carried.copy(),
            });
        }
    }
}
