//! A connection that is registered with an event loop no sooner than it is
//! known whose thread has it.
#![expect(clippy::disallowed_types, reason = "this is the door to the OS")]

use std::io;
use std::io::{IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use crate::os::net::{RealStream, set_keepalive, unacknowledged};
use crate::os::{Stream, Writer};

/// Of any event loop, until it has to wait first: from then on of the one that
/// its thread has.
pub(in crate::os) enum Unregistered {
    /// It does not block. And whether a read has met the peer's end.
    Free(Socket, bool),
    Bound(RealStream),
    /// Registering it has failed.
    Lost,
}

impl Unregistered {
    fn bound(&mut self) -> io::Result<&mut RealStream> {
        if let Unregistered::Free(..) = self
            && let Unregistered::Free(socket, _) = std::mem::replace(self, Unregistered::Lost)
        {
            let stream = TcpStream::from_std(socket.into())?;
            *self = Unregistered::Bound(RealStream::new(stream));
        }
        match self {
            Unregistered::Bound(stream) => Ok(stream),
            _ => Err(lost()),
        }
    }

    /// What this answers at once, if nothing has had to wait yet.
    fn at_once<T>(&self, call: impl FnOnce(&Socket) -> io::Result<T>) -> Option<io::Result<T>> {
        let Unregistered::Free(socket, _) = self else {
            return None;
        };
        let answer = call(socket);
        let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        (!answer.as_ref().is_err_and(waits)).then_some(answer)
    }

    fn socket(&self) -> io::Result<SockRef<'_>> {
        match self {
            Unregistered::Free(socket, _) => Ok(SockRef::from(socket)),
            Unregistered::Bound(stream) => Ok(SockRef::from(stream.socket())),
            Unregistered::Lost => Err(lost()),
        }
    }
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Stream for Unregistered {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let is_read = !buffer.is_empty();
        match self.at_once(|mut socket| socket.read(buffer)) {
            Some(answer) => {
                if let (Ok(0), true, Unregistered::Free(_, ended)) = (&answer, is_read, self) {
                    *ended = true;
                }
                Poll::Ready(answer)
            }
            None => self.bound()?.poll_read(cx, buffer),
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.bound()?.poll_peek(cx)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.bound() {
            Ok(stream) => stream.poll_gone(cx),
            Err(_) => Poll::Ready(()),
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.at_once(|mut socket| socket.write_vectored(data)) {
            Some(answer) => Poll::Ready(answer),
            None => self.bound()?.poll_write(cx, data),
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket()?.shutdown(Shutdown::Write))
    }

    fn has_ended(&self) -> bool {
        match self {
            Unregistered::Free(_, ended) => *ended,
            Unregistered::Bound(stream) => stream.has_ended(),
            Unregistered::Lost => false,
        }
    }

    fn unacknowledged(&self) -> Option<usize> {
        unacknowledged(&self.socket().ok()?)
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        match self {
            Unregistered::Bound(stream) => stream.writer(),
            Unregistered::Free(..) | Unregistered::Lost => None,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket()?.local_addr()?;
        address.as_socket().ok_or_else(lost)
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket()?.set_tcp_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        set_keepalive(&self.socket()?, after)
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(self.socket()?.try_clone()?.into())
    }

    fn reregister(&mut self) -> io::Result<()> {
        match self {
            Unregistered::Bound(stream) => stream.reregister(),
            Unregistered::Free(..) | Unregistered::Lost => Ok(()),
        }
    }

    fn reset_when_dropped(&mut self) {
        // If it cannot be set, closing is what is left.
        let socket = self.socket();
        let _ = socket.and_then(|socket| socket.set_linger(Some(Duration::ZERO)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends, this one of no event loop yet.
    fn pair() -> (Unregistered, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("it is bound");
        let peer = std::net::TcpStream::connect(at).expect("it listens");
        let (stream, _) = listener.accept().expect("it has come");
        stream.set_nonblocking(true).expect("it is set");
        (Unregistered::Free(stream.into(), false), peer)
    }

    /// Asserts what was set.
    fn check(stream: &Unregistered) {
        let socket = stream.socket().expect("it is there");
        assert!(socket.tcp_nodelay().expect("it is told"));
        assert!(socket.keepalive().expect("it is told"));
    }

    #[actix_rt::test]
    async fn options_are_set_before_and_after_it_has_to_wait() {
        let (mut stream, peer) = pair();
        let set = |stream: &Unregistered| {
            stream.set_nodelay(true).expect("it is set");
            let keepalive = stream.set_keepalive(Some(Duration::from_secs(9)));
            keepalive.expect("it is set");
        };
        set(&stream);
        check(&stream);
        let here = stream.local_addr().expect("it is told");
        assert_eq!(here, peer.peer_addr().expect("it is connected"));

        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(stream.poll_read(&mut cx, &mut [0]).is_pending());
        assert!(matches!(stream, Unregistered::Bound(_)), "it waits now");
        check(&stream);
        stream.set_nodelay(false).expect("it is set");
        stream.set_keepalive(None).expect("it is set");
        set(&stream);
        check(&stream);
        assert_eq!(stream.local_addr().expect("it is told"), here);
    }

    #[actix_rt::test]
    async fn it_is_reset_when_that_is_asked_for() {
        use std::io::Read;
        for (waits, reset) in [(false, false), (false, true), (true, false), (true, true)] {
            let (mut stream, mut peer) = pair();
            if waits {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                assert!(stream.poll_read(&mut cx, &mut [0]).is_pending());
            }
            match reset {
                true => Box::new(stream).reset(),
                false => drop(stream),
            }
            assert_eq!(peer.read(&mut [0]).is_err(), reset, "it waits: {waits}");
        }
    }
}
