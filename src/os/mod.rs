//! The only door to the operating system, and every call through it can fail.
//!
//! [`Network`] opens sockets, a [`Listener`] accepts, a [`Stream`] reads and
//! writes. The real ones ([`TokioNetwork`]) are socket2 and tokio; with the
//! `testing` feature there are scripted ones, which answer as a test says, and
//! faulty ones, which have any of these fail by rules.

mod denying;
pub(crate) mod fd_passing;
mod net;

pub use crate::os::net::TokioNetwork;
#[cfg(feature = "testing")]
pub(crate) use crate::os::net::peer_of;
pub(crate) use denying::{DeniedAddresses, DenyingNetwork};

use std::future::Future;
use std::io;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::unconstrained;

/// When an idle connection is probed first, and how often then, unless its app
/// has set something else: Chromium's value.
const KEEP_ALIVE: Duration = Duration::from_secs(45);

/// Opens sockets, or takes over those of another process. Its methods are called inside a tokio runtime.
pub trait Network: Send + Sync + 'static {
    /// Binds and listens.
    ///
    /// # Errors
    /// What `socket`, `bind` and `listen` say.
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>>;

    /// As [`listen`](Self::listen), and others that are made so may listen on the
    /// same address beside it: each connection comes to one of them
    /// (`SO_REUSEPORT`). Polled first after [`reregister`](Listener::reregister).
    ///
    /// # Errors
    /// `Unsupported` where there is no such thing; what `socket`, `bind` and
    /// `listen` say.
    fn listen_shared(&self, _address: SocketAddr, _backlog: u32) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The addresses of a host name, best first. Must not block the thread.
    ///
    /// # Errors
    /// Whatever keeps the name from being resolved.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;

    /// As [`resolve`](Self::resolve), and drops `place` when the look-up takes
    /// nothing of the OS any more. A network whose look-ups go on when their
    /// future is dropped keeps it until they have ended.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn resolve_in(
        &self,
        host: &str,
        place: Box<dyn Send>,
    ) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let resolved = self.resolve(host);
        async move {
            let _place = place;
            resolved.await
        }
        .boxed()
    }

    /// Connects. Dropping the future gives the attempt up.
    ///
    /// # Errors
    /// What `socket` and `connect` say.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;

    /// Takes over a listening socket that another process has opened.
    ///
    /// # Errors
    /// `Unsupported` where there is no such thing, `InvalidInput` if the
    /// descriptor is something else.
    fn adopt_listener(&self, _listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        Err(unsupported())
    }

    /// Takes over a connection that another process has opened.
    ///
    /// # Errors
    /// `Unsupported` where there is no such thing, `InvalidInput` if the
    /// descriptor is something else.
    fn adopt_stream(&self, _stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        Err(unsupported())
    }

    /// One of the crate's own actors begins to work. A network that injects
    /// faults may panic here, or answer `true`: the actor stops.
    #[cfg(feature = "testing")]
    fn checkpoint(&self, _actor: Checkpoint) -> bool {
        false
    }
}

/// Where one of the crate's own actors begins to work
/// ([`Network::checkpoint`]).
#[cfg(feature = "testing")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Checkpoint {
    /// The registry, on a message.
    Registry,
    /// A server socket, on a turn of its accept loop.
    ServerSocket,
    /// The actor of all client sockets, on a call or a socket that is ready.
    ClientSockets,
}

/// A listening socket: dropping it frees the port.
pub trait Listener: Send {
    /// The next connection that waits, and its peer's address. On `Pending`
    /// the waker is called when there may be one.
    ///
    /// # Errors
    /// What `accept` says; the listener may be polled again.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// As [`poll_accept`](Self::poll_accept), for a stream that another thread is
    /// going to have: where that matters it belongs to no runtime before it is
    /// polled first. Its [`reregister`](Stream::reregister) is called in that thread.
    ///
    /// # Errors
    /// As [`poll_accept`](Self::poll_accept).
    fn poll_accept_loose(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        self.poll_accept(cx)
    }

    /// The address it is bound to, the port that the OS chose included.
    ///
    /// # Errors
    /// What `getsockname` says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Accepts the next connection that waits and closes it at once, and needs
    /// no free descriptor for that if there is one in reserve.
    ///
    /// # Errors
    /// As [`poll_accept`](Self::poll_accept).
    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.poll_accept(cx).map_ok(|(_, peer)| peer)
    }

    /// Holds a descriptor in reserve from now on, for `poll_shed`, or does not.
    ///
    /// # Errors
    /// There is none left.
    fn set_reserve(&mut self, _reserve: bool) -> io::Result<()> {
        Ok(())
    }

    /// How many connections wait to be accepted, where that can be told.
    fn backlog(&self) -> Option<u32> {
        None
    }

    /// It is polled by another runtime from now on: the one that polled it so
    /// far has ended.
    ///
    /// # Errors
    /// It cannot be; it is of no use any more.
    fn reregister(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A second descriptor of the same socket, for another process: the port
    /// stays open, and its backlog waits, until both are closed.
    ///
    /// # Errors
    /// `Unsupported` where there is no such thing; what `dup` says.
    fn duplicate(&self) -> io::Result<OwnedFd> {
        Err(unsupported())
    }
}

