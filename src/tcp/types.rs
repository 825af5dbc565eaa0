//! What `chrome.sockets.tcp` passes in and out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::error::Error;
use crate::handover_state::TimeoutsRecord;
use crate::ids::ClientSocketId;
use crate::net_error::NetError;
use crate::tls::Versions;

/// The most bytes of one `onReceive` where `bufferSize` is not set.
pub const DEFAULT_BUFFER_SIZE: usize = 4096;

/// `tcp.SocketProperties`: what is `None` keeps its value, or its default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketProperties {
    /// Whether the socket stays open when its app is suspended, and goes to
    /// the next process by a [handover](crate::handover) (`false`).
    pub persistent: Option<bool>,
    /// A text of the app's own; the empty one is no name. At most
    /// [`MAX_NAME`](crate::MAX_NAME) bytes.
    pub name: Option<String>,
    /// The most bytes of one `onReceive` (4096). A value below 1 counts as
    /// unset; above 65,536 nothing larger comes.
    pub buffer_size: Option<i32>,
}

/// `tcp.CreateInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateInfo {
    /// The new socket's id.
    pub socket_id: ClientSocketId,
}

/// `tcp.SocketInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// Whether it stays open when its app is suspended.
    pub persistent: bool,
    /// The app's own text, if there is one.
    pub name: Option<String>,
    /// The most bytes of one `onReceive`, where it was set.
    pub buffer_size: Option<i32>,
    /// Whether receiving is paused.
    pub paused: bool,
    /// Whether there is a connection.
    pub connected: bool,
    /// This end's address, of a socket that was connected by `connect`. An
    /// accepted socket shows none, as in Chrome.
    pub local_address: Option<IpAddr>,
    /// This end's port, shown where the address is.
    pub local_port: Option<u16>,
    /// The other end's address, while connected.
    pub peer_address: Option<IpAddr>,
    /// The other end's port, while connected.
    pub peer_port: Option<u16>,
    /// How long nothing may happen on it (beyond Chrome).
    pub timeouts: Timeouts,
    /// Beyond Chrome: how many `onReceiveError` events of it were dropped, as
    /// [`MAX_PANICS`](crate::MAX_PANICS) listeners had panicked at each.
    pub dropped_events: u64,
}

impl SocketInfo {
    /// `local_address` and `local_port` in one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        Some((self.local_address?, self.local_port?).into())
    }

    /// `peer_address` and `peer_port` in one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        Some((self.peer_address?, self.peer_port?).into())
    }
}

/// How long nothing may happen on a connection (beyond Chrome): what is `None`,
/// as all is by default, may last for good.
///
/// They are kept to a few milliseconds, and never end anything early. While the
/// app is suspended, `claim` and `idle` do not run, and neither does any while
/// the socket is on its way to another process; they begin anew afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    /// An accepted client that nobody un-pauses, disconnects or closes within
    /// this time is closed, as by `close`, and `onReceiveError` tells it
    /// ([`TIMED_OUT`](NetError::TIMED_OUT)): its id is gone by then. It counts
    /// from the moment when the client was offered, also one that has reached
    /// no listener, and is over for good with the first `setPaused(false)`.
    pub claim: Option<Duration>,
    /// A connection on which nothing was received or sent for this long ends: what
    /// waits to be sent fails, which resets it, or what was sent still arrives, as
    /// after `disconnect`, and `onReceiveError` tells
    /// [`TIMED_OUT`](NetError::TIMED_OUT) when all that came before was
    /// handled. It does not run while the socket is paused, as the app wants to
    /// hear nothing then, and begins anew when it is resumed. Nothing is ended
    /// that has sent something which the app is too slow to take.
    pub idle: Option<Duration>,
    /// While something waits to be sent, a connection whose peer acknowledges no
    /// byte for this long is reset. The sends that wait fail with
    /// [`TIMED_OUT`](NetError::TIMED_OUT), as later ones do, and `onReceiveError`
    /// tells it when the socket is not paused and all that came before was
    /// handled. It runs while the socket is paused too. What a closed socket has
    /// left to send is given 30 seconds instead.
    ///
    /// On Linux the kernel tells what the peer acknowledges (`sock_diag`), so a
    /// slow but steady reader is not cut off. On other systems, and in a sandbox
    /// without it, only what the own kernel takes is progress: choose a time in
    /// which the slowest peer frees a good part of the kernel's send buffer.
    pub send: Option<Duration>,
}

impl Timeouts {
    /// # Errors
    /// [`INVALID_ARGUMENT`](NetError::INVALID_ARGUMENT) if one of them is zero.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        let all = [self.claim, self.idle, self.send];
        match all.contains(&Some(Duration::ZERO)) {
            true => Err(NetError::INVALID_ARGUMENT.into()),
            false => Ok(self),
        }
    }
}

