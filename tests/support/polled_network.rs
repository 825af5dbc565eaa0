//! The machine's network, with every connection watched by the arbiter's poller.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use chrome_sockets::UnixAddress;
use chrome_sockets::os::{
    DatagramSocket, Listener, MulticastOptions, Network, NetworkInterface, Resolving, Stream,
    TokioNetwork,
};

pub struct PolledNetwork;

type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

impl Network for PolledNetwork {
    fn polls_every_connection(&self) -> bool {
        true
    }

    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen(address, backlog)
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen_shared(address, backlog)
    }

    fn listen_ipv6_only(
        &self,
        address: SocketAddr,
        backlog: u32,
        shared: bool,
    ) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen_ipv6_only(address, backlog, shared)
    }

    fn scope_id(&self, interface: &str) -> io::Result<u32> {
        TokioNetwork.scope_id(interface)
    }

    fn interfaces(&self) -> io::Result<Vec<NetworkInterface>> {
        TokioNetwork.interfaces()
    }

    fn resolve(&self, host: &str) -> Resolving {
        TokioNetwork.resolve(host)
    }

    fn resolve_with_permit(&self, host: &str, permit: Box<dyn Send>) -> Resolving {
        TokioNetwork.resolve_with_permit(host, permit)
    }

    fn connect(&self, address: SocketAddr) -> Connecting {
        TokioNetwork.connect(address)
    }

    fn connect_from(&self, local: SocketAddr, address: SocketAddr) -> Connecting {
        TokioNetwork.connect_from(local, address)
    }

    fn listen_unix(
        &self,
        address: &UnixAddress,
        mode: Option<u32>,
        backlog: u32,
    ) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen_unix(address, mode, backlog)
    }

    fn connect_unix(&self, address: &UnixAddress) -> Connecting {
        TokioNetwork.connect_unix(address)
    }

    fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.adopt_listener(listener)
    }

    fn adopt_stream(&self, stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        TokioNetwork.adopt_stream(stream)
    }

    fn bind_datagram(
        &self,
        address: SocketAddr,
        options: MulticastOptions,
    ) -> io::Result<Box<dyn DatagramSocket>> {
        TokioNetwork.bind_datagram(address, options)
    }

    fn adopt_datagram(&self, socket: OwnedFd) -> io::Result<Box<dyn DatagramSocket>> {
        TokioNetwork.adopt_datagram(socket)
    }
}
