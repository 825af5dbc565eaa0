//! A connection of a Unix socket.

use std::io;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{UnixStream, unix};
use tokio::time::{Instant, sleep};

use crate::address::{Address, PeerCredentials, UnixAddress};
use crate::os::Stream;
use crate::os::net::socket_stream::SocketStream;
use crate::os::net::stream::{Socket, WriteHalf, socket_methods, write_half};
use crate::os::net::unix::names::{local_address, new_socket, socket_address};

/// How long `connect` waits for room in a full backlog: as long as Linux tries to connect by TCP.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(127);

/// The first and the longest pause before `connect` tries again.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LAST_RETRY: Duration = Duration::from_millis(100);

write_half!(unix::OwnedWriteHalf, UnixStream);

impl Socket for UnixStream {
    socket_methods!(unix);

    fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        UnixStream::from_std(socket.into())
    }

    fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            let peek = || Ok(recv(self, &mut [0_u8], RecvFlags::PEEK)?.1 > 0);
            match self.try_io(Interest::READABLE, peek) {
                // That has cleared the readiness: the next poll registers the waker.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return Poll::Ready(peeked),
            }
        }
    }

    fn local_addr(socket: SockRef<'_>) -> io::Result<Address> {
        local_address(&*socket)
    }

    /// What the kernel has accepted is in the peer's receive queue already.
    fn unacknowledged(_: SockRef<'_>) -> Option<usize> {
        Some(0)
    }

    fn peer_credentials(socket: SockRef<'_>) -> Option<PeerCredentials> {
        // tokio reads them on each OS without `unsafe`, from a socket that it watches.
        let socket = socket.try_clone().ok()?;
        let peer = UnixStream::from_std(socket.into()).ok()?.peer_cred().ok()?;
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        Some(PeerCredentials::new(pid, peer.uid(), peer.gid()))
    }

    fn set_nodelay(_: SockRef<'_>, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    // The OS would take the option, which has no effect.
    fn set_keepalive(_: SockRef<'_>, _: Option<Duration>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_user_timeout(_: SockRef<'_>, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is no reset. A close with unread input shows the peer an error in place of the end;
    /// whatever it was sent it can still read.
    fn set_reset_on_drop(_: SockRef<'_>) {}
}

/// Connects. If the backlog is full, the kernel refuses at once, unlike TCP, so this tries again.
pub(in crate::os::net) async fn connect(address: UnixAddress) -> io::Result<Box<dyn Stream>> {
    let to = socket_address(&address)?;
    let end = Instant::now() + BACKLOG_TIMEOUT;
    let mut pause = FIRST_RETRY;
    loop {
        let socket = new_socket()?;
        match socket.connect(&to) {
            Ok(()) => {
                return Ok(Box::new(SocketStream::<UnixStream>::new(socket)));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= end {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        drop(socket);
        sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
    }
}
