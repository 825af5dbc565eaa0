//! `chrome.sockets.tcp`: client sockets, accepted or connected.
//!
//! They are not an actor each but rows of one actor an arbiter, which is what
//! makes them cheaper than a task each: see `ARCHITECTURE.md`.

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
mod types;

pub use events::{ReceiveErrorInfo, ReceiveInfo};
pub use messages::{
    Close, Connect, Create, Disconnect, GetInfo, GetSocket, GetSockets, Secure, Send, SetKeepAlive,
    SetNoDelay, SetPaused, SetTimeouts, Update,
};
pub use socket::ClientSocket;
pub use types::{
    CreateInfo, DEFAULT_BUFFER_SIZE, DnsQueryType, SecureOptions, SendInfo, SocketInfo,
    SocketProperties, Timeouts, TlsVersion, TlsVersionConstraints,
};

pub(crate) use crate::tcp::bulk::{AwaitDelivery, GetInfos, ListenersChanged, Stop};
pub(crate) use crate::tcp::command_queue::CommandQueue;
pub(crate) use crate::tcp::connection::ConnectionMeta;
pub(crate) use crate::tcp::connection::connect::Target;
pub(crate) use crate::tcp::connection::secure::Secure as SecureStep;
pub(crate) use crate::tcp::connection::timeouts::closed_stream;
pub(crate) use crate::tcp::draining::{FlushCalls, ForceClose};
pub(crate) use crate::tcp::handover::{Export, Inherited, InheritedConnection, Quiesce};
pub(crate) use crate::tcp::shards::id_table::IdTable;
pub(crate) use crate::tcp::shards::lookups::Lookups;
pub(crate) use crate::tcp::shards::placement::{AppShards, Shard};
pub(crate) use crate::tcp::shards::shard::AppContext;
pub(crate) use actor::SocketTable;
pub(crate) use command::{AcceptNotifier, Command};

use std::time::Duration;

/// The received bytes of one socket that its listeners may hold before it is
/// read no further: 65,536, one full read of the kernel's.
pub const WINDOW: usize = 64 * 1024;

/// Reading goes on when listeners hold no more than this: half a window, so
/// that a bulk transfer wakes the row once for several events.
const RESUME_BELOW: usize = WINDOW / 2;

/// The sends of one app that may be in flight: 200 MiB, Chrome's own bound.
pub const DEFAULT_WRITE_QUOTA: usize = 200 * 1024 * 1024;

/// How long [`Shutdown`](crate::Shutdown) waits for the peers of connections that
/// it closes: 5 seconds.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The most name look-ups of one app that go on: 16. `connect` calls to other
/// names wait for one to end, in their order; addresses and `localhost` need
/// none. A look-up goes on until the resolver answers, even if its socket is
/// closed meanwhile.
pub const LOOKUPS_OF_APP: usize = 16;

/// The most name look-ups of one registry that go on: 256, half of the threads
/// that each arbiter's runtime has for what blocks. Beyond it the apps take
/// turns, so that an app waits for others' look-ups no longer than for one
/// each.
pub const LOOKUPS: usize = 256;

/// How long `secure` waits for what was sent before to leave, and for the
/// handshake: 30 seconds, as Chromium does for a web page.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
