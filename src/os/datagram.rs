//! The traits of sockets that carry datagrams.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::os::unsupported;

/// How a datagram socket sends to multicast groups. `None` leaves the default of the OS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MulticastOptions {
    /// The most routers that a datagram passes, and one more.
    pub time_to_live: Option<u8>,
    /// Whether groups that this machine has joined receive its datagrams too.
    pub loopback: Option<bool>,
}

/// A datagram socket that is bound. Dropping it frees the port.
pub trait DatagramSocket: Send {
    /// Receives the next datagram into the buffer. Returns its length and the address of its
    /// sender. Of a datagram that is longer than the buffer the rest is lost.
    ///
    /// # Errors
    /// Those of `recvfrom`.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Ready when a datagram waits, which stays.
    ///
    /// # Errors
    /// Those of `recvfrom`.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Sends a datagram, whole or not at all.
    ///
    /// # Errors
    /// Those of `sendto`.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>>;

    /// Sends from any thread, if the socket supports that.
    fn sender(&self) -> Option<Arc<dyn DatagramSender>> {
        None
    }

    /// The address that it is bound to, with the port that the OS chose.
    ///
    /// # Errors
    /// Those of `getsockname`.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Joins a multicast group, at the interface that the OS chooses.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no groups; those of `setsockopt`.
    fn join_group(&self, _group: IpAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// As [`join_group`](Self::join_group).
    fn leave_group(&self, _group: IpAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sets `SO_BROADCAST`: whether datagrams may be sent to broadcast addresses.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    fn set_broadcast(&self, enabled: bool) -> io::Result<()>;

    /// How many datagrams the OS has dropped, because its buffer for the socket was full. `None`,
    /// by default, if that is unknown.
    fn dropped(&self) -> Option<u64> {
        None
    }

    /// Registers with the current thread's event loop, because the previous one has ended. Does
    /// nothing by default.
    ///
    /// # Errors
    /// The registration failed; the socket must be dropped.
    fn reregister(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A second descriptor of the same socket, for another process.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no descriptors; those of `dup`.
    fn duplicate(&self) -> io::Result<OwnedFd> {
        Err(unsupported())
    }
}

/// Sends on a [`DatagramSocket`] from any thread.
pub trait DatagramSender: Send + Sync {
    /// Sends a datagram, whole or not at all, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if the OS has no room for it now. Otherwise those of `sendto`.
    fn try_send(&self, data: &[u8], to: SocketAddr) -> io::Result<()>;
}
