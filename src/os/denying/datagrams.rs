//! A datagram socket that sends nothing to denied addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::os::denying::addresses::{DeniedAddresses, access_denied};
use crate::os::{DatagramSender, DatagramSocket, MulticastOptions, Network};

/// Wraps a datagram socket of a network that has denied addresses.
pub(super) struct DenyingDatagrams {
    inner: Box<dyn DatagramSocket>,
    filter: Filter,
}

#[derive(Clone)]
struct Filter {
    denied: DeniedAddresses,
    network: Arc<dyn Network>,
}

struct DenyingSender {
    inner: Arc<dyn DatagramSender>,
    filter: Filter,
}

impl Filter {
    /// # Errors
    /// `EACCES` if a datagram to this address could reach a denied one.
    fn check(&self, to: SocketAddr) -> io::Result<()> {
        // Only the OS knows which addresses are this machine's own, and it is asked only about the
        // ports of denied addresses.
        let is_denied = self.denied.contains(to, None)
            || (self.denied.contains(to, Some(to)) && self.is_own(to.ip()));
        match is_denied {
            true => Err(access_denied()),
            false => Ok(()),
        }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let any_port = SocketAddr::new(address.to_canonical(), 0);
        let bound = self
            .network
            .bind_datagram(any_port, MulticastOptions::default());
        bound.map_or_else(
            |error| error.kind() != io::ErrorKind::AddrNotAvailable,
            |_| true,
        )
    }
}

impl DenyingDatagrams {
    /// Wraps a socket of this network, unless no address is denied.
    pub(super) fn wrap(
        inner: Box<dyn DatagramSocket>,
        denied: &DeniedAddresses,
        network: &Arc<dyn Network>,
    ) -> Box<dyn DatagramSocket> {
        if denied.is_empty() {
            return inner;
        }
        let filter = Filter {
            denied: denied.clone(),
            network: network.clone(),
        };
        Box::new(DenyingDatagrams { inner, filter })
    }
}

impl DatagramSocket for DenyingDatagrams {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.inner.poll_receive(cx, buffer)
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_waiting(cx)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        self.filter.check(to)?;
        self.inner.poll_send(cx, data, to)
    }

    fn sender(&self) -> Option<Arc<dyn DatagramSender>> {
        Some(Arc::new(DenyingSender {
            inner: self.inner.sender()?,
            filter: self.filter.clone(),
        }))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn join_group(&self, group: IpAddr) -> io::Result<()> {
        self.inner.join_group(group)
    }

    fn leave_group(&self, group: IpAddr) -> io::Result<()> {
        self.inner.leave_group(group)
    }

    fn set_broadcast(&self, enabled: bool) -> io::Result<()> {
        self.inner.set_broadcast(enabled)
    }

    fn dropped(&self) -> Option<u64> {
        self.inner.dropped()
    }

    fn reregister(&mut self) -> io::Result<()> {
        self.inner.reregister()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner.duplicate()
    }
}

impl DatagramSender for DenyingSender {
    fn try_send(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.filter.check(to)?;
        self.inner.try_send(data, to)
    }
}
