//! A connection of this machine, of TCP or of a Unix socket, however it is watched.
//!
//! The thread that accepts a connection often hands it to another one. So nothing watches the
//! connection before an operation has to wait, in the thread of its arbiter: that saves the first
//! thread system calls.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::io::{IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, Socket as OsSocket};

use crate::address::{Address, PeerCredentials};
use crate::os::net::polled::PolledStream;
use crate::os::net::poller::{PollerHandle, Readiness, Token};
use crate::os::net::stream::{Socket, TokioStream};
use crate::os::{Stream, Writer};

pub(super) enum SocketStream<S: Socket> {
    /// Nothing watches it: no operation has had to wait yet. The socket is non-blocking.
    Unwatched(Unwatched),
    /// Watched by tokio's event loop, of the thread in which an operation had to wait.
    Tokio(TokioStream<S>),
    /// Watched by a poller, or it will be.
    Polled(PolledStream),
    /// It cannot be watched.
    Failed,
}

use SocketStream::{Failed, Polled, Tokio};

pub(super) struct Unwatched {
    socket: OsSocket,
    reached_eof: bool,
    /// Another event loop or process has used it.
    is_adopted: bool,
}

impl Unwatched {
    /// If the connection was reset, the error may have been reported to its former event loop. The
    /// next one will not see it.
    fn has_error(&self) -> bool {
        self.is_adopted && self.socket.peer_addr().is_err()
    }
}

impl<S: Socket> SocketStream<S> {
    pub(super) fn new(socket: OsSocket) -> Self {
        SocketStream::Unwatched(Unwatched {
            socket,
            reached_eof: false,
            is_adopted: false,
        })
    }

    /// A connection that another process has used.
    pub(super) fn adopted(socket: OsSocket) -> Self {
        SocketStream::Unwatched(Unwatched {
            socket,
            reached_eof: false,
            is_adopted: true,
        })
    }

