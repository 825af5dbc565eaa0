//! Chrome's `chrome.sockets.tcpServer` and `chrome.sockets.tcp` as actors.

mod answer;
mod app;
mod error;
mod events;
mod ids;
mod name;
mod net_error;
pub mod os;
mod registry;
pub mod tcp;
pub mod tcp_server;

/// A network whose every answer the test writes.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::os::scripted::{Call, Hold, Peer, ScriptedNetwork};
}

use std::time::Duration;

pub use answer::Answer;
pub use app::{App, OnEvent, Tcp, TcpServer};
pub use error::Error;
pub use events::{AddListener, Event, HasListener, RemoveListener};
pub use ids::{AppId, ClientSocketId, ServerSocketId};
pub use name::MAX_NAME;
pub use net_error::NetError;
pub use registry::{Registry, Shutdown};

/// How long the answer to `setPaused(true)` waits for listeners to handle the
/// events that were raised before: 5 seconds.
pub const PAUSE_GRACE: Duration = Duration::from_secs(5);
