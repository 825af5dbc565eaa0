//! What an app sees of restarts: their causes, their limit, and `onRestart`.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use crate::events::Event;
use crate::ids::{AppId, ClientSocketId, ServerSocketId};

/// One of the crate's own actors or tasks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, derive_more::Display)]
#[non_exhaustive]
pub enum Supervised {
    /// The [`Registry`](crate::Registry).
    #[display("the registry")]
    Registry,
    /// The actor of a server socket.
    #[display("server socket {_0}")]
    ServerSocket(ServerSocketId),
    /// The actor of all client sockets.
    #[display("the client sockets")]
    ClientSockets,
    /// The task that carries out `tcp.connect` or `tcp.secure` of a client
    /// socket, which answers [`FAILED`](crate::NetError::FAILED) then.
    #[display("connecting client socket {_0}")]
    Connecting(ClientSocketId),
}

/// Why an actor has to start again.
#[derive(Clone, PartialEq, Eq, Debug, derive_more::Display)]
#[non_exhaustive]
pub enum Cause {
    /// It panicked, with this message.
    #[display("it panicked: {_0}")]
    Panicked(Arc<str>),
    /// It was stopped.
    #[display("it was stopped")]
    Stopped,
    /// The arbiter that it lived in has ended.
    #[display("its arbiter has ended")]
    ArbiterEnded,
}

/// Logs that an actor was started again after a stop or the end of its arbiter.
/// An actix system that stops ends its arbiters too: then this task never gets
/// its turn, and an ordinary end logs no error.
pub(crate) fn log_restart(actor: Supervised, cause: Cause) {
    actix_rt::spawn(async move {
        // The first turn may be in the system's last round.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        log::error!("{actor}: {cause}; it goes on");
    });
}

/// `onRestart` (beyond Chrome): one of the crate's own actors has fallen, and
/// goes on.
///
/// What the app owns is as it was: sockets with their ids, names and
/// properties, connections with what waits to be read and sent, listeners. What
/// could not be kept is told where it would have come: a call that the actor
/// was just carrying out, and those that waited for one whose thread has ended,
/// fail with [`Panicked`](crate::Error::Panicked) or
/// [`Stopped`](crate::Error::Stopped); a connection with
/// [`FAILED`](crate::NetError::FAILED), by `onReceiveError`, or by
/// `onAcceptError` if nobody had heard of it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RestartInfo {
    /// The app that is told.
    pub app: AppId,
    /// What has fallen.
    pub actor: Supervised,
    /// Why.
    pub cause: Cause,
    /// How often it has fallen since the registry started, with this time.
    pub restarts: u64,
    /// Whether this was once too often: it does not go on. A server socket is
    /// closed; of the client sockets, every connection ends with
    /// [`FAILED`](crate::NetError::FAILED); the registry ends, and all with it.
    pub gave_up: bool,
    /// How many events before this one were not told, because listeners had
    /// [`UNHANDLED_RESTARTS`] to handle.
    pub missed: u64,
    pub(crate) _unhandled: Arc<()>,
}

impl Event for RestartInfo {}

/// The most `onRestart` events of an app that listeners have not handled;
/// beyond it they are only counted.
pub const UNHANDLED_RESTARTS: usize = 64;

/// How often one actor may fall within a time before it is given up: 100 times
/// in 10 seconds, by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestartLimit {
    /// This often, it goes on; once more, and it does not.
    pub most: u32,
    /// Within this time.
    pub within: Duration,
}

impl RestartLimit {
    /// It always goes on.
    pub const UNLIMITED: RestartLimit = RestartLimit {
        most: u32::MAX,
        within: Duration::ZERO,
    };
}

impl Default for RestartLimit {
    fn default() -> Self {
        RestartLimit {
            most: 100,
            within: Duration::from_secs(10),
        }
    }
}
