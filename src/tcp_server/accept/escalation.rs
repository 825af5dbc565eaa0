//! Accept errors that somebody above the app decides on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{MailboxError, Message, Recipient};
use parking_lot::RwLock;

use crate::ids::{AppId, ServerSocketId};
use crate::net_error::{AcceptErrorClass, NetError};
use crate::tcp_server::AcceptAction;
use crate::tcp_server::accept::errors::{AfterError, Failure};
use crate::tcp_server::actor::ServerSocket;

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

    /// Who is there to decide.
    fn get(&self) -> Option<Recipient<Escalation>> {
        let escalation_target = self.0.read();
        escalation_target.clone().filter(Recipient::connected)
    }
}

/// A decision that is waited for.
pub(in crate::tcp_server) struct PendingDecision {
    failure: Failure,
    answer: Pin<Box<dyn Future<Output = Result<AcceptAction, MailboxError>> + Send>>,
}

impl PendingDecision {
    pub(in crate::tcp_server) fn result_code(&self) -> NetError {
        self.failure.result_code
    }
}

impl ServerSocket {
    /// Whether anybody is there to decide.
    pub(in crate::tcp_server) fn is_overseen(&self) -> bool {
        self.app_listeners.escalation_target.get().is_some()
    }

    /// Asks above what is to be done about this.
    pub(in crate::tcp_server) fn escalate(&mut self, failure: Failure) {
        let Some(escalation_target) = self.app_listeners.escalation_target.get() else {
            return;
        };
        let answer = escalation_target.send(Escalation {
            app: self.app().clone(),
            socket_id: self.id,
            result_code: failure.result_code,
            errno: failure.errno,
            class: failure.class,
            attempt: failure.attempt,
        });
        self.errors
            .set_after(AfterError::AwaitingDecision(PendingDecision {
                failure,
                answer: Box::pin(answer),
            }));
    }

    /// Does what was decided above, if that has come.
    pub(in crate::tcp_server) fn poll_decision(&mut self, cx: &mut TaskContext<'_>) {
        let AfterError::AwaitingDecision(asked) = &mut self.errors.after else {
            return;
        };
        let Poll::Ready(answer) = asked.answer.as_mut().poll(cx) else {
            return;
        };
        let failure = asked.failure;
        self.errors.after = AfterError::Paused(failure.result_code);
        let action = match answer {
            Ok(action) if action.is_decision() => action,
            other => {
                log::warn!("server socket {}: it stays paused, {other:?}", self.id);
                AcceptAction::Pause
            }
        };
        if action != AcceptAction::Pause && !self.ended {
            self.errors.after = AfterError::None;
            self.act(failure, action, cx);
        }
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
