//! [`ScriptedNetwork`]: the network, and the script that a test writes.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::address::{Address, UnixAddress};
use crate::os::{DatagramSocket, Listener, MulticastOptions, Network, Resolving, Stream};
use crate::testing::scripted::backlog::Sharing;
use crate::testing::scripted::block::{BlockGuard, Blockable};
use crate::testing::scripted::connection::{self, Endpoint, os_error, wake};
use crate::testing::scripted::datagram::{DatagramNetwork, ScriptedDatagrams, SentDatagram};
use crate::testing::scripted::listener::ScriptedListener;
use crate::testing::scripted::peer::Peer;
use crate::testing::scripted::state::{Call, NetworkState, local_address};

/// A [`Network`] for tests, without I/O: the test scripts every fault.
///
/// It is a handle; clones are the same network. The test plays the far ends of
/// connections as [`Peer`]s: [`client`](Self::client) connects to a listener of
/// the app, [`server`](Self::server) accepts a connection of the app. Faults are
/// errno values (`libc::EMFILE`). Each fault fails one call, in the order in which
/// the test gave them.
///
/// What is not scripted follows fixed rules:
///
/// - `listen` succeeds, unless the address overlaps with the address of another
///   listener (`EADDRINUSE`). Port 0 becomes a port of 49152 and above. `::` takes
///   IPv4 too, unless it listens by
///   [`listen_ipv6_only`](Network::listen_ipv6_only).
/// - Listeners that share their address
///   ([`listen_shared`](Network::listen_shared)) get its connections and faults
///   in turn. Each has its own backlog; a connection passes over a full one.
/// - `resolve` knows `localhost` (127.0.0.1) and no other name.
/// - `connect` reaches a listener of this network, and is refused where there
///   is none or its backlog is full. Then both ends belong to the code under test.
///   [`connect_from`](Network::connect_from) takes any local address, also one that
///   another connection has; port 0 becomes a port of 32768 and above.
/// - A Unix socket has a name, and no file: a name is in use while a listener has it.
/// - There are no network interfaces: no name of one has a scope id.
///
/// ```
/// use std::task::{Context, Poll, Waker};
///
/// use chrome_sockets::os::Network;
/// use chrome_sockets::testing::ScriptedNetwork;
///
/// const EMFILE: i32 = 24;
/// let mut cx = Context::from_waker(Waker::noop());
/// let net = ScriptedNetwork::new();
///
/// // What the code under test does.
/// let mut listener = net.listen("127.0.0.1:0".parse().expect("an address"), 8)?;
/// let address = listener.local_addr()?.socket_addr().expect("an IP address");
///
/// // What the test does: the process has no free descriptor when a client comes.
/// net.accept_error(address, EMFILE)?;
/// let client = net.client(address)?;
/// client.send("hello");
///
/// let Poll::Ready(Err(error)) = listener.poll_accept(&mut cx) else {
///     panic!("the error comes first");
/// };
/// assert_eq!(error.raw_os_error(), Some(EMFILE));
/// let Poll::Ready(Ok((mut stream, peer))) = listener.poll_accept(&mut cx) else {
///     panic!("the client waits");
/// };
/// assert_eq!(peer, client.addr());
///
/// let mut buffer = [0; 16];
/// assert!(matches!(stream.poll_read(&mut cx, &mut buffer), Poll::Ready(Ok(5))));
/// assert_eq!(&buffer[..5], b"hello");
/// drop(stream);
/// assert!(client.is_closed());
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptedNetwork {
    state: Arc<Mutex<NetworkState>>,
    datagrams: Arc<Mutex<DatagramNetwork>>,
}

impl ScriptedNetwork {
    /// A network without listeners and without a script.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `listen` fails with this errno.
    pub fn listen_error(&self, errno: i32) {
        self.state.lock().listen_errors.push_back(errno);
    }

    /// The IP addresses of all listeners, in order.
    pub fn listening(&self) -> Vec<SocketAddr> {
        let state = self.state.lock();
        let addresses = state.listeners.keys();
        addresses.filter_map(Address::socket_addr).collect()
    }

    /// The names of all Unix sockets that listen, in order.
    pub fn listening_unix(&self) -> Vec<UnixAddress> {
        let state = self.state.lock();
        let addresses = state.listeners.keys();
        addresses.filter_map(Address::unix).cloned().collect()
    }

    /// How many clients wait to be accepted at this address; 0 where there is no
    /// listener.
    pub fn waiting(&self, address: SocketAddr) -> usize {
        self.waiting_at(&address.into())
    }

    /// Connects to a listener as a client that the test plays. The client waits
    /// at the end of the backlog, and may send before it is accepted. Dropping it
    /// closes the connection.
    ///
    /// # Errors
    /// `ECONNREFUSED` if there is no listener, or every backlog is full.
    pub fn client(&self, address: SocketAddr) -> io::Result<Peer> {
        self.connect_to_listener(address.into(), None)
            .map(Peer::new)
    }

