//! A server socket's part in a drain.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::prelude::*;

use crate::answer::Answer;
use crate::connections::{ConnectionCounter, DrainGuard};
use crate::draining::MAX_NEVER_ACCEPTED;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::tls::handshakes::AbortedHandshakes;

/// Stops listening. `listen` fails until this drain is over.
#[derive(Clone, Message)]
#[rtype(result = "Option<Stopped>")]
pub(crate) struct StopListening;

pub(crate) struct Stopped {
    /// How many connections of the backlog were closed.
    pub(crate) never_accepted: usize,
    pub(crate) draining: DrainGuard,
    /// Resolves when no handshake is running.
    pub(crate) handshakes_done: Answer<()>,
}

/// The deadline of a drain: aborts handshakes, and closes connections whose
/// handshake is finished and that no listener has heard of.
#[derive(Clone, Message)]
#[rtype(result = "AbortedHandshakes")]
pub(crate) struct AbortHandshakes;

impl ServerSocket {
    pub(super) fn counter(&self) -> &Arc<ConnectionCounter> {
        self.admission.counter()
    }

    /// Resolves when every accepted connection has finished its handshake and has
    /// become a client, or has failed.
    pub(super) fn handshakes_done(&mut self) -> Answer<()> {
        let (done, reply) = Answer::pair();
        match &mut self.handshakes {
            Some(handshakes) => handshakes.reply_when_idle(reply),
            None => reply.send(Ok(())),
        }
        done
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
            && let Poll::Ready(Ok(_)) = match bound.last_arbiter {
                None => bound.listener.poll_accept(&mut cx),
                // A shared port: its listeners belong to other threads.
                Some(_) => bound.listener.poll_accept_unregistered(&mut cx),
            }
        {
            count += 1;
        }
        count
    }
}

impl Handler<StopListening> for ServerSocket {
    type Result = MessageResult<StopListening>;

    fn handle(&mut self, _: StopListening, _: &mut Self::Context) -> Self::Result {
        if self.is_closed {
            return MessageResult(None);
        }
        MessageResult(Some(Stopped {
            never_accepted: self.close_backlog(),
            draining: DrainGuard::new(self.counter().clone()),
            handshakes_done: self.handshakes_done(),
        }))
    }
}

impl Handler<AbortHandshakes> for ServerSocket {
    type Result = MessageResult<AbortHandshakes>;

    fn handle(&mut self, _: AbortHandshakes, _: &mut Self::Context) -> Self::Result {
        let handshakes = self.handshakes.as_mut();
        MessageResult(handshakes.map_or_else(Default::default, |it| it.abort_all()))
    }
}
