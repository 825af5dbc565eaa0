//! A connection of this machine, registered with an event loop.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::io::IoSlice;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::os::{DEFAULT_KEEPALIVE, Stream, Writer};

pub(super) fn set_keepalive(socket: &SockRef<'_>, after: Option<Duration>) -> io::Result<()> {
    socket.set_keepalive(after.is_some())?;
    match after {
        // 0 is Chrome's default, and no delay that the OS accepts: it keeps the earlier one.
        None | Some(Duration::ZERO) => Ok(()),
        Some(after) => {
            let probes = TcpKeepalive::new().with_time(after).with_interval(after);
            socket.set_tcp_keepalive(&probes)
        }
    }
}

/// Sets Chromium's default options of a connection (`SetDefaultOptionsForClient`). They are set
/// on listeners too: on Linux an accepted connection inherits them, which saves system calls.
/// A connection works without an option that cannot be set.
pub(super) fn set_defaults(socket: &SockRef<'_>) {
    let set = socket.set_tcp_nodelay(true);
    let set = set.and_then(|()| set_keepalive(socket, Some(DEFAULT_KEEPALIVE)));
    if let Err(error) = set {
        log::debug!("cannot set the default options of a socket: {error}");
    }
}

/// Whether another process has set the default options.
pub(super) fn has_defaults(socket: &SockRef<'_>) -> bool {
    socket.tcp_nodelay().unwrap_or(false) && socket.keepalive().unwrap_or(false)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_user_timeout(socket: impl AsFd, milliseconds: u32) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_tcp_user_timeout(
        socket,
        milliseconds,
    )?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set_user_timeout(_: impl AsFd, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
pub(super) fn unacknowledged(socket: &SockRef<'_>) -> Option<usize> {
    let local = socket.local_addr().ok()?.as_socket()?;
    let peer = socket.peer_addr().ok()?.as_socket()?;
    crate::os::net::sock_diag::unacknowledged(&**socket, local, peer).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn unacknowledged(_: &SockRef<'_>) -> Option<usize> {
    None
}

/// A connection in two halves: [`TokioWriter`] writes to it from any thread, without its reader.
pub(super) struct TokioStream {
    reached_eof: bool,
    reader: OwnedReadHalf,
    writer: Arc<TokioWriter>,
    error: ErrorReadiness,
}

/// Whether the OS has reported an error of a connection.
enum ErrorReadiness {
    NotPolled,
    /// Waits for the error alone: data does not wake it, and unlike `poll_read` it can wait after
    /// the peer has shut down its writing side.
    Waiting(BoxFuture<'static, ()>),
    Ready,
}

impl TokioStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        TokioStream {
            reached_eof: false,
            reader,
            writer: Arc::new(TokioWriter(Some(writer))),
            error: ErrorReadiness::NotPolled,
        }
    }

    /// A connection that another event loop or process has used. If it was reset there, its error
    /// may have been reported there, and this event loop will not see it.
    pub(super) fn adopted(stream: TcpStream) -> Self {
        let error = match stream.peer_addr() {
            Ok(_) => ErrorReadiness::NotPolled,
            Err(_) => ErrorReadiness::Ready,
        };
        TokioStream {
            error,
            ..TokioStream::new(stream)
        }
    }

    /// A read reports errors itself.
    #[cold]
    fn stop_waiting_for_errors(&mut self) {
        self.error = ErrorReadiness::NotPolled;
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.reader.as_ref()
    }
}

struct TokioWriter(Option<OwnedWriteHalf>);

impl TokioWriter {
    /// Waits until the OS reports an error.
    async fn error_reported(self: Arc<Self>) {
        if let Some(half) = &self.0 {
            // It fails only with its runtime.
            let _ = half.ready(Interest::ERROR).await;
        }
    }
}

impl Writer for TokioWriter {
    fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(half) => half.try_write(data),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for TokioWriter {
    fn drop(&mut self) {
        // Dropping the half would shut down the writing side. The stream decides how it ends: a
        // close with unread input has to be a reset.
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

impl Stream for TokioStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let ErrorReadiness::Waiting(_) = self.error {
            self.stop_waiting_for_errors();
        }
        // Not `try_read`: after a short read tokio's `poll_read` knows without a system call that
        // there is no more data.
        let mut buffer = ReadBuf::new(buffer);
        ready!(AsyncRead::poll_read(
            Pin::new(&mut self.reader),
            cx,
            &mut buffer
        ))?;
        let read = buffer.filled().len();
        if read == 0 && buffer.capacity() > 0 {
            self.reached_eof = true;
        }
        Poll::Ready(Ok(read))
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Not `poll_read_ready`: its readiness may be left from data that was read since.
        self.socket()
            .poll_peek(cx, &mut ReadBuf::new(&mut [0]))
            .map_ok(|bytes| bytes > 0)
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let ErrorReadiness::NotPolled = self.error {
            self.error = ErrorReadiness::Waiting(self.writer.clone().error_reported().boxed());
        }
        if let ErrorReadiness::Waiting(reported) = &mut self.error {
            ready!(reported.poll_unpin(cx));
            self.error = ErrorReadiness::Ready;
        }
        Poll::Ready(())
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.socket();
        loop {
            ready!(socket.poll_write_ready(cx))?;
            let written = match data {
                [one] => socket.try_write(one),
                many => socket.try_write_vectored(many),
            };
            match written {
                // `try_write` has cleared the readiness: the next poll registers the waker.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.socket()).shutdown(Shutdown::Write))
    }

    fn reached_eof(&self) -> bool {
        self.reached_eof
    }

    fn unacknowledged(&self) -> Option<usize> {
        unacknowledged(&SockRef::from(self.socket()))
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(self.writer.clone())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket().set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        set_keepalive(&SockRef::from(self.socket()), after)
    }

    fn set_user_timeout(&self, milliseconds: u32) -> io::Result<()> {
        set_user_timeout(self.socket(), milliseconds)
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket().as_fd().try_clone_to_owned()
    }

    fn reregister(&mut self) -> io::Result<()> {
        // The old descriptor is still registered with the event loop that has ended.
        let socket = self.socket().as_fd().try_clone_to_owned()?;
        let stream = TokioStream::adopted(TcpStream::from_std(socket.into())?);
        *self = TokioStream {
            reached_eof: self.reached_eof,
            ..stream
        };
        Ok(())
    }

    fn set_reset_on_drop(&mut self) {
        // If it cannot be set, the drop closes the connection.
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }
}
