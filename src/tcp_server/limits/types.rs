//! How much server sockets take on, and what is refused.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix::Message;

use crate::events::Event;
use crate::events::redelivery;
use crate::events::redelivery::InFlightEvent;
use crate::ids::ServerSocketId;
use crate::net_error::NetError;

/// What is taken on by one server socket
/// ([`set_limits`](crate::TcpServer::set_limits)), by all of an app's together
/// ([`AppLimits`](crate::AppLimits)), or by all of a registry's
/// ([`Registry::limits`](crate::Registry::limits)); beyond Chrome, and by
/// default there are no limits.
///
/// A connection counts from when it is accepted, its TLS handshake included,
/// until it is closed and its last sends have left. What the app has made by
/// `connect` does not count. What another process has left counts for the app
/// and the registry; for the server socket only if nobody had heard of it.
///
/// Where several limits are reached, one decides what becomes of a connection:
/// the server socket's before the app's, and the app's before the registry's;
/// of one of them `connections` before `rate`. `per_peer` comes last: who the
/// peer is shows when it is accepted. Server sockets that wait for the same
/// limit take turns: each accepts one connection, in the order in which they
/// began to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Connections that are open at once.
    pub connections: Option<Limit>,
    /// Those of one peer: of an IPv4 address, or of the /64 network of an IPv6
    /// address. Connections that were accepted before this was first set, or by
    /// another process, do not count here. It cannot [`Queue`](AtLimit::Queue): whose turn it is
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
    /// It is accepted and closed: it finds the end, also if it has sent something
    /// by then.
    Close,
    /// It is accepted and reset (closed, on a network that cannot).
    Reset,
}

/// Whose limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LimitScope {
    /// The server socket's own.
    Socket,
    /// That of all server sockets of the app.
    App,
    /// That of all server sockets of the registry.
    Registry,
}

/// Which limit.
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
    pub(in crate::tcp_server) _unhandled: InFlightEvent<RefusedInfo, (SocketAddr, LimitKind)>,
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
pub const UNHANDLED_REFUSALS: usize = redelivery::MAX_UNHANDLED;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Limits {
    pub(crate) fn check(&self) -> Result<(), NetError> {
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
