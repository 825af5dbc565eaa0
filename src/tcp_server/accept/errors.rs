//! Accept errors: what is done about them, and who is told.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix_rt::time::{Sleep, sleep};

use crate::error::Error;
use crate::events::redelivery::EventQueue;
use crate::net_error::{self, AcceptErrorClass, NetError};
use crate::tcp_server::accept::escalation::PendingDecision;
use crate::tcp_server::accept::policy::back_off;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::AcceptErrorInfo;
use crate::tcp_server::{AcceptAction, AcceptPolicy, LimitKind};

/// How long is rested when nothing can be shed.
const SHED_REST: AcceptAction = AcceptAction::BackOff {
    first: Duration::from_millis(10),
    last: Duration::from_secs(1),
};

#[derive(Default)]
pub(in crate::tcp_server) struct AcceptErrors {
    policy: AcceptPolicy,
    /// How many there were since a connection was accepted.
    attempt: u32,
    pub(in crate::tcp_server) after: AfterError,
    event_queue: EventQueue<Failure>,
}

/// What a server socket does since its last accept error.
#[derive(Default)]
pub(in crate::tcp_server) enum AfterError {
    /// It accepts.
    #[default]
    None,
    BackingOff {
        error: NetError,
        over: Pin<Box<Sleep>>,
    },
    /// Paused until `setPaused(false)`.
    Paused(NetError),
    /// Paused until the actor above the app answers, or `setPaused(false)`.
    AwaitingDecision(PendingDecision),
    /// It closes when listeners were told of the error. Paused until then, unless the app resumes it.
    Closing { paused_by: Option<NetError> },
}

impl AfterError {
    fn paused_by(&self) -> Option<NetError> {
        match self {
            AfterError::None | AfterError::BackingOff { .. } => None,
            AfterError::Paused(error) => Some(*error),
            AfterError::AwaitingDecision(asked) => Some(asked.result_code()),
            AfterError::Closing { paused_by } => *paused_by,
        }
    }
}

/// An accept error, and what was done about it.
#[derive(Clone, Copy)]
pub(in crate::tcp_server) struct Failure {
    pub(in crate::tcp_server) result_code: NetError,
    pub(in crate::tcp_server) errno: Option<i32>,
    pub(in crate::tcp_server) class: AcceptErrorClass,
    action: AcceptAction,
    pub(in crate::tcp_server) attempt: u32,
    next_try: Option<Duration>,
}

/// An error that the app has not heard of, for another process.
pub(in crate::tcp_server) struct Unheard {
    pub(in crate::tcp_server) result_code: NetError,
    pub(in crate::tcp_server) errno: Option<i32>,
}

impl AcceptErrors {
    /// The error that it backs off from.
    pub(in crate::tcp_server) fn backing_off(&self) -> Option<NetError> {
        match &self.after {
            AfterError::BackingOff { error, .. } => Some(*error),
            _ => None,
        }
    }

    /// The error that pauses it.
    pub(in crate::tcp_server) fn paused_by(&self) -> Option<NetError> {
        self.after.paused_by()
    }

    /// A socket that is to close stays so, whatever happens meanwhile.
    pub(in crate::tcp_server) fn set_after(&mut self, after: AfterError) {
        match &mut self.after {
            AfterError::Closing { paused_by } => *paused_by = after.paused_by(),
            other => *other = after,
        }
    }

    /// Tries again at once.
    pub(in crate::tcp_server) fn end_back_off(&mut self) {
        if matches!(self.after, AfterError::BackingOff { .. }) {
            self.after = AfterError::None;
        }
    }

    /// What it waited for was by the clock of another thread.
    pub(in crate::tcp_server) fn forget_clock(&mut self) {
        self.end_back_off();
        self.event_queue.reset_hold_back();
    }

    /// How many events were dropped, as too many listeners had panicked.
    pub(in crate::tcp_server) fn dropped(&self) -> u64 {
        self.event_queue.dropped()
    }

    /// The app has resumed the socket: it has decided.
    pub(in crate::tcp_server) fn resumed(&mut self) {
        self.set_after(AfterError::None);
    }

    pub(in crate::tcp_server) fn policy(&self) -> AcceptPolicy {
        self.policy
    }

    /// A connection was accepted.
    pub(in crate::tcp_server) fn are_over(&mut self) {
        self.attempt = 0;
    }

    /// Whether nothing may be accepted yet; `cx` is woken when it may.
    pub(in crate::tcp_server) fn is_backing_off(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let AfterError::BackingOff { over, .. } = &mut self.after else {
            return false;
        };
        let is_pending = over.as_mut().poll(cx).is_pending();
        if !is_pending {
            self.after = AfterError::None;
        }
        is_pending
    }

    pub(in crate::tcp_server) fn has_untold(&self) -> bool {
        !self.event_queue.is_empty()
    }

