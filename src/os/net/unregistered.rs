//! An accepted connection that is registered with an event loop only when it has to wait first.
//!
//! The accepting thread hands the connection to another one. Registering it there, and only
//! there, saves the accepting thread's event loop two system calls a connection.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::io::{IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use crate::address::Address;
use crate::os::net::stream::{TokioStream, set_keepalive, set_user_timeout, unacknowledged};
use crate::os::{Stream, Writer};

pub(super) enum UnregisteredStream {
    /// No operation has had to wait yet. The socket is non-blocking.
    Unregistered { socket: Socket, reached_eof: bool },
    /// Registered with the event loop of the thread in which an operation had to wait.
    Registered(TokioStream),
    /// The registration failed.
    Failed,
}

use UnregisteredStream::{Failed, Registered, Unregistered};

impl UnregisteredStream {
    pub(super) fn new(socket: Socket) -> Self {
        Unregistered {
            socket,
            reached_eof: false,
        }
    }

    fn register(&mut self) -> io::Result<&mut TokioStream> {
        if let Unregistered { .. } = self
            && let Unregistered { socket, .. } = std::mem::replace(self, Failed)
        {
            let stream = TcpStream::from_std(socket.into())?;
            *self = Registered(TokioStream::new(stream));
        }
        match self {
            Registered(stream) => Ok(stream),
            _ => Err(not_connected()),
        }
    }

    /// The result of a call that need not wait. `None` if it has to wait, or if the stream is
    /// registered already.
    fn try_now<T>(&self, call: impl FnOnce(&Socket) -> io::Result<T>) -> Option<io::Result<T>> {
        let Unregistered { socket, .. } = self else {
            return None;
        };
        let result = call(socket);
        let has_to_wait = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        (!result.as_ref().is_err_and(has_to_wait)).then_some(result)
    }

    fn socket(&self) -> io::Result<SockRef<'_>> {
        match self {
            Unregistered { socket, .. } => Ok(SockRef::from(socket)),
            Registered(stream) => Ok(SockRef::from(stream.socket())),
            Failed => Err(not_connected()),
        }
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Stream for UnregisteredStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let has_room = !buffer.is_empty();
        match self.try_now(|mut socket| socket.read(buffer)) {
            Some(read) => {
                if let (Ok(0), true, Unregistered { reached_eof, .. }) = (&read, has_room, self) {
                    *reached_eof = true;
                }
                Poll::Ready(read)
            }
            None => self.register()?.poll_read(cx, buffer),
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.register()?.poll_peek(cx)
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.register() {
            Ok(stream) => stream.poll_error_ready(cx),
            // Every operation fails from now on.
            Err(_) => Poll::Ready(()),
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.try_now(|mut socket| socket.write_vectored(data)) {
            Some(written) => Poll::Ready(written),
            None => self.register()?.poll_write(cx, data),
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket()?.shutdown(Shutdown::Write))
    }

    fn reached_eof(&self) -> bool {
        match self {
            Unregistered { reached_eof, .. } => *reached_eof,
            Registered(stream) => stream.reached_eof(),
            Failed => false,
        }
    }

    fn unacknowledged(&self) -> Option<usize> {
        unacknowledged(&self.socket().ok()?)
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        match self {
            Registered(stream) => stream.writer(),
            Unregistered { .. } | Failed => None,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        let address = self.socket()?.local_addr()?.as_socket();
        address.map(Address::Ip).ok_or_else(not_connected)
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket()?.set_tcp_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        set_keepalive(&self.socket()?, after)
    }

    fn set_user_timeout(&self, milliseconds: u32) -> io::Result<()> {
        set_user_timeout(&*self.socket()?, milliseconds)
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(self.socket()?.try_clone()?.into())
    }

    fn reregister(&mut self) -> io::Result<()> {
        match self {
            Registered(stream) => stream.reregister(),
            Unregistered { .. } | Failed => Ok(()),
        }
    }

    fn set_reset_on_drop(&mut self) {
        // If it cannot be set, the drop closes the connection.
        let socket = self.socket();
        let _ = socket.and_then(|socket| socket.set_linger(Some(Duration::ZERO)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends; the first is not registered yet.
    fn pair() -> (UnregisteredStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let peer = std::net::TcpStream::connect(at).expect("a listener");
        let (stream, _) = listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("the option is set");
        (UnregisteredStream::new(stream.into()), peer)
    }

    fn assert_options_set(stream: &UnregisteredStream) {
        let socket = stream.socket().expect("a socket");
        assert!(socket.tcp_nodelay().expect("the option is read"));
        assert!(socket.keepalive().expect("the option is read"));
    }

    #[actix_rt::test]
    async fn options_are_set_before_and_after_the_registration() {
        let (mut stream, peer) = pair();
        let set = |stream: &UnregisteredStream| {
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
        assert!(matches!(stream, Registered(_)), "the read had to wait");
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
