//! What a client socket can be asked to do.

use std::sync::Arc;

use crate::answer::Reply;
use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::connection::ConnectionMeta;
use crate::tcp::connection::connect::{Connected, Target};
use crate::tcp::connection::fast_path::InFlightCall;
use crate::tcp::connection::redelivery::Undelivered;
use crate::tcp::connection::secure::Secure;
use crate::tcp::connection::write::PendingSend;
use crate::tcp::handover::Inherited;
use crate::tcp::socket::ClientSocket;
use crate::tcp::{CreateInfo, SocketInfo, SocketProperties, Timeouts};

/// Who accepted a socket, and wants to know that the app has taken it.
pub(crate) trait AcceptNotifier: Send + Sync {
    fn acknowledged(self: Arc<Self>);

    /// Whether anyone is still to hear of it.
    fn is_open(&self) -> bool;

    /// Those of the socket, until the app sets others.
    fn timeouts(&self) -> Timeouts;
}

/// Something for one row to do.
pub(crate) enum Command {
    Create(Box<SocketProperties>, Reply<CreateInfo>),
    Adopt(
        Box<dyn Stream>,
        Box<ConnectionMeta>,
        Arc<dyn AcceptNotifier>,
    ),
    Inherit(Box<Inherited>),
    Update(Box<SocketProperties>, Reply<()>),
    SetPaused(bool, Reply<()>),
    SetKeepAlive(bool, i32, Reply<()>),
    SetNoDelay(bool, Reply<()>),
    SetTimeouts(Box<Timeouts>, Reply<()>),
    Connect(Box<Target>, Reply<()>),
    Connected(u64, Box<Result<Connected, NetError>>),
    Secure(Box<Secure>),
    Disconnect(Reply<()>),
    Close(Reply<()>),
    GetInfo(Reply<SocketInfo>),
    Undelivered(Box<Undelivered>),
    /// The registry has passed on what was called by id before the end of a
    /// connection, after this event.
    CallsForwarded(u64),
    PauseGraceElapsed,
    /// What was waited for may be over.
    Recheck,
}

/// A call on one socket.
pub(super) enum QueuedCall {
    Send(PendingSend),
    Command(InFlightCall, Command),
}

impl QueuedCall {
    pub(super) fn socket(&self) -> &ClientSocket {
        match self {
            QueuedCall::Send(pending) => pending.socket(),
            QueuedCall::Command(in_flight, _) => in_flight.socket(),
        }
    }
}
