//! Persistent sockets across the process: a restart loses no connection.
//!
//! A process that ends, or is replaced by a new version of itself, hands its
//! persistent sockets to its successor: their descriptors, ids, names,
//! properties, what was set on them (time-outs, limits, accept policy), and what
//! the OS had not taken of their sends. Connections that
//! wait in a backlog wait on, and are accepted by the successor.
//!
//! - The old process starts the new one and hands over:
//!   [`Successor::spawn`] and [`hand_over`].
//! - The new one asks what it inherits, and takes it into its registry:
//!   [`Inheritance::from_env`] and [`Inheritance::adopt`].
//! - Under systemd the service manager stands in between: [`to_systemd`] gives
//!   the sockets to its descriptor store, and `from_env` finds them on the next
//!   start, as it finds [activated](Inheritance::activated) listeners.
//!
//! Either all of it happens or nothing: a successor that fails, dies, is slow
//! or finds an id in use leaves the old process as it was. What is not
//! persistent (accepted clients are not, at first) stays with the old
//! process, which serves it on as long as it lives.
//!
//! Until the successor is there, everything goes on. Then persistent sockets
//! raise nothing: first, for at most [`PAUSE_GRACE`](crate::PAUSE_GRACE), listeners handle what they
//! have, and calls are carried out, so that they go along. Then, for at most
//! [`LIMIT`], the sockets stand still and calls wait: they are carried out if
//! the handover fails, and answered [`SocketNotFound`](crate::Error) when the
//! sockets have gone. The id counters go along too, so the successor gives
//! out no number again. Sockets that are made meanwhile stay.
//!
//! Connections that were closed before stay too. The handover answers when their
//! peers have what was sent to them, or after [`LIMIT`], so the old process may
//! end then.
//!
//! How a server socket encrypts (`set_tls`) stays: it has secrets in it. In the
//! successor it accepts nothing until its app has called `set_tls` again.
//! Handshakes that go on have [`PAUSE_GRACE`](crate::PAUSE_GRACE) to end, and what
//! comes of them is raised in the old process.
//!
//! What cannot leave the process goes on there, and is told in the
//! [`Receipt`](Receipt::left): connections that are encrypted, or being
//! connected or secured, those whose listener died with data that has not been
//! raised again, server sockets that listen in several arbiters
//! ([`set_reuse_port`](crate::TcpServer::set_reuse_port)), and everything on a
//! network that has no descriptors.
//!
//! `examples/persistent_server.rs` in the repository does all of this.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inheritance;
mod succession;
#[cfg(target_os = "linux")]
mod systemd;
mod wire;

pub use inheritance::{Activated, Inheritance};
pub use succession::{Successor, hand_over};
#[cfg(target_os = "linux")]
pub use systemd::to_systemd;

use std::io;
use std::time::Duration;

use derive_more::Display;

pub use crate::handover_state::{AnySocketId, NotTransferred};

use crate::handover_state::HandoverState;
use crate::ids::{AppId, ClientSocketId, ServerSocketId};

/// How long a successor may take to start, and then the exchange with it: 30
/// seconds each.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The environment variable that tells a successor that its standard input is
/// the way to its predecessor. Its value is the predecessor's process id, so
/// that processes which the successor starts do not take it for theirs.
pub const PREDECESSOR: &str = "CHROME_SOCKETS_PREDECESSOR";

/// What went from one process to the other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Receipt {
    /// Server sockets, in the order of their ids.
    pub servers: Vec<(AppId, ServerSocketId)>,
    /// Client sockets that are persistent, in the order of their ids.
    pub clients: Vec<(AppId, ClientSocketId)>,
    /// How many accepted clients that nobody had heard of went along.
    pub unheard: usize,
    /// What could not go, and lives on in the old process; the new one does
    /// not know of it.
    pub left: Vec<NotTransferred>,
}

impl Receipt {
    fn of(handover_state: &HandoverState) -> Self {
        let clients = || handover_state.clients.iter().map(|client| &client.record);
        let servers = handover_state.servers.iter().map(|server| &server.record);
        Receipt {
            servers: servers
                .map(|record| (record.app.as_str().into(), record.id.into()))
                .collect(),
            clients: clients()
                .filter(|record| record.offered_by.is_none())
                .map(|record| (record.app.as_str().into(), record.id.into()))
                .collect(),
            unheard: clients().filter(|it| it.offered_by.is_some()).count(),
            left: handover_state.not_transferred.clone(),
        }
    }
}

/// Why nothing was handed over, or taken over. The old process goes on as
/// before.
#[derive(Debug, Display, derive_more::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another handover of this registry is going on.
    #[display("another handover is going on")]
    Busy,

    /// The registry has stopped.
    #[display("the registry has stopped")]
    Stopped,

    /// The OS refused something.
    #[display("{doing}: {source}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },

    /// What came from the other process, or from systemd, is no handover that
    /// this version knows.
    #[display("what came is no handover: {_0}")]
    Malformed(#[error(not(source))] String),

    /// The other process, or this one's registry, does not take it.
    #[display("refused: {_0}")]
    Refused(#[error(not(source))] String),

    /// The other process has closed its end, or died.
    #[display("the other process has given up")]
    Gone,

    /// The other process took longer than [`LIMIT`].
    #[display("the other process did not answer within {LIMIT:?}")]
    TimedOut,
}

impl Error {
    fn os(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Os { doing, source }
    }
}
