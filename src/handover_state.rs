//! What a handover carries to the next process: persistent sockets as plain data, with their descriptors.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::Shared;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::address::{Address, UnixAddress};
use crate::ids::{AppId, ClientSocketId, ServerSocketId, UdpSocketId};
use crate::os::SocketFile;

/// The most unsent bytes with which a socket can be handed over: 256 MiB, more
/// than an app's default quota.
pub(crate) const MAX_UNSENT: usize = 256 * 1024 * 1024;

/// The longest id of an app whose sockets can be handed over, in bytes.
pub(crate) const MAX_APP_ID: usize = 16 * 1024;

/// The persistent sockets of a registry.
#[derive(Debug, Default)]
pub(crate) struct HandoverState {
    /// The last ids that were allocated, so that the next process allocates none
    /// of them again.
    pub(crate) last_server: u64,
    pub(crate) last_client: u64,
    pub(crate) last_udp: u64,
    pub(crate) servers: Vec<TransferredServer>,
    pub(crate) clients: Vec<TransferredClient>,
    pub(crate) udp_sockets: Vec<TransferredUdp>,
    /// Persistent sockets that stay in this process.
    pub(crate) not_transferred: Vec<NotTransferred>,
}

#[derive(Debug)]
pub(crate) struct TransferredServer {
    pub(crate) record: ServerRecord,
    pub(crate) listener: Option<OwnedFd>,
}

#[derive(Debug)]
pub(crate) struct TransferredClient {
    pub(crate) record: ClientRecord,
    pub(crate) stream: Option<OwnedFd>,
    /// Sends of the app that the OS has not accepted yet.
    pub(crate) unsent: Vec<Bytes>,
}

#[derive(Debug)]
pub(crate) struct TransferredUdp {
    pub(crate) record: UdpRecord,
    /// If it is bound.
    pub(crate) socket: Option<OwnedFd>,
}

/// A server socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerRecord {
    pub(crate) app: String,
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    /// Whether the app has paused it.
    pub(crate) paused: bool,
    /// A code of [`NetError`](crate::net_error::NetError): the accept error
    /// that has paused it.
    pub(crate) accept_error: Option<i32>,
    /// A code of [`NetError`](crate::net_error::NetError): an accept error
    /// that is not reported yet, because the app is suspended.
    pub(crate) unreported_error: Option<i32>,
    /// The OS's number of that error.
    pub(crate) unreported_errno: Option<i32>,
    /// Whether its connections are encrypted. The TLS configuration is not
    /// handed over, because it has secrets in it.
    pub(crate) encrypts: bool,
    /// Whether its app is suspended.
    pub(crate) suspended: bool,
    /// The timeouts of the clients that it accepts.
    #[serde(default)]
    pub(crate) timeouts: Option<TimeoutsRecord>,
    /// What it does after accept errors, if the app has set that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<Box<PolicyRecord>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<Box<LimitsRecord>>,
    /// Whether it listens in each arbiter. A socket that does so stays in its
    /// process; one that is set to, but does not listen, is handed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reuse_port: bool,
    /// The limits of its app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app_limits: Option<Box<AppLimitsRecord>>,
    /// Which connections begin with a PROXY header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proxy_protocol: Option<Box<ProxyProtocolRecord>>,
    /// The file that is removed when the socket closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<Box<SocketFileRecord>>,
}

/// Which connections begin with a PROXY header.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyProtocolRecord {
    pub(crate) networks: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unix_peers: bool,
    pub(crate) others: OtherPeersRecord,
    pub(crate) timeout: Duration,
    pub(crate) max_pending: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum OtherPeersRecord {
    Accept,
    Refuse,
}

/// The file of a Unix socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SocketFileRecord {
    /// The bytes of the absolute path, which need not be UTF-8.
    pub(crate) path: Vec<u8>,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl From<SocketFile> for SocketFileRecord {
    fn from(file: SocketFile) -> Self {
        SocketFileRecord {
            path: file.path.into_os_string().into_vec(),
            device: file.device,
            inode: file.inode,
        }
    }
}

impl From<SocketFileRecord> for SocketFile {
    fn from(record: SocketFileRecord) -> Self {
        SocketFile {
            path: OsString::from_vec(record.path).into(),
            device: record.device,
            inode: record.inode,
        }
    }
}

/// The address of one end of a connection. A version of this program without Unix sockets reads the
/// first kind, and refuses the second.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AddressRecord {
    Ip(SocketAddr),
    Unix(UnixAddressRecord),
}

/// The name of a Unix socket, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum UnixAddressRecord {
    Unnamed,
    Path(Vec<u8>),
    Abstract(Vec<u8>),
}

impl From<&Address> for AddressRecord {
    fn from(address: &Address) -> Self {
        match address {
            Address::Ip(address) => AddressRecord::Ip(*address),
            Address::Unix(address) => AddressRecord::Unix(match address {
                UnixAddress::Unnamed => UnixAddressRecord::Unnamed,
                UnixAddress::Path(path) => {
                    UnixAddressRecord::Path(path.as_os_str().as_bytes().to_vec())
                }
                UnixAddress::Abstract(name) => UnixAddressRecord::Abstract(name.to_vec()),
            }),
        }
    }
}

impl From<AddressRecord> for Address {
    fn from(record: AddressRecord) -> Self {
        match record {
            AddressRecord::Ip(address) => Address::Ip(address),
            AddressRecord::Unix(record) => Address::Unix(match record {
                UnixAddressRecord::Unnamed => UnixAddress::Unnamed,
                UnixAddressRecord::Path(path) => PathBuf::from(OsString::from_vec(path)).into(),
                UnixAddressRecord::Abstract(name) => UnixAddress::from_abstract(name),
            }),
        }
    }
}

