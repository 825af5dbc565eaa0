//! Numeric limits of the protocol and the host.

use std::time::Duration;

/// The protocol version that this host speaks.
pub(super) const VERSION: u32 = 1;

/// The version of the admin part of the protocol.
pub(super) const ADMIN_VERSION: u32 = 1;

/// The most admin connections at once.
pub(super) const ADMINS: usize = 4;

/// The most rows of one admin list. Reading the backlog of a server socket takes 0.1 ms, so this
/// bounds a list to a few milliseconds.
pub(super) const ROWS: usize = 64;

/// The server sockets that each list of apps asks what blocks them.
pub(super) const BLOCKED_BY_QUERIES: usize = 256;

/// The most server sockets that one search covers.
pub(super) const SEARCHED_SERVERS: usize = 1024;

/// The apps that a search asks at once.
pub(super) const SEARCH_CONCURRENCY: usize = 8;

/// The most drains of one admin connection that run at once.
pub(super) const DRAINS: usize = 64;

/// The longest drain.
pub(super) const MAX_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The most characters of a name in an admin list, and of a client's name in the log.
pub(super) const NAME: usize = 64;

/// The shortest and the longest pause between two admin lists.
pub(super) const MIN_LIST_PAUSE: Duration = Duration::from_millis(10);
pub(super) const MAX_LIST_PAUSE: Duration = Duration::from_secs(1);

/// The largest frame in bytes on the wire. Chrome accepts no larger message from a native host.
pub(super) const FRAME: usize = 1024 * 1024;

/// A frame of this size is sent at once, however many are unacknowledged. Larger frames are not
/// faster, and delay the messages behind them.
pub(super) const FULL_FRAME: usize = FRAME / 4;

/// The most data of one `tcp.send`: it fits into a frame in base64.
pub(super) const DATA: usize = 512 * 1024;

/// The unacknowledged frames beyond which messages collect into full frames. Two keep both sides
/// busy; two more cover the latency.
pub(super) const FRAMES: u64 = 4;

/// The most unacknowledged frames. It bounds a client that reads but never acknowledges.
pub(super) const MAX_IN_FLIGHT: usize = 4096;

/// The most received bytes that one client has not acknowledged: 20 ms at 200 MiB/s.
pub(super) const WINDOW: usize = 4 * 1024 * 1024;

/// The window of one socket, so that one socket cannot block the others of its client.
pub(super) const SOCKET_WINDOW: usize = WINDOW / 4;

/// The least that an `onReceive` counts for in a window.
pub(super) const MIN_EVENT: usize = 256;

/// The least that a send counts for in a quota.
pub(super) const MIN_SEND: usize = 1024;

/// The most unanswered calls of a client, not counting sends.
pub(super) const CALLS: usize = 16 * 1024;

/// The most sockets of a client in each namespace. An unconnected socket costs only memory, so
/// nothing else bounds it.
pub(super) const SOCKETS: usize = 4096;

/// The most bytes of one part of a `getSockets` answer.
pub(super) const LIST_PART: usize = 64 * 1024;

/// The most bytes of an app id.
pub(super) const APP_ID: usize = 128;

/// How long the host waits for a request, and for the hello.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval between pings of a WebSocket.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The longest time without input, and the longest time that a write may take.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest call id. JSON numbers are exact up to it in every implementation.
pub(super) const MAX_CALL_ID: u64 = (1 << 53) - 1;

/// The most clients of a gateway.
pub(super) const CLIENTS: usize = 192;

/// The memory that all clients share beyond their own shares. Together with the shares of 192
/// clients it stays below 512 MiB.
pub(super) const SHARED_MEMORY: usize = 64 * 1024 * 1024;

/// A client's share for an incomplete frame. The JavaScript client sends no larger frames.
pub(super) const FRAME_SHARE: usize = 768 * 1024;

/// A client's share for messages that it has not read.
pub(super) const MESSAGE_SHARE: usize = 384 * 1024;

/// An app's share for its sockets and their names: about a hundred of each namespace.
pub(super) const SOCKET_SHARE: usize = 512 * 1024;

/// The most memory of all sockets of one app.
pub(super) const MAX_APP_SOCKETS: usize = 32 * 1024 * 1024;

/// The memory that a server socket, an actor, counts for, with its calls.
pub(super) const SERVER_COST: usize = 4096;

/// The memory that a client socket counts for, with its `connect`.
pub(super) const CLIENT_COST: usize = 2048;

/// The memory that an unanswered call counts for.
pub(super) const CALL_COST: usize = 512;

/// The most bytes of a socket's info as JSON, without its name.
pub(super) const MAX_INFO: usize = 384;

/// The most unanswered `getInfo` calls of a client: each answer may have a long name.
pub(super) const INFOS: usize = 8;

/// The send data that each client can always queue, independent of other clients.
pub(super) const SEND_SHARE: usize = 1024 * 1024;

/// The default of `--send-budget` in bytes.
pub(super) const SEND_BUDGET: usize = 1024 * 1024 * 1024;

/// The most messages of one client in one turn.
pub(super) const TURN_STEPS: u32 = 128;

/// The longest turn of one client.
pub(super) const TURN_TIME: Duration = Duration::from_micros(250);

/// The longest time for reading a manifest file.
pub(super) const MANIFEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The most manifest files that are read at once.
pub(super) const MANIFEST_READERS: usize = 8;
