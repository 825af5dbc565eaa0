//! The state of a server socket since its last accept error, and the `onAcceptError` events.

use std::io;
use std::pin::Pin;
use std::task::Context as TaskContext;
use std::time::Duration;

use actix_rt::time::Sleep;

use crate::events::redelivery::EventQueue;
use crate::net_error::{self, AcceptErrorClass, NetError};
use crate::tcp_server::accept::escalation::PendingDecision;
use crate::tcp_server::accept::failure::Failure;
use crate::tcp_server::{AcceptAction, AcceptPolicy};

#[derive(Default)]
pub(in crate::tcp_server) struct AcceptErrors {
    /// Boxed, as what else few server sockets have: a process may have thousands of them.
    policy: Option<Box<AcceptPolicy>>,
    /// How many errors there were since the last accepted connection.
    pub(in crate::tcp_server) attempt: u32,
    pub(in crate::tcp_server) after: AfterError,
    /// It closes once the error is reported. Nothing that happens meanwhile keeps it from closing.
    pub(in crate::tcp_server) is_closing: bool,
    /// `onAcceptError` events.
    pub(in crate::tcp_server) event_queue: EventQueue<Failure>,
}

/// What a server socket does since its last accept error.
#[derive(Default)]
pub(in crate::tcp_server) enum AfterError {
    /// It accepts.
    #[default]
    None,
    BackingOff {
        error: NetError,
        delay: Pin<Box<Sleep>>,
    },
    /// Paused until `setPaused(false)`.
    Paused(NetError),
    /// Paused until the actor above the app answers, or `setPaused(false)`.
    AwaitingDecision(Box<PendingDecision>),
}

impl AcceptErrors {
    pub(in crate::tcp_server) fn policy(&self) -> AcceptPolicy {
        self.policy.as_deref().copied().unwrap_or_default()
    }

    pub(in crate::tcp_server) fn set_policy(&mut self, policy: AcceptPolicy) {
        self.policy = (policy != AcceptPolicy::default()).then(|| Box::new(policy));
    }

    /// The error after which it backs off.
    pub(in crate::tcp_server) fn backing_off(&self) -> Option<NetError> {
        match &self.after {
            AfterError::BackingOff { error, .. } => Some(*error),
            _ => None,
        }
    }

    /// The error that pauses it.
    pub(in crate::tcp_server) fn paused_by(&self) -> Option<NetError> {
        match &self.after {
            AfterError::None | AfterError::BackingOff { .. } => None,
            AfterError::Paused(error) => Some(*error),
            AfterError::AwaitingDecision(decision) => Some(decision.result_code()),
        }
    }

    /// Has the next turn accept again.
    pub(in crate::tcp_server) fn end_back_off(&mut self) {
        if matches!(self.after, AfterError::BackingOff { .. }) {
            self.after = AfterError::None;
        }
    }

    /// Drops the timers, which belong to a thread that has ended.
    pub(in crate::tcp_server) fn reset_timers(&mut self) {
        self.end_back_off();
        self.event_queue.reset_hold_back();
    }

    /// Whether nothing may be accepted yet. If so, `cx` is woken when it may.
    pub(in crate::tcp_server) fn is_backing_off(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let AfterError::BackingOff { delay, .. } = &mut self.after else {
            return false;
        };
        let is_pending = delay.as_mut().poll(cx).is_pending();
        if !is_pending {
            self.after = AfterError::None;
        }
        is_pending
    }

    /// Queues an error that paused the server socket outside the accept loop: the
    /// previous process did not report it, or the listener was lost.
    pub(in crate::tcp_server) fn push_paused(&mut self, result_code: NetError, errno: Option<i32>) {
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

    /// Queues an error for a connection that was accepted and lost.
    pub(in crate::tcp_server) fn push_connection_lost(&mut self) {
        self.event_queue.push(Failure {
            result_code: NetError::FAILED,
            errno: None,
            class: AcceptErrorClass::Connection,
            action: AcceptAction::Continue,
            attempt: self.attempt,
            next_try: Some(Duration::ZERO),
        });
    }
}
