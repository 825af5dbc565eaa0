//! A network without I/O: what it answers is what the test wrote.
//!
//! Nothing here takes time or depends on the machine: a call that is not
//! scripted succeeds or is refused by fixed rules, and a call that cannot be
//! answered yet is woken by the change that answers it.

mod connection;
mod hold;
mod listener;
mod peer;
#[cfg(test)]
mod tests;

pub use crate::testing::scripted::hold::Hold;
pub use crate::testing::scripted::peer::Peer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};

use crate::os::{Listener, Network, Stream, Writer};
use crate::testing::scripted::connection::End;
use crate::testing::scripted::hold::{Held, Holds};
use crate::testing::scripted::listener::{Backlog, Backlogs, ScriptedListener};

/// The ports that listening on port 0 gives, in this order.
const LISTENING_PORTS: Ports = Ports { first: 49152 };
/// The ports that connections are made from, so that the two never mix.
const CLIENT_PORTS: Ports = Ports { first: 32768 };

/// A [`Network`] for tests: every fault comes when the test says so.
///
/// It is a handle; clones are the same network. The test plays the far ends of
/// connections as [`Peer`]s: [`client`](Self::client) connects to a listener of
/// the app, [`server`](Self::server) takes a connection of the app. Faults are
/// errno values (`libc::EMFILE`), answered once, in the order they were given.
///
/// What is not scripted:
///
/// - `listen` succeeds unless the address overlaps with one that is listened
///   on (`EADDRINUSE`); port 0 becomes a made-up port.
/// - Listeners that share their address
///   ([`listen_shared`](Network::listen_shared)) get its connections and faults
///   in turn. Each has a backlog of its own; one that is full is passed over.
/// - `resolve` knows `localhost` (127.0.0.1) and no other name.
/// - `connect` reaches a listener of this network, and is refused where there
///   is none or its backlog is full. The two ends then talk to each other.
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
/// let address = listener.local_addr()?;
///
/// // What the test does: the process is out of files when a client comes.
/// net.accept_error(address, EMFILE)?;
/// let client = net.client(address)?;
/// client.send("hello");
///
/// let Poll::Ready(Err(error)) = listener.poll_accept(&mut cx) else {
///     panic!("the fault comes first");
/// };
/// assert_eq!(error.raw_os_error(), Some(EMFILE));
/// let Poll::Ready(Ok((mut stream, peer))) = listener.poll_accept(&mut cx) else {
///     panic!("the client has waited");
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
    state: Arc<Mutex<State>>,
}

/// A call that reached a [`ScriptedNetwork`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `listen` or `listen_shared`, whatever it answered.
    Listen {
        /// The address as it was asked for: port 0 stays 0.
        address: SocketAddr,
        /// How many clients may wait.
        backlog: u32,
    },
    /// `resolve`, whatever it answered.
    Resolve {
        /// The name.
        host: String,
    },
    /// `connect`, whatever it answered.
    Connect {
        /// The address.
        address: SocketAddr,
    },
}

#[derive(Debug, Default)]
struct State {
    listen_errors: VecDeque<i32>,
    listeners: BTreeMap<SocketAddr, Backlogs>,
    listeners_made: u64,
    listening_ports_given: u16,
    client_ports_given: u16,
    resolves: HashMap<String, VecDeque<io::Result<Vec<IpAddr>>>>,
    connects: HashMap<SocketAddr, VecDeque<Result<End, i32>>>,
    holds: Holds,
    calls: Vec<Call>,
}

impl ScriptedNetwork {
    /// A network on which nobody listens and nothing is scripted.
    pub fn new() -> Self {
        Self::default()
    }

    /// One `listen` to come answers this errno.
    pub fn listen_error(&self, errno: i32) {
        self.state().listen_errors.push_back(errno);
    }

