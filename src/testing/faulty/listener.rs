//! A listener whose accepts fail.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::testing::faulty::errno::Errno;
use crate::testing::faulty::os_error;
use crate::testing::faulty::plan::{Effect, Plan};
use crate::testing::faulty::rule::{Call, Operation};
use crate::testing::faulty::stream::{FaultyStream, Turn};
use crate::testing::faulty::{Listener, Stream};

pub(super) struct FaultyListener {
    inner: Box<dyn Listener>,
    plan: Arc<Plan>,
    call: Call,
    turn: Turn,
    /// The next connection goes the way of one that was aborted.
    aborts: bool,
}

impl FaultyListener {
    pub(super) fn new(inner: Box<dyn Listener>, plan: Arc<Plan>) -> Self {
        let call = Call {
            operation: Operation::Accept,
            listener: inner.local_addr().ok(),
            peer: None,
        };
        FaultyListener {
            inner,
            plan,
            call,
            turn: Turn::default(),
            aborts: false,
        }
    }

    fn accept(
        &mut self,
        cx: &mut Context<'_>,
        loose: bool,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        match ready!(self.turn.poll_effect(cx, &self.plan, &self.call)) {
            Some(Effect::Error(Errno::ECONNABORTED)) => self.aborts = true,
            Some(Effect::Error(errno)) => return Poll::Ready(Err(os_error(errno))),
            _ => {}
        }
        let accepted = match loose {
            true => self.inner.poll_accept_loose(cx),
            false => self.inner.poll_accept(cx),
        };
        let (stream, peer) = ready!(accepted)?;
        if self.aborts {
            self.aborts = false;
            stream.reset();
            return Poll::Ready(Err(os_error(Errno::ECONNABORTED)));
        }
        let stream = FaultyStream::new(stream, self.plan.clone(), self.call.listener, Some(peer));
        Poll::Ready(Ok((Box::new(stream), peer)))
    }
}

impl Listener for FaultyListener {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let accepted = ready!(self.accept(cx, false));
        self.turn = Turn::default();
        Poll::Ready(accepted)
    }

    fn poll_accept_loose(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let accepted = ready!(self.accept(cx, true));
        self.turn = Turn::default();
        Poll::Ready(accepted)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn backlog(&self) -> Option<u32> {
        self.inner.backlog()
    }

    fn reregister(&mut self) -> io::Result<()> {
        self.turn = Turn::default();
        self.inner.reregister()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner.duplicate()
    }
}