    /// The last one that was not told.
    pub(in crate::tcp_server) fn unheard(&self) -> Option<Unheard> {
        self.event_queue.last().map(|failure| Unheard {
            result_code: failure.result_code,
            errno: failure.errno,
        })
    }

    /// Another process has met it and not told.
    pub(in crate::tcp_server) fn inherit(&mut self, unheard: Unheard) {
        let Unheard { result_code, errno } = unheard;
        let error = errno.map(io::Error::from_raw_os_error);
        let known = error.as_ref().and_then(net_error::accept);
        let class = known.map_or(AcceptErrorClass::Listener, |(class, _)| class);
        self.attempt = 1;
        self.event_queue.push(Failure {
            result_code,
            errno,
            class,
            action: AcceptAction::Pause,
            attempt: self.attempt,
            next_try: None,
        });
    }
}

impl AcceptErrors {
    /// A connection was accepted, and could not be kept.
    fn lost(&mut self) {
        self.event_queue.push(Failure {
            result_code: NetError::FAILED,
            errno: None,
            class: AcceptErrorClass::Connection,
            action: AcceptAction::GoOn,
            attempt: self.attempt,
            next_try: Some(Duration::ZERO),
        });
    }
}

impl ServerSocket {
    /// Tells of the connection that was in hand when a turn panicked.
    pub(in crate::tcp_server) fn tell_lost(&mut self) {
        if let Some(peer) = self.in_hand.take() {
            log::error!(
                "server socket {}: the connection of {peer} is lost",
                self.id
            );
            self.counts.failed += 1;
            self.errors.lost();
        }
    }

    pub(in crate::tcp_server) fn set_accept_policy(
        &mut self,
        policy: AcceptPolicy,
    ) -> Result<(), Error> {
        policy.check()?;
        if let Some(bound) = &mut self.listener {
            let set = bound.listener.set_reserve(policy.sheds());
            set.map_err(|error| net_error::listen(&error))?;
        }
        self.errors.policy = policy;
        self.errors.end_back_off();
        Ok(())
    }

    /// `accept` has answered this. `Pending` if nobody was there to be shed.
    pub(in crate::tcp_server) fn failed(
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
                    self.was_refused(peer, LimitKind::Descriptors);
                }
                Poll::Ready(Err(_)) => action = SHED_REST,
            }
        }
        if action == AcceptAction::Escalate && !self.is_overseen() {
            action = AcceptAction::Pause;
        }
        self.counts.failed += 1;
        self.errors.attempt = self.errors.attempt.saturating_add(1);
        // Those that do not stop it may be many.
        let level = match action {
            AcceptAction::Shed => log::Level::Debug,
            _ => log::Level::Warn,
        };
        log::log!(
            level,
            "server socket {}: {action:?}, accept failed: {error}",
            self.id
        );
        if action == AcceptAction::GoOn {
            return Poll::Ready(());
        }
        let failure = Failure {
            result_code,
            errno: error.raw_os_error(),
            class,
            action,
            attempt: self.errors.attempt,
            next_try: None,
        };
        self.act(failure, action, cx);
        if action == AcceptAction::Escalate {
            self.escalate(failure);
            // Its answer is looked for in the next turn.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(())
    }

    /// Does this about an accept error, and tells it.
    pub(in crate::tcp_server) fn act(
        &mut self,
        failure: Failure,
        action: AcceptAction,
        cx: &mut TaskContext<'_>,
    ) {
        let result_code = failure.result_code;
        let (after, next_try) = match action {
            AcceptAction::Pause | AcceptAction::Escalate => (AfterError::Paused(result_code), None),
            AcceptAction::BackOff { first, last } => {
                let delay = back_off(first, last, failure.attempt);
                let over = Box::pin(sleep(delay));
                let error = result_code;
                (AfterError::BackingOff { error, over }, Some(delay))
            }
            AcceptAction::Shed | AcceptAction::GoOn => (AfterError::None, Some(Duration::ZERO)),
            AcceptAction::Close => {
                let paused_by = Some(result_code);
                (AfterError::Closing { paused_by }, None)
            }
        };
        self.errors.set_after(after);
        self.errors.event_queue.push(Failure {
            action,
            next_try,
            ..failure
        });
        if !self.app_shards.activity.is_suspended() {
            self.tell_accept_errors(cx);
        }
    }

    /// Tells what may be told now, and closes the socket if that was awaited.
    pub(in crate::tcp_server) fn tell_accept_errors(&mut self, cx: &mut TaskContext<'_>) {
        let socket_id = self.id;
        let listeners = &self.app_listeners.on_accept_error;
        if self.errors.has_untold() && self.app_shards.activity.needs_reload(listeners) {
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
            self.end();
        }
    }
}
