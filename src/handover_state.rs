//! What a process leaves to its successor: its persistent sockets as plain
//! data, with their descriptors.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::Shared;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::ids::{AppId, ClientSocketId, ServerSocketId};

/// What waits to be sent on one socket may be this long, to go along: more
/// than an app's default quota.
pub(crate) const MAX_UNSENT: usize = 256 * 1024 * 1024;

/// The longest id of an app whose sockets can go.
pub(crate) const MAX_APP_ID: usize = 16 * 1024;

/// Everything of one registry that goes to the next.
#[derive(Debug, Default)]
pub(crate) struct HandoverState {
    /// The last numbers that were given out: they are never given out again.
    pub(crate) last_server: u64,
    pub(crate) last_client: u64,
    pub(crate) servers: Vec<Server>,
    pub(crate) clients: Vec<Client>,
    /// What has to stay where it is.
    pub(crate) left: Vec<NotTransferred>,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) record: ServerRecord,
    pub(crate) listener: Option<OwnedFd>,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) record: ClientRecord,
    pub(crate) stream: Option<OwnedFd>,
    /// Sent by the app and not taken by the OS yet.
    pub(crate) unsent: Vec<Bytes>,
}

/// A server socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerRecord {
    pub(crate) app: String,
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    /// By the app.
    pub(crate) paused: bool,
    /// A code of [`NetError`](crate::net_error::NetError): the accept error
    /// that it is paused by.
    pub(crate) accept_error: Option<i32>,
    /// A code of [`NetError`](crate::net_error::NetError): an accept error
    /// that a suspended app has not heard of.
    pub(crate) unreported_error: Option<i32>,
    /// The OS's number of that one.
    pub(crate) unreported_errno: Option<i32>,
    /// Whether its connections are encrypted. How does not go along: it has
    /// secrets in it.
    pub(crate) encrypts: bool,
    /// Whether its app is suspended.
    pub(crate) suspended: bool,
    /// Of what it accepts, if there are any.
    #[serde(default)]
    pub(crate) timeouts: Option<TimeoutsRecord>,
    /// What it does about accept errors, if that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<Box<PolicyRecord>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<Box<LimitsRecord>>,
    /// Whether it listens in each arbiter; one that does stays where it is, and
    /// one that does not listen goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reuse_port: bool,
    /// Those of its app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app_limits: Option<Box<AppLimitsRecord>>,
}

/// What is done about accept errors, by their class.
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
    GoOn,
    Escalate,
    Close,
}

/// How much is taken on.
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

/// What an app may have.
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
    /// Whether it was accepted and has never been resumed.
    #[serde(default)]
    pub(crate) never_resumed: bool,
    #[serde(default)]
    pub(crate) timeouts: Option<TimeoutsRecord>,
    /// Whether its app is suspended.
    pub(crate) suspended: bool,
    /// The server socket that accepted it, if nobody has heard of it yet.
    pub(crate) offered_by: Option<u64>,
    pub(crate) connection: Option<ConnectionRecord>,
}

/// How long nothing may happen on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeoutsRecord {
    pub(crate) claim: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) send: Option<Duration>,
}

/// What is known of a connection beyond its descriptor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionRecord {
    pub(crate) peer: SocketAddr,
    /// Of a connection that the app has made.
    pub(crate) dialled: Option<OutboundRecord>,
    /// Codes of [`NetError`](crate::net_error::NetError): why nothing more
    /// can be written, and the end that was read and not told.
    pub(crate) write_error: Option<i32>,
    pub(crate) end: Option<i32>,
}

/// What is known of a connection that `connect` made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutboundRecord {
    pub(crate) local: Option<SocketAddr>,
    /// What it was made to, for `secure`.
    pub(crate) host: String,
}

/// Which socket, of either namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SocketName {
    /// Of `chrome.sockets.tcpServer`.
    Server(AppId, ServerSocketId),
    /// Of `chrome.sockets.tcp`.
    Client(AppId, ClientSocketId),
}

/// A persistent socket that could not be handed over: it goes on here.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NotTransferred {
    /// The socket.
    pub socket: SocketName,
    /// Why, as a text.
    pub reason: String,
}

/// Why an app's sockets cannot go at all, if that is so.
pub(crate) fn check_app(app: &AppId) -> io::Result<()> {
    match app.as_str().len() <= MAX_APP_ID {
        true => Ok(()),
        false => Err(io::Error::other("its app's id is too long")),
    }
}

/// How a handover ends, for everything that is held for it.
#[derive(Clone)]
pub(crate) struct HandoverOutcome(Shared<oneshot::Receiver<()>>);

impl HandoverOutcome {
    /// A verdict, and its other end: sending means that the sockets are
    /// another's now; dropping it, that they stay.
    pub(crate) fn pair() -> (oneshot::Sender<()>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, HandoverOutcome(receiver.shared()))
    }

    /// Whether the sockets are another's now.
    pub(crate) async fn gone(self) -> bool {
        self.0.await.is_ok()
    }
}
