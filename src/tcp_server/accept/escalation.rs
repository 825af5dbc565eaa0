//! Asks the actor above the apps about an accept error. When that happens, `policy.rs` decides.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use actix::{MailboxError, Message, Recipient};
use parking_lot::RwLock;

use crate::ids::{AppId, ServerSocketId};
use crate::net_error::{AcceptErrorClass, NetError};
use crate::tcp_server::AcceptAction;
use crate::tcp_server::accept::failure::Failure;

/// An accept error that needs a decision (beyond Chrome). A server socket whose
/// policy says [`Escalate`](crate::tcp_server::AcceptAction::Escalate) sends it to
/// the actor that [`Registry::escalate_to`](crate::Registry::escalate_to) has set.
///
/// The server socket carries out the answer as if its policy had said it:
/// `Pause`, `BackOff`, `Continue` (it tries again at once) or `Close`. It stays paused
/// until the answer arrives; there is no timeout. `setPaused(false)` and a
/// [handover](crate::handover) discard the answer. An answer that is not allowed
/// (`Escalate`, `Shed`, a `BackOff` of zero or with `last` below `first`) counts as
/// `Pause`, and so does an actor that stops before it has answered.
#[derive(Clone, Debug, Message)]
#[rtype(result = "AcceptAction")]
#[non_exhaustive]
pub struct Escalation {
    /// The app that owns the server socket.
    pub app: AppId,
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo).
    pub result_code: NetError,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo).
    pub errno: Option<i32>,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo).
    pub class: AcceptErrorClass,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo): how many
    /// errors there were in a row, with this one.
    pub attempt: u32,
}

/// The actor that a registry's server sockets ask.
#[derive(Default)]
pub(crate) struct EscalationTarget(RwLock<Option<Recipient<Escalation>>>);

impl EscalationTarget {
    pub(crate) fn set(&self, to: Option<Recipient<Escalation>>) {
        let previous = std::mem::replace(&mut *self.0.write(), to);
        // This may be the last address of its actor, so it is dropped without the
        // lock.
        drop(previous);
    }

    /// Asks the actor what to do about an error; `None` if there is no actor.
    pub(in crate::tcp_server) fn ask(
        &self,
        app: &AppId,
        socket_id: ServerSocketId,
        failure: Failure,
    ) -> Option<PendingDecision> {
        let target = self.0.read().clone().filter(Recipient::connected)?;
        let answer = target.send(Escalation {
            app: app.clone(),
            socket_id,
            result_code: failure.result_code,
            errno: failure.errno,
            class: failure.class,
            attempt: failure.attempt,
        });
        Some(PendingDecision {
            socket_id,
            failure,
            answer: Box::pin(answer),
        })
    }
}

/// A decision that the escalation target has not made yet.
pub(in crate::tcp_server) struct PendingDecision {
    socket_id: ServerSocketId,
    failure: Failure,
    answer: Pin<Box<dyn Future<Output = Result<AcceptAction, MailboxError>> + Send>>,
}

impl PendingDecision {
    pub(in crate::tcp_server) fn result_code(&self) -> NetError {
        self.failure.result_code
    }

    /// The error with the action that was decided: `Pause` if the answer is not
    /// allowed.
    pub(in crate::tcp_server) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Failure> {
        let answer = ready!(self.answer.as_mut().poll(cx));
        let action = match answer {
            Ok(action) if action.is_decision() => action,
            other => {
                log::warn!(
                    "server socket {}: stays paused after escalation: {other:?}",
                    self.socket_id
                );
                AcceptAction::Pause
            }
        };
        Poll::Ready(Failure {
            action,
            ..self.failure
        })
    }
}

impl AcceptAction {
    fn is_decision(self) -> bool {
        match self {
            AcceptAction::Pause | AcceptAction::Continue | AcceptAction::Close => true,
            AcceptAction::BackOff { first, last } => first > Duration::ZERO && first <= last,
            AcceptAction::Shed | AcceptAction::Escalate => false,
        }
    }
}
