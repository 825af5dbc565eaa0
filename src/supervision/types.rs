//! Restarts as an app sees them: their causes, their limit, and `onRestart`.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use crate::events::Event;
use crate::ids::{AppId, ClientSocketId, ServerSocketId, UdpSocketId};
use crate::telemetry::{FailedActor, FailureCause};

/// An actor or task of this crate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, derive_more::Display)]
#[non_exhaustive]
pub enum ActorKind {
    /// The [`Registry`](crate::Registry).
    #[display("the registry")]
    Registry,
    /// The actor of a server socket.
    #[display("server socket {_0}")]
    ServerSocket(ServerSocketId),
    /// The actor of all client sockets of an arbiter.
    #[display("the client sockets")]
    ClientSockets,
    /// The actor of all sockets of `chrome.sockets.udp` of an arbiter.
    #[display("the udp sockets")]
    UdpSockets,
    /// The task that looks up the name of a `udp.send`. If it panics, the call answers
    /// [`FAILED`](crate::NetError::FAILED).
    #[display("sending on udp socket {_0}")]
    UdpSend(UdpSocketId),
    /// The task that carries out `tcp.connect` or `tcp.secure` of a client
    /// socket. If it panics, the call answers [`FAILED`](crate::NetError::FAILED).
    #[display("connecting client socket {_0}")]
    Connecting(ClientSocketId),
}

/// Why an actor failed.
#[derive(Clone, PartialEq, Eq, Debug, derive_more::Display)]
#[non_exhaustive]
pub enum Cause {
    /// It panicked, with this message.
    #[display("it panicked: {_0}")]
    Panicked(Arc<str>),
    /// It was stopped.
    #[display("it was stopped")]
    Stopped,
    /// Its arbiter has ended.
    #[display("its arbiter has ended")]
    ArbiterEnded,
}

impl ActorKind {
    pub(crate) fn label(self) -> FailedActor {
        match self {
            ActorKind::Registry => FailedActor::Registry,
            ActorKind::ServerSocket(_) => FailedActor::ServerSocket,
            ActorKind::ClientSockets => FailedActor::ClientSockets,
            ActorKind::UdpSockets => FailedActor::UdpSockets,
            ActorKind::UdpSend(_) => FailedActor::UdpSend,
            ActorKind::Connecting(_) => FailedActor::Connecting,
        }
    }
}

impl Cause {
    pub(crate) fn label(&self) -> FailureCause {
        match self {
            Cause::Panicked(_) => FailureCause::Panic,
            Cause::Stopped => FailureCause::Stop,
            Cause::ArbiterEnded => FailureCause::ArbiterEnded,
        }
    }
}

/// Logs that an actor was restarted after a stop or the end of its arbiter. An
/// actix system that stops ends its arbiters too; then this task is never
/// polled, so an ordinary end logs no error.
pub(crate) fn log_restart(actor: ActorKind, cause: Cause) {
    actix_rt::spawn(async move {
        // A stopping system may still poll a new task once.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        log::error!("{actor}: {cause}; it was restarted");
    });
}

/// `onRestart` (beyond Chrome): one of the crate's own actors has failed and was
/// restarted.
///
/// What the app owns is unchanged: sockets with their ids, names and properties,
/// connections with the data that waits to be read or sent, and listeners. What
/// was lost is reported in its usual place. A call that the actor was carrying
/// out fails with [`Panicked`](crate::Error::Panicked); calls that waited for an
/// actor whose thread has ended fail with [`Stopped`](crate::Error::Stopped). A
/// lost connection is reported as [`FAILED`](crate::NetError::FAILED) by
/// `onReceiveError`, or by `onAcceptError` if it was not delivered yet.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct RestartInfo {
    /// The app that gets this event.
    pub app: AppId,
    /// The actor that failed.
    pub actor: ActorKind,
    /// Why it failed.
    pub cause: Cause,
    /// How often it has failed since the registry started, this time included.
    pub restarts: u64,
    /// Whether it failed too often ([`RestartLimit`]) and was not restarted. Then
    /// a server socket is closed; if it was the actor of client sockets, every
    /// connection ends with [`FAILED`](crate::NetError::FAILED); if it was the
    /// registry, everything ends.
    pub gave_up: bool,
    /// How many `onRestart` events before this one were not raised, because
    /// [`UNHANDLED_RESTARTS`] were in flight.
    pub missed: u64,
    /// Shared with the registry, which counts the copies that are not handled.
    pub(crate) _unhandled: Arc<()>,
}

impl Event for RestartInfo {}

/// How many `onRestart` events of an app may be in flight: 64. Further ones are
/// only counted.
pub const UNHANDLED_RESTARTS: usize = 64;

/// How often one actor may fail before it ends: 100 times in 10 seconds, by
/// default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestartLimit {
    /// The most failures after which the actor is restarted.
    pub most: u32,
    /// The period in which failures are counted.
    pub within: Duration,
}

impl RestartLimit {
    /// The actor is always restarted.
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
