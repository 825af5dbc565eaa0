//! Draining: what an app is told of it.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use crate::answer::messages;
use crate::error::Error;
use crate::events::Event;
use crate::ids::{AppId, ClientSocketId, ServerSocketId};

/// How often `onDrain` tells of progress at most: every 250 ms.
pub const PROGRESS: Duration = Duration::from_millis(250);

/// The most connections of one server socket's backlog that are counted when
/// it stops listening: as many as wait there by default.
pub const NEVER_ACCEPTED: usize = 4096;

messages! {
    /// Drains all of an app's sockets: see [`App::drain`](crate::App::drain).
    Drain {
        /// When what is still open is ended.
        deadline: Duration,
    } -> Drained;
}

/// Drains the sockets of every app that the registry knows: see
/// [`App::drain`](crate::App::drain). The registry goes on, and so do its
/// apps; [`Shutdown`](crate::Shutdown) ends it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Drained, Error>")]
pub struct DrainAll {
    /// When what is still open is ended.
    pub deadline: Duration,
}

/// What came of a drain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Drained {
    /// How many connections ended by themselves, or went to another process:
    /// all that were open when it began, but for those that were forced.
    pub finished: usize,
    /// The sockets whose connections were ended at the deadline, in the order
    /// of their ids. Those of which sends waited were reset. What the kernel had
    /// taken of the others still arrives.
    pub forced: Vec<ClientSocketId>,
    /// How many connections waited in the kernel's backlog, and were closed.
    /// No more than [`NEVER_ACCEPTED`] of a
    /// server socket are counted; the OS resets the rest.
    pub never_accepted: usize,
    /// How many TLS handshakes were still unfinished at the deadline, and were
    /// ended. Each is reported by `onHandshakeError`
    /// ([`ABORTED`](crate::NetError::ABORTED)).
    pub unfinished_handshakes: usize,
    /// How many connections whose handshake was done had reached no `onAccept`
    /// listener by the deadline (the server socket is paused, or has no
    /// listener), and were closed.
    pub undelivered: usize,
}

/// `onDrain` (beyond Chrome): how far a drain of the app's sockets has come. It
/// is raised when a drain begins and when it is over; in between at most every
/// [`PROGRESS`], if something has changed and the last one was handled.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct DrainInfo {
    /// The app.
    pub app: AppId,
    /// The server socket; `None`: all that the app has.
    pub socket_id: Option<ServerSocketId>,
    /// How many connections are open. None is, when the drain is over.
    pub open: usize,
    /// How many have ended by themselves since it began.
    pub finished: usize,
    /// How many were ended by the deadline.
    pub forced: usize,
    /// Shared with the drain, which so knows that this was handled.
    #[debug(skip)]
    pub(crate) _handled: Arc<()>,
}

impl Event for DrainInfo {}
