//! A stream whose reads and writes fail by rules.

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::address::{Address, PeerCredentials};
use crate::os::{PollerHandle, Readiness, Stream, Token};
use crate::testing::faulty::errno::Errno;
use crate::testing::faulty::rule::{CallSite, Fault, Operation};
use crate::testing::faulty::rule_set::{Effect, RuleCursor, RuleSet};

/// A call that has not returned yet.
#[derive(Default)]
pub(super) struct PendingCall {
    cursor: RuleCursor,
    stalled: Option<BoxFuture<'static, ()>>,
}

impl PendingCall {
    /// The fault that a rule injects into the call, after its stalls. Later polls of the same call find
    /// only rules that were injected since.
    pub(super) fn poll_fault(
        &mut self,
        cx: &mut Context<'_>,
        rules: &RuleSet,
        site: &CallSite,
    ) -> Poll<Option<Fault>> {
        loop {
            if let Some(stalled) = &mut self.stalled {
                ready!(stalled.poll_unpin(cx));
                self.stalled = None;
            }
            match rules.evaluate(site, &mut self.cursor) {
                Some(Effect::Stall(released)) => self.stalled = Some(released),
                Some(Effect::Fail(fault)) => return Poll::Ready(Some(fault)),
                None => return Poll::Ready(None),
            }
        }
    }
}

pub(super) struct FaultyStream {
    /// `None` after a reset.
    inner: Option<Box<dyn Stream>>,
    /// The local address of a stream that was reset.
    local: Option<Address>,
    rules: Arc<RuleSet>,
    reading: Half,
    writing: Half,
}

/// One direction.
struct Half {
    site: CallSite,
    pending: PendingCall,
    /// The most bytes that the pending call may transfer.
    max_bytes: usize,
    broken: Option<Broken>,
    /// The task to wake if a fault of the other direction breaks this one.
    waker: Option<Waker>,
}

/// What every later call returns.
#[derive(Clone, Copy)]
enum Broken {
    Error(Errno),
    End,
}

/// What fails after an error, besides the call itself.
#[derive(PartialEq, Eq)]
enum ErrorScope {
    Call,
    Direction,
    Connection,
}

impl ErrorScope {
    fn of(errno: Errno, operation: Operation) -> Self {
        match errno {
            // Data that came before the peer stopped reading is still read.
            Errno::EPIPE if operation == Operation::Write => ErrorScope::Direction,
            Errno::EPIPE
            | Errno::ECONNRESET
            | Errno::ECONNABORTED
            | Errno::ECONNREFUSED
            | Errno::ETIMEDOUT
            | Errno::EPROTO
            | Errno::ENETRESET
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::EBADF
            | Errno::ENOTSOCK
            | Errno::ENOTCONN => ErrorScope::Connection,
            _ => ErrorScope::Call,
        }
    }
}

impl Half {
    fn new(site: CallSite) -> Self {
        Half {
            site,
            pending: PendingCall::default(),
            max_bytes: usize::MAX,
            broken: None,
            waker: None,
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }

    /// The pending call has returned.
    fn finish_call(&mut self) {
        self.pending = PendingCall::default();
        self.max_bytes = usize::MAX;
    }

    fn break_with(&mut self, broken: Broken) {
        // The first fault decides what later calls return.
        self.broken.get_or_insert(broken);
        self.pending = PendingCall::default();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self.broken, Some(Broken::Error(_)))
    }
}

impl FaultyStream {
    pub(super) fn new(
        inner: Box<dyn Stream>,
        rules: Arc<RuleSet>,
        listener: Option<SocketAddr>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let half = |operation| {
            Half::new(CallSite {
                operation,
                listener,
                peer,
            })
        };
        FaultyStream {
            inner: Some(inner),
            local: None,
            rules,
            reading: half(Operation::Read),
            writing: half(Operation::Write),
        }
    }

