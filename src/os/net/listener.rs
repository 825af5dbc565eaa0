//! A listening socket of this machine.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{SockRef, Socket};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

use crate::address::Address;
use crate::os::net::socket_stream::SocketStream;
use crate::os::net::stream::set_defaults;
use crate::os::net::watched::watched;
use crate::os::{Accepted, Listener};

/// How many accepted connections do not inherit the options of a new listener.
const WITHOUT_DEFAULTS: u32 = if cfg!(target_os = "linux") {
    0
} else {
    u32::MAX
};

fn accept(socket: &Socket) -> io::Result<(Socket, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (accepted, peer) = acceptfrom_with(socket, flags)?;
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    let peer = SocketAddr::try_from(peer).map_err(io::Error::from)?;
    Ok((accepted.into(), peer))
}

pub(super) struct TokioListener {
    socket: AsyncFd<Socket>,
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
            socket: watched(socket)?,
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

    /// Accepts with the OS's own call. tokio's listener would register the connection with the
    /// event loop of this thread, but only its arbiter knows how it is watched.
    fn poll_accept_socket(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, SocketAddr)>> {
        loop {
            let mut guard = ready!(self.socket.poll_read_ready_mut(cx))?;
            match accept(guard.get_inner()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                accepted => return Poll::Ready(accepted),
            }
        }
    }

    fn accepted(&mut self, (socket, peer): (Socket, SocketAddr)) -> Accepted {
        self.init_accepted(SockRef::from(&socket));
        let stream = SocketStream::<TcpStream>::new(socket);
        (Box::new(stream), peer.into())
    }
}

impl Listener for TokioListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let accepted = ready!(self.poll_accept_socket(cx))?;
        Poll::Ready(Ok(self.accepted(accepted)))
    }

    fn poll_accept_here(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match accept(self.socket.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            accepted => Poll::Ready(accepted.map(|it| self.accepted(it))),
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        let address = self.socket.get_ref().local_addr()?.as_socket();
        let address = address.map(Address::Ip);
        address.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    #[cfg(target_os = "linux")]
    fn backlog(&self) -> Option<u32> {
        let socket = self.socket.get_ref();
        let at = socket.local_addr().ok()?.as_socket()?;
        crate::os::net::sock_diag::backlog(socket, at).ok()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    fn reregister(&mut self) -> io::Result<()> {
        self.socket = watched(self.socket.get_ref().try_clone()?)?;
        Ok(())
    }

    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Address>> {
        self.reserve = None;
        // The connection is dropped here, before the reserve needs its descriptor.
        let shed = self.poll_accept_socket(cx);
        let shed = shed.map_ok(|(_, peer)| peer.into());
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
