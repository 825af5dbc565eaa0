//! Accept errors that somebody above the app decides on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use actix::{MailboxError, Message, Recipient};
use parking_lot::RwLock;

use crate::ids::{AppId, ServerSocketId};
use crate::net_error::{AcceptErrorClass, NetError};
use crate::tcp_server::AcceptAction;
use crate::tcp_server::accept::failure::Failure;

/// An accept error to be decided on (beyond Chrome): it is sent to whom the
/// registry names ([`Registry::escalate_to`](crate::Registry::escalate_to)), for
/// a server socket whose policy says
/// [`Escalate`](crate::tcp_server::AcceptAction::Escalate).
///
/// The answer is what the server socket does, as if its policy had said it:
/// `Pause`, `BackOff`, `GoOn` (it tries again at once) or `Close`. It waits for
/// that as long as it takes, paused; `setPaused(false)` takes the decision from
/// it, and so does a [handover](crate::handover). What could not be an answer
/// (`Escalate`, `Shed`, a rest of zero) is `Pause`, and so is the end of the
/// actor that was asked.
#[derive(Clone, Debug, Message)]
#[rtype(result = "AcceptAction")]
#[non_exhaustive]
pub struct Escalation {
    /// Whose server socket it is.
    pub app: AppId,
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo).
    pub result_code: NetError,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo).
    pub errno: Option<i32>,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo).
    pub class: AcceptErrorClass,
    /// As in [`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo): the errors in a row
    /// with this one, so that it can be borne a few times.
    pub attempt: u32,
}

/// Whom a registry's server sockets ask.
#[derive(Default)]
pub(crate) struct EscalationTarget(RwLock<Option<Recipient<Escalation>>>);

impl EscalationTarget {
    pub(crate) fn set(&self, to: Option<Recipient<Escalation>>) {
        let before = {
            let mut current = self.0.write();
            std::mem::replace(&mut *current, to)
        };
        // The last address of an actor may go here: not under the lock.
        drop(before);
    }

    /// Asks the actor above the apps what to do about an error; `None` if there is no such actor.
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

/// A decision that the actor above the apps has not made yet.
pub(in crate::tcp_server) struct PendingDecision {
    socket_id: ServerSocketId,
    failure: Failure,
    answer: Pin<Box<dyn Future<Output = Result<AcceptAction, MailboxError>> + Send>>,
}

impl PendingDecision {
    pub(in crate::tcp_server) fn result_code(&self) -> NetError {
        self.failure.result_code
    }

    /// The error, with the action that was decided on: `Pause` if the answer cannot be carried out.
    pub(in crate::tcp_server) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Failure> {
        let answer = ready!(self.answer.as_mut().poll(cx));
        let action = match answer {
            Ok(action) if action.is_decision() => action,
            other => {
                log::warn!("server socket {}: stays paused: {other:?}", self.socket_id);
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
            AcceptAction::Pause | AcceptAction::GoOn | AcceptAction::Close => true,
            AcceptAction::BackOff { first, last } => first > Duration::ZERO && first <= last,
            AcceptAction::Shed | AcceptAction::Escalate => false,
        }
    }
}
