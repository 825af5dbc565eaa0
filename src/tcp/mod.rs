//! `chrome.sockets.tcp`: client sockets, accepted or connected.
//!
//! They are not an actor each but rows of one actor an arbiter, which is what
//! makes them cheaper than a task each: see `ARCHITECTURE.md`.

mod actor;
mod connect;
mod credits;
mod ending;
mod events;
mod fast_path;
mod force;
mod hold;
mod inbox;
mod kept;
mod lane;
mod lanes;
mod linger;
mod lookups;
mod messages;
mod pool;
mod read;
mod returned;
mod row;
mod secure;
mod shortcut;
mod socket;
mod sweep;
mod table;
mod time_outs;
mod types;
mod write;

pub use events::{ReceiveErrorInfo, ReceiveInfo};
pub use messages::{
    Close, Connect, Create, Disconnect, GetInfo, GetSocket, GetSockets, Secure, Send, SetKeepAlive,
    SetNoDelay, SetPaused, SetTimeOuts, Update,
};
pub use socket::ClientSocket;
pub use time_outs::TimeOuts;
pub use types::{
    CreateInfo, DEFAULT_BUFFER_SIZE, DnsQueryType, SecureOptions, SendInfo, SocketInfo,
    SocketProperties, TlsVersion, TlsVersionConstraints,
};

pub(crate) use actor::{Offer, Op, Rows};
pub(crate) use connect::Target;
pub(crate) use force::{CatchUp, Force};
pub(crate) use hold::{Hold, Inherited, InheritedConnection, Take};
pub(crate) use inbox::Inbox;
pub(crate) use lane::Audience;
pub(crate) use lanes::{Lanes, Site};
pub(crate) use lookups::Lookups;
pub(crate) use row::Ends;
pub(crate) use secure::Secure as SecureStep;
pub(crate) use sweep::{Deliver, GetInfos, ListenersChanged, Stop};
pub(crate) use table::Table;
pub(crate) use time_outs::nowhere;

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
pub const HANDSHAKE_TIME_OUT: Duration = Duration::from_secs(30);
