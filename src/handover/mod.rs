//! Handover of persistent sockets to another process: a restart loses no connection.
//!
//! A process that ends, or is replaced by a new version of itself, hands its
//! persistent sockets to its successor: their descriptors, ids, names,
//! properties, timeouts, limits and accept policies, and sends that the OS had not
//! accepted yet. Connections in a backlog stay there, and the successor accepts
//! them.
//!
//! - The old process starts the new one and hands over:
//!   [`Successor::spawn`] and [`hand_over`].
//! - The new process finds its inheritance and adopts it into its registry:
//!   [`Inheritance::from_env`] and [`Inheritance::adopt`].
//! - Under systemd, [`to_systemd`] gives the sockets to the descriptor store of the
//!   service manager. On the next start `from_env` finds them there, as it finds
//!   [activated](Inheritance::activated) listeners.
//!
//! A handover is atomic: if the successor fails, dies, is slow, or has an id in
//! use, the old process goes on as before. Sockets that are not persistent stay
//! with the old process (accepted clients are not persistent by default), which
//! serves them as long as it lives.
//!
//! All sockets work until the successor has started. Then persistent sockets raise
//! no events. For at most [`PAUSE_GRACE`](crate::PAUSE_GRACE) listeners finish the
//! events in flight, and calls are carried out. After that, for at most [`TIMEOUT`],
//! the sockets are frozen and calls wait: they are carried out if the handover
//! fails, and fail with [`SocketNotFound`](crate::Error) if it succeeds. The
//! successor continues the id counters, so no id is used twice. Sockets that are
//! created during the handover stay.
//!
//! Connections that were closed before stay too. The handover returns when their
//! peers have received everything, or after [`TIMEOUT`]; then the old process may
//! end.
//!
//! The TLS configuration of a server socket (`set_tls`) stays, because it contains
//! secrets. In the successor the socket accepts nothing until its app has called
//! `set_tls` again. Handshakes in progress have
//! [`PAUSE_GRACE`](crate::PAUSE_GRACE) to finish; their connections are raised in
//! the old process.
//!
//! Sockets that cannot leave the process go on there, and the
//! [`Receipt`](Receipt::not_transferred) lists them: connections that are encrypted,
//! connecting or being secured; connections whose listener died with data that was not
//! raised again; server sockets that listen in several arbiters
//! ([`set_reuse_port`](crate::TcpServer::set_reuse_port)); and all sockets of a
//! network without descriptors.
//!
//! `examples/persistent_server.rs` in the repository shows all of this.

mod activated;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inheritance;
mod successor;
#[cfg(target_os = "linux")]
mod systemd;
mod wire;

use std::io;
use std::time::Duration;

pub use activated::Activated;
use derive_more::Display;
pub use inheritance::Inheritance;
pub use successor::{Successor, hand_over};
#[cfg(target_os = "linux")]
pub use systemd::to_systemd;

use crate::handover_state::HandoverState;
pub use crate::handover_state::{AnySocketId, NotTransferred};
use crate::ids::{AppId, ClientSocketId, ServerSocketId, UdpSocketId};

/// How long a successor may take to start, and how long the exchange with it may
/// take: 30 seconds each.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The environment variable that tells a successor that its standard input is
/// connected to its predecessor. Its value is the predecessor's process id, so
/// that processes which the successor starts ignore it.
pub const PREDECESSOR: &str = "CHROME_SOCKETS_PREDECESSOR";

/// The sockets that a handover moved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// The server sockets, in the order of their ids.
    pub servers: Vec<(AppId, ServerSocketId)>,
    /// The persistent client sockets, in the order of their ids.
    pub clients: Vec<(AppId, ClientSocketId)>,
    /// The persistent sockets of `chrome.sockets.udp`, in the order of their ids.
    pub udp_sockets: Vec<(AppId, UdpSocketId)>,
    /// How many accepted clients moved before any listener had received their
    /// `onAccept`.
    pub unreported_clients: usize,
    /// The sockets that could not move. They go on in the old process; the
    /// receipt of the new one does not list them.
    pub not_transferred: Vec<NotTransferred>,
}

impl Receipt {
    fn of(state: &HandoverState) -> Self {
        let clients = || state.clients.iter().map(|client| &client.record);
        let servers = state.servers.iter().map(|server| &server.record);
        let udp_sockets = state.udp_sockets.iter().map(|socket| &socket.record);
        Receipt {
            servers: servers
                .map(|record| (record.app.as_str().into(), record.id.into()))
                .collect(),
            clients: clients()
                .filter(|record| record.offered_by.is_none())
                .map(|record| (record.app.as_str().into(), record.id.into()))
                .collect(),
            udp_sockets: udp_sockets
                .map(|record| (record.app.as_str().into(), record.id.into()))
                .collect(),
            unreported_clients: clients().filter(|it| it.offered_by.is_some()).count(),
            not_transferred: state.not_transferred.clone(),
        }
    }
}

/// Why a handover failed. The old process goes on as before.
#[derive(Debug, Display, derive_more::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another handover of this registry is in progress.
    #[display("another handover is in progress")]
    Busy,

    /// The registry has stopped.
    #[display("the registry has stopped")]
    Stopped,

    /// A system call failed.
    #[display("{doing}: {source}")]
    Os {
        /// What the process was doing.
        doing: &'static str,
        /// The error.
        source: io::Error,
    },

    /// The other process, or systemd, sent data that is not a handover of this
    /// version.
    #[display("not a valid handover: {_0}")]
    Malformed(#[error(not(source))] String),

    /// The other process, or this process's registry, refused the handover.
    #[display("refused: {_0}")]
    Refused(#[error(not(source))] String),

    /// The other process has closed the connection, or died.
    #[display("the other process has closed the connection")]
    Closed,

    /// The other process took longer than [`TIMEOUT`].
    #[display("the other process did not answer within {TIMEOUT:?}")]
    TimedOut,
}

impl Error {
    fn os(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Os { doing, source }
    }
}
