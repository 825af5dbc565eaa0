//! `chrome.sockets.tcpServer`: one actor a server socket.

use std::time::Duration;

mod accept;
mod actor;
mod draining;
mod events;
mod handover;
mod info;
mod limits;
mod messages;
mod recovery;
mod settings_record;
mod tls;
mod types;

pub use crate::net_error::AcceptErrorClass;
pub use crate::tcp_server::accept::escalation::Escalation;
pub use crate::tcp_server::accept::policy::{AcceptAction, AcceptPolicy, UNLUCKY_ACCEPTS};
pub use crate::tcp_server::limits::types::{
    AtLimit, Limit, LimitKind, LimitScope, Limits, RateLimit, RefusedInfo, UNHANDLED_REFUSALS,
};
pub use crate::tcp_server::tls::handshake_errors::{
    HandshakeErrorInfo, UNHANDLED_HANDSHAKE_ERRORS,
};
pub use events::{AcceptErrorInfo, AcceptInfo, UNHANDLED_ACCEPT_ERRORS, UNHANDLED_ACCEPTS};
#[cfg(feature = "tls")]
pub use messages::SetTls;
pub use messages::{
    Close, Create, Disconnect, Drain, GetInfo, GetSockets, Listen, SetAcceptPolicy, SetLimits,
    SetPaused, SetReusePort, SetTimeouts, Update,
};
pub use types::{
    AcceptCounts, BlockReason, CreateInfo, DEFAULT_BACKLOG, SocketInfo, SocketProperties,
};

pub(crate) use crate::tcp_server::accept::escalation::EscalationTarget;
pub(crate) use crate::tcp_server::handover::{Accepted, Export, Exported, Inherited, Quiesce};
pub(crate) use crate::tcp_server::limits::limiter::Limiter;
pub(crate) use crate::tcp_server::settings_record::{Settings, unless_default};
pub(crate) use crate::tcp_server::tls::handshakes::EndedHandshakes;
pub(crate) use actor::{
    AppListeners, Bound, EndUnlessPersistent, ListenersChanged, ServerDeps, ServerSocket, Stop,
};
pub(crate) use draining::{EndHandshakes, StopListening};

/// At the limit of its handshakes a server socket gives up the oldest for a
/// newer one, but none that has gone on for less than this: an honest client
/// needs a few round trips.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);
