//! Carries out what the policy, or the escalation target, says about an accept error.

use std::io;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix_rt::time::sleep;

use crate::error::Error;
use crate::net_error;
use crate::tcp_server::accept::error_state::AfterError;
use crate::tcp_server::accept::failure::Failure;
use crate::tcp_server::accept::policy::back_off;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::AcceptErrorInfo;
use crate::tcp_server::{AcceptAction, AcceptPolicy, LimitKind};
use crate::telemetry::LostBy;

/// What is done instead of `Shed` when no connection could be shed.
const SHED_BACK_OFF: AcceptAction = AcceptAction::BackOff {
    first: Duration::from_millis(10),
    last: Duration::from_secs(1),
};

impl ServerSocket {
    /// Counts and reports the connection that was being accepted when the last
    /// turn panicked.
    pub(in crate::tcp_server) fn report_lost(&mut self) {
        if let Some(peer) = self.accepting_from.take() {
            log::error!("server socket {}: lost a connection from {peer}", self.id);
            self.counts.failed += 1;
            self.stats.failed(LostBy::Panic);
            self.errors.push_connection_lost();
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
        self.errors.set_policy(policy);
        // The new policy may not back off at all.
        self.errors.end_back_off();
        Ok(())
    }

    /// Handles an error of `accept`. `Pending`: the policy sheds connections, and
    /// none waits in the backlog.
    pub(in crate::tcp_server) fn accept_failed(
        &mut self,
        error: &io::Error,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let Some((class, result_code)) = net_error::accept(error) else {
            // A client that gave up, or an interrupted call.
            return Poll::Ready(());
        };
        let mut action = self.errors.policy().action(class, self.errors.attempt);
        if action == AcceptAction::Shed
            && let Some(bound) = &mut self.listener
        {
            match bound.listener.poll_shed(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(peer)) => {
                    self.count_accepted();
                    self.record_refusal(peer, LimitKind::Descriptors);
                }
                // Memory is used up, or another thread took the descriptor.
                Poll::Ready(Err(_)) => action = SHED_BACK_OFF,
            }
        }
        self.counts.failed += 1;
        self.stats.accept_error(class.into());
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
                // There is no escalation target.
                failure.action = AcceptAction::Pause;
            }
        }
        // A socket that sheds keeps accepting, so there may be many errors.
        let level = match action {
            AcceptAction::Shed => log::Level::Debug,
            _ => log::Level::Warn,
        };
        let (id, action) = (self.id, failure.action);
        log::log!(
            level,
            "server socket {id}: accept failed ({error}): {action:?}"
        );
        if action == AcceptAction::Continue {
            return Poll::Ready(());
        }
        self.carry_out(failure, cx);
        if let Some(decision) = decision {
            self.errors.after = AfterError::AwaitingDecision(Box::new(decision));
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
                let delay = Box::pin(sleep(delay));
                AfterError::BackingOff { error, delay }
            }
            AcceptAction::Shed | AcceptAction::Continue => {
                failure.next_try = Some(Duration::ZERO);
                AfterError::None
            }
            AcceptAction::Close => {
                self.errors.is_closing = true;
                AfterError::Paused(error)
            }
        };
        self.errors.after = after;
        self.errors.event_queue.push(failure);
        // A suspended app is loaded first, by the end of this turn.
        if !self.app_shards.activity.is_suspended() {
            self.raise_accept_errors(cx);
        }
    }

    /// Raises as many events as listeners have room for. Closes the socket if its
    /// policy says so and all events were raised.
    pub(in crate::tcp_server) fn raise_accept_errors(&mut self, cx: &mut TaskContext<'_>) {
        let socket_id = self.id;
        let listeners = &self.app_listeners.on_accept_error;
        let has_events = !self.errors.event_queue.is_empty();
        if has_events && self.app_shards.activity.needs_reload(listeners) {
            return self.app_shards.activity.request_load();
        }
        let event = |failure: Failure, missed, _token| AcceptErrorInfo {
            socket_id,
            result_code: failure.result_code,
            errno: failure.errno,
            class: failure.class,
            action: failure.action,
            attempt: failure.attempt,
            next_try: failure.next_try,
            missed,
            _token,
        };
        self.errors.event_queue.raise(listeners, cx, event);
        if self.errors.is_closing && !self.is_closed && self.errors.event_queue.is_empty() {
            self.close_and_report();
        }
    }

    /// Carries out the decision of the escalation target, once it has arrived.
    pub(in crate::tcp_server) fn poll_decision(&mut self, cx: &mut TaskContext<'_>) {
        let AfterError::AwaitingDecision(decision) = &mut self.errors.after else {
            return;
        };
        let Poll::Ready(failure) = decision.poll(cx) else {
            return;
        };
        self.errors.after = AfterError::Paused(failure.result_code);
        // `Pause` was carried out when the error was escalated.
        if failure.action != AcceptAction::Pause && !self.is_closed {
            self.errors.after = AfterError::None;
            self.carry_out(failure, cx);
        }
    }
}