impl From<Timeouts> for TimeoutsRecord {
    fn from(Timeouts { claim, idle, send }: Timeouts) -> Self {
        TimeoutsRecord { claim, idle, send }
    }
}

impl From<TimeoutsRecord> for Timeouts {
    fn from(TimeoutsRecord { claim, idle, send }: TimeoutsRecord) -> Self {
        Timeouts { claim, idle, send }
    }
}

/// `tcp.SendInfo` of a send that succeeded; one that failed is an
/// [`Error`](crate::Error).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendInfo {
    /// All the bytes of the call: a send is delivered whole or fails.
    pub bytes_sent: usize,
}

/// `tcp.DnsQueryType`: which addresses of a host name `connect` may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DnsQueryType {
    /// Either kind, in the resolver's order.
    #[default]
    Any,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

/// `tcp.SecureOptions`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SecureOptions {
    /// Which versions of TLS may be spoken; every one that this crate knows,
    /// if it is `None`.
    pub tls_version: Option<TlsVersionConstraints>,
}

/// `tcp.TLSVersionConstraints`: what is `None` is no constraint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlsVersionConstraints {
    /// The lowest version that may be spoken.
    pub min: Option<TlsVersion>,
    /// The highest version that may be spoken.
    pub max: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TlsVersion {
    /// `tls1`, which is not spoken any more. As a `min` it means `tls1.2`.
    Tls1,
    /// `tls1.1`, likewise.
    Tls1_1,
    /// `tls1.2`.
    Tls1_2,
    /// `tls1.3`.
    Tls1_3,
}

impl TlsVersionConstraints {
    /// Chrome's texts: `tls1`, `tls1.1`, `tls1.2` and `tls1.3`. Any other text
    /// is no constraint. Nobody speaks the first two any more: who asks for
    /// them at most gets no connection, rather than one of another version.
    pub fn from_names(min: Option<&str>, max: Option<&str>) -> Self {
        let known = |name: &str| match name {
            "tls1" => Some(TlsVersion::Tls1),
            "tls1.1" => Some(TlsVersion::Tls1_1),
            "tls1.2" => Some(TlsVersion::Tls1_2),
            "tls1.3" => Some(TlsVersion::Tls1_3),
            _ => None,
        };
        TlsVersionConstraints {
            min: min.and_then(known),
            max: max.and_then(known),
        }
    }
}

impl SecureOptions {
    pub(super) fn versions(&self) -> Result<Versions, NetError> {
        let TlsVersionConstraints { min, max } = self.tls_version.unwrap_or_default();
        let (min, max) = (
            min.unwrap_or(TlsVersion::Tls1),
            max.unwrap_or(TlsVersion::Tls1_3),
        );
        let spoken = |version| (min..=max).contains(&version);
        match (spoken(TlsVersion::Tls1_2), spoken(TlsVersion::Tls1_3)) {
            (true, true) => Ok(Versions::Both),
            (true, false) => Ok(Versions::Tls1_2),
            (false, true) => Ok(Versions::Tls1_3),
            (false, false) => Err(NetError::NO_SSL_VERSIONS_ENABLED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_is_spoken_that_the_names_do_not_cover() {
        use Versions::*;
        let none = Err(NetError::NO_SSL_VERSIONS_ENABLED);
        for (min, max, versions) in [
            (None, None, Ok(Both)),
            (Some("tls1.2"), None, Ok(Both)),
            (Some("tls1.3"), None, Ok(Tls1_3)),
            (None, Some("tls1.2"), Ok(Tls1_2)),
            (None, Some("tls1.3"), Ok(Both)),
            (Some("tls1.3"), Some("tls1.3"), Ok(Tls1_3)),
            (Some("tls1"), Some("tls1.2"), Ok(Tls1_2)),
            (Some("tls1.1"), None, Ok(Both)),
            (None, Some("tls1"), none),
            (Some("tls1"), Some("tls1.1"), none),
            (Some("tls1.3"), Some("tls1.1"), none),
            (Some("tls1.4"), Some("tls1.1"), none),
            (Some("TLS1.3"), Some("ssl3"), Ok(Both)),
            (Some(""), Some("tls1.4"), Ok(Both)),
            (Some("tls1.3"), Some("tls1.2"), none),
        ] {
            let tls_version = Some(TlsVersionConstraints::from_names(min, max));
            let options = SecureOptions { tls_version };
            assert_eq!(options.versions(), versions, "{min:?} {max:?}");
        }
        assert_eq!(SecureOptions::default().versions(), Ok(Both));
    }
}