    /// One read or write, from its first poll to its result. `work` calls the wrapped stream
    /// with at most the given number of bytes.
    fn transfer(
        &mut self,
        cx: &mut Context<'_>,
        operation: Operation,
        work: impl FnOnce(&mut dyn Stream, &mut Context<'_>, usize) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let half = match operation {
            Operation::Read => &mut self.reading,
            _ => &mut self.writing,
        };
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(Errno::ECONNRESET.into()));
        };
        match half.broken {
            Some(Broken::Error(errno)) => return Poll::Ready(Err(errno.into())),
            Some(Broken::End) => return Poll::Ready(Ok(0)),
            None => {}
        }
        let result = match half.pending.poll_fault(cx, &self.rules, &half.site) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Fault::Error(errno))) => return self.fail(errno, operation),
            Poll::Ready(Some(Fault::Reset)) => return self.reset_now(),
            Poll::Ready(Some(Fault::End)) => {
                half.break_with(Broken::End);
                return Poll::Ready(Ok(0));
            }
            Poll::Ready(fault) => {
                if let Some(Fault::Short(bytes)) = fault {
                    half.max_bytes = bytes.get();
                }
                work(&mut **inner, cx, half.max_bytes)
            }
        };
        match result {
            Poll::Pending => half.register(cx),
            Poll::Ready(_) => half.finish_call(),
        }
        result
    }

    fn fail(&mut self, errno: Errno, operation: Operation) -> Poll<io::Result<usize>> {
        let (own, other) = match operation {
            Operation::Read => (&mut self.reading, &mut self.writing),
            _ => (&mut self.writing, &mut self.reading),
        };
        own.finish_call();
        let scope = ErrorScope::of(errno, operation);
        if scope != ErrorScope::Call {
            // This may wake the calling task once more, which is harmless.
            own.break_with(Broken::Error(errno));
        }
        if scope == ErrorScope::Connection {
            other.break_with(Broken::Error(errno));
        }
        Poll::Ready(Err(errno.into()))
    }

    fn reset_now(&mut self) -> Poll<io::Result<usize>> {
        if let Some(inner) = self.inner.take() {
            self.local = inner.local_addr().ok();
            inner.reset();
        }
        self.reading.break_with(Broken::Error(Errno::ECONNRESET));
        self.writing.break_with(Broken::Error(Errno::ECONNRESET));
        Poll::Ready(Err(Errno::ECONNRESET.into()))
    }

    fn inner(&self) -> io::Result<&dyn Stream> {
        let inner = self.inner.as_deref();
        inner.ok_or_else(|| Errno::ECONNRESET.into())
    }
}

impl Stream for FaultyStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.transfer(cx, Operation::Read, |inner, cx, max| {
            let size = max.min(buffer.len());
            inner.poll_read(cx, &mut buffer[..size])
        })
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.reading.broken {
            Some(Broken::Error(errno)) => return Poll::Ready(Err(errno.into())),
            Some(Broken::End) => return Poll::Ready(Ok(false)),
            None => {}
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(Errno::ECONNRESET.into()));
        };
        let peeked = inner.poll_peek(cx);
        if peeked.is_pending() {
            self.reading.register(cx);
        }
        peeked
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reading.has_failed() && self.writing.has_failed() {
            return Poll::Ready(());
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(());
        };
        let error = inner.poll_error_ready(cx);
        if error.is_pending() {
            self.reading.register(cx);
        }
        error
    }

    fn register(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.register();
        }
    }

    fn attach(&mut self, poller: &PollerHandle, token: Token) {
        if let Some(inner) = &mut self.inner {
            inner.attach(poller, token);
        }
    }

    fn change_token(&mut self, token: Token) {
        if let Some(inner) = &mut self.inner {
            inner.change_token(token);
        }
    }

    fn detach(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.detach();
        }
    }

    fn add_readiness(&mut self, token: Token, readiness: Readiness) -> bool {
        let inner = self.inner.as_mut();
        inner.is_some_and(|inner| inner.add_readiness(token, readiness))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.transfer(cx, Operation::Write, |inner, cx, max| {
            let mut left = max;
            let mut parts = Vec::with_capacity(data.len());
            for slice in data {
                let part = left.min(slice.len());
                parts.push(IoSlice::new(&slice[..part]));
                left -= part;
                if left == 0 {
                    break;
                }
            }
            inner.poll_write(cx, &parts)
        })
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (&mut self.inner, self.writing.broken) {
            (Some(_), Some(Broken::Error(errno))) => Poll::Ready(Err(errno.into())),
            (Some(inner), _) => inner.poll_shutdown(cx),
            (None, _) => Poll::Ready(Err(Errno::ENOTCONN.into())),
        }
    }

    fn reached_eof(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.reached_eof())
    }

    fn unacknowledged(&self) -> Option<usize> {
        self.inner.as_ref()?.unacknowledged()
    }

    fn local_addr(&self) -> io::Result<Address> {
        match &self.inner {
            Some(inner) => inner.local_addr(),
            None => self.local.clone().ok_or_else(|| Errno::ENOTCONN.into()),
        }
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.inner.as_ref()?.peer_credentials()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner()?.set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.inner()?.set_keepalive(after)
    }

    fn set_user_timeout(&self, milliseconds: u32) -> io::Result<()> {
        self.inner()?.set_user_timeout(milliseconds)
    }

    fn reregister(&mut self) -> io::Result<()> {
        // A stall uses the clock of the old runtime.
        self.reading.pending = PendingCall::default();
        self.writing.pending = PendingCall::default();
        match &mut self.inner {
            Some(inner) => inner.reregister(),
            None => Ok(()),
        }
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner()?.duplicate()
    }

    fn set_reset_on_drop(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.set_reset_on_drop();
        }
    }
}
