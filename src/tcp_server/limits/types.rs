//! Limits on accepted connections, and `onRefused`.

use std::net::SocketAddr;
use std::time::Duration;

use actix::Message;

use crate::address::Address;
use crate::events::Event;
use crate::events::redelivery::{self, InFlightEvent};
use crate::ids::ServerSocketId;
use crate::invalid_argument::InvalidArgument;
use crate::telemetry::RefusedBy;

/// How many connections are accepted (beyond Chrome): by one server socket
/// ([`set_limits`](crate::TcpServer::set_limits)), by all server sockets of an app
/// together ([`AppLimits`](crate::AppLimits)), or by all of a registry
/// ([`Registry::limits`](crate::Registry::limits)). By default there are no limits.
///
/// A connection counts from when it is accepted, before its TLS handshake, until it
/// is closed and its last sends have left. Connections made by `connect` do not
/// count. A connection that another process handed over counts for the app and the
/// registry; for the server socket only if no listener had heard of it.
///
/// If several limits are reached, the first decides what becomes of a connection.
/// The order is: the server socket, the app, the registry; for each of them
/// `connections`, then `rate`. `per_peer` comes last, because the peer is only known
/// once the connection is accepted. Server sockets that wait at the same limit take
/// turns: each accepts one connection, in the order in which they began to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// How many connections may be open at once.
    pub connections: Option<Limit>,
    /// How many connections of one peer may be open at once. A peer is an IPv4
    /// address, or the /64 network of an IPv6 address; at a Unix socket it is a user
    /// (the effective uid; all of whom the OS tells none are one); behind a proxy it is
    /// the client that the PROXY header names. Connections that were
    /// accepted before this was first set, or by another process, do not count. It
    /// cannot be [`Queue`](AtLimit::Queue): the peer is only known once the
    /// connection is accepted, and other peers would wait behind it.
    pub per_peer: Option<Limit>,
    /// How many connections may be accepted per time.
    pub rate: Option<RateLimit>,
}

/// A limit on a number of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// At least 1.
    pub most: usize,
    /// What becomes of connections above it.
    pub then: AtLimit,
}

/// A limit on a number of connections per time. After a quiet time, `most` of them
/// are accepted at once, then one every `per / most`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// At least 1.
    pub most: u32,
    /// More than 0, and at most a day.
    pub per: Duration,
    /// What becomes of connections above it.
    pub then: AtLimit,
}

/// What becomes of a connection above a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AtLimit {
    /// It waits in the backlog, where the OS refuses more once it is full.
    #[default]
    Queue,
    /// It is accepted and closed. The peer reads the end of the stream, even if it
    /// has already sent something.
    Close,
    /// It is accepted and reset, or closed on a network that cannot reset.
    Reset,
}

/// The scope of a limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LimitScope {
    /// One server socket.
    Socket,
    /// All server sockets of the app.
    App,
    /// All server sockets of the registry.
    Registry,
}

/// The kind of a limit, with its scope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::connections`].
    Connections(LimitScope),
    /// [`Limits::per_peer`].
    PerPeer(LimitScope),
    /// [`Limits::rate`].
    Rate(LimitScope),
    /// The descriptors of the process
    /// ([`AcceptAction::Shed`](crate::tcp_server::AcceptAction::Shed)).
    Descriptors,
}

impl LimitKind {
    pub(in crate::tcp_server) fn label(self) -> RefusedBy {
        match self {
            LimitKind::Connections(_) => RefusedBy::Connections,
            LimitKind::PerPeer(_) => RefusedBy::PerPeer,
            LimitKind::Rate(_) => RefusedBy::Rate,
            LimitKind::Descriptors => RefusedBy::Descriptors,
        }
    }
}

/// `onRefused` (beyond Chrome): a connection was accepted, and closed or reset
/// because of a limit. A suspended app is not loaded for it. A paused socket raises
/// it when it is resumed.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RefusedInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The peer's address.
    pub peer: Address,
    /// The limit that was reached.
    pub limit: LimitKind,
    /// How many refusals before this one raised no event, because listeners had
    /// [`UNHANDLED_REFUSALS`] events to handle.
    pub missed: u64,
    #[debug(skip)]
    pub(in crate::tcp_server) _token: InFlightEvent<RefusedInfo, (Address, LimitKind)>,
}

impl RefusedInfo {
    /// `peer` as an IP address with its port; `None` at a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.socket_addr()
    }
}

impl Event for RefusedInfo {}

/// How many `onRefused` events of one server socket may be unhandled by listeners,
/// and how many more may be queued. Refusals beyond that are only counted.
pub const UNHANDLED_REFUSALS: usize = redelivery::MAX_UNHANDLED;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Limits {
    pub(crate) fn check(&self) -> Result<(), InvalidArgument> {
        use InvalidArgument::{
            ConnectionsZero, PerPeerQueue, PerPeerZero, RatePeriodTooLong, RatePeriodZero, RateZero,
        };
        if let Some(Limit { most: 0, .. }) = self.connections {
            return Err(ConnectionsZero);
        }
        match self.per_peer {
            Some(Limit { most: 0, .. }) => return Err(PerPeerZero),
            Some(limit) if limit.then == AtLimit::Queue => return Err(PerPeerQueue),
            _ => {}
        }
        match self.rate {
            Some(RateLimit { most: 0, .. }) => Err(RateZero),
            Some(rate) if rate.per.is_zero() => Err(RatePeriodZero),
            Some(rate) if rate.per > DAY => Err(RatePeriodTooLong),
            _ => Ok(()),
        }
    }
}
