//! Numeric limits of the protocol and the host: those that the owner may change, and fixed ones.

use std::time::Duration;

use chrome_sockets::tcp::DEFAULT_WRITE_QUOTA;

/// The limits that the owner of a host may change. The program has a flag for each.
///
/// With the defaults, hostile clients make the host use less than 512 MiB, in addition to
/// [`send_budget`](Self::send_budget).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections of a gateway, including those that are not clients yet: 256. One
    /// address can use three quarters of them, and one page a quarter.
    pub connections: usize,
    /// The most clients of a gateway: 192. One address can use three quarters of them, and one
    /// page a quarter.
    pub clients: usize,
    /// The largest frame in bytes on the wire: 1 MiB. Chrome accepts no larger message from a
    /// native host. One `tcp.send` carries up to half of it, so that it fits in base64.
    pub frame: usize,
    /// The unacknowledged frames beyond which messages collect into full frames: 4. Two keep both
    /// sides busy; two more cover the latency.
    pub frames: u64,
    /// The most received bytes that one client has not acknowledged: 4 MiB, or 20 ms at
    /// 200 MiB/s. One socket can use a quarter of it, so that it cannot block the others.
    pub window: usize,
    /// The most bytes that one client may have queued to send: 200 MiB, as in Chrome.
    pub write_quota: usize,
    /// The most bytes that all clients together may have queued to send: 1 GiB. Each client can
    /// always queue 1 MiB.
    pub send_budget: usize,
    /// The most bytes that all clients use beyond their own shares: 64 MiB. It counts incomplete
    /// frames, unread messages, and sockets with their names.
    pub memory: usize,
    /// The most unanswered calls of a client, not counting sends: 16,384.
    pub calls: usize,
    /// The most sockets of a client in each namespace: 4,096. An unconnected socket costs only
    /// memory, so nothing else bounds it.
    pub sockets: usize,
    /// How long the host waits for a request, and for the hello: 10 s.
    pub handshake_timeout: Duration,
    /// The longest time without input from a client, and the longest time that a write to it may
    /// take: 60 s. The host sends a ping every third of it.
    pub idle_timeout: Duration,
}

impl Limits {
    pub(crate) const DEFAULT: Limits = Limits {
        connections: 256,
        clients: 192,
        frame: 1024 * 1024,
        frames: 4,
        window: 4 * 1024 * 1024,
        write_quota: DEFAULT_WRITE_QUOTA,
        send_budget: 1024 * 1024 * 1024,
        memory: 64 * 1024 * 1024,
        calls: 16 * 1024,
        sockets: 4096,
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
    };

    /// A frame of this size is sent at once, however many are unacknowledged. Larger frames are
    /// not faster, and delay the messages behind them.
    pub(crate) fn full_frame(&self) -> usize {
        self.frame / 4
    }

    /// The most data of one `tcp.send` in frames of at most `frame` bytes: it fits in base64.
    pub(crate) fn data(frame: usize) -> usize {
        frame / 2
    }

    /// A client's share of the memory for an incomplete frame. The JavaScript client sends no
    /// larger frames.
    pub(crate) fn frame_share(&self) -> usize {
        self.frame / 4 * 3
    }

    /// A client's share of the memory for messages that it has not read.
    pub(crate) fn message_share(&self) -> usize {
        self.frame / 8 * 3
    }

    /// The window of one socket.
    pub(crate) fn socket_window(&self) -> usize {
        self.window / 4
    }

    /// The most memory of all sockets of one app: enough for the sockets of both namespaces, with
    /// short names.
    pub(crate) fn app_sockets(&self) -> usize {
        self.sockets * 2 * SERVER_COST
    }

    /// The interval between pings of a WebSocket.
    pub(crate) fn ping_interval(&self) -> Duration {
        self.idle_timeout / 3
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

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

/// The most unacknowledged frames. It bounds a client that reads but never acknowledges.
pub(super) const MAX_IN_FLIGHT: usize = 4096;

/// The most bytes that are joined to one `onReceive`, whatever the `bufferSize`.
pub(super) const MAX_JOINED: usize = 4 * 1024 * 1024;

/// The least that an `onReceive` counts for in a window.
pub(super) const MIN_EVENT: usize = 256;

/// The least that a send counts for in a quota.
pub(super) const MIN_SEND: usize = 1024;

/// The most bytes of one part of a `getSockets` answer.
pub(super) const LIST_PART: usize = 64 * 1024;

/// The most bytes of an app id.
pub(super) const APP_ID: usize = 128;

/// The largest call id. JSON numbers are exact up to it in every implementation.
pub(super) const MAX_CALL_ID: u64 = (1 << 53) - 1;

/// An app's share for its sockets and their names: about a hundred of each namespace.
pub(super) const SOCKET_SHARE: usize = 512 * 1024;

/// The memory that a server socket, an actor, counts for, with its calls.
pub(super) const SERVER_COST: usize = 4096;

/// The memory that the TLS of a server socket counts for, besides certificate and key: mostly the
/// sessions that its peers may resume.
pub(super) const TLS_COST: usize = 64 * 1024;

/// The most bytes of the certificates of `setTls`, in PEM.
pub(super) const MAX_CERTIFICATES: usize = 64 * 1024;

/// The most bytes of the private key of `setTls`, in PEM. The largest RSA keys need 4 KiB.
pub(super) const MAX_PRIVATE_KEY: usize = 16 * 1024;

/// The TLS handshakes of one server socket that may run at once. Each uses up to 70 KiB, if its
/// peer sends as much as it can.
pub(super) const HANDSHAKES: usize = 128;

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

/// The most messages of one client in one turn.
pub(super) const TURN_STEPS: u32 = 128;

/// The longest turn of one client.
pub(super) const TURN_TIME: Duration = Duration::from_micros(250);

/// The longest time for reading a manifest file.
pub(super) const MANIFEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The most manifest files that are read at once.
pub(super) const MANIFEST_READERS: usize = 8;