/// What a server socket does after an accept error, by the error's class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyRecord {
    pub(crate) connection: ActionRecord,
    pub(crate) resources: ActionRecord,
    pub(crate) listener: ActionRecord,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum ActionRecord {
    Pause,
    BackOff { first: Duration, last: Duration },
    Shed,
    Continue,
    Escalate,
    Close,
}

/// How many connections are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsRecord {
    pub(crate) connections: Option<LimitRecord>,
    pub(crate) per_peer: Option<LimitRecord>,
    pub(crate) rate: Option<RateRecord>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitRecord {
    pub(crate) most: usize,
    pub(crate) then: AtLimitRecord,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateRecord {
    pub(crate) most: u32,
    pub(crate) per: Duration,
    pub(crate) then: AtLimitRecord,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum AtLimitRecord {
    Queue,
    Close,
    Reset,
}

/// The limits of an app.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppLimitsRecord {
    pub(crate) accepted: LimitsRecord,
    pub(crate) sockets: Option<usize>,
}

/// A client socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientRecord {
    pub(crate) app: String,
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) buffer_size: Option<i32>,
    pub(crate) paused: bool,
    /// Whether the socket can send after the peer's end was reported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_half_open: bool,
    /// Whether it was accepted and has never been resumed.
    #[serde(default)]
    pub(crate) never_resumed: bool,
    #[serde(default)]
    pub(crate) timeouts: Option<TimeoutsRecord>,
    /// `TCP_USER_TIMEOUT`, if the app has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_timeout: Option<Duration>,
    /// The limit and the marks of its send queue, if the app has set them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) send_limit: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) send_marks: Option<SendMarksRecord>,
    /// Whether its app is suspended.
    pub(crate) suspended: bool,
    /// The server socket that accepted it, if it was not delivered to a listener yet.
    pub(crate) offered_by: Option<u64>,
    pub(crate) connection: Option<ConnectionRecord>,
}

/// The marks of a send queue, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendMarksRecord {
    pub(crate) high: usize,
    pub(crate) low: usize,
}

/// The timeouts of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeoutsRecord {
    pub(crate) claim: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) send: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) send_rate: Option<MinimumRateRecord>,
}

/// The lowest rate at which a peer may acknowledge data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinimumRateRecord {
    pub(crate) bytes: u64,
    pub(crate) per: Duration,
}

/// The state of a connection, without its descriptor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionRecord {
    pub(crate) peer: AddressRecord,
    /// `None` for an accepted connection.
    pub(crate) dialled: Option<OutboundRecord>,
    /// Codes of [`NetError`](crate::net_error::NetError): why nothing more
    /// can be written, and the end that was read and is not reported yet.
    pub(crate) write_error: Option<i32>,
    pub(crate) end: Option<i32>,
    /// Whether the peer has shut its writing side, and may still receive. Without an `end`, that
    /// was reported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) peer_ended: bool,
    /// Whether the app has shut the write side: the end follows the unsent data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) write_shut: bool,
    /// The proxy that has made the connection, if no listener has heard of it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<Box<ProxyRecord>>,
}

/// The proxy of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyRecord {
    pub(crate) address: AddressRecord,
    /// The PROXY header.
    pub(crate) header: Vec<u8>,
}

/// The state of a connection that `connect` made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutboundRecord {
    pub(crate) local: Option<AddressRecord>,
    /// The host that `connect` was given, which `secure` needs.
    pub(crate) host: String,
}

/// A socket of `chrome.sockets.udp`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UdpRecord {
    pub(crate) app: String,
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) buffer_size: Option<i32>,
    pub(crate) paused: bool,
    /// Whether its app is suspended.
    pub(crate) suspended: bool,
    /// What was set for `bind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time_to_live: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loopback: Option<bool>,
    /// The groups that the descriptor has joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<IpAddr>,
}

/// The id of a socket of any namespace, with its app's.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AnySocketId {
    /// A socket of `chrome.sockets.tcpServer`.
    Server(AppId, ServerSocketId),
    /// A socket of `chrome.sockets.tcp`.
    Client(AppId, ClientSocketId),
    /// A socket of `chrome.sockets.udp`.
    Udp(AppId, UdpSocketId),
}

/// A persistent socket that could not be handed over and stays in this process.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NotTransferred {
    /// The socket.
    pub socket: AnySocketId,
    /// The reason, for people.
    pub reason: String,
}

/// Fails if the app's id is too long for its sockets to be handed over.
pub(crate) fn check_app_id(app: &AppId) -> io::Result<()> {
    match app.as_str().len() <= MAX_APP_ID {
        true => Ok(()),
        false => Err(io::Error::other("its app's id is too long")),
    }
}

/// The outcome of a handover, for everything that waits for it.
#[derive(Clone)]
pub(crate) struct HandoverOutcome(Shared<oneshot::Receiver<()>>);

impl HandoverOutcome {
    /// An outcome, and the sender that decides it. Sending means that the sockets
    /// belong to the other process; dropping the sender means that they stay.
    pub(crate) fn pair() -> (oneshot::Sender<()>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, HandoverOutcome(receiver.shared()))
    }

    /// Waits for the outcome: whether the sockets belong to the other process.
    pub(crate) async fn transferred(self) -> bool {
        self.0.await.is_ok()
    }
}
