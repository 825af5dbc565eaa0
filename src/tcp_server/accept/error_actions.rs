//! What a server socket does about an accept error, by its policy.

use std::io;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix_rt::time::sleep;

use crate::error::Error;
use crate::net_error;
use crate::tcp_server::accept::errors::AfterError;
use crate::tcp_server::accept::failure::Failure;
use crate::tcp_server::accept::policy::back_off;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::AcceptErrorInfo;
use crate::tcp_server::{AcceptAction, AcceptPolicy, LimitKind};

/// What `Shed` becomes when no descriptor is left to shed a connection with.
const SHED_BACK_OFF: AcceptAction = AcceptAction::BackOff {
    first: Duration::from_millis(10),
    last: Duration::from_secs(1),
};

impl ServerSocket {
    /// Counts and reports the connection that was being accepted when a turn panicked.
    pub(in crate::tcp_server) fn report_lost(&mut self) {
        if let Some(peer) = self.in_hand.take() {
            log::error!("server socket {}: lost the connection from {peer}", self.id);
            self.counts.failed += 1;
            self.errors.connection_lost();
        }
    }

    pub(in crate::tcp_server) fn set_accept_policy(
        &mut self,
        policy: AcceptPolicy,
    ) -> Result<(), Error> {
        policy.check()?;
        if let Some(bound) = &mut self.listener {
            let set = bound.listener.set_reserve_fd(policy.sheds());
            set.map_err(|error| net_error::listen(&error))?;
        }
        self.errors.policy = policy;
        self.errors.end_back_off();
        Ok(())
    }

    /// Handles an error of `accept`. `Pending` if the policy sheds connections and none waits.
    pub(in crate::tcp_server) fn accept_failed(
        &mut self,
        error: &io::Error,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let Some((class, result_code)) = net_error::accept(error) else {
            return Poll::Ready(());
        };
        let mut action = self.errors.policy.action(class, self.errors.attempt);
        if action == AcceptAction::Shed
            && let Some(bound) = &mut self.listener
        {
            match bound.listener.poll_shed(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(peer)) => {
                    self.counts.accepted += 1;
                    self.refused(peer, LimitKind::Descriptors);
                }
                Poll::Ready(Err(_)) => action = SHED_BACK_OFF,
            }
        }
        self.counts.failed += 1;
        self.errors.attempt = self.errors.attempt.saturating_add(1);
        let mut failure = Failure {
            result_code,
            errno: error.raw_os_error(),
            class,
            action,
            attempt: self.errors.attempt,
            next_try: None,
        };
        let mut decision = None;
        if action == AcceptAction::Escalate {
            let target = &self.app_listeners.escalation_target;
            decision = target.ask(self.app(), self.id, failure);
            if decision.is_none() {
                failure.action = AcceptAction::Pause;
            }
        }
        // A socket that sheds goes on: its errors may be many.
        let level = match action {
            AcceptAction::Shed => log::Level::Debug,
            _ => log::Level::Warn,
        };
        let (id, action) = (self.id, failure.action);
        log::log!(
            level,
            "server socket {id}: accept failed ({error}): {action:?}"
        );
        if action == AcceptAction::GoOn {
            return Poll::Ready(());
        }
        self.carry_out(failure, cx);
        if let Some(decision) = decision {
            self.errors
                .set_after(AfterError::AwaitingDecision(decision));
            // The next turn polls the decision.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(())
    }

    /// Does what `failure.action` says, and reports the error.
    fn carry_out(&mut self, mut failure: Failure, cx: &mut TaskContext<'_>) {
        let error = failure.result_code;
        let after = match failure.action {
            AcceptAction::Pause | AcceptAction::Escalate => AfterError::Paused(error),
            AcceptAction::BackOff { first, last } => {
                let delay = back_off(first, last, failure.attempt);
                failure.next_try = Some(delay);
                let over = Box::pin(sleep(delay));
                AfterError::BackingOff { error, over }
            }
            AcceptAction::Shed | AcceptAction::GoOn => {
                failure.next_try = Some(Duration::ZERO);
                AfterError::None
            }
            AcceptAction::Close => AfterError::Closing {
                paused_by: Some(error),
            },
        };
        self.errors.set_after(after);
        self.errors.event_queue.push(failure);
        if !self.app_shards.activity.is_suspended() {
            self.raise_accept_errors(cx);
        }
    }

    /// Raises what listeners have room for, and closes the socket if it only waits for that.
    pub(in crate::tcp_server) fn raise_accept_errors(&mut self, cx: &mut TaskContext<'_>) {
        let socket_id = self.id;
        let listeners = &self.app_listeners.on_accept_error;
        let has_events = !self.errors.event_queue.is_empty();
        if has_events && self.app_shards.activity.needs_reload(listeners) {
            return self.app_shards.activity.request_load();
        }
        let event = |failure: Failure, missed, _unhandled| AcceptErrorInfo {
            socket_id,
            result_code: failure.result_code,
            errno: failure.errno,
            class: failure.class,
            action: failure.action,
            attempt: failure.attempt,
            next_try: failure.next_try,
            missed,
            _unhandled,
        };
        self.errors.event_queue.raise(listeners, cx, event);
        let is_closing = matches!(self.errors.after, AfterError::Closing { .. });
        if is_closing && !self.ended && self.errors.event_queue.is_empty() {
            self.close_and_forget();
        }
    }

    /// Carries out the decision of the actor above the apps, once it has come.
    pub(in crate::tcp_server) fn poll_decision(&mut self, cx: &mut TaskContext<'_>) {
        let AfterError::AwaitingDecision(decision) = &mut self.errors.after else {
            return;
        };
        let Poll::Ready(failure) = decision.poll(cx) else {
            return;
        };
        self.errors.after = AfterError::Paused(failure.result_code);
        if failure.action != AcceptAction::Pause && !self.ended {
            self.errors.after = AfterError::None;
            self.carry_out(failure, cx);
        }
    }
}
