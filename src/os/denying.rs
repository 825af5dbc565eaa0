//! A network that refuses connections and datagrams to certain ports of the process itself.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::address::UnixAddress;
use crate::os::denying::addresses::access_denied;
use crate::os::denying::datagrams::DenyingDatagrams;
use crate::os::{
    DatagramSocket, Listener, MulticastOptions, Network, NetworkInterface, Resolving, Stream,
};

mod addresses;
mod datagrams;

pub(crate) use addresses::DeniedAddresses;

/// Wraps a network, and refuses connections and datagrams to denied addresses.
pub(crate) struct DenyingNetwork {
    pub(crate) inner: Arc<dyn Network>,
    pub(crate) denied: DeniedAddresses,
}

impl DenyingNetwork {
    /// Connects to `address` by `connect`, unless it is denied.
    fn connect_by(
        &self,
        address: SocketAddr,
        connect: impl FnOnce(&dyn Network) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        if self.denied.is_empty() {
            return connect(&*self.inner);
        }
        if self.denied.contains(address, None) {
            return std::future::ready(Err(access_denied())).boxed();
        }
        // Which addresses are this machine's own is known only from a connection's local address.
        let denied = self.denied.clone();
        let connecting = connect(&*self.inner);
        let connected = async move {
            let stream = connecting.await?;
            let local = stream.local_addr().ok();
            let local = local.and_then(|local| local.socket_addr());
            match denied.contains(address, local) {
                true => Err(access_denied()),
                false => Ok(stream),
            }
        };
        connected.boxed()
    }
}

