//! The arguments and results of `chrome.sockets.tcp`.

use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use crate::address::{Address, PeerCredentials};
use crate::error::Error;
use crate::handover_state::{MinimumRateRecord, SendMarksRecord, TimeoutsRecord};
use crate::ids::ClientSocketId;
use crate::invalid_argument::InvalidArgument;
use crate::net_error::NetError;
#[cfg(feature = "tls")]
use crate::os::TlsInfo;
use crate::proxy_protocol::ProxyHeader;
#[cfg(feature = "metrics")]
use crate::telemetry::Traffic;
use crate::tls::{Offer, Versions};

/// The most bytes of one `onReceive` event, if `bufferSize` is not set: 4,096.
pub const DEFAULT_BUFFER_SIZE: usize = 4096;

/// `tcp.SocketProperties`. In `update`, `None` leaves a value unchanged; in `create`, it means the
/// default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketProperties {
    /// Whether the socket stays open while its app is suspended, and moves to the next process in a
    /// [handover](crate::handover). Default: `false`.
    pub persistent: Option<bool>,
    /// A text for the app's own use. The empty text removes the name. At most
    /// [`MAX_NAME`](crate::MAX_NAME) bytes. Default: none.
    pub name: Option<String>,
    /// The most bytes of one `onReceive` event. Default: 4,096. Values below 1 mean the default. No
    /// event is larger than 65,536 bytes.
    pub buffer_size: Option<i32>,
    /// After how long the OS ends a connection whose peer acknowledges nothing of what was sent
    /// (`TCP_USER_TIMEOUT`, beyond Chrome), in milliseconds, rounded up; zero means the OS's own
    /// limit, which is the default. At most `i32::MAX` milliseconds.
    ///
    /// It holds for the present connection and for later ones. The OS measures it also for data that
    /// it has accepted already and for keep-alive probes, unlike [`Timeouts::send`]. Its
    /// [`TIMED_OUT`](NetError::TIMED_OUT) is reported once: by the answers of sends that wait, whose
    /// connection then ends with [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED), or by
    /// `onReceiveError` if no send waits. On systems without the option (it exists on Linux),
    /// setting it answers [`NOT_IMPLEMENTED`](NetError::NOT_IMPLEMENTED).
    pub user_timeout: Option<Duration>,
    /// Whether the socket can send after its peer has shut its writing side (beyond Chrome).
    /// Default: `false`, Chrome's way: `onReceiveError` reports the peer's end, and the socket is
    /// not connected any more; what was sent before still arrives.
    ///
    /// With `true`, `onReceiveError` reports the peer's end once, with
    /// [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED), and the socket is paused, but stays
    /// connected: the connection is *half-closed*. It counts in limits and drains, and `send` goes
    /// on, until [`shutdown_write`](crate::Tcp::shutdown_write), `disconnect`, `close`, a timeout
    /// or an error ends the other side too. That raises no second event: sends fail, and `getInfo`
    /// shows that the socket is not connected. So the app has to end a half-closed connection
    /// itself. [`Timeouts::idle`] ends those that it forgets, and is not stopped by the pause.
    ///
    /// A reset, or any other error, ends both sides at once as ever. The value counts when the end
    /// is reported; a change affects no end that was reported before.
    pub allow_half_open: Option<bool>,
    /// The most bytes that may wait in the socket's send queue (beyond Chrome). Default: none of
    /// its own; the app's [write quota](crate::Registry::write_quota) bounds all its sockets.
    /// `usize::MAX` removes the limit.
    ///
    /// A send that would exceed it answers [`SendQueueFull`](crate::Error::SendQueueFull), and
    /// nothing of it is sent: the limit counts [`queued_bytes`](super::ClientSocket::queued_bytes)
    /// and the whole send, whatever the OS would take of it at once. So a send that is longer than
    /// the limit is always refused. The check is exact with senders in several threads. Sends that
    /// are queued already stay when the limit is lowered. It holds for each later connection, and
    /// goes with the socket in a handover.
    pub send_limit: Option<usize>,
    /// The marks of the socket's send queue, which raise
    /// [`on_send_queue`](crate::Tcp::on_send_queue) (beyond Chrome). Default: none, and no events.
    /// A `high` of `usize::MAX` turns the events off. They hold for each later connection, and go
    /// with the socket in a handover.
    pub send_marks: Option<SendMarks>,
}