    /// Puts an error into the backlog: the `accept` that finds it there fails with
    /// this errno, and the clients behind it stay.
    ///
    /// # Errors
    /// `ECONNREFUSED` if there is no listener.
    pub fn accept_error(&self, address: SocketAddr, errno: i32) -> io::Result<()> {
        self.accept_error_at(&address.into(), errno)
    }

    /// The next `resolve` of this name has this result.
    pub fn next_resolve(&self, host: impl Into<String>, result: io::Result<Vec<IpAddr>>) {
        let mut state = self.state.lock();
        state
            .resolves
            .entry(host.into())
            .or_default()
            .push_back(result);
    }

    /// A server that the test plays: the next `connect` to this address succeeds,
    /// and this is its far end. It may be scripted before the app connects.
    /// Dropping it closes the connection, also before the app connects.
    #[must_use = "a server that is dropped closes the connection"]
    pub fn server(&self, address: SocketAddr) -> Peer {
        self.server_at(address.into())
    }

    /// The next `connect` to this address fails with this errno.
    pub fn connect_error(&self, address: SocketAddr, errno: i32) {
        self.state.lock().script_connect(address.into(), Err(errno));
    }

    /// Every `resolve` of this name that begins while the [`BlockGuard`] lives
    /// stays pending. Its result is decided when it is released.
    pub fn block_resolve(&self, host: impl Into<String>) -> BlockGuard {
        self.block(Blockable::Resolve(host.into()))
    }

    /// Every `connect` to this address that begins while the [`BlockGuard`] lives
    /// stays pending. Its result is decided when it is released.
    pub fn block_connect(&self, address: SocketAddr) -> BlockGuard {
        self.block(Blockable::Connect(address.into()))
    }

    fn block(&self, call: Blockable) -> BlockGuard {
        self.state.lock().blocks.block(call)
    }

    /// As [`waiting`](Self::waiting), at a Unix socket.
    pub fn waiting_unix(&self, address: impl Into<UnixAddress>) -> usize {
        self.waiting_at(&address.into().into())
    }

