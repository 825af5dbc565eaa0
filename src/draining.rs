//! Drains as an app sees them: the calls, their result, and `onDrain`.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use crate::answer::messages;
use crate::error::Error;
use crate::events::Event;
use crate::ids::{AppId, ClientSocketId, ServerSocketId};

/// The shortest time between two `onDrain` events of a drain: 250 ms. The first
/// and the last event do not wait for it.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// How many connections of one server socket's backlog are counted at most when
/// it stops listening: 4096, as many as its default backlog holds.
pub const MAX_NEVER_ACCEPTED: usize = 4096;

messages! {
    /// Drains all of an app's sockets: see [`App::drain`](crate::App::drain).
    Drain {
        /// After this time, connections that are still open are ended.
        deadline: Duration,
    } -> Drained;
}

/// Drains the sockets of every app of the registry: see
/// [`App::drain`](crate::App::drain). The registry and its apps keep running;
/// [`Shutdown`](crate::Shutdown) ends them.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Drained, Error>")]
pub struct DrainAll {
    /// After this time, connections that are still open are ended.
    pub deadline: Duration,
}

/// The result of a drain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Drained {
    /// How many connections ended by themselves, or went to another process:
    /// all that were open when the drain began, without the forced ones.
    pub finished: usize,
    /// The sockets whose connections were ended at the deadline, in the order of
    /// their ids. A connection with sends that waited was reset. Otherwise what
    /// the kernel had accepted still reaches the peer.
    pub forced: Vec<ClientSocketId>,
    /// How many connections waited in the kernel's backlog and were closed. At
    /// most [`MAX_NEVER_ACCEPTED`] per server socket are counted; the OS resets
    /// the rest.
    pub never_accepted: usize,
    /// How many TLS handshakes and PROXY headers were unfinished at the deadline and
    /// were ended. Each is reported by `onHandshakeError` or `onProxyError`
    /// ([`ABORTED`](crate::NetError::ABORTED)).
    pub unfinished_handshakes: usize,
    /// How many connections had completed their handshake but reached no
    /// `onAccept` listener before the deadline, because the server socket was
    /// paused or had no listener. They were closed.
    pub undelivered: usize,
}

/// `onDrain` (beyond Chrome): the progress of a drain of the app's sockets. It
/// is raised when a drain begins and when it ends; in between at most every
/// [`PROGRESS_INTERVAL`], if something has changed and the last event was
/// handled.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct DrainInfo {
    /// The app.
    pub app: AppId,
    /// The server socket; `None` if all of the app's sockets are drained.
    pub socket_id: Option<ServerSocketId>,
    /// How many connections are open: 0 in the last event.
    pub open: usize,
    /// How many connections have ended by themselves since the drain began.
    pub finished: usize,
    /// How many connections were ended at the deadline.
    pub forced: usize,
    /// Shared with the drain, which counts the copies that are not handled.
    #[debug(skip)]
    pub(crate) _unhandled: Arc<()>,
}

impl Event for DrainInfo {}