/// The marks of a send queue (beyond Chrome): its owner stops to send above the high-water mark, and
/// goes on at the low-water mark. See [`SendQueueInfo`](super::SendQueueInfo).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendMarks {
    /// The high-water mark in bytes: above it, the queue is
    /// [`High`](super::SendQueueLevel::High). With 0, every byte that waits raises the event.
    pub high: usize,
    /// The low-water mark in bytes: a queue that was high is
    /// [`Low`](super::SendQueueLevel::Low) when no more than this waits. 0 means an empty queue. At
    /// most `high`.
    pub low: usize,
}

impl SendMarks {
    /// # Errors
    /// `low` is above `high`.
    pub(crate) fn checked(self) -> Result<Self, InvalidArgument> {
        match self.low <= self.high {
            true => Ok(self),
            false => Err(InvalidArgument::LowMarkAboveHigh),
        }
    }
}

/// `tcp.CreateInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateInfo {
    /// The id of the new socket.
    pub socket_id: ClientSocketId,
}

/// `tcp.SocketInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// Whether the socket stays open while its app is suspended.
    pub persistent: bool,
    /// The app's own text, if there is one.
    pub name: Option<String>,
    /// The most bytes of one `onReceive` event, if it was set.
    pub buffer_size: Option<i32>,
    /// Whether receiving is paused.
    pub paused: bool,
    /// Whether the socket has a connection.
    pub connected: bool,
    /// The local address, if `connect` made the connection. `None` for an accepted socket, as in
    /// Chrome; see `local`.
    pub local_address: Option<IpAddr>,
    /// The local port; `None` where the address is.
    pub local_port: Option<u16>,
    /// The peer's address, while connected; `None` at a Unix socket, see `peer`.
    pub peer_address: Option<IpAddr>,
    /// The peer's port, while connected.
    pub peer_port: Option<u16>,
    /// The local address while connected, of accepted sockets too (beyond Chrome). For an accepted
    /// socket the OS is asked at each call; `None` if its peer is gone and its descriptor is closed
    /// already.
    pub local: Option<Address>,
    /// The peer's address, while connected (beyond Chrome).
    pub peer: Option<Address>,
    /// Who is at the other end of a Unix socket, while connected (beyond Chrome). `None` for other
    /// connections, and if the OS does not tell it.
    pub peer_credentials: Option<PeerCredentials>,
    /// What the TLS handshake has agreed on, while connected (beyond Chrome); `None` if the
    /// connection is not encrypted, or if its peer is gone and its descriptor is closed already.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<TlsInfo>>,
    /// Whether the socket can send after its peer has shut its writing side (beyond Chrome).
    pub allow_half_open: bool,
    /// Whether the peer has ended its side, `onReceiveError` has reported it, and the socket can
    /// still send (beyond Chrome): see [`SocketProperties::allow_half_open`].
    pub half_closed: bool,
    /// How many bytes of its sends the OS has not accepted yet (beyond Chrome): see
    /// [`ClientSocket::queued_bytes`](super::ClientSocket::queued_bytes).
    pub queued_bytes: usize,
    /// The most bytes that may wait to be sent, if a limit was set (beyond Chrome).
    pub send_limit: Option<usize>,
    /// The marks of the send queue, if they were set (beyond Chrome).
    pub send_marks: Option<SendMarks>,
    /// The socket's timeouts (beyond Chrome).
    pub timeouts: Timeouts,
    /// After how long the OS ends a connection whose peer acknowledges nothing, if it was set
    /// ([`SocketProperties::user_timeout`], beyond Chrome).
    pub user_timeout: Option<Duration>,
    /// How many `onReceiveError` events of the socket were dropped because
    /// [`MAX_PANICS`](crate::MAX_PANICS) listeners had panicked at each (beyond Chrome).
    pub dropped_events: u64,
    /// What its present connection, or its last one, has transferred (beyond Chrome, with the
    /// feature `metrics`). `None` before the first.
    #[cfg(feature = "metrics")]
    pub traffic: Option<Traffic>,
}

impl SocketInfo {
    /// `local` as an IP address with its port, of accepted sockets too.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local.as_ref()?.socket_addr()
    }

    /// `peer` as an IP address with its port.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.as_ref()?.socket_addr()
    }
}

