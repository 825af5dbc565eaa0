//! The real network: socket2 creates the sockets, tokio polls them.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

mod datagram;
mod listener;
mod polled;
pub(in crate::os) mod poller;
#[cfg(target_os = "linux")]
mod rtnetlink;
#[cfg(target_os = "linux")]
mod sock_diag;
mod socket_stream;
mod stream;
mod unix;
mod watched;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::spawn_blocking;

use crate::address::{Address, UnixAddress};
#[cfg(target_os = "linux")]
use crate::os::NetworkInterface;
use crate::os::net::datagram::TokioDatagrams;
use crate::os::net::listener::TokioListener;
use crate::os::net::socket_stream::SocketStream;
use crate::os::net::stream::{has_defaults, set_defaults};
use crate::os::net::unix::UnixSocketListener;
use crate::os::{DatagramSocket, Listener, MulticastOptions, Network, Resolving, Stream};

/// The network of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNetwork;

impl Network for TokioNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        listen(address, backlog, false, false)
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        listen(address, backlog, true, false)
    }

    fn listen_ipv6_only(
        &self,
        address: SocketAddr,
        backlog: u32,
        shared: bool,
    ) -> io::Result<Box<dyn Listener>> {
        listen(address, backlog, shared, true)
    }

    fn scope_id(&self, interface: &str) -> io::Result<u32> {
        // The system's parser of addresses knows the interfaces. It asks no resolver for an address
        // with a scope, so it does not wait.
        let address = format!("fe80::1%{interface}");
        let parsed = (address.as_str(), 0).to_socket_addrs()?;
        let mut ids = parsed.filter_map(|address| match address {
            SocketAddr::V6(address) => Some(address.scope_id()),
            SocketAddr::V4(_) => None,
        });
        ids.find(|id| *id != 0)
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    #[cfg(target_os = "linux")]
    fn interfaces(&self) -> io::Result<Vec<NetworkInterface>> {
        rtnetlink::interfaces()
    }

    fn resolve(&self, host: &str) -> Resolving {
        self.resolve_with_permit(host, Box::new(()))
    }

    fn resolve_with_permit(&self, host: &str, permit: Box<dyn Send>) -> Resolving {
        // The system's resolver blocks its thread, and nothing cancels it: the thread keeps the
        // permit until the resolver returns, also if the future is dropped before.
        let host = host.to_owned();
        async move {
            let found = spawn_blocking(move || {
                let _permit = permit;
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
            Ok(Box::new(SocketStream::registered(stream)) as Box<dyn Stream>)
        }
        .boxed()
    }

    fn connect_from(
        &self,
        local: SocketAddr,
        address: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        async move {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if local.port() != 0 {
                // An earlier connection from this port may be in TIME_WAIT, and attempts to several
                // addresses of one name come from the same port.
                socket.set_reuseaddr(true)?;
            }
            socket.bind(local)?;
            let stream = socket.connect(address).await?;
            set_defaults(&SockRef::from(&stream));
            Ok(Box::new(SocketStream::registered(stream)) as Box<dyn Stream>)
        }
        .boxed()
    }

    fn listen_unix(
        &self,
        address: &UnixAddress,
        mode: Option<u32>,
        backlog: u32,
    ) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(UnixSocketListener::listen(
            address, mode, backlog,
        )?))
    }

    fn connect_unix(
        &self,
        address: &UnixAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        unix::connect(address.clone()).boxed()
    }

    fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        let (socket, family) = stream_socket(listener)?;
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(wrong_descriptor("a TCP or Unix socket that listens"));
        }
        if let Family::Unix = family {
            return Ok(Box::new(UnixSocketListener::adopted(socket)?));
        }
        let had_defaults = has_defaults(&SockRef::from(&socket));
        set_defaults(&SockRef::from(&socket));
        let mut listener = TokioListener::new(socket)?;
        if !had_defaults {
            // Connections in the backlog came before the options were set.
            listener.set_defaults_of_backlog();
        }
        Ok(Box::new(listener))
    }

    fn bind_datagram(
        &self,
        address: SocketAddr,
        options: MulticastOptions,
    ) -> io::Result<Box<dyn DatagramSocket>> {
        Ok(Box::new(TokioDatagrams::bind(address, options)?))
    }

    fn adopt_datagram(&self, socket: OwnedFd) -> io::Result<Box<dyn DatagramSocket>> {
        let expected = "a UDP socket";
        let (socket, Family::Ip) = adopted_socket(socket, Type::DGRAM, expected)? else {
            return Err(wrong_descriptor(expected));
        };
        let is_bound = socket.local_addr()?.as_socket();
        if is_bound.is_none_or(|address| address.port() == 0) {
            return Err(wrong_descriptor("a bound UDP socket"));
        }
        Ok(Box::new(TokioDatagrams::new(socket)?))
    }

    fn adopt_stream(&self, stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        let (socket, family) = stream_socket(stream)?;
        // A connection that was reset meanwhile has no peer address, but is accepted here: its
        // first read reports the reset.
        if sockopt::socket_acceptconn(&socket)? {
            return Err(wrong_descriptor("a connection"));
        }
        Ok(match family {
            Family::Ip => Box::new(SocketStream::<TcpStream>::adopted(socket)),
            Family::Unix => Box::new(SocketStream::<UnixStream>::adopted(socket)),
        })
    }
}

fn listen(
    address: SocketAddr,
    backlog: u32,
    shared: bool,
    ipv6_only: bool,
) -> io::Result<Box<dyn Listener>> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // Without it, connections in TIME_WAIT block the port for a minute after a restart. Two
    // listeners still conflict.
    socket.set_reuse_address(true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        // By default `::` accepts IPv4 too, whatever the machine's default is.
        socket.set_only_v6(ipv6_only)?;
    }
    socket.set_nonblocking(true)?;
    set_defaults(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(Box::new(TokioListener::new(socket)?))
}

/// The kinds of addresses that a socket of another process may have.
enum Family {
    Ip,
    Unix,
}

/// Prepares a TCP or Unix socket of another process for tokio.
fn stream_socket(descriptor: OwnedFd) -> io::Result<(Socket, Family)> {
    adopted_socket(descriptor, Type::STREAM, "a TCP or Unix stream socket")
}

/// Prepares a socket of another process for tokio, if it is of this type.
fn adopted_socket(descriptor: OwnedFd, kind: Type, expected: &str) -> io::Result<(Socket, Family)> {
    let socket = Socket::from(descriptor);
    let family = match socket.r#type() {
        Ok(own) if own == kind => {
            let address = socket.local_addr()?;
            let ip = address.as_socket().map(|_| Family::Ip);
            ip.or_else(|| address.is_unix().then_some(Family::Unix))
        }
        Ok(_) => None,
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => None,
        Err(error) => return Err(error),
    };
    let family = family.ok_or_else(|| wrong_descriptor(expected))?;
    // The process that opened it may have set neither.
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    Ok((socket, family))
}

/// The address that a socket of another process is bound to.
pub(crate) fn local_address_of(socket: impl AsFd) -> Option<Address> {
    unix::local_address(socket).ok()
}

/// The address of a connected socket's peer.
#[cfg(feature = "testing")]
pub(crate) fn peer_of(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).peer_addr().ok()?.as_socket()
}

fn wrong_descriptor(expected: &str) -> io::Error {
    let text = format!("the descriptor is not {expected}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