    /// The addresses that are listened on, in order.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.state().listeners.keys().copied().collect()
    }

    /// How many clients wait to be accepted at this address; 0 where nobody
    /// listens.
    pub fn waiting(&self, address: SocketAddr) -> usize {
        let mut state = self.state();
        state
            .backlog(address)
            .map_or(0, |backlogs| backlogs.clients())
    }

    /// A client that the test plays: it waits at the end of the backlog (of one
    /// of those that share the address), and may send before it is accepted. Dropping it closes the connection.
    ///
    /// # Errors
    /// `ECONNREFUSED` if nobody listens there, or every backlog is full.
    pub fn client(&self, address: SocketAddr) -> io::Result<Peer> {
        self.dial(address).map(Peer::new)
    }

    /// Puts a fault into the backlog: the `accept` whose turn it is answers
    /// this errno, and the clients behind it wait on.
    ///
    /// # Errors
    /// `ECONNREFUSED` if nobody listens there.
    pub fn accept_error(&self, address: SocketAddr, errno: i32) -> io::Result<()> {
        let waker = match self.state().backlog(address) {
            Some(backlogs) => backlogs.next().push_error(errno),
            None => return Err(os_error(libc::ECONNREFUSED)),
        };
        wake(waker);
        Ok(())
    }

    /// One `resolve` of this name to come answers this.
    pub fn next_resolve(&self, host: impl Into<String>, answer: io::Result<Vec<IpAddr>>) {
        let mut state = self.state();
        let answers = state.resolves.entry(host.into()).or_default();
        answers.push_back(answer);
    }

    /// A server that the test plays: one `connect` to this address to come
    /// succeeds, and this is its far end. It may be told what to do before.
    /// Dropping it closes the connection, even one that is not made yet.
    #[must_use = "a server that is dropped closes the connection"]
    pub fn server(&self, address: SocketAddr) -> Peer {
        let mut state = self.state();
        let (far, near) = connection::pair(address, state.client_address(address.ip()));
        state.next_connect(address, Ok(near));
        Peer::new(far)
    }

    /// One `connect` to this address to come answers this errno.
    pub fn connect_error(&self, address: SocketAddr, errno: i32) {
        self.state().next_connect(address, Err(errno));
    }

    /// As long as the [`Hold`] lives, a `resolve` of this name that begins
    /// stays pending. It takes its answer when it is let go.
    pub fn hold_resolve(&self, host: impl Into<String>) -> Hold {
        self.state().holds.hold(Held::Resolve(host.into()))
    }

    /// As long as the [`Hold`] lives, a `connect` to this address that begins
    /// stays pending. It takes its answer when it is let go.
    pub fn hold_connect(&self, address: SocketAddr) -> Hold {
        self.state().holds.hold(Held::Connect(address))
    }

    /// What was called so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn listens(
        &self,
        address: SocketAddr,
        backlog: u32,
        shared: bool,
    ) -> io::Result<Box<dyn Listener>> {
        let mut state = self.state();
        state.calls.push(Call::Listen { address, backlog });
        let (address, number) = state.listen(address, backlog, shared)?;
        drop(state);
        let listener = ScriptedListener::new(self.clone(), address, number);
        Ok(Box::new(listener))
    }

    /// A new connection in the backlog of who listens there.
    fn dial(&self, address: SocketAddr) -> io::Result<End> {
        let (end, waker) = self.state().dial(address)?;
        wake(waker);
        Ok(end)
    }

    fn answer_resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut state = self.state();
        let scripted = state.resolves.get_mut(host).and_then(VecDeque::pop_front);
        scripted.unwrap_or_else(|| match host {
            "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn answer_connect(&self, address: SocketAddr) -> io::Result<End> {
        let mut state = self.state();
        let scripted = state.connects.get_mut(&address);
        match scripted.and_then(VecDeque::pop_front) {
            Some(answer) => answer.map_err(os_error),
            None => {
                drop(state);
                self.dial(address)
            }
        }
    }
}

impl Network for ScriptedNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.listens(address, backlog, false)
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.listens(address, backlog, true)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let network = self.clone();
        let host = host.to_owned();
        let mut state = self.state();
        state.calls.push(Call::Resolve { host: host.clone() });
        let let_go = state.holds.let_go(Held::Resolve(host.clone()));
        async move {
            let_go.await;
            network.answer_resolve(&host)
        }
        .boxed()
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let network = self.clone();
        let mut state = self.state();
        state.calls.push(Call::Connect { address });
        let let_go = state.holds.let_go(Held::Connect(address));
        async move {
            let_go.await;
            let end = network.answer_connect(address)?;
            Ok(Box::new(end) as Box<dyn Stream>)
        }
        .boxed()
    }
}

