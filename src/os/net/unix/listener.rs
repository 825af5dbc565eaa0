//! A listening Unix socket.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::Socket as OsSocket;
use tokio::net::{UnixListener, UnixStream, unix};

use crate::address::{Address, UnixAddress};
use crate::os::net::socket_stream::SocketStream;
use crate::os::net::unix::file;
use crate::os::net::unix::names::{local_address, new_socket, socket_address};
use crate::os::{Accepted, Listener, SocketFile};

pub(in crate::os::net) struct UnixSocketListener {
    /// Removed before the socket closes. As long as the socket listens, another process does not
    /// take the file for a stale one, so the file that is removed is not that process's.
    file: RemovedFile,
    socket: UnixListener,
    /// As in a listener of TCP.
    reserve: Option<OwnedFd>,
}

/// Removes the file when it is dropped.
struct RemovedFile(Option<SocketFile>);

impl Drop for RemovedFile {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            file.remove();
        }
    }
}

impl UnixSocketListener {
    /// A socket that listens. Another process removes its file.
    pub(in crate::os::net) fn adopted(socket: OsSocket) -> io::Result<Self> {
        Self::new(socket, RemovedFile(None))
    }

    fn new(socket: OsSocket, file: RemovedFile) -> io::Result<Self> {
        Ok(UnixSocketListener {
            file,
            socket: UnixListener::from_std(socket.into())?,
            reserve: None,
        })
    }

    pub(in crate::os::net) fn listen(
        address: &UnixAddress,
        mode: Option<u32>,
        backlog: u32,
    ) -> io::Result<Self> {
        let at = socket_address(address)?;
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let socket = new_socket()?;
        let UnixAddress::Path(path) = address else {
            socket.bind(&at)?;
            socket.listen(backlog)?;
            return Self::new(socket, RemovedFile(None));
        };
        // Until the socket listens, others would take its file for a stale one.
        let _lock = file::Lock::acquire(path)?;
        if let Some(mode) = mode {
            file::restrict(&socket, mode);
        }
        match socket.bind(&at) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                file::remove_stale(path, &at)?;
                socket.bind(&at)?;
            }
            bound => bound?,
        }
        let file = RemovedFile(Some(SocketFile::at(path)?));
        if let Some(mode) = mode {
            file::set_mode(path, mode)?;
        }
        socket.listen(backlog)?;
        Self::new(socket, file)
    }
}

impl Listener for UnixSocketListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, peer) = ready!(self.socket.poll_accept(cx))?;
        let stream = Box::new(SocketStream::registered(stream));
        Poll::Ready(Ok((stream, peer_address(&peer))))
    }

    fn poll_accept_here(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match accept_with(&self.socket, flags) {
            Err(Errno::WOULDBLOCK) => Poll::Pending,
            accepted => Poll::Ready(accepted.map_err(io::Error::from).and_then(|socket| {
                let stream = UnixStream::from_std(socket.into())?;
                let peer = peer_address(&stream.peer_addr()?);
                Ok((Box::new(SocketStream::registered(stream)) as _, peer))
            })),
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        local_address(&self.socket)
    }

    fn socket_file(&self) -> Option<SocketFile> {
        self.file.0.clone()
    }

    fn set_socket_file(&mut self, file: Option<SocketFile>) {
        self.file.0 = file;
    }

    #[cfg(target_os = "linux")]
    fn backlog(&self) -> Option<u32> {
        crate::os::net::sock_diag::unix_backlog(&self.socket).ok()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    fn reregister(&mut self) -> io::Result<()> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        self.socket = UnixListener::from_std(socket.into())?;
        Ok(())
    }

    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Address>> {
        self.reserve = None;
        // The connection is dropped here, before the reserve needs its descriptor.
        let shed = self.socket.poll_accept(cx);
        let shed = shed.map_ok(|(_, peer)| peer_address(&peer));
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

fn peer_address(peer: &unix::SocketAddr) -> Address {
    if let Some(path) = peer.as_pathname() {
        return Address::Unix(path.into());
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = peer.as_abstract_name() {
        return Address::Unix(UnixAddress::from_abstract(name));
    }
    Address::Unix(UnixAddress::Unnamed)
}
