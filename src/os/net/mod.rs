//! The real network: socket2 makes the sockets, tokio polls them.
#![expect(clippy::disallowed_types, reason = "this is the door to the OS")]

#[cfg(target_os = "linux")]
mod sock_diag;
mod unregistered;

use std::io;
use std::io::IoSlice;
use std::net::{IpAddr, Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::net::{SocketFlags, acceptfrom_with, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;

use crate::os::net::unregistered::Unregistered;
use crate::os::{KEEP_ALIVE, Listener, Network, Stream, Writer};

/// The sockets of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNetwork;

impl Network for TokioNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        listen(address, backlog, false)
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        listen(address, backlog, true)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.resolve_in(host, Box::new(()))
    }

    fn resolve_in(
        &self,
        host: &str,
        place: Box<dyn Send>,
    ) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        // The system's resolver blocks its thread, and nothing ends it before
        // it answers.
        let host = host.to_owned();
        async move {
            let found = spawn_blocking(move || {
                let _place = place;
                let found = (host.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            });
            found.await.map_err(io::Error::other)?
        }
        .boxed()
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        async move {
            let stream = TcpStream::connect(address).await?;
            set_defaults(&SockRef::from(&stream));
            Ok(RealStream::boxed(stream))
        }
        .boxed()
    }

    fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        let socket = tcp_socket(listener)?;
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(not("a TCP socket that listens"));
        }
        let had_them = has_defaults(&SockRef::from(&socket));
        set_defaults(&SockRef::from(&socket));
        let mut listener = RealListener::new(socket)?;
        if !had_them {
            // Those that wait already came before the options were set.
            let bare = listener.backlog().unwrap_or(u32::MAX);
            listener.bare = listener.bare.max(bare);
        }
        Ok(Box::new(listener))
    }

    fn adopt_stream(&self, stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        let socket = tcp_socket(stream)?;
        // One that was reset meanwhile has no peer any more, and is one all
        // the same: its first read tells.
        if sockopt::socket_acceptconn(&socket)? {
            return Err(not("a TCP connection"));
        }
        let stream = RealStream::known(TcpStream::from_std(socket.into())?);
        Ok(Box::new(stream))
    }
}

fn listen(address: SocketAddr, backlog: u32, shared: bool) -> io::Result<Box<dyn Listener>> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Without it, connections of the past (TIME_WAIT) keep the port from
    // being listened on again for a minute. Two listeners still conflict.
    socket.set_reuse_address(true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        // `::` takes IPv4 too, whatever the machine's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    set_defaults(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(Box::new(RealListener::new(socket)?))
}

/// The socket, ready for tokio, if it is TCP.
fn tcp_socket(descriptor: OwnedFd) -> io::Result<Socket> {
    let socket = Socket::from(descriptor);
    let is_tcp = match socket.r#type() {
        Ok(kind) => kind == Type::STREAM && socket.local_addr()?.as_socket().is_some(),
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => false,
        Err(error) => return Err(error),
    };
    if !is_tcp {
        return Err(not("a TCP socket"));
    }
    // Neither is left to whoever opened it.
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn not(what: &str) -> io::Error {
    let what = format!("the descriptor is not {what}");
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

pub(super) fn set_keepalive(socket: &SockRef<'_>, after: Option<Duration>) -> io::Result<()> {
    socket.set_keepalive(after.is_some())?;
    match after {
        // 0 is Chrome's default and no delay that the OS takes: what was set
        // before stays.
        None | Some(Duration::ZERO) => Ok(()),
        Some(after) => socket.set_tcp_keepalive(&probes(after)),
    }
}

fn probes(after: Duration) -> TcpKeepalive {
    TcpKeepalive::new().with_time(after).with_interval(after)
}

/// Chromium's defaults of every connection
/// (`SetDefaultOptionsForClient`). A listener has them for those that it
/// accepts: on Linux they inherit all of it, so that an accept costs no system
/// call more. Where one of them cannot be set, the connection works without.
fn set_defaults(socket: &SockRef<'_>) {
    let set = socket.set_tcp_nodelay(true);
    let set = set.and_then(|()| set_keepalive(socket, Some(KEEP_ALIVE)));
    if let Err(error) = set {
        log::debug!("a socket has the system's options: {error}");
    }
}

/// Whether it has been given them, by a process before this one.
fn has_defaults(socket: &SockRef<'_>) -> bool {
    socket.tcp_nodelay().unwrap_or(false) && socket.keepalive().unwrap_or(false)
}

/// The peer of a connected socket.
#[cfg(feature = "testing")]
pub(crate) fn peer_of(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).peer_addr().ok()?.as_socket()
}

/// How many of those that a listener accepts have not inherited its options.
const BARE: u32 = if cfg!(target_os = "linux") {
    0
} else {
    u32::MAX
};

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

struct RealListener {
    socket: TcpListener,
    /// Another descriptor of the same socket: it takes no path that may not be
    /// there, and the port is free when both are closed.
    reserve: Option<OwnedFd>,
    /// How many of the next ones may not have inherited the default options;
    /// `u32::MAX` is all.
    bare: u32,
}

impl RealListener {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(RealListener {
            socket: TcpListener::from_std(socket.into())?,
            reserve: None,
            bare: BARE,
        })
    }

    /// A connection that was accepted just now.
    fn accepted(&mut self, socket: SockRef<'_>) {
        if self.bare > 0 {
            set_defaults(&socket);
            if self.bare != u32::MAX {
                self.bare -= 1;
            }
        }
    }
}

