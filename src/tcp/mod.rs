//! `chrome.sockets.tcp`: client sockets, accepted or connected.
//!
//! A socket is neither a task nor an actor but an entry of one actor per arbiter, which makes it
//! cheaper: see `ARCHITECTURE.md`.

mod actor;
mod bulk;
mod command;
mod command_queue;
mod connection;
mod draining;
mod events;
mod handover;
mod messages;
mod recovery;
mod shards;
mod socket;
mod socket_listeners;
mod stream;
mod types;

use std::time::Duration;

pub(crate) use actor::SocketTable;
pub(crate) use bulk::{AwaitDelivery, GetInfos, ListenersChanged, Stop};
pub(crate) use command::{AcceptNotifier, Command};
pub(crate) use command_queue::CommandQueue;
pub(crate) use connection::ConnectionMeta;
pub(crate) use connection::buffer_pool::SmallPieces;
pub(crate) use connection::connect::{MAX_HOST_LENGTH, Target, is_resolvable};
pub(crate) use connection::secure::{Secure as SecureStep, SecureAs};
pub(crate) use connection::timeouts::closed_stream;
pub(crate) use draining::{FlushCalls, ForceClose};
pub use events::{ReceiveBatch, ReceiveErrorInfo, ReceiveInfo, SendQueueInfo, SendQueueLevel};
pub(crate) use handover::{Export, Inherited, InheritedConnection, Quiesce};
#[cfg(feature = "tls")]
pub use messages::SecureAsServer;
pub use messages::{
    Close, Connect, ConnectTo, Create, Disconnect, GetInfo, GetSocket, GetSockets, Reset, Secure,
    Send, SetKeepAlive, SetListeners, SetNoDelay, SetPaused, SetTimeouts, ShutdownWrite, Update,
};
pub(crate) use shards::app_context::AppContext;
pub(crate) use shards::id_table::IdTable;
pub(crate) use shards::name_lookups::Lookups;
pub(crate) use shards::placement::{AppShards, Shard};
pub(crate) use shards::receive_windows::{
    AppWindow, EVENT, MIN_EVENT_CHARGE, SocketWindow, Starving,
};
pub(crate) use shards::shard::AdoptingShards;
pub(crate) use shards::write_quota::{Charge, SendReserve, WriteQuota};
pub use socket::{ClientSocket, ResumeOptions};
pub use socket_listeners::{SocketListeners, WhenDead};
pub use stream::ClientStream;
pub use stream::shared::STREAM_WRITE_LIMIT;
pub use types::{
    ConnectOptions, CreateInfo, DEFAULT_BUFFER_SIZE, DnsQueryType, MAX_ALPN, MinimumRate,
    SecureOptions, SendInfo, SendMarks, SocketInfo, SocketProperties, Timeouts, TlsVersion,
    TlsVersionConstraints,
};

/// The most received bytes of one socket that its listeners may hold: 65,536, one full read from
/// the kernel. The socket is not read while they hold this much.
pub const WINDOW: usize = 64 * 1024;

/// A socket with a full window is read again when its listeners hold no more than this. Half a
/// window, so that a bulk transfer wakes the socket once for several events.
const RESUME_BELOW: usize = WINDOW / 2;

/// The most bytes of one app that may be waiting to be sent: 200 MiB, Chrome's limit.
pub const DEFAULT_WRITE_QUOTA: usize = 200 * 1024 * 1024;

/// The largest send that an app whose write quota is used up may still make on a socket of which
/// nothing waits: 65,536 bytes.
pub const RESERVED_SEND: usize = 64 * 1024;

/// The most sockets of one app that may have such a send in flight: 1,024, 64 MiB at most.
pub const RESERVED_SENDS_OF_APP: usize = 1024;

/// The most sockets of one registry that may have such a send in flight: 4,096, 256 MiB at most.
pub const RESERVED_SENDS: usize = 4096;

/// How long [`Shutdown`](crate::Shutdown) waits until the peers of its connections have
/// acknowledged everything: 5 seconds.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The most concurrent name look-ups of one app: 16. Later `connect` calls to names wait for one to
/// end, in the order of the calls. Addresses and `localhost` need no look-up. A look-up lasts until
/// the resolver answers, even if its socket is closed before.
pub const LOOKUPS_OF_APP: usize = 16;

/// The most concurrent name look-ups of one registry: 256, half of the threads for blocking work
/// that the runtime of an arbiter has. Beyond it the apps take turns, so an app waits for at most
/// one look-up of each other app.
pub const LOOKUPS: usize = 256;

/// How long `secure` may take, from the call to the end of the handshake: 30 seconds, as in
/// Chromium. Data that was sent before leaves in this time too.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