/// How long a connection may be inactive (beyond Chrome). `None` means no limit, which is the
/// default of each.
///
/// A timeout never ends anything early, and is at most a few milliseconds late. `claim` and `idle`
/// stop while the app is suspended. All of them stop while a handover moves the socket. Afterwards
/// they start anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    /// How long an accepted client may stay unclaimed. The app claims it by `setPaused(false)`,
    /// `disconnect` or `close`. Otherwise the client is closed, and `onReceiveError` reports
    /// [`TIMED_OUT`](NetError::TIMED_OUT); its id is gone by then. The time starts when the client
    /// is offered to listeners, also if there is none. It ends for good with the first
    /// `setPaused(false)`.
    pub claim: Option<Duration>,
    /// How long a connection may neither receive nor send. Then it ends, and `onReceiveError`
    /// reports [`TIMED_OUT`](NetError::TIMED_OUT) when all earlier data was handled. If data waits
    /// to be sent, it fails and the connection is reset. Otherwise everything sent is still
    /// delivered, as after `disconnect`. The time stops while the socket is paused, and starts anew
    /// when it is resumed. A connection does not end while received data waits for the app. A
    /// [half-closed](SocketProperties::allow_half_open) connection is idle when it sends nothing,
    /// paused or not, and ends without an event.
    pub idle: Option<Duration>,
    /// How long the peer may acknowledge nothing while data waits to be sent. Then the connection
    /// is reset. Waiting and later sends fail with [`TIMED_OUT`](NetError::TIMED_OUT).
    /// `onReceiveError` reports the same when the socket is not paused and all earlier data was
    /// handled. The time runs while the socket is paused too. A closed socket has 30 seconds
    /// instead for data that is left.
    ///
    /// On Linux the kernel reports what the peer has acknowledged (`sock_diag`), so a slow but
    /// steady reader is not cut off. On other systems, and in a sandbox without `sock_diag`, only
    /// bytes that the local kernel takes count as progress. Choose a time there in which the
    /// slowest peer frees a good part of the kernel's send buffer.
    pub send: Option<Duration>,
    /// How fast the peer must acknowledge data while data waits to be sent. A peer that reads one
    /// byte now and then keeps `send` alive; this ends it. If fewer bytes than
    /// [`MinimumRate::bytes`] were acknowledged in a period, the connection is reset, and reported
    /// as by `send`.
    ///
    /// The first period begins when data starts to wait, at most a sixteenth of
    /// [`MinimumRate::per`] later; the next one follows at once. A queue that becomes empty ends
    /// the period, and so does a handover. The periods go on while the socket is paused and while
    /// the app is suspended. A closed socket has the 30 seconds of `send` instead.
    ///
    /// Acknowledged are bytes that the OS has accepted and no longer keeps for the peer; where the
    /// kernel does not tell that (see `send`), the bytes that it has accepted. A peer that reads
    /// slowly acknowledges in steps: its kernel announces room only when a good part of its receive
    /// buffer is free. So choose a period in which the slowest welcome peer reads several hundred
    /// kilobytes, or a minute, rather than a second.
    pub send_rate: Option<MinimumRate>,
}

/// The lowest rate at which a peer may acknowledge data ([`Timeouts::send_rate`], beyond Chrome).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinimumRate {
    /// At least this many bytes, not zero, ...
    pub bytes: u64,
    /// ... in each period of this length, not zero.
    pub per: Duration,
}

impl Timeouts {
    /// # Errors
    /// One of them, or a part of the rate, is zero.
    pub(crate) fn checked(self) -> Result<Self, InvalidArgument> {
        for (timeout, error) in [
            (self.claim, InvalidArgument::ClaimTimeoutZero),
            (self.idle, InvalidArgument::IdleTimeoutZero),
            (self.send, InvalidArgument::SendTimeoutZero),
        ] {
            if timeout == Some(Duration::ZERO) {
                return Err(error);
            }
        }
        if let Some(MinimumRate { bytes, per }) = self.send_rate {
            if bytes == 0 {
                return Err(InvalidArgument::SendRateZero);
            }
            if per.is_zero() {
                return Err(InvalidArgument::SendRatePeriodZero);
            }
        }
        Ok(self)
    }
}

impl From<SendMarks> for SendMarksRecord {
    fn from(SendMarks { high, low }: SendMarks) -> Self {
        SendMarksRecord { high, low }
    }
}

impl From<SendMarksRecord> for SendMarks {
    fn from(SendMarksRecord { high, low }: SendMarksRecord) -> Self {
        SendMarks { high, low }
    }
}

impl From<Timeouts> for TimeoutsRecord {
    fn from(timeouts: Timeouts) -> Self {
        let rate = |MinimumRate { bytes, per }| MinimumRateRecord { bytes, per };
        TimeoutsRecord {
            claim: timeouts.claim,
            idle: timeouts.idle,
            send: timeouts.send,
            send_rate: timeouts.send_rate.map(rate),
        }
    }
}

impl From<TimeoutsRecord> for Timeouts {
    fn from(record: TimeoutsRecord) -> Self {
        let rate = |MinimumRateRecord { bytes, per }| MinimumRate { bytes, per };
        Timeouts {
            claim: record.claim,
            idle: record.idle,
            send: record.send,
            send_rate: record.send_rate.map(rate),
        }
    }
}