/// A connection: dropping it closes it.
pub trait Stream: Send {
    /// Reads what is there; 0 bytes mean that the peer has ended its side.
    ///
    /// # Errors
    /// What `read` says.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Whether there is data to read (`true`), or nothing but the end; takes
    /// nothing of it.
    ///
    /// # Errors
    /// What `read` would say, and may not say again.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>;

    /// Ready when the OS has reported that the connection is gone both ways:
    /// its peer has reset it, or has vanished. What came before that may still
    /// be unread. An ordinary end is none, and never ready where there is no
    /// such report. Reading ends the wait: ask again after it.
    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Writes as much of the slices as the OS takes.
    ///
    /// # Errors
    /// What `write` says.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;

    /// Ends the writing side: the peer reads all that was written, and then the
    /// end. Reading goes on. Calling it again is harmless.
    ///
    /// # Errors
    /// What `shutdown` says; `Unsupported`, by default, where there is no such
    /// thing. Dropping the stream is what is left then.
    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Reads input that nobody wants, as it comes from the network: of an
    /// encrypted stream the bytes below. 0 bytes mean that the peer has ended
    /// its side. Nothing is read in another way afterwards.
    ///
    /// # Errors
    /// What `read` says.
    fn poll_discard(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read(cx, buffer)
    }

    /// Whether a read has met the peer's end. Then no input is left that would
    /// make closing a reset. `false` where that is not known.
    fn has_ended(&self) -> bool {
        false
    }

    /// How many written bytes the peer's system has not acknowledged, the end
    /// of the writing side included, which counts as one. `None` where the OS
    /// does not tell.
    fn unacknowledged(&self) -> Option<usize> {
        None
    }

    /// What writes to it from any thread, if there is such a way. It is used
    /// while nothing waits to be written, and never while `poll_write` runs.
    fn writer(&self) -> Option<Arc<dyn Writer>> {
        None
    }

    /// This end's address.
    ///
    /// # Errors
    /// What `getsockname` says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Turns Nagle's algorithm off (`true`) or on.
    ///
    /// # Errors
    /// What `setsockopt` says.
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;

    /// Probes an idle connection after this time, and again in such intervals
    /// (whole seconds; 0 leaves both as they are), or never.
    ///
    /// # Errors
    /// What `setsockopt` says.
    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()>;

    /// Closes it by a reset: its peer learns that it is broken, and what it has
    /// not acknowledged is dropped. As a drop, where there is no such thing.
    fn reset(mut self: Box<Self>) {
        self.reset_when_dropped();
    }

    /// It is polled by another runtime from now on: the one that polled it so
    /// far has ended, or polls it no more.
    ///
    /// # Errors
    /// It cannot be; it is of no use any more.
    fn reregister(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A second descriptor of the same connection, for another process.
    ///
    /// # Errors
    /// `Unsupported` where the descriptor is not the whole connection, as
    /// with TLS; what `dup` says.
    fn duplicate(&self) -> io::Result<OwnedFd> {
        Err(unsupported())
    }

    /// Dropping it resets the connection from now on: its peer learns that it
    /// is broken, not that it ended, and what was not sent is not. A network
    /// that cannot do this closes.
    fn reset_when_dropped(&mut self) {}
}

/// The shared end of a [`Stream`]: a send that nothing waits before is written
/// where it is called, in its caller's thread.
pub trait Writer: Send + Sync {
    /// Writes as much as the OS takes at once.
    ///
    /// # Errors
    /// `WouldBlock` if that is nothing; else what `write` says, and it will
    /// not be asked again.
    fn try_write(&self, data: &[u8]) -> io::Result<usize>;
}

/// How much unread input [`end_now`] discards at most: reads, and bytes of one.
const DISCARDS: usize = 4;
const DISCARD: usize = 4096;

/// Ends a connection and waits for nothing. The peer finds the end, not a
/// reset: the writing side is shut first, and input that has come is discarded.
/// For connections on which nothing was sent that could be lost. `false`: there
/// is more input, which makes a close a reset.
pub(crate) fn end_now(stream: &mut dyn Stream) -> bool {
    if stream.has_ended() {
        return true;
    }
    let end = unconstrained(std::future::poll_fn(|cx| {
        let _ = stream.poll_shutdown(cx);
        let mut discarded = [0; DISCARD];
        let mut reads = (0..DISCARDS).map(|_| stream.poll_discard(cx, &mut discarded));
        let is_read = |read| !matches!(read, Poll::Ready(Ok(1..)));
        Poll::Ready(reads.any(is_read))
    }));
    let mut cx = Context::from_waker(Waker::noop());
    pin!(end).poll(&mut cx) == Poll::Ready(true)
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this network's sockets cannot leave the process",
    )
}

/// Makes `Pending` of an answer that is no failure: a signal interrupted the call, or it found nothing
/// where something was announced. The task is woken to make the call again, after the others.
pub fn retry_if_spurious<T>(
    answer: Poll<io::Result<T>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    use io::ErrorKind::{Interrupted, WouldBlock};
    match answer {
        Poll::Ready(Err(error)) if matches!(error.kind(), Interrupted | WouldBlock) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        answer => answer,
    }
}
