//! A connection of this machine that tokio's event loop watches: of TCP or of a Unix socket.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::net::{RecvFlags, SendFlags, getsockname, recv, send};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{Interest, ReadBuf};
use tokio::net::{TcpStream, tcp};

use crate::address::{Address, PeerCredentials};
use crate::os::{DEFAULT_KEEPALIVE, Writer};

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

/// What tells the sockets of TCP and Unix sockets apart. The compiler makes a stream of each, so
/// that neither asks which one it is.
pub(super) trait Socket: AsFd + Sized + Send + Sync + 'static {
    type Reader: AsRef<Self> + Send;
    type Writer: WriteHalf;

    fn from_fd(socket: OwnedFd) -> io::Result<Self>;

    /// The socket, which tokio does not watch any more.
    fn into_fd(self) -> io::Result<OwnedFd>;

    fn into_split(self) -> (Self::Reader, Self::Writer);

    /// `None` if the halves are of two sockets.
    fn reunite(reader: Self::Reader, writer: Self::Writer) -> Option<Self>;

    fn is_connected(&self) -> bool;

    fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>;

    /// Reads, if tokio knows of something to read. `WouldBlock` has it forget that.
    fn try_read(&self, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    fn try_write(&self, data: &[IoSlice<'_>]) -> io::Result<usize>;

    fn local_addr(socket: SockRef<'_>) -> io::Result<Address>;

    fn unacknowledged(socket: SockRef<'_>) -> Option<usize>;

    fn peer_credentials(socket: SockRef<'_>) -> Option<PeerCredentials>;

    fn set_nodelay(socket: SockRef<'_>, nodelay: bool) -> io::Result<()>;

    fn set_keepalive(socket: SockRef<'_>, after: Option<Duration>) -> io::Result<()>;

    fn set_user_timeout(socket: SockRef<'_>, milliseconds: u32) -> io::Result<()>;

    fn set_reset_on_drop(socket: SockRef<'_>);
}

/// The half of a socket that writes to it from any thread.
pub(super) trait WriteHalf: Send + Sync + 'static {
    fn try_write(&self, data: &[u8]) -> io::Result<usize>;

    /// Waits until the OS reports an error.
    fn error_reported(&self) -> impl Future<Output = ()> + Send;

    /// Drops it without shutting down the writing side.
    fn forget(self);
}

/// The methods that tokio has for both kinds.
macro_rules! socket_methods {
    ($($half:ident)::+) => {
        type Reader = $($half)::+::OwnedReadHalf;
        type Writer = $($half)::+::OwnedWriteHalf;

        fn into_split(self) -> (Self::Reader, Self::Writer) {
            self.into_split()
        }

        fn reunite(reader: Self::Reader, writer: Self::Writer) -> Option<Self> {
            reader.reunite(writer).ok()
        }

        fn into_fd(self) -> io::Result<OwnedFd> {
            Ok(self.into_std()?.into())
        }

        fn is_connected(&self) -> bool {
            self.peer_addr().is_ok()
        }

        fn try_read(&self, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
            self.try_io(Interest::READABLE, read)
        }

        fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_read_ready(cx)
        }

        fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_write_ready(cx)
        }

        fn try_write(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
            match data {
                [one] => self.try_write(one),
                many => self.try_write_vectored(many),
            }
        }
    };
}
pub(super) use socket_methods;

macro_rules! write_half {
    ($half:ty, $socket:ty) => {
        impl WriteHalf for $half {
            fn try_write(&self, data: &[u8]) -> io::Result<usize> {
                let socket: &$socket = self.as_ref();
                let write = || Ok(send(socket, data, SendFlags::NOSIGNAL)?);
                socket.try_io(Interest::WRITABLE, write)
            }

            async fn error_reported(&self) {
                // It fails only with its runtime.
                let _ = self.ready(Interest::ERROR).await;
            }

            fn forget(self) {
                self.forget();
            }
        }
    };
}
pub(super) use write_half;

write_half!(tcp::OwnedWriteHalf, TcpStream);

impl Socket for TcpStream {
    socket_methods!(tcp);

    fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        TcpStream::from_std(socket.into())
    }

    fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Not `poll_read_ready`: its readiness may be left from data that was read since.
        self.poll_peek(cx, &mut ReadBuf::new(&mut [0]))
            .map_ok(|bytes| bytes > 0)
    }

    fn local_addr(socket: SockRef<'_>) -> io::Result<Address> {
        match SocketAddr::try_from(getsockname(&*socket)?) {
            Ok(address) => Ok(address.into()),
            Err(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn unacknowledged(socket: SockRef<'_>) -> Option<usize> {
        unacknowledged(&socket)
    }

    fn peer_credentials(_: SockRef<'_>) -> Option<PeerCredentials> {
        None
    }

    fn set_nodelay(socket: SockRef<'_>, nodelay: bool) -> io::Result<()> {
        socket.set_tcp_nodelay(nodelay)
    }

    fn set_keepalive(socket: SockRef<'_>, after: Option<Duration>) -> io::Result<()> {
        set_keepalive(&socket, after)
    }

    fn set_user_timeout(socket: SockRef<'_>, milliseconds: u32) -> io::Result<()> {
        set_user_timeout(&*socket, milliseconds)
    }

    fn set_reset_on_drop(socket: SockRef<'_>) {
        // If it cannot be set, the drop closes the connection.
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}

/// A connection in two halves: [`TokioWriter`] writes to it from any thread, without its reader.
pub(super) struct TokioStream<S: Socket = TcpStream> {
    reached_eof: bool,
    reader: S::Reader,
    writer: Arc<TokioWriter<S::Writer>>,
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

impl<S: Socket> TokioStream<S> {
    pub(super) fn new(stream: S) -> Self {
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
    pub(super) fn adopted(stream: S, reached_eof: bool) -> Self {
        let error = match stream.is_connected() {
            true => ErrorReadiness::NotPolled,
            false => ErrorReadiness::Ready,
        };
        TokioStream {
            reached_eof,
            error,
            ..TokioStream::new(stream)
        }
    }

    /// A read reports errors itself.
    #[cold]
    fn stop_waiting_for_errors(&mut self) {
        self.error = ErrorReadiness::NotPolled;
    }

    pub(super) fn socket(&self) -> &S {
        self.reader.as_ref()
    }

    pub(super) fn reached_eof(&self) -> bool {
        self.reached_eof
    }

    pub(super) fn writer(&self) -> Arc<dyn Writer> {
        self.writer.clone()
    }

    /// The socket, which tokio does not watch any more, and whether it has reported an error.
    /// The stream itself if a writer is in use.
    pub(super) fn into_socket(mut self) -> Result<(io::Result<OwnedFd>, bool), Self> {
        let has_error = matches!(self.error, ErrorReadiness::Ready);
        // The wait for an error has a writer.
        self.error = match has_error {
            true => ErrorReadiness::Ready,
            false => ErrorReadiness::NotPolled,
        };
        match Arc::try_unwrap(self.writer) {
            Ok(mut writer) => {
                let writer = writer.0.take();
                let socket = writer.and_then(|writer| S::reunite(self.reader, writer));
                let socket = socket.ok_or_else(|| io::ErrorKind::NotConnected.into());
                Ok((socket.and_then(S::into_fd), has_error))
            }
            Err(writer) => Err(TokioStream { writer, ..self }),
        }
    }
}

struct TokioWriter<W: WriteHalf>(Option<W>);

impl<W: WriteHalf> TokioWriter<W> {
    /// Waits until the OS reports an error.
    async fn error_reported(self: Arc<Self>) {
        if let Some(half) = &self.0 {
            half.error_reported().await;
        }
    }
}

impl<W: WriteHalf> Writer for TokioWriter<W> {
    fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(half) => half.try_write(data),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl<W: WriteHalf> Drop for TokioWriter<W> {
    fn drop(&mut self) {
        // Dropping the half would shut down the writing side. The stream decides how it ends: a
        // close with unread input has to be a reset.
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

impl<S: Socket> TokioStream<S> {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let ErrorReadiness::Waiting(_) = self.error {
            self.stop_waiting_for_errors();
        }
        let room = buffer.len();
        let socket = self.socket();
        loop {
            let mut short = None;
            let read = socket.try_read(|| {
                let (read, _) = recv(socket, &mut *buffer, RecvFlags::empty())?;
                if 0 < read && read < room {
                    // Nothing is left. This error has tokio know it without a system call.
                    short = Some(read);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(read)
            });
            if let Some(read) = short {
                return Poll::Ready(Ok(read));
            }
            match read {
                // `try_read` has cleared the readiness: this registers the waker.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_read_ready(cx))?;
                }
                read => {
                    self.reached_eof |= room > 0 && matches!(read, Ok(0));
                    return Poll::Ready(read);
                }
            }
        }
    }

    pub(super) fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.socket().poll_peek(cx)
    }

    pub(super) fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let ErrorReadiness::NotPolled = self.error {
            self.error = ErrorReadiness::Waiting(self.writer.clone().error_reported().boxed());
        }
        if let ErrorReadiness::Waiting(reported) = &mut self.error {
            ready!(reported.poll_unpin(cx));
            self.error = ErrorReadiness::Ready;
        }
        Poll::Ready(())
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.socket();
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_write(data) {
                // `try_write` has cleared the readiness: the next poll registers the waker.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    pub(super) fn reregister(&mut self) -> io::Result<()> {
        // The old descriptor is still registered with the event loop that has ended.
        let socket = self.socket().as_fd().try_clone_to_owned()?;
        *self = TokioStream::adopted(S::from_fd(socket)?, self.reached_eof);
        Ok(())
    }
}