    /// A connection that tokio's event loop watches already.
    pub(super) fn registered(stream: S) -> Self {
        Tokio(TokioStream::new(stream))
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Failed)
    }

    /// The stream for an operation that has to wait, or that tokio's event loop knows more about.
    fn watched_by_tokio(&mut self) -> io::Result<&mut TokioStream<S>> {
        if let SocketStream::Unwatched(_) = self
            && let SocketStream::Unwatched(unwatched) = self.take()
        {
            let Unwatched {
                socket,
                reached_eof,
                is_adopted,
            } = unwatched;
            let socket = S::from_fd(socket.into())?;
            *self = Tokio(match is_adopted {
                true => TokioStream::adopted(socket, reached_eof),
                false => TokioStream::new(socket),
            });
        }
        match self {
            Tokio(stream) => Ok(stream),
            _ => Err(not_connected()),
        }
    }

    /// The result of a call that need not wait. `None` if it has to wait, or if something watches
    /// the stream already.
    fn try_now<T>(&self, call: impl FnOnce(&OsSocket) -> io::Result<T>) -> Option<io::Result<T>> {
        let SocketStream::Unwatched(unwatched) = self else {
            return None;
        };
        let result = call(&unwatched.socket);
        let has_to_wait = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        (!result.as_ref().is_err_and(has_to_wait)).then_some(result)
    }

    #[cold]
    fn read_unwatched(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let has_room = !buffer.is_empty();
        match self.try_now(|mut socket| socket.read(buffer)) {
            Some(read) => {
                if let (Ok(0), true, SocketStream::Unwatched(unwatched)) = (&read, has_room, self) {
                    unwatched.reached_eof = true;
                }
                Poll::Ready(read)
            }
            None => self.watched_by_tokio()?.poll_read(cx, buffer),
        }
    }

    pub(super) fn socket(&self) -> io::Result<SockRef<'_>> {
        match self {
            SocketStream::Unwatched(unwatched) => Ok(SockRef::from(&unwatched.socket)),
            Tokio(stream) => Ok(SockRef::from(stream.socket())),
            Polled(stream) => Ok(SockRef::from(stream.socket())),
            Failed => Err(not_connected()),
        }
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl<S: Socket> Stream for SocketStream<S> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Polled(stream) => stream.poll_read(buffer),
            Tokio(stream) => stream.poll_read(cx, buffer),
            SocketStream::Unwatched(_) | Failed => self.read_unwatched(cx, buffer),
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self {
            Polled(stream) => stream.poll_peek(),
            _ => self.watched_by_tokio()?.poll_peek(cx),
        }
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Polled(stream) = self {
            return stream.poll_error_ready();
        }
        match self.watched_by_tokio() {
            Ok(stream) => stream.poll_error_ready(cx),
            // Every operation fails from now on.
            Err(_) => Poll::Ready(()),
        }
    }

    #[inline]
    fn awaits_input(&self) -> bool {
        match self {
            Polled(stream) => stream.awaits_input(),
            _ => false,
        }
    }

    fn register(&mut self) {
        // If it fails, every operation fails from now on.
        let _ = self.watched_by_tokio();
    }

    fn attach(&mut self, poller: &PollerHandle, token: Token) {
        *self = match self.take() {
            SocketStream::Unwatched(unwatched) => {
                let has_error = unwatched.has_error();
                let Unwatched {
                    socket,
                    reached_eof,
                    ..
                } = unwatched;
                Polled(PolledStream::new(
                    socket,
                    reached_eof,
                    has_error,
                    poller,
                    token,
                ))
            }
            Tokio(stream) => {
                let reached_eof = stream.reached_eof();
                match stream.into_socket() {
                    Ok((Ok(socket), has_error)) => Polled(PolledStream::new(
                        socket.into(),
                        reached_eof,
                        has_error,
                        poller,
                        token,
                    )),
                    Ok((Err(_), _)) => Failed,
                    // A writer is in use.
                    Err(stream) => Tokio(stream),
                }
            }
            other => other,
        };
    }

    fn change_token(&mut self, token: Token) {
        if let Polled(stream) = self {
            stream.change_token(token);
        }
    }

    fn detach(&mut self) {
        if let Polled(_) = self
            && let Polled(stream) = self.take()
        {
            let reached_eof = stream.reached_eof;
            if let Ok(socket) = stream.into_socket() {
                *self = SocketStream::Unwatched(Unwatched {
                    socket,
                    reached_eof,
                    is_adopted: true,
                });
            }
        }
    }

    #[inline]
    fn add_readiness(&mut self, token: Token, readiness: Readiness) -> bool {
        match self {
            Polled(stream) => stream.add_readiness(token, readiness),
            _ => false,
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Polled(stream) = self {
            return stream.poll_write(data);
        }
        match self.try_now(|mut socket| socket.write_vectored(data)) {
            Some(written) => Poll::Ready(written),
            None => self.watched_by_tokio()?.poll_write(cx, data),
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket()?.shutdown(Shutdown::Write))
    }

    fn reached_eof(&self) -> bool {
        match self {
            SocketStream::Unwatched(unwatched) => unwatched.reached_eof,
            Tokio(stream) => stream.reached_eof(),
            Polled(stream) => stream.reached_eof,
            Failed => false,
        }
    }

    fn unacknowledged(&self) -> Option<usize> {
        S::unacknowledged(self.socket().ok()?)
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        match self {
            Tokio(stream) => Some(stream.writer()),
            Polled(stream) => Some(stream.writer()),
            SocketStream::Unwatched(_) | Failed => None,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        S::local_addr(self.socket()?)
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        S::peer_credentials(self.socket().ok()?)
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        S::set_nodelay(self.socket()?, nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        S::set_keepalive(self.socket()?, after)
    }

    fn set_user_timeout(&self, milliseconds: u32) -> io::Result<()> {
        S::set_user_timeout(self.socket()?, milliseconds)
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Polled(stream) => stream.duplicate(),
            _ => Ok(self.socket()?.try_clone()?.into()),
        }
    }

    fn reregister(&mut self) -> io::Result<()> {
        match self {
            Tokio(stream) => stream.reregister(),
            // Its poller moves.
            Polled(_) | SocketStream::Unwatched(_) | Failed => Ok(()),
        }
    }

    fn set_reset_on_drop(&mut self) {
        if let Ok(socket) = self.socket() {
            S::set_reset_on_drop(socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// Both ends; the first is not registered yet.
    fn pair() -> (SocketStream<TcpStream>, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let peer = std::net::TcpStream::connect(at).expect("a listener");
        let (stream, _) = listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("the option is set");
        (SocketStream::new(stream.into()), peer)
    }

    fn assert_options_set(stream: &SocketStream<TcpStream>) {
        let socket = stream.socket().expect("a socket");
        assert!(socket.tcp_nodelay().expect("the option is read"));
        assert!(socket.keepalive().expect("the option is read"));
    }

    #[actix_rt::test]
    async fn options_are_set_before_and_after_the_registration() {
        let (mut stream, peer) = pair();
        let set = |stream: &SocketStream<TcpStream>| {
            stream.set_nodelay(true).expect("the option is set");
            let keepalive = stream.set_keepalive(Some(Duration::from_secs(9)));
            keepalive.expect("the option is set");
        };
        set(&stream);
        assert_options_set(&stream);
        let here = stream.local_addr().expect("an address");
        assert_eq!(here, peer.peer_addr().expect("an address"));

        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(stream.poll_read(&mut cx, &mut [0]).is_pending());
        assert!(matches!(stream, Tokio(_)), "the read had to wait");
        assert_options_set(&stream);
        stream.set_nodelay(false).expect("the option is set");
        stream.set_keepalive(None).expect("the option is set");
        set(&stream);
        assert_options_set(&stream);
        assert_eq!(stream.local_addr().expect("an address"), here);
    }

    #[actix_rt::test]
    async fn a_reset_reaches_the_peer_before_and_after_the_registration() {
        use std::io::Read;
        for (registered, reset) in [(false, false), (false, true), (true, false), (true, true)] {
            let (mut stream, mut peer) = pair();
            if registered {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                assert!(stream.poll_read(&mut cx, &mut [0]).is_pending());
            }
            match reset {
                true => Box::new(stream).reset(),
                false => drop(stream),
            }
            assert_eq!(
                peer.read(&mut [0]).is_err(),
                reset,
                "registered: {registered}"
            );
        }
    }
}
