//! A stream whose reads and writes fail.

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::testing::faulty::Stream;
use crate::testing::faulty::errno::Errno;
use crate::testing::faulty::os_error;
use crate::testing::faulty::plan::{Asked, Effect, Plan};
use crate::testing::faulty::rule::{Call, Operation};

/// An operation that waits.
#[derive(Default)]
pub(super) struct Turn {
    asked: Asked,
    stalled: Option<BoxFuture<'static, ()>>,
}

impl Turn {
    /// What the operation is to do, when it has stalled as long as it should.
    pub(super) fn poll_effect(
        &mut self,
        cx: &mut Context<'_>,
        plan: &Plan,
        call: &Call,
    ) -> Poll<Option<Effect>> {
        loop {
            if let Some(stalled) = &mut self.stalled {
                ready!(stalled.poll_unpin(cx));
                self.stalled = None;
            }
            match plan.ask(call, &mut self.asked) {
                Some(Effect::Stall(released)) => self.stalled = Some(released),
                effect => return Poll::Ready(effect),
            }
        }
    }
}

pub(super) struct FaultyStream {
    /// Gone after a reset.
    inner: Option<Box<dyn Stream>>,
    /// What is known of it then.
    local: Option<SocketAddr>,
    plan: Arc<Plan>,
    reading: Half,
    writing: Half,
}

/// One direction.
struct Half {
    call: Call,
    turn: Turn,
    /// The most bytes of the operation that is going on.
    most: usize,
    broken: Option<Broken>,
    /// Who waits, and is to hear when the other direction breaks both.
    waker: Option<Waker>,
}

/// What every later call answers.
#[derive(Clone, Copy)]
enum Broken {
    Error(Errno),
    End,
}

/// What an error leaves of a connection.
enum Damage {
    /// It was that call's alone.
    None,
    Half,
    Both,
}

impl Damage {
    fn of(errno: Errno, operation: Operation) -> Self {
        match errno {
            // Reads still find what came before the peer stopped reading.
            Errno::EPIPE if operation == Operation::Write => Damage::Half,
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
            | Errno::ENOTCONN => Damage::Both,
            _ => Damage::None,
        }
    }
}

impl Half {
    fn new(call: Call) -> Self {
        Half {
            call,
            turn: Turn::default(),
            most: usize::MAX,
            broken: None,
            waker: None,
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }

    fn break_by(&mut self, broken: Broken) {
        // What broke it first is what it goes on to say.
        self.broken.get_or_insert(broken);
        self.turn = Turn::default();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl FaultyStream {
    pub(super) fn new(
        inner: Box<dyn Stream>,
        plan: Arc<Plan>,
        listener: Option<SocketAddr>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let half = |operation| {
            Half::new(Call {
                operation,
                listener,
                peer,
            })
        };
        FaultyStream {
            inner: Some(inner),
            local: None,
            plan,
            reading: half(Operation::Read),
            writing: half(Operation::Write),
        }
    }

    /// A read or a write, from its first poll to its answer. `work` is what
    /// does it, with no more than so many bytes.
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
            return Poll::Ready(Err(os_error(Errno::ECONNRESET)));
        };
        match half.broken {
            Some(Broken::Error(errno)) => return Poll::Ready(Err(os_error(errno))),
            Some(Broken::End) => return Poll::Ready(Ok(0)),
            None => {}
        }
        let answer = match half.turn.poll_effect(cx, &self.plan, &half.call) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Effect::Error(errno))) => return self.fail(errno, operation),
            Poll::Ready(Some(Effect::Reset)) => return self.reset_now(),
            Poll::Ready(Some(Effect::End)) => {
                half.break_by(Broken::End);
                return Poll::Ready(Ok(0));
            }
            Poll::Ready(effect) => {
                if let Some(Effect::Short(bytes)) = effect {
                    half.most = bytes;
                }
                work(&mut **inner, cx, half.most)
            }
        };
        match answer {
            Poll::Pending => half.wait(cx),
            Poll::Ready(_) => {
                half.turn = Turn::default();
                half.most = usize::MAX;
            }
        }
        answer
    }

    fn fail(&mut self, errno: Errno, operation: Operation) -> Poll<io::Result<usize>> {
        let (own, other) = match operation {
            Operation::Read => (&mut self.reading, &mut self.writing),
            _ => (&mut self.writing, &mut self.reading),
        };
        own.turn = Turn::default();
        own.most = usize::MAX;
        let damage = Damage::of(errno, operation);
        if matches!(damage, Damage::Half | Damage::Both) {
            // Its waker may be the one that is told now: once more is harmless.
            own.break_by(Broken::Error(errno));
        }
        if matches!(damage, Damage::Both) {
            other.break_by(Broken::Error(errno));
        }
        Poll::Ready(Err(os_error(errno)))
    }

    fn reset_now(&mut self) -> Poll<io::Result<usize>> {
        if let Some(mut inner) = self.inner.take() {
            self.local = inner.local_addr().ok();
            inner.reset_when_dropped();
        }
        self.reading.break_by(Broken::Error(Errno::ECONNRESET));
        self.writing.break_by(Broken::Error(Errno::ECONNRESET));
        Poll::Ready(Err(os_error(Errno::ECONNRESET)))
    }

    fn inner(&self) -> io::Result<&dyn Stream> {
        let inner = self.inner.as_deref();
        inner.ok_or_else(|| os_error(Errno::ECONNRESET))
    }
}

impl Stream for FaultyStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.transfer(cx, Operation::Read, |inner, cx, most| {
            let most = most.min(buffer.len());
            inner.poll_read(cx, &mut buffer[..most])
        })
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.reading.broken {
            Some(Broken::Error(errno)) => return Poll::Ready(Err(os_error(errno))),
            Some(Broken::End) => return Poll::Ready(Ok(false)),
            None => {}
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(os_error(Errno::ECONNRESET)));
        };
        let peeked = inner.poll_peek(cx);
        if peeked.is_pending() {
            self.reading.wait(cx);
        }
        peeked
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_broken = |half: &Half| matches!(half.broken, Some(Broken::Error(_)));
        if is_broken(&self.reading) && is_broken(&self.writing) {
            return Poll::Ready(());
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(());
        };
        let gone = inner.poll_gone(cx);
        if gone.is_pending() {
            self.reading.wait(cx);
        }
        gone
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.transfer(cx, Operation::Write, |inner, cx, most| {
            let mut left = most;
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
            (Some(_), Some(Broken::Error(errno))) => Poll::Ready(Err(os_error(errno))),
            (Some(inner), _) => inner.poll_shutdown(cx),
            (None, _) => Poll::Ready(Err(os_error(Errno::ENOTCONN))),
        }
    }

    fn has_ended(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.has_ended())
    }

    fn unacknowledged(&self) -> Option<usize> {
        self.inner.as_ref()?.unacknowledged()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.inner {
            Some(inner) => inner.local_addr(),
            None => self.local.ok_or_else(|| os_error(Errno::ENOTCONN)),
        }
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner()?.set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.inner()?.set_keepalive(after)
    }

    fn reregister(&mut self) -> io::Result<()> {
        // What stalled, stalled by the clock of the old runtime.
        self.reading.turn = Turn::default();
        self.writing.turn = Turn::default();
        match &mut self.inner {
            Some(inner) => inner.reregister(),
            None => Ok(()),
        }
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner()?.duplicate()
    }

    fn reset_when_dropped(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset_when_dropped();
        }
    }
}
