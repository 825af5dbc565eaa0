//! `chrome.sockets.tcpServer`: one actor a server socket.

mod accept;
mod actor;
mod events;
mod messages;
mod types;

pub use events::{AcceptErrorInfo, AcceptInfo, UNHANDLED_ACCEPTS};
pub use messages::{Close, Create, Disconnect, GetInfo, GetSockets, Listen, SetPaused, Update};
pub use types::{CreateInfo, DEFAULT_BACKLOG, SocketInfo, SocketProperties};

pub(crate) use actor::{Audience, EndUnlessPersistent, ListenersChanged, ServerSocket, Stop};
