//! A listener whose accepts fail by rules.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::address::Address;
use crate::os::{Accepted, Listener, SocketFile};
use crate::testing::faulty::errno::Errno;
use crate::testing::faulty::rule::{CallSite, Fault, Operation};
use crate::testing::faulty::rule_set::RuleSet;
use crate::testing::faulty::stream::{FaultyStream, PendingCall};

pub(super) struct FaultyListener {
    inner: Box<dyn Listener>,
    rules: Arc<RuleSet>,
    site: CallSite,
    pending: PendingCall,
    /// The next connection is reset, and its accept fails with `ECONNABORTED`.
    aborts: bool,
}

impl FaultyListener {
    pub(super) fn new(inner: Box<dyn Listener>, rules: Arc<RuleSet>) -> Self {
        let site = CallSite {
            listener: inner.local_addr().ok().and_then(|at| at.socket_addr()),
            ..Operation::Accept.into()
        };
        FaultyListener {
            inner,
            rules,
            site,
            pending: PendingCall::default(),
            aborts: false,
        }
    }

    /// One accept, from its first poll to its result; `poll` asks the wrapped listener.
    fn poll_accept_by(
        &mut self,
        cx: &mut Context<'_>,
        poll: PollAccept,
    ) -> Poll<io::Result<Accepted>> {
        match ready!(self.pending.poll_fault(cx, &self.rules, &self.site)) {
            // As in the kernel, the error comes with a client, so it waits for the next one.
            Some(Fault::Error(Errno::ECONNABORTED)) => self.aborts = true,
            Some(Fault::Error(errno)) => {
                self.pending = PendingCall::default();
                return Poll::Ready(Err(errno.into()));
            }
            _ => {}
        }
        let accepted = ready!(poll(&mut *self.inner, cx));
        self.pending = PendingCall::default();
        let (stream, peer) = accepted?;
        if std::mem::take(&mut self.aborts) {
            stream.reset();
            return Poll::Ready(Err(Errno::ECONNABORTED.into()));
        }
        let stream = FaultyStream::new(
            stream,
            self.rules.clone(),
            self.site.listener,
            peer.socket_addr(),
        );
        Poll::Ready(Ok((Box::new(stream), peer)))
    }
}

/// [`Listener::poll_accept`] or [`Listener::poll_accept_here`].
type PollAccept = fn(&mut dyn Listener, &mut Context<'_>) -> Poll<io::Result<Accepted>>;

impl Listener for FaultyListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.poll_accept_by(cx, |inner, cx| inner.poll_accept(cx))
    }

    fn poll_accept_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.poll_accept_by(cx, |inner, cx| inner.poll_accept_here(cx))
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.inner.local_addr()
    }

    fn socket_file(&self) -> Option<SocketFile> {
        self.inner.socket_file()
    }

    fn set_socket_file(&mut self, file: Option<SocketFile>) {
        self.inner.set_socket_file(file);
    }

    fn backlog(&self) -> Option<u32> {
        self.inner.backlog()
    }

    fn reregister(&mut self) -> io::Result<()> {
        // A stall uses the clock of the old runtime.
        self.pending = PendingCall::default();
        self.inner.reregister()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner.duplicate()
    }
}
