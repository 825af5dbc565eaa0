//! A listening socket of this machine.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{SockRef, Socket};
use tokio::net::TcpListener;

use crate::address::Address;
use crate::os::net::stream::{TokioStream, set_defaults};
use crate::os::net::unregistered::UnregisteredStream;
use crate::os::{Accepted, Listener};

/// How many accepted connections do not inherit the options of a new listener.
const WITHOUT_DEFAULTS: u32 = if cfg!(target_os = "linux") {
    0
} else {
    u32::MAX
};

pub(super) struct TokioListener {
    socket: TcpListener,
    /// A second descriptor of the same socket, which [`poll_shed`](Listener::poll_shed) closes in
    /// order to accept. A duplicate needs no file such as `/dev/null`, which a sandbox may lack.
    /// The port is free only when both descriptors are closed.
    reserve: Option<OwnedFd>,
    /// How many of the next connections may not have inherited the default options; `u32::MAX`
    /// is all.
    without_defaults: u32,
}

impl TokioListener {
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        Ok(TokioListener {
            socket: TcpListener::from_std(socket.into())?,
            reserve: None,
            without_defaults: WITHOUT_DEFAULTS,
        })
    }

    /// Has the default options set on the connections that wait in the backlog.
    pub(super) fn set_defaults_of_backlog(&mut self) {
        let waiting = self.backlog().unwrap_or(u32::MAX);
        self.without_defaults = self.without_defaults.max(waiting);
    }

    /// Sets the default options of a new connection that may not have inherited them.
    fn init_accepted(&mut self, socket: SockRef<'_>) {
        if self.without_defaults > 0 {
            set_defaults(&socket);
            if self.without_defaults != u32::MAX {
                self.without_defaults -= 1;
            }
        }
    }

    fn unregistered(&mut self, stream: impl Into<Socket>, peer: SocketAddr) -> Accepted {
        let socket = stream.into();
        self.init_accepted(SockRef::from(&socket));
        (Box::new(UnregisteredStream::new(socket)), peer.into())
    }
}

impl Listener for TokioListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, peer) = ready!(self.socket.poll_accept(cx))?;
        self.init_accepted(SockRef::from(&stream));
        Poll::Ready(Ok((Box::new(TokioStream::new(stream)), peer.into())))
    }

    fn poll_accept_unregistered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match acceptfrom_with(&self.socket, flags) {
            Ok((stream, Some(peer))) => {
                let peer = SocketAddr::try_from(peer).map_err(io::Error::from)?;
                Poll::Ready(Ok(self.unregistered(stream, peer)))
            }
            Ok((_, None)) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                // tokio registers the waker. If a connection arrives before that, tokio accepts
                // and registers it, so it is removed from the event loop again.
                let (stream, peer) = ready!(self.socket.poll_accept(cx))?;
                Poll::Ready(Ok(self.unregistered(stream.into_std()?, peer)))
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.socket.local_addr().map(Address::Ip)
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

    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Address>> {
        self.reserve = None;
        // The connection is dropped here, before the reserve needs its descriptor.
        let shed = self.socket.poll_accept(cx).map_ok(|(_, peer)| peer.into());
        // Another thread may have used the descriptor: then the next call tries again.
        let _ = self.set_reserve_fd(true);
        shed
    }

    fn set_reserve_fd(&mut self, reserve: bool) -> io::Result<()> {
        self.reserve = match (reserve, self.reserve.take()) {
            (true, None) => Some(self.socket.as_fd().try_clone_to_owned()?),
            (true, reserve) => reserve,
            (false, _) => None,
        };
        Ok(())
    }
}
