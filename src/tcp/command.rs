//! The calls on a client socket, as commands for its actor.

use std::sync::Arc;
use std::time::Duration;

use crate::answer::Reply;
use crate::error::Error;
use crate::os::Stream;
use crate::proxy_protocol::ProxyPeer;
use crate::tcp::connection::ConnectionMeta;
use crate::tcp::connection::connect::{Connected, Target};
use crate::tcp::connection::fast_path::InFlightCall;
use crate::tcp::connection::redelivery::{Undelivered, UndeliveredData};
use crate::tcp::connection::secure::Secure;
use crate::tcp::connection::write::PendingSend;
use crate::tcp::handover::Inherited;
use crate::tcp::socket::{ClientSocket, ResumeCall};
use crate::tcp::socket_listeners::{HandlerEnd, OwnListeners};
use crate::tcp::stream::ClientStream;
use crate::tcp::{CreateInfo, SocketInfo, SocketProperties, Timeouts};

/// The server socket that accepted a client. It learns here that `onAccept` has reached the app.
pub(crate) trait AcceptNotifier: Send + Sync {
    /// `onAccept` has reached the app: it has called the socket.
    fn acknowledged(self: Arc<Self>);

    /// Whether the client still waits: `onAccept` has not reached the app, and the client is not
    /// closed.
    fn is_open(&self) -> bool;

    /// The timeouts of its clients, if they have any, until the app sets others.
    fn timeouts(&self) -> Option<Timeouts>;

    /// The proxy that has made the connection.
    fn proxy_peer(&self) -> Option<&ProxyPeer>;
}

/// One call on one socket. A call of the app has a reply; the others come from tasks, timers and
/// events.
pub(crate) enum Command {
    Create(Box<SocketProperties>, Reply<CreateInfo>),
    /// An accepted connection.
    Adopt(
        Box<dyn Stream>,
        Box<ConnectionMeta>,
        Arc<dyn AcceptNotifier>,
    ),
    /// A socket of another process.
    Inherit(Box<Inherited>),
    Update(Box<SocketProperties>, Reply<()>),
    SetPaused(bool, Reply<()>),
    /// Options, and `setPaused(false)`.
    Resume(ResumeCall, Reply<()>),
    SetKeepAlive(bool, i32, Reply<()>),
    SetNoDelay(bool, Reply<()>),
    SetTimeouts(Box<Timeouts>, Reply<()>),
    SetListeners(Option<Box<OwnListeners>>, Reply<()>),
    Connect(Box<Target>, Reply<()>),
    /// The result of the attempt with this number.
    Connected(u64, Box<Result<Connected, Error>>),
    Secure(Box<Secure>),
    ShutdownWrite(Reply<()>),
    Disconnect(Reply<()>),
    Reset(Reply<()>),
    Close(Reply<()>),
    GetInfo(Reply<SocketInfo>),
    IntoStream(Reply<ClientStream>),
    /// The app takes the socket from its stream, which has not read this.
    EndStream(Vec<UndeliveredData>),
    /// Runs in the socket's arbiter, outside the actor's turn.
    Spawn(Box<dyn FnOnce() + Send>),
    /// The socket's handler has started, or has ended.
    HandlerStarted,
    HandlerEnded(HandlerEnd),
    /// An event that no listener has handled.
    Undelivered(Box<Undelivered>),
    /// The registry has forwarded all calls by id that it received before this. The number is that
    /// of the socket's last event when the registry was asked.
    CallsForwarded(u64),
    /// `setPaused(true)` calls have waited for [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    PauseGraceElapsed,
    /// A timer has elapsed: the socket's state may allow more now.
    Recheck,
}

impl Command {
    /// The name of the call of a handle that makes this command.
    #[inline]
    pub(in crate::tcp) fn call(&self) -> &'static str {
        match self {
            Command::Update(..) => "tcp.update",
            Command::SetPaused(..) => "tcp.setPaused",
            Command::Resume(..) => "tcp.resumeWith",
            Command::SetKeepAlive(..) => "tcp.setKeepAlive",
            Command::SetNoDelay(..) => "tcp.setNoDelay",
            Command::SetTimeouts(..) => "tcp.setTimeouts",
            Command::SetListeners(..) => "tcp.setListeners",
            Command::Connect(..) => "tcp.connect",
            Command::Secure(..) => "tcp.secure",
            Command::ShutdownWrite(_) => "tcp.shutdownWrite",
            Command::Disconnect(_) => "tcp.disconnect",
            Command::Reset(_) => "tcp.reset",
            Command::Close(_) => "tcp.close",
            Command::GetInfo(_) => "tcp.getInfo",
            Command::IntoStream(_) => "tcp.intoStream",
            // No handle makes these.
            _ => "tcp",
        }
    }
}

/// An entry of the command queue. Sends are apart, since they are the most frequent.
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

pub(super) fn send_later(delay: Duration, socket: ClientSocket, command: Command) {
    actix_rt::spawn(async move {
        actix_rt::time::sleep(delay).await;
        socket.do_send(command);
    });
}
