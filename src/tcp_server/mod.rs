//! `chrome.sockets.tcpServer`: one actor per server socket.

mod accept;
mod actor;
mod app_listeners;
mod draining;
mod events;
mod handover;
mod info;
mod limits;
mod listen;
mod messages;
mod proxy;
mod recovery;
mod serve;
mod settings_record;
mod tls;
mod types;

pub use crate::net_error::AcceptErrorClass;
pub use crate::tcp_server::accept::escalation::Escalation;
pub(crate) use crate::tcp_server::accept::escalation::EscalationTarget;
pub use crate::tcp_server::accept::policy::{AcceptAction, AcceptPolicy, MAX_CONNECTION_ERRORS};
pub(crate) use crate::tcp_server::accept::setup_tasks::AbortedSetups;
pub(crate) use crate::tcp_server::actor::{
    BoundListener, CloseUnlessPersistent, ListenersChanged, ServerDeps, ServerSocket, Stop,
};
pub(crate) use crate::tcp_server::app_listeners::AppListeners;
pub(crate) use crate::tcp_server::draining::{AbortSetups, StopListening};
pub use crate::tcp_server::events::{
    AcceptErrorInfo, AcceptInfo, UNHANDLED_ACCEPT_ERRORS, UNHANDLED_ACCEPTS,
};
pub(crate) use crate::tcp_server::handover::{
    Export, Exported, Inherited, InheritedClient, Quiesce,
};
pub(crate) use crate::tcp_server::limits::limiter::Limiter;
pub use crate::tcp_server::limits::types::{
    AtLimit, Limit, LimitKind, LimitScope, Limits, RateLimit, RefusedInfo, UNHANDLED_REFUSALS,
};
pub(crate) use crate::tcp_server::messages::ListenCall;
#[cfg(feature = "tls")]
pub use crate::tcp_server::messages::SetTls;
pub use crate::tcp_server::messages::{
    Close, Create, Disconnect, Drain, GetInfo, GetSockets, Listen, ListenOn, Serve,
    SetAcceptPolicy, SetLimits, SetPaused, SetProxyProtocol, SetReusePort, SetTimeouts, Update,
};
pub use crate::tcp_server::proxy::header_errors::{ProxyErrorInfo, UNHANDLED_PROXY_ERRORS};
pub use crate::tcp_server::serve::factory::HandlerFactory;
pub(crate) use crate::tcp_server::settings_record::{Settings, unless_default};
pub use crate::tcp_server::tls::handshake_errors::{
    HandshakeErrorInfo, UNHANDLED_HANDSHAKE_ERRORS,
};
pub use crate::tcp_server::types::{
    AcceptCounts, BlockReason, CreateInfo, DEFAULT_BACKLOG, ListenOptions, SocketInfo,
    SocketProperties,
};
