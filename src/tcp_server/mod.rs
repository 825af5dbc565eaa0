//! `chrome.sockets.tcpServer`: one actor a server socket.

use std::time::Duration;

mod accept;
mod accept_errors;
mod actor;
mod ahead;
mod draining;
mod escalation;
mod events;
mod gate;
mod handshake_errors;
mod handshakes;
mod hold;
mod info;
mod kept;
mod limits;
mod messages;
mod policy;
mod ports;
mod records;
mod turnstile;
mod types;
mod untold;

pub use crate::net_error::AcceptErrorClass;
pub use escalation::Escalation;
pub use events::{AcceptErrorInfo, AcceptInfo, UNHANDLED_ACCEPT_ERRORS, UNHANDLED_ACCEPTS};
pub use handshake_errors::{HandshakeErrorInfo, UNHANDLED_HANDSHAKE_ERRORS};
pub use limits::{
    AtLimit, Limit, LimitKind, LimitScope, Limits, RateLimit, RefusedInfo, UNHANDLED_REFUSALS,
};
#[cfg(feature = "tls")]
pub use messages::SetTls;
pub use messages::{
    Close, Create, Disconnect, Drain, GetInfo, GetSockets, Listen, SetAcceptPolicy, SetLimits,
    SetPaused, SetReusePort, SetTimeOuts, Update,
};
pub use policy::{AcceptAction, AcceptPolicy, UNLUCKY_ACCEPTS};
pub use types::{
    AcceptCounts, CreateInfo, DEFAULT_BACKLOG, HeldUpBy, SocketInfo, SocketProperties,
};

pub(crate) use actor::{
    Audience, Bound, EndUnlessPersistent, ListenersChanged, ServerSocket, Stop, Surroundings,
};
pub(crate) use draining::{EndHandshakes, EndedHandshakes, StopListening};
pub(crate) use escalation::Above;
pub(crate) use hold::{Accepted, Hold, Inherited, Take, Taken};
pub(crate) use records::{Settings, unless_default};
pub(crate) use turnstile::Turnstile;

/// At the limit of its handshakes a server socket gives up the oldest for a
/// newer one, but none that has gone on for less than this: an honest client
/// needs a few round trips.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);
