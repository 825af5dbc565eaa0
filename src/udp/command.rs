//! The calls on a socket, as commands for its actor.

use std::net::IpAddr;

use crate::answer::Reply;
use crate::sync::WorkQueue;
use crate::udp::binding::destination::Resolved;
use crate::udp::binding::redelivery::Undelivered;
use crate::udp::binding::write::{InFlightCall, PendingSend};
use crate::udp::handover::Inherited;
use crate::udp::socket::Socket;
use crate::udp::{CreateInfo, SocketInfo, SocketProperties};

/// The queue from every handle and waker to the actor. The app's write quota and its credits bound
/// the calls.
pub(crate) type CommandQueue = WorkQueue<QueuedCall>;

/// One call on one socket. A call of the app has a reply; the others come from tasks, timers and
/// events.
pub(crate) enum Command {
    Create(Box<SocketProperties>, Reply<CreateInfo>),
    /// A socket of another process.
    Inherit(Box<Inherited>),
    Update(Box<SocketProperties>, Reply<()>),
    SetPaused(bool, Reply<()>),
    /// An address as text, and a port.
    Bind(Box<str>, i32, Reply<()>),
    /// A send whose name was looked up.
    Resolved(Box<Resolved>),
    JoinGroup(Box<str>, Reply<()>),
    LeaveGroup(Box<str>, Reply<()>),
    GetJoinedGroups(Reply<Vec<IpAddr>>),
    SetMulticastTimeToLive(i32, Reply<()>),
    SetMulticastLoopbackMode(bool, Reply<()>),
    SetBroadcast(bool, Reply<()>),
    Close(Reply<()>),
    GetInfo(Reply<SocketInfo>),
    /// An event that no listener has handled.
    Undelivered(Box<Undelivered>),
    /// `setPaused(true)` calls have waited for [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    PauseGraceElapsed,
    /// A timer has elapsed: the socket's state may allow more now.
    Recheck,
}

impl Command {
    /// The name of the call of a handle that makes this command.
    #[inline]
    pub(super) fn call(&self) -> &'static str {
        match self {
            Command::Update(..) => "udp.update",
            Command::SetPaused(..) => "udp.setPaused",
            Command::Bind(..) => "udp.bind",
            Command::JoinGroup(..) => "udp.joinGroup",
            Command::LeaveGroup(..) => "udp.leaveGroup",
            Command::GetJoinedGroups(_) => "udp.getJoinedGroups",
            Command::SetMulticastTimeToLive(..) => "udp.setMulticastTimeToLive",
            Command::SetMulticastLoopbackMode(..) => "udp.setMulticastLoopbackMode",
            Command::SetBroadcast(..) => "udp.setBroadcast",
            Command::Close(_) => "udp.close",
            Command::GetInfo(_) => "udp.getInfo",
            // No handle makes these.
            _ => "udp",
        }
    }
}

/// An entry of the command queue. Sends are apart, since they are the most frequent.
pub(crate) enum QueuedCall {
    Send(PendingSend),
    Command(InFlightCall, Command),
}

impl QueuedCall {
    pub(super) fn socket(&self) -> &Socket {
        match self {
            QueuedCall::Send(pending) => pending.socket(),
            QueuedCall::Command(in_flight, _) => in_flight.socket(),
        }
    }
}
