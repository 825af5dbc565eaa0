//! Accept errors: what is done about them, and who is told.

use crate::tcp_server::accept::failure::Failure;
use crate::tcp_server::accept::failure::Unreported;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::Context as TaskContext;
use std::time::Duration;

use actix_rt::time::Sleep;

use crate::events::redelivery::EventQueue;
use crate::net_error::{self, AcceptErrorClass, NetError};
use crate::tcp_server::accept::escalation::PendingDecision;
use crate::tcp_server::{AcceptAction, AcceptPolicy};

#[derive(Default)]
pub(in crate::tcp_server) struct AcceptErrors {
    pub(in crate::tcp_server) policy: AcceptPolicy,
    /// How many there were since a connection was accepted.
    pub(in crate::tcp_server) attempt: u32,
    pub(in crate::tcp_server) after: AfterError,
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
    pub(in crate::tcp_server) fn accepted_one(&mut self) {
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

    /// The last one that was not told.
    pub(in crate::tcp_server) fn unreported(&self) -> Option<Unreported> {
        self.event_queue.last().map(|failure| Unreported {
            result_code: failure.result_code,
            errno: failure.errno,
        })
    }

    /// Another process has met it and not told.
    pub(in crate::tcp_server) fn inherit(&mut self, unheard: Unreported) {
        let Unreported { result_code, errno } = unheard;
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

    /// A connection was accepted, and could not be kept.
    pub(in crate::tcp_server) fn connection_lost(&mut self) {
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
