//! A server socket's part in a drain.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::prelude::*;

use crate::answer::Answer;
use crate::connections::{ConnectionCounter, DrainGuard};
use crate::draining::MAX_NEVER_ACCEPTED;
use crate::tcp_server::accept::setup_tasks::AbortedSetups;
use crate::tcp_server::actor::{HandleAlone, ServerSocket};

/// Stops listening. `listen` fails until this drain is over.
#[derive(Clone, Message)]
#[rtype(result = "Option<Stopped>")]
pub(crate) struct StopListening;

pub(crate) struct Stopped {
    /// How many connections of the backlog were closed.
    pub(crate) never_accepted: usize,
    pub(crate) draining: DrainGuard,
    /// Resolves when every accepted connection has become a client, or has failed.
    pub(crate) setups_done: Answer<()>,
}

/// The deadline of a drain: closes connections that wait for their PROXY header or
/// handshake, or had it and are no clients yet.
#[derive(Clone, Message)]
#[rtype(result = "AbortedSetups")]
pub(crate) struct AbortSetups;

impl ServerSocket {
    pub(super) fn counter(&self) -> &Arc<ConnectionCounter> {
        self.admission.counter()
    }

    /// Closes the listener and the connections in its backlog. Returns how many
    /// there were.
    fn close_backlog(&mut self) -> usize {
        let Some(mut bound) = self.listener.take() else {
            return 0;
        };
        let mut cx = TaskContext::from_waker(Waker::noop());
        let mut count = 0;
        // An error ends this: the OS closes the rest of the backlog with the
        // listener.
        while count < MAX_NEVER_ACCEPTED
            && let Poll::Ready(Ok(_)) = bound.listener.poll_accept_here(&mut cx)
        {
            count += 1;
        }
        count
    }
}

impl HandleAlone<StopListening> for ServerSocket {
    type Result = MessageResult<StopListening>;

    fn handle_alone(&mut self, _: StopListening, _: &mut Context<Self>) -> Self::Result {
        if self.is_closed {
            return MessageResult(None);
        }
        MessageResult(Some(Stopped {
            never_accepted: self.close_backlog(),
            draining: DrainGuard::new(self.counter().clone()),
            setups_done: self.setups_done(),
        }))
    }
}

impl HandleAlone<AbortSetups> for ServerSocket {
    type Result = MessageResult<AbortSetups>;

    fn handle_alone(&mut self, _: AbortSetups, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.abort_setups())
    }
}
