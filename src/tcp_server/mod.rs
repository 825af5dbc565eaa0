//! `chrome.sockets.tcpServer`: one actor a server socket.

use std::time::Duration;

mod accept;
mod actor;
mod events;
mod handshake_errors;
mod handshakes;
mod hold;
mod messages;
mod types;

pub use events::{AcceptErrorInfo, AcceptInfo, UNHANDLED_ACCEPTS};
pub use handshake_errors::{HandshakeErrorInfo, UNHANDLED_HANDSHAKE_ERRORS};
#[cfg(feature = "tls")]
pub use messages::SetTls;
pub use messages::{Close, Create, Disconnect, GetInfo, GetSockets, Listen, SetPaused, Update};
pub use types::{CreateInfo, DEFAULT_BACKLOG, SocketInfo, SocketProperties};

pub(crate) use actor::{
    Audience, Bound, EndUnlessPersistent, ListenersChanged, ServerSocket, Stop,
};
pub(crate) use hold::{Accepted, Hold, Inherited, Take, Taken};

/// At the limit of its handshakes a server socket gives up the oldest for a
/// newer one, but none that has gone on for less than this: an honest client
/// needs a few round trips.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);
