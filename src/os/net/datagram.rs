//! A datagram socket of this machine, registered with an event loop.
//!
//! A system call for each datagram. A prototype that read up to 15 at once by `nix`'s `recvmmsg` cost
//! 9 % more instructions, and no less CPU time with 64 datagrams in flight. It always read by
//! `recvmmsg`; whether that pays only where many wait was not measured. Other wrappers need `unsafe`
//! here or bring options (`quinn-udp` forbids fragments) that Chrome does not set.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::os::{DatagramSender, DatagramSocket, MulticastOptions};

pub(super) struct TokioDatagrams {
    sender: Arc<TokioSender>,
}

/// Sends from any thread. It shares the descriptor with the socket that receives.
struct TokioSender {
    socket: UdpSocket,
    is_ipv6: bool,
}

impl TokioDatagrams {
    pub(super) fn bind(address: SocketAddr, options: MulticastOptions) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            // `::` receives from IPv4 too, whatever the machine's default is.
            socket.set_only_v6(false)?;
            if let Some(time_to_live) = options.time_to_live {
                socket.set_multicast_hops_v6(time_to_live.into())?;
            }
            if let Some(loopback) = options.loopback {
                socket.set_multicast_loop_v6(loopback)?;
            }
        } else {
            if let Some(time_to_live) = options.time_to_live {
                socket.set_multicast_ttl_v4(time_to_live.into())?;
            }
            if let Some(loopback) = options.loopback {
                socket.set_multicast_loop_v4(loopback)?;
            }
        }
        socket.bind(&address.into())?;
        Self::new(socket)
    }

    /// Wraps a bound socket.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        let socket = UdpSocket::from_std(socket.into())?;
        let sender = Arc::new(TokioSender { socket, is_ipv6 });
        Ok(TokioDatagrams { sender })
    }

    fn socket(&self) -> &UdpSocket {
        &self.sender.socket
    }
}

/// Not tokio's: that asks for the readiness twice, and the standard library may be cancelled in the
/// call, which costs two locked instructions.
#[inline]
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (length, _, from) = recvfrom(socket.as_fd(), buffer, RecvFlags::empty())?;
    let from = from.ok_or(io::ErrorKind::InvalidData)?;
    Ok((length, from.try_into()?))
}

impl DatagramSocket for TokioDatagrams {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let socket = self.socket();
        loop {
            // It clears the readiness if the OS has nothing, and asks the OS only if there is one.
            match socket.try_io(Interest::READABLE, || receive(socket, buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_recv_ready(cx))?;
                }
                received => return Poll::Ready(received),
            }
        }
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_peek_sender(cx).map_ok(drop)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        // The event loop may not have reported yet that the socket is writable.
        match self.sender.try_send(data, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let to = self.sender.reachable(to);
                self.socket().poll_send_to(cx, data, to).map_ok(drop)
            }
            sent => Poll::Ready(sent),
        }
    }

    fn sender(&self) -> Option<Arc<dyn DatagramSender>> {
        Some(self.sender.clone())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    fn join_group(&self, group: IpAddr) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => self
                .socket()
                .join_multicast_v4(group, Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(group) => self.socket().join_multicast_v6(&group, 0),
        }
    }

    fn leave_group(&self, group: IpAddr) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => self
                .socket()
                .leave_multicast_v4(group, Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(group) => self.socket().leave_multicast_v6(&group, 0),
        }
    }

    fn set_broadcast(&self, enabled: bool) -> io::Result<()> {
        self.socket().set_broadcast(enabled)
    }

    #[cfg(target_os = "linux")]
    fn dropped(&self) -> Option<u64> {
        let at = self.local_addr().ok()?;
        let dropped = crate::os::net::sock_diag::dropped(self.socket(), at);
        dropped.ok().map(u64::from)
    }

    fn reregister(&mut self) -> io::Result<()> {
        let socket = self.duplicate()?;
        *self = Self::new(socket.into())?;
        Ok(())
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(SockRef::from(self.socket()).try_clone()?.into())
    }
}

impl TokioSender {
    /// The address as the socket can send to it: an IPv6 socket reaches IPv4 by mapped addresses.
    fn reachable(&self, to: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V4(to) if self.is_ipv6 => {
                SocketAddrV6::new(to.ip().to_ipv6_mapped(), to.port(), 0, 0).into()
            }
            to => to,
        }
    }
}

impl DatagramSender for TokioSender {
    fn try_send(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        // A datagram is sent whole or not at all.
        sendto(
            self.socket.as_fd(),
            data,
            SendFlags::empty(),
            &self.reachable(to),
        )?;
        Ok(())
    }
}