impl State {
    /// The address, and the number of the listener.
    fn listen(
        &mut self,
        mut address: SocketAddr,
        backlog: u32,
        shared: bool,
    ) -> io::Result<(SocketAddr, u64)> {
        if let Some(errno) = self.listen_errors.pop_front() {
            return Err(os_error(errno));
        }
        if address.port() == 0 {
            let in_use = os_error(libc::EADDRINUSE);
            address.set_port(self.free_port(address.ip()).ok_or(in_use)?);
        } else if self.is_taken(address, shared) {
            return Err(os_error(libc::EADDRINUSE));
        }
        self.listeners_made += 1;
        let number = self.listeners_made;
        let backlogs = self.listeners.entry(address);
        let backlogs = backlogs.or_insert_with(|| Backlogs::new(shared));
        backlogs.add(number, backlog);
        Ok((address, number))
    }

    /// As on the real network, one that is shared is free for others that are.
    fn is_taken(&self, address: SocketAddr, shared: bool) -> bool {
        let mut taken = self.listeners.iter();
        taken.any(|(&other, backlogs)| {
            let is_shared = shared && backlogs.is_shared();
            !is_shared && (covers(other, address) || covers(address, other))
        })
    }

    /// A listener is dropped: what waited in its backlog.
    fn forget(&mut self, address: SocketAddr, listener: u64) -> Option<Backlog> {
        let (backlog, was_last) = self.listeners.get_mut(&address)?.remove(listener);
        if was_last {
            self.listeners.remove(&address);
        }
        backlog
    }

    fn free_port(&mut self, ip: IpAddr) -> Option<u16> {
        for _ in 0..Ports::COUNT {
            let port = LISTENING_PORTS.next(&mut self.listening_ports_given);
            if !self.is_taken((ip, port).into(), false) {
                return Some(port);
            }
        }
        None
    }

    /// Where the connections come from that are made to this address.
    fn client_address(&mut self, to: IpAddr) -> SocketAddr {
        let port = CLIENT_PORTS.next(&mut self.client_ports_given);
        (loopback(to), port).into()
    }

    /// The backlogs of who listens on this address, or on all addresses.
    fn backlog(&mut self, address: SocketAddr) -> Option<&mut Backlogs> {
        let mut listeners = self.listeners.iter_mut();
        let (_, backlogs) = listeners.find(|(listener, _)| covers(**listener, address))?;
        Some(backlogs)
    }

    fn dial(&mut self, to: SocketAddr) -> io::Result<(End, Option<Waker>)> {
        let from = self.client_address(to.ip());
        let backlog = self.backlog(to).and_then(Backlogs::next_with_room);
        let backlog = backlog.ok_or_else(|| os_error(libc::ECONNREFUSED))?;
        let reached = match to.ip() {
            ip if ip.is_unspecified() => (loopback(ip), to.port()).into(),
            _ => to,
        };
        let (client, accepted) = connection::pair(from, reached);
        Ok((client, backlog.push_client(accepted, from)))
    }

    fn next_connect(&mut self, address: SocketAddr, answer: Result<End, i32>) {
        let answers = self.connects.entry(address).or_default();
        answers.push_back(answer);
    }
}

/// Whether who listens on `listener` is reached at `address`. As on the real
/// network, `::` takes IPv4 too.
fn covers(listener: SocketAddr, address: SocketAddr) -> bool {
    let every = match listener.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && address.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    listener.port() == address.port() && (every || listener.ip() == address.ip())
}

fn loopback(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// A range of ports that is given out in order, and then again.
struct Ports {
    first: u16,
}

impl Ports {
    const COUNT: u16 = 1 << 14;

    fn next(&self, given: &mut u16) -> u16 {
        let port = self.first + *given;
        *given = (*given + 1) % Self::COUNT;
        port
    }
}

fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// A test that panics elsewhere must not hide its message behind this one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// Wakes; never under a lock, since waking may drop what takes the lock.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