impl Listener for RealListener {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let (stream, peer) = ready!(self.socket.poll_accept(cx))?;
        self.accepted(SockRef::from(&stream));
        Poll::Ready(Ok((RealStream::boxed(stream), peer)))
    }

    fn poll_accept_loose(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match acceptfrom_with(&self.socket, flags) {
            Ok((stream, Some(peer))) => {
                let peer = SocketAddr::try_from(peer).map_err(io::Error::from)?;
                self.accepted(SockRef::from(&stream));
                let stream = Unregistered::Free(Socket::from(stream), false);
                Poll::Ready(Ok((Box::new(stream), peer)))
            }
            Ok((_, None)) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                // It knows when to try again; one that has come by now is
                // registered here, and taken out again.
                let (stream, peer) = ready!(self.socket.poll_accept(cx))?;
                self.accepted(SockRef::from(&stream));
                let stream = Unregistered::Free(Socket::from(stream.into_std()?), false);
                Poll::Ready(Ok((Box::new(stream), peer)))
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    #[cfg(target_os = "linux")]
    fn backlog(&self) -> Option<u32> {
        let at = self.socket.local_addr().ok()?;
        crate::os::net::sock_diag::backlog(&self.socket, at).ok()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    fn reregister(&mut self) -> io::Result<()> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        self.socket = TcpListener::from_std(socket.into())?;
        Ok(())
    }

    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.reserve = None;
        // The connection is closed before the reserve is taken again.
        let shed = self.socket.poll_accept(cx).map_ok(|(_, peer)| peer);
        // Another thread may have been quicker: then the next time tries.
        let _ = self.set_reserve(true);
        shed
    }

    fn set_reserve(&mut self, reserve: bool) -> io::Result<()> {
        self.reserve = match (reserve, self.reserve.take()) {
            (true, None) => Some(self.socket.as_fd().try_clone_to_owned()?),
            (true, held) => held,
            (false, _) => None,
        };
        Ok(())
    }
}

/// A connection in two halves, so that it can be written to without its reader.
pub(super) struct RealStream {
    /// Whether a read has met the peer's end.
    ended: bool,
    reader: OwnedReadHalf,
    writer: Arc<RealWriter>,
    gone: Gone,
}

/// Whether the OS has reported that a connection is gone.
enum Gone {
    NotAsked,
    /// Whoever asks waits for the error alone: data does not wake it, and it
    /// can wait when the peer has ended its side, which `poll_read` cannot.
    Waits(BoxFuture<'static, ()>),
    Yes,
}

impl RealStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        RealStream {
            ended: false,
            reader,
            writer: Arc::new(RealWriter(Some(writer))),
            gone: Gone::NotAsked,
        }
    }

    /// One that may have been reset before this event loop knows it, and whose
    /// error may have been told elsewhere.
    fn known(stream: TcpStream) -> Self {
        let gone = match stream.peer_addr() {
            Ok(_) => Gone::NotAsked,
            Err(_) => Gone::Yes,
        };
        RealStream {
            gone,
            ..RealStream::new(stream)
        }
    }

    /// Who reads hears of an error by that.
    #[cold]
    fn wait_no_more(&mut self) {
        self.gone = Gone::NotAsked;
    }

    fn boxed(stream: TcpStream) -> Box<dyn Stream> {
        Box::new(RealStream::new(stream))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.reader.as_ref()
    }
}

struct RealWriter(Option<OwnedWriteHalf>);

impl RealWriter {
    /// Waits for the OS to report an error.
    async fn gone(self: Arc<Self>) {
        if let Some(half) = &self.0 {
            // It fails only with its runtime.
            let _ = half.ready(Interest::ERROR).await;
        }
    }
}

impl Writer for RealWriter {
    fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(half) => half.try_write(data),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for RealWriter {
    fn drop(&mut self) {
        // A dropped half would shut the connection down, which is only to be
        // closed: with unread data that is a reset.
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

impl Stream for RealStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // Not `try_read`: after a short read this one knows, without asking
        // the OS again, that there is no more.
        if let Gone::Waits(_) = self.gone {
            self.wait_no_more();
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(AsyncRead::poll_read(
            Pin::new(&mut self.reader),
            cx,
            &mut buffer
        ))?;
        let read = buffer.filled().len();
        if read == 0 && buffer.capacity() > 0 {
            self.ended = true;
        }
        Poll::Ready(Ok(read))
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Not `poll_read_ready`: it may be ready from an earlier time.
        self.socket()
            .poll_peek(cx, &mut ReadBuf::new(&mut [0]))
            .map_ok(|bytes| bytes > 0)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Gone::NotAsked = self.gone {
            self.gone = Gone::Waits(self.writer.clone().gone().boxed());
        }
        if let Gone::Waits(gone) = &mut self.gone {
            ready!(gone.poll_unpin(cx));
            self.gone = Gone::Yes;
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
                // It is not ready any more: now the waker is registered.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.socket()).shutdown(Shutdown::Write))
    }

    fn has_ended(&self) -> bool {
        self.ended
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

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket().as_fd().try_clone_to_owned()
    }

    fn reregister(&mut self) -> io::Result<()> {
        // A descriptor of its own, since the old one is registered with the
        // event loop that has ended.
        let socket = self.socket().as_fd().try_clone_to_owned()?;
        let ended = self.ended;
        *self = RealStream::known(TcpStream::from_std(socket.into())?);
        self.ended = ended;
        Ok(())
    }

    fn reset_when_dropped(&mut self) {
        // If it cannot be set, closing is what is left.
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }
}
