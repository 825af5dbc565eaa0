//! A server socket that nobody new is to come to.

use crate::tcp_server::tls::handshakes::EndedHandshakes;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::prelude::*;

use super::actor::ServerSocket;
use crate::answer::Answer;
use crate::connections::{ConnectionCounter, DrainGuard};
use crate::draining::MAX_NEVER_ACCEPTED;

/// Stops listening, and lets nobody listen while this drain goes on.
#[derive(Clone, Message)]
#[rtype(result = "Option<Stopped>")]
pub(crate) struct StopListening;

pub(crate) struct Stopped {
    pub(crate) never_accepted: usize,
    pub(crate) draining: DrainGuard,
    /// When no handshake goes on any more.
    pub(crate) settled: Answer<()>,
}

/// The deadline: ends the handshakes that go on, and what came of those that
/// are done.
#[derive(Clone, Message)]
#[rtype(result = "EndedHandshakes")]
pub(crate) struct EndHandshakes;

impl ServerSocket {
    pub(super) fn counter(&self) -> &Arc<ConnectionCounter> {
        self.admission.counter()
    }

    /// Closes what waits in the backlog, and says how many that were.
    fn close_backlog(&mut self) -> usize {
        let Some(mut bound) = self.listener.take() else {
            return 0;
        };
        let mut cx = TaskContext::from_waker(Waker::noop());
        let mut count = 0;
        // An error of a single connection is one that has gone by itself; any
        // other leaves the rest to the OS.
        while count < MAX_NEVER_ACCEPTED
            && let Poll::Ready(Ok(_)) = match bound.accepted_in {
                None => bound.listener.poll_accept(&mut cx),
                // Those of other threads too, whatever those know of.
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
        if self.ended {
            return MessageResult(None);
        }
        let (settled, reply) = Answer::pair();
        match &mut self.handshakes {
            Some(handshakes) => handshakes.when_settled(reply),
            None => reply.send(Ok(())),
        }
        MessageResult(Some(Stopped {
            never_accepted: self.close_backlog(),
            draining: DrainGuard::new(self.counter().clone()),
            settled,
        }))
    }
}

impl Handler<EndHandshakes> for ServerSocket {
    type Result = MessageResult<EndHandshakes>;

    fn handle(&mut self, _: EndHandshakes, _: &mut Self::Context) -> Self::Result {
        let handshakes = self.handshakes.as_mut();
        MessageResult(handshakes.map_or_else(Default::default, |it| it.abort_all()))
    }
}