impl Network for DenyingNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.inner.listen(address, backlog)
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.inner.listen_shared(address, backlog)
    }

    fn listen_ipv6_only(
        &self,
        address: SocketAddr,
        backlog: u32,
        shared: bool,
    ) -> io::Result<Box<dyn Listener>> {
        self.inner.listen_ipv6_only(address, backlog, shared)
    }

    fn scope_id(&self, interface: &str) -> io::Result<u32> {
        self.inner.scope_id(interface)
    }

    fn interfaces(&self) -> io::Result<Vec<NetworkInterface>> {
        self.inner.interfaces()
    }

    fn resolve(&self, host: &str) -> Resolving {
        self.inner.resolve(host)
    }

    fn resolve_with_permit(&self, host: &str, permit: Box<dyn Send>) -> Resolving {
        self.inner.resolve_with_permit(host, permit)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.connect_by(address, |network| network.connect(address))
    }

    fn connect_from(
        &self,
        local: SocketAddr,
        address: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        // The app has chosen the local address, so it does not tell whether the peer is this machine.
        // Only an address of this machine can be listened on.
        let is_own = || {
            let mut any_port = address;
            any_port.set_port(0);
            let listened = self.inner.listen(any_port, 1);
            listened.map_or_else(
                |error| error.kind() != io::ErrorKind::AddrNotAvailable,
                |_| true,
            )
        };
        if self.denied.contains(address, Some(address)) && is_own() {
            return std::future::ready(Err(access_denied())).boxed();
        }
        self.connect_by(address, |network| network.connect_from(local, address))
    }

    fn bind_datagram(
        &self,
        address: SocketAddr,
        options: MulticastOptions,
    ) -> io::Result<Box<dyn DatagramSocket>> {
        let socket = self.inner.bind_datagram(address, options)?;
        Ok(DenyingDatagrams::wrap(socket, &self.denied, &self.inner))
    }

    fn adopt_datagram(&self, socket: OwnedFd) -> io::Result<Box<dyn DatagramSocket>> {
        let socket = self.inner.adopt_datagram(socket)?;
        Ok(DenyingDatagrams::wrap(socket, &self.denied, &self.inner))
    }

    // Only addresses with ports are denied.
    fn listen_unix(
        &self,
        address: &UnixAddress,
        mode: Option<u32>,
        backlog: u32,
    ) -> io::Result<Box<dyn Listener>> {
        self.inner.listen_unix(address, mode, backlog)
    }

    fn connect_unix(
        &self,
        address: &UnixAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.inner.connect_unix(address)
    }

    fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        self.inner.adopt_listener(listener)
    }

    fn adopt_stream(&self, stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        self.inner.adopt_stream(stream)
    }

    #[cfg(feature = "testing")]
    fn checkpoint(&self, actor: crate::os::Checkpoint) -> bool {
        self.inner.checkpoint(actor)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::future::pending;
    use parking_lot::Mutex;
    use rustix::io::Errno;

    use crate::os::denying::addresses::reaches;

    use super::*;

    /// Keeps the permits of its look-ups, which never end.
    #[derive(Default)]
    struct SilentResolver(Mutex<Vec<Box<dyn Send>>>);

    impl Network for SilentResolver {
        fn listen(&self, _: SocketAddr, _: u32) -> io::Result<Box<dyn Listener>> {
            Err(access_denied())
        }

        fn resolve(&self, _: &str) -> Resolving {
            pending().boxed()
        }

        fn resolve_with_permit(&self, host: &str, permit: Box<dyn Send>) -> Resolving {
            self.0.lock().push(permit);
            self.resolve(host)
        }

        fn connect(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
            pending().boxed()
        }
    }

    #[test]
    fn the_permit_of_a_look_up_outlives_its_future() {
        let network = DenyingNetwork {
            inner: Arc::new(SilentResolver::default()),
            denied: DeniedAddresses::default(),
        };
        let permit = Arc::new(());
        drop(network.resolve_with_permit("host.example", Box::new(permit.clone())));
        assert_eq!(Arc::strong_count(&permit), 2);
    }

    /// Its only address is 10.0.0.7, and no connection is established.
    struct OneAddress;

    impl Network for OneAddress {
        fn listen(&self, address: SocketAddr, _: u32) -> io::Result<Box<dyn Listener>> {
            match address.ip() == IpAddr::from([10, 0, 0, 7]) {
                true => Err(Errno::ADDRINUSE.into()),
                false => Err(Errno::ADDRNOTAVAIL.into()),
            }
        }

        fn resolve(&self, _: &str) -> Resolving {
            pending().boxed()
        }

        fn connect(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
            pending().boxed()
        }

        fn connect_from(
            &self,
            _: SocketAddr,
            _: SocketAddr,
        ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
            pending().boxed()
        }
    }

    #[test]
    fn a_chosen_local_address_reaches_no_denied_address() {
        let network = DenyingNetwork {
            inner: Arc::new(OneAddress),
            denied: DeniedAddresses::default(),
        };
        network.denied.add(SocketAddr::from(([0, 0, 0, 0], 80)));
        let from = SocketAddr::from(([127, 0, 0, 1], 0));
        for (peer, denies) in [
            (SocketAddr::from(([10, 0, 0, 7], 80)), true),
            (SocketAddr::from(([10, 0, 0, 7], 81)), false),
            (SocketAddr::from(([10, 0, 0, 8], 80)), false),
        ] {
            let result = network.connect_from(from, peer).now_or_never();
            assert_eq!(result.is_some(), denies, "{peer}");
        }
    }

    #[test]
    fn a_denied_address_is_recognized_in_every_notation() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (denied, peer, local, denies) in [
            ("127.0.0.1:80", "127.0.0.1:80", None, true),
            ("127.0.0.1:80", "127.0.0.1:81", None, false),
            ("127.0.0.1:80", "127.0.0.2:80", None, false),
            ("127.0.0.1:80", "0.0.0.0:80", None, true),
            ("127.0.0.1:80", "[::]:80", None, true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", None, true),
            ("127.0.0.1:80", "[::ffff:0.0.0.0]:80", None, true),
            ("[::1]:80", "[::1]:80", None, true),
            ("[::1]:80", "[::]:80", None, true),
            ("0.0.0.0:80", "127.9.9.9:80", None, true),
            ("[::]:80", "[::1]:80", None, true),
            ("0.0.0.0:80", "10.0.0.7:80", Some("10.0.0.7:5000"), true),
            ("[::]:80", "10.0.0.7:80", Some("10.0.0.7:5000"), true),
            ("0.0.0.0:80", "10.0.0.8:80", Some("10.0.0.7:5000"), false),
            ("10.0.0.7:80", "10.0.0.7:80", None, true),
            ("10.0.0.7:80", "0.0.0.0:80", None, false),
        ] {
            let denied = reaches(at(denied), at(peer), local.map(at));
            assert_eq!(denied, denies, "{denied} {peer} {local:?}");
        }
    }
}
