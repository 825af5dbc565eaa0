//! The numbers of the protocol, each with what it is good for.

use std::time::Duration;

/// The version that this host speaks.
pub(super) const VERSION: u32 = 1;

/// The version of what a caretaker says.
pub(super) const CARETAKER: u32 = 1;

/// How many may look after one host at once.
pub(super) const CARETAKERS: usize = 4;

/// The most rows of one of a caretaker's lists. To ask a server socket how many wait in
/// its backlog takes a tenth of a millisecond.
pub(super) const ROWS: usize = 64;

/// How many server sockets are asked for each list of apps what keeps them from accepting.
pub(super) const LOOKS: usize = 256;

/// How many of them are searched for a name or an address at once.
pub(super) const FIND_SERVERS: usize = 1024;

/// How many apps a search asks at once.
pub(super) const FIND_APPS: usize = 8;

/// How many drains one admin connection may have going on.
pub(super) const DRAINS: usize = 64;

/// The longest drain.
pub(super) const MAX_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The letters of a name that a caretaker is shown, and the log of a client's.
pub(super) const NAME: usize = 64;

/// How long the host rests from lists.
pub(super) const MIN_REST: Duration = Duration::from_millis(10);

/// However long the last one took.
pub(super) const MAX_REST: Duration = Duration::from_secs(1);

/// The largest frame, as it travels: what Chrome takes from a native host.
pub(super) const FRAME: usize = 1024 * 1024;

/// A frame with this much in it is sent, however many are unacknowledged.
/// Larger ones are no faster, and hold up what comes behind them for longer.
pub(super) const FULL: usize = FRAME / 4;

/// The most data of one `tcp.send`: in base64 it fits into a frame.
pub(super) const DATA: usize = 512 * 1024;

/// How many frames may be unacknowledged before messages wait for each other.
/// Two keep both sides busy, and two more cover the way.
pub(super) const FRAMES: u64 = 4;

/// How many may be unacknowledged at all, by a client that reads and never
/// acknowledges.
pub(super) const MAX_IN_FLIGHT: usize = 4096;

/// Received bytes that one client has not acknowledged: at 200 MiB/s, 20 ms.
pub(super) const WINDOW: usize = 4 * 1024 * 1024;

/// The same of one socket, so that one alone does not hold up the others.
pub(super) const SOCKET_WINDOW: usize = WINDOW / 4;

/// An `onReceive` counts for this much at least.
pub(super) const MIN_EVENT: usize = 256;

/// A send counts for this much at least.
pub(super) const MIN_SEND: usize = 1024;

/// Calls, other than sends, that one client may have unanswered.
pub(super) const CALLS: usize = 16 * 1024;

/// Sockets of each namespace that one client may have for a `create` to be
/// carried out: one that is not connected costs nothing but memory.
pub(super) const SOCKETS: usize = 4096;

/// A list that is longer is answered in parts.
pub(super) const PART: usize = 64 * 1024;

/// The longest app id.
pub(super) const APP_ID: usize = 128;

/// How long the host waits for a request, and for the hello.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a WebSocket is pinged.
pub(super) const PING: Duration = Duration::from_secs(20);

/// How long nothing may come, or nothing be taken.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// The last id of a call: JSON's numbers are exact up to it everywhere.
pub(super) const LAST_CALL: u64 = (1 << 53) - 1;

/// The most clients of a gateway at once.
pub(super) const CLIENTS: usize = 192;

/// What all clients together may hold beyond their shares: enough for a few that do much, and
/// with all shares (each client's, by 192) below 512 MiB.
pub(super) const MEMORY: usize = 64 * 1024 * 1024;

/// A client's share for a frame that is not whole: the JavaScript client's have no more.
pub(super) const SHARE_OF_FRAMES: usize = 768 * 1024;

/// A client's share for messages that it has not taken.
pub(super) const SHARE_OF_MESSAGES: usize = 384 * 1024;

/// An app's share for its sockets and their names: about a hundred of each kind.
pub(super) const SHARE_OF_SOCKETS: usize = 512 * 1024;

/// What all sockets of one app may cost.
pub(super) const MAX_APP_SOCKETS: usize = 32 * 1024 * 1024;

/// What a server socket costs, which is an actor, and its calls.
pub(super) const SERVER_COST: usize = 4096;

/// What a client socket costs, and a `connect` of it.
pub(super) const CLIENT_COST: usize = 2048;

/// What a call costs until it is answered, about.
pub(super) const CALL_COST: usize = 512;

/// What a socket's info has besides its name, at most, as JSON.
pub(super) const MIN_INFO: usize = 384;

/// `getInfo`s that one client may have unanswered: each may have a long name.
pub(super) const INFOS: usize = 8;

/// What a client can always have queued to send, however much others have.
pub(super) const SEND_SHARE: usize = 1024 * 1024;

/// What all apps may have queued to send, unless the owner says otherwise.
pub(super) const SENDS: usize = 1024 * 1024 * 1024;

/// Messages of one client that are carried out before others have their turn.
pub(super) const TURN: u32 = 128;

/// How long a client's turn is, once it is over this.
pub(super) const TURN_TIME: Duration = Duration::from_micros(250);

/// How long reading a manifest file may take.
pub(super) const MANIFEST_TIME: Duration = Duration::from_secs(5);

/// How many manifest files may be read at once.
pub(super) const MANIFEST_READERS: usize = 8;