/// `tcp.SendInfo` of a successful send. A failed send answers an [`Error`](crate::Error).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendInfo {
    /// The length of the data: a send succeeds as a whole, or fails.
    pub bytes_sent: usize,
}

/// `tcp.DnsQueryType`: which addresses of a host name `connect` may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DnsQueryType {
    /// IPv4 and IPv6, alternately, beginning with the family of the resolver's first address.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// How [`connect_to`](crate::Tcp::connect_to) connects (beyond Chrome).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConnectOptions {
    /// Which addresses of a host name are tried. Default: all.
    pub dns_query_type: DnsQueryType,
    /// How long the call may take, with the look-up of the name. Then the attempts are cancelled, and
    /// the call answers [`CONNECTION_TIMED_OUT`](NetError::CONNECTION_TIMED_OUT). Default: none of
    /// its own; the OS gives up after some minutes, as with
    /// [`connect`](crate::Tcp::connect).
    pub timeout: Option<Duration>,
    /// The local address of the connection, which has to be one of this machine. With port 0 the OS
    /// chooses the port. Only peers of the same family are tried. Default: the OS chooses address
    /// and port. Not for a Unix socket.
    pub local: Option<SocketAddr>,
    /// A PROXY header, which is sent before everything else, TLS too: this socket is then a proxy
    /// for the client that the header names. The call is answered when the OS has taken the
    /// header, and fails as a send would. Default: none.
    pub proxy_header: Option<ProxyHeader>,
}

/// `tcp.SecureOptions`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SecureOptions {
    /// Which versions of TLS are allowed. `None` allows every version that this crate supports.
    pub tls_version: Option<TlsVersionConstraints>,
    /// The protocols that are offered to the server (ALPN, beyond Chrome), best first, for
    /// instance `h2` and `http/1.1`. The server chooses one, or none;
    /// [`SocketInfo::tls`] has its choice. A server that speaks none of them may end the
    /// handshake ([`SSL_PROTOCOL_ERROR`](NetError::SSL_PROTOCOL_ERROR)). Each name has 1 to 255
    /// bytes, all together at most [`MAX_ALPN`]. Default: none are offered.
    pub alpn: Vec<Vec<u8>>,
}

/// The most bytes of all protocol names of [`SecureOptions::alpn`]: 4,096.
pub const MAX_ALPN: usize = 4096;

/// `tcp.TLSVersionConstraints`. `None` means no constraint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlsVersionConstraints {
    /// The lowest allowed version.
    pub min: Option<TlsVersion>,
    /// The highest allowed version.
    pub max: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TlsVersion {
    /// `tls1`, which is not supported. As `min` it means `tls1.2`.
    Tls1,
    /// `tls1.1`, which is not supported. As `min` it means `tls1.2`.
    Tls1_1,
    /// `tls1.2`.
    Tls1_2,
    /// `tls1.3`.
    Tls1_3,
}

impl TlsVersionConstraints {
    /// Reads Chrome's names: `tls1`, `tls1.1`, `tls1.2` and `tls1.3`. Any other text is no
    /// constraint. The first two versions are not supported: a maximum of one of them leaves no
    /// version, so `secure` fails.
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
    /// # Errors
    /// The options allow no version, or a protocol name is too long.
    pub(super) fn offer(&self) -> Result<Offer, Error> {
        let versions = self.versions()?;
        if self
            .alpn
            .iter()
            .any(|name| !(1..=255).contains(&name.len()))
        {
            return Err(InvalidArgument::AlpnNameLength.into());
        }
        if self.alpn.iter().map(Vec::len).sum::<usize>() > MAX_ALPN {
            return Err(InvalidArgument::AlpnTooLong.into());
        }
        let alpn = self.alpn.clone();
        Ok(Offer { versions, alpn })
    }

    fn versions(&self) -> Result<Versions, NetError> {
        let TlsVersionConstraints { min, max } = self.tls_version.unwrap_or_default();
        let min = min.unwrap_or(TlsVersion::Tls1);
        let max = max.unwrap_or(TlsVersion::Tls1_3);
        let allows = |version| (min..=max).contains(&version);
        match (allows(TlsVersion::Tls1_2), allows(TlsVersion::Tls1_3)) {
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
    fn versions_outside_the_named_range_are_not_allowed() {
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
            let options = SecureOptions {
                tls_version,
                ..Default::default()
            };
            assert_eq!(options.versions(), versions, "{min:?} {max:?}");
        }
        assert_eq!(SecureOptions::default().versions(), Ok(Both));
    }
}