    /// As [`client`](Self::client), at a Unix socket. The client has no name.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn client_unix(&self, address: impl Into<UnixAddress>) -> io::Result<Peer> {
        let connected = self.connect_to_listener(address.into().into(), None);
        connected.map(Peer::new)
    }

    /// As [`accept_error`](Self::accept_error), at a Unix socket.
    ///
    /// # Errors
    /// As [`accept_error`](Self::accept_error).
    pub fn accept_error_unix(&self, address: impl Into<UnixAddress>, errno: i32) -> io::Result<()> {
        self.accept_error_at(&address.into().into(), errno)
    }

    /// As [`server`](Self::server), at a Unix socket.
    #[must_use = "a server that is dropped closes the connection"]
    pub fn server_unix(&self, address: impl Into<UnixAddress>) -> Peer {
        self.server_at(address.into().into())
    }

    /// As [`connect_error`](Self::connect_error), at a Unix socket.
    pub fn connect_error_unix(&self, address: impl Into<UnixAddress>, errno: i32) {
        let address = Address::Unix(address.into());
        self.state.lock().script_connect(address, Err(errno));
    }

    /// As [`block_connect`](Self::block_connect), at a Unix socket.
    pub fn block_connect_unix(&self, address: impl Into<UnixAddress>) -> BlockGuard {
        self.block(Blockable::Connect(address.into().into()))
    }

    fn waiting_at(&self, address: &Address) -> usize {
        let mut state = self.state.lock();
        let listeners = state.listeners_at(address);
        listeners.map_or(0, |listeners| listeners.clients())
    }

    fn accept_error_at(&self, address: &Address, errno: i32) -> io::Result<()> {
        let waker = match self.state.lock().listeners_at(address) {
            Some(listeners) => listeners.next().push_error(errno),
            None => return Err(os_error(libc::ECONNREFUSED)),
        };
        wake(waker);
        Ok(())
    }

    fn server_at(&self, address: Address) -> Peer {
        let mut state = self.state.lock();
        let local = state.client_address(&address);
        let (far, near) = connection::pair(address.clone(), local);
        state.script_connect(address, Ok(near));
        Peer::new(far)
    }

    /// The next `bind` of a datagram socket fails with this errno.
    pub fn bind_error(&self, errno: i32) {
        self.datagrams.lock().bind_errors.push_back(errno);
    }

    /// Sends a datagram to a socket of the app. A socket keeps 256 that the app has
    /// not received; it drops further ones, and counts them.
    ///
    /// # Errors
    /// `ECONNREFUSED` if no datagram socket is bound to `to`.
    pub fn datagram(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        data: impl Into<Bytes>,
    ) -> io::Result<()> {
        let waker = self.datagrams.lock().deliver(to, Ok((from, data.into())))?;
        wake(waker);
        Ok(())
    }

    /// One receive of the socket at this address, after the datagrams that were sent
    /// before, fails with this errno.
    ///
    /// # Errors
    /// `ECONNREFUSED` if no datagram socket is bound to `to`.
    pub fn receive_error(&self, to: SocketAddr, errno: i32) -> io::Result<()> {
        let waker = self.datagrams.lock().deliver(to, Err(errno))?;
        wake(waker);
        Ok(())
    }

    /// The next send of the socket at this address fails with this errno.
    ///
    /// # Errors
    /// `ECONNREFUSED` if no datagram socket is bound to `from`.
    pub fn send_error(&self, from: SocketAddr, errno: i32) -> io::Result<()> {
        self.datagrams.lock().send_error(from, errno)
    }

    /// The socket at this address sends this many datagrams from now on. Then its
    /// sends stay pending, until this is called again. `None` is any number, the
    /// default.
    ///
    /// # Errors
    /// `ECONNREFUSED` if no datagram socket is bound to `from`.
    pub fn limit_sends(&self, from: SocketAddr, datagrams: Option<usize>) -> io::Result<()> {
        let waker = self.datagrams.lock().set_room(from, datagrams)?;
        wake(waker);
        Ok(())
    }

    /// Takes the datagrams that the app has sent to addresses at which it has no
    /// socket itself, in order.
    pub fn sent_datagrams(&self) -> Vec<SentDatagram> {
        self.datagrams.lock().take_sent()
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    fn listen_with(
        &self,
        address: SocketAddr,
        backlog: u32,
        sharing: Sharing,
    ) -> io::Result<Box<dyn Listener>> {
        let (address, id) = self.state.lock().listen(address, backlog, sharing)?;
        Ok(self.listener(address.into(), id))
    }

    fn listener(&self, address: Address, id: u64) -> Box<dyn Listener> {
        Box::new(ScriptedListener {
            network: self.state.clone(),
            address,
            id,
        })
    }

    fn connect_to_listener(
        &self,
        address: Address,
        local: Option<SocketAddr>,
    ) -> io::Result<Endpoint> {
        let (client, waker) = self.state.lock().connect_to_listener(address, local)?;
        wake(waker);
        Ok(client)
    }

    fn resolve_now(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut state = self.state.lock();
        let scripted = state.resolves.get_mut(host).and_then(VecDeque::pop_front);
        scripted.unwrap_or_else(|| match host {
            "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn connect_now(&self, address: Address, local: Option<SocketAddr>) -> io::Result<Endpoint> {
        let scripted = self.state.lock().scripted_connect(&address);
        match scripted {
            Some(result) => {
                let near = result.map_err(os_error)?;
                near.with(|near, _| near.address = local_address(local, near.address.clone()));
                Ok(near)
            }
            None => self.connect_to_listener(address, local),
        }
    }

    fn connect_by(
        &self,
        call: Call,
        address: Address,
        local: Option<SocketAddr>,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let network = self.clone();
        let mut state = self.state.lock();
        state.calls.push(call);
        let released = state.blocks.released(Blockable::Connect(address.clone()));
        async move {
            released.await;
            let stream = network.connect_now(address, local)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }
}

impl Network for ScriptedNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.listen_with(address, backlog, Sharing::default())
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        let sharing = Sharing {
            port: true,
            ipv6_only: false,
        };
        self.listen_with(address, backlog, sharing)
    }

    fn listen_ipv6_only(
        &self,
        address: SocketAddr,
        backlog: u32,
        shared: bool,
    ) -> io::Result<Box<dyn Listener>> {
        let sharing = Sharing {
            port: shared,
            ipv6_only: true,
        };
        self.listen_with(address, backlog, sharing)
    }

    fn listen_unix(
        &self,
        address: &UnixAddress,
        mode: Option<u32>,
        backlog: u32,
    ) -> io::Result<Box<dyn Listener>> {
        let id = self.state.lock().listen_unix(address, mode, backlog)?;
        Ok(self.listener(Address::Unix(address.clone()), id))
    }

    fn connect_unix(
        &self,
        address: &UnixAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let address = address.clone();
        let call = Call::ConnectUnix {
            address: address.clone(),
        };
        self.connect_by(call, address.into(), None)
    }

    fn bind_datagram(
        &self,
        address: SocketAddr,
        _: MulticastOptions,
    ) -> io::Result<Box<dyn DatagramSocket>> {
        let address = self.datagrams.lock().bind(address)?;
        let network = self.datagrams.clone();
        Ok(Box::new(ScriptedDatagrams { network, address }))
    }

    fn resolve(&self, host: &str) -> Resolving {
        let network = self.clone();
        let host = host.to_owned();
        let mut state = self.state.lock();
        state.calls.push(Call::Resolve { host: host.clone() });
        let released = state.blocks.released(Blockable::Resolve(host.clone()));
        async move {
            released.await;
            network.resolve_now(&host)
        }
        .boxed()
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.connect_by(Call::Connect { address }, address.into(), None)
    }

    fn connect_from(
        &self,
        local: SocketAddr,
        address: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.connect_by(Call::Connect { address }, address.into(), Some(local))
    }
}
