//! Random calls, datagrams and listeners against a model of what the documentation promises, on
//! real sockets. `UDP_MODEL_CASES=10000` runs longer.

use std::collections::VecDeque;
use std::net::SocketAddr;

use chrome_sockets::udp::{DEFAULT_BUFFER_SIZE, DnsQueryType, SocketProperties};
use chrome_sockets::{Error, InvalidArgument, NetError, Registry, UdpSocketId};
use proptest::prelude::*;
use support::{ListenerEvent, TestApp, within};

use super::{Peer, create};

/// The number of sockets at a time, and of peers.
const SOCKETS: usize = 3;

/// The most datagrams that wait in one socket: the OS keeps all of them.
const WAITING: usize = 10;

#[derive(Clone, Debug)]
enum Op {
    Update(usize, Option<i32>, Option<bool>, Option<&'static str>),
    SetPaused(usize, bool),
    Bind(usize, At),
    /// The length, and whether the handle is used.
    Send(usize, To, usize, bool),
    /// A peer sends to a socket.
    Incoming(usize, usize, usize),
    SetTimeToLive(usize, i32),
    SetLoopback(usize, bool),
    SetBroadcast(usize, bool),
    JoinGroup(usize, &'static str),
    LeaveGroup(usize, &'static str),
    Close(usize),
    /// Adds or removes the listener of `onReceive`.
    Listen(bool),
    /// `suspend`, then `resume` with the listeners added again.
    Reload,
}

/// The address of a `bind`.
#[derive(Clone, Copy, Debug)]
enum At {
    Loopback,
    PortOf(usize),
    Elsewhere,
    NoAddress,
    NoPort,
}

/// The target of a `send`.
#[derive(Clone, Copy, Debug)]
enum To {
    Socket(usize),
    Peer(usize),
    NoName,
    NoPort,
}

#[derive(Default)]
struct Socket {
    id: u64,
    persistent: bool,
    name: Option<&'static str>,
    buffer_size: Option<i32>,
    paused: bool,
    at: Option<SocketAddr>,
    /// What the OS holds for it.
    waiting: VecDeque<(Vec<u8>, SocketAddr)>,
}

struct Model {
    test: TestApp,
    sockets: Vec<Socket>,
    peers: Vec<Peer>,
    listens: bool,
    sent: u8,
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SOCKETS;
    let size = prop::option::of(prop_oneof![
        Just(-1),
        Just(0),
        Just(1),
        Just(100),
        Just(60_000)
    ]);
    let name = prop::option::of(prop_oneof![Just(""), Just("a"), Just("b")]);
    let at = prop_oneof![
        6 => Just(At::Loopback),
        1 => slot().prop_map(At::PortOf),
        1 => Just(At::Elsewhere),
        1 => Just(At::NoAddress),
        1 => Just(At::NoPort),
    ];
    let to = prop_oneof![
        5 => slot().prop_map(To::Socket),
        4 => slot().prop_map(To::Peer),
        1 => Just(To::NoName),
        1 => Just(To::NoPort),
    ];
    let length =
        || prop_oneof![6 => 0..300_usize, 2 => 4090..4100_usize, 1 => 65_505..65_510_usize];
    let group = || prop_oneof![Just("10.0.0.1"), Just("nonsense"), Just("ff02::fb")];
    prop_oneof![
        2 => (slot(), size, prop::option::of(any::<bool>()), name)
            .prop_map(|(slot, size, persistent, name)| Op::Update(slot, size, persistent, name)),
        4 => (slot(), any::<bool>()).prop_map(|(slot, paused)| Op::SetPaused(slot, paused)),
        5 => (slot(), at).prop_map(|(slot, at)| Op::Bind(slot, at)),
        9 => (slot(), to, length(), any::<bool>())
            .prop_map(|(slot, to, length, handle)| Op::Send(slot, to, length, handle)),
        6 => (slot(), slot(), length())
            .prop_map(|(peer, slot, length)| Op::Incoming(peer, slot, length)),
        1 => (slot(), -1..257).prop_map(|(slot, ttl)| Op::SetTimeToLive(slot, ttl)),
        1 => (slot(), any::<bool>()).prop_map(|(slot, on)| Op::SetLoopback(slot, on)),
        1 => (slot(), any::<bool>()).prop_map(|(slot, on)| Op::SetBroadcast(slot, on)),
        1 => (slot(), group()).prop_map(|(slot, group)| Op::JoinGroup(slot, group)),
        1 => (slot(), group()).prop_map(|(slot, group)| Op::LeaveGroup(slot, group)),
        2 => slot().prop_map(Op::Close),
        2 => any::<bool>().prop_map(Op::Listen),
        1 => Just(Op::Reload),
    ]
}

fn net(code: NetError) -> Error {
    code.into()
}

impl Socket {
    fn id(&self) -> UdpSocketId {
        self.id.into()
    }

    fn longest(&self) -> usize {
        let set = self.buffer_size.and_then(|size| size.try_into().ok());
        set.unwrap_or(DEFAULT_BUFFER_SIZE)
    }
}

impl Model {
    async fn new(arbiters: usize) -> Self {
        let test = TestApp::on(Registry::new().arbiters(arbiters)).await;
        let mut model = Model {
            test,
            sockets: Vec::new(),
            peers: Vec::new(),
            listens: true,
            sent: 0,
        };
        for _ in 0..SOCKETS {
            let socket = model.create().await;
            model.sockets.push(socket);
            model.peers.push(Peer::new().await);
        }
        model
    }

    async fn create(&self) -> Socket {
        let id = create(&self.test, SocketProperties::default()).await;
        Socket {
            id: id.get(),
            ..Socket::default()
        }
    }

    /// The data of the next datagram.
    fn data(&mut self, length: usize) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        (0..length).map(|at| self.sent ^ at as u8).collect()
    }

    async fn run(&mut self, op: &Op) {
        let udp = self.test.app.udp.clone();
        match *op {
            Op::Update(slot, buffer_size, persistent, name) => {
                let socket = &mut self.sockets[slot];
                let properties = SocketProperties {
                    persistent,
                    name: name.map(str::to_owned),
                    buffer_size,
                };
                assert_eq!(udp.update(socket.id(), properties).await, Ok(()));
                socket.persistent = persistent.unwrap_or(socket.persistent);
                if let Some(name) = name {
                    socket.name = Some(name).filter(|name| !name.is_empty());
                }
                if let Some(size) = buffer_size {
                    socket.buffer_size = Some(size).filter(|size| *size > 0);
                }
            }
            Op::SetPaused(slot, paused) => {
                let socket = &mut self.sockets[slot];
                assert_eq!(udp.set_paused(socket.id(), paused).await, Ok(()));
                socket.paused = paused;
            }
            Op::Bind(slot, at) => self.bind(slot, at).await,
            Op::Send(slot, to, length, by_handle) => self.send(slot, to, length, by_handle).await,
            Op::Incoming(peer, slot, length) => {
                let data = self.data(length.min(65_507));
                let socket = &mut self.sockets[slot];
                if let Some(at) = socket.at
                    && socket.waiting.len() < WAITING
                {
                    self.peers[peer].send(&data, at).await;
                    let from = self.peers[peer].address();
                    socket.waiting.push_back((data, from));
                }
            }
            Op::SetTimeToLive(slot, ttl) => {
                let socket = &self.sockets[slot];
                let expected = match (socket.at, u8::try_from(ttl)) {
                    (Some(_), _) => Err(net(NetError::SOCKET_IS_CONNECTED)),
                    (None, Ok(_)) => Ok(()),
                    (None, Err(_)) => Err(InvalidArgument::TimeToLiveOutOfRange.into()),
                };
                let set = udp.set_multicast_time_to_live(socket.id(), ttl).await;
                assert_eq!(set, expected);
            }
            Op::SetLoopback(slot, enabled) => {
                let socket = &self.sockets[slot];
                let expected = match socket.at {
                    Some(_) => Err(net(NetError::SOCKET_IS_CONNECTED)),
                    None => Ok(()),
                };
                let set = udp.set_multicast_loopback_mode(socket.id(), enabled).await;
                assert_eq!(set, expected);
            }
            Op::SetBroadcast(slot, enabled) => {
                let socket = &self.sockets[slot];
                let expected = match socket.at {
                    Some(_) => Ok(()),
                    None => Err(net(NetError::SOCKET_NOT_CONNECTED)),
                };
                assert_eq!(udp.set_broadcast(socket.id(), enabled).await, expected);
            }
            Op::JoinGroup(slot, group) => {
                let socket = &self.sockets[slot];
                let joined = udp.join_group(socket.id(), group).await;
                // A group of the other family, none, and no address.
                let expected = match (socket.at, group) {
                    (None, _) => None,
                    (Some(_), "10.0.0.1") => Some(InvalidArgument::NotMulticast.into()),
                    (Some(_), _) => Some(net(NetError::ADDRESS_INVALID)),
                };
                match expected {
                    Some(error) => assert_eq!(joined, Err(error), "{group}"),
                    None => assert!(joined.is_err(), "{group}"),
                }
            }
            Op::LeaveGroup(slot, group) => {
                let left = udp.leave_group(self.sockets[slot].id(), group).await;
                assert!(left.is_err(), "{group} was never joined");
                let groups = udp.get_joined_groups(self.sockets[slot].id()).await;
                assert_eq!(groups, Ok(Vec::new()));
            }
            Op::Close(slot) => {
                let socket = self.create().await;
                let old = std::mem::replace(&mut self.sockets[slot], socket);
                assert_eq!(udp.close(old.id()).await, Ok(()));
                if old.at.is_some() && !old.paused {
                    self.expect_error(old.id(), NetError::CONNECTION_CLOSED)
                        .await;
                }
                let gone = udp.get_info(old.id()).await;
                assert_eq!(gone.map(drop), Err(Error::SocketNotFound));
            }
            Op::Listen(listens) => {
                let recipient = self.test.listener.clone().recipient();
                let event = &udp.on_receive;
                let set = match listens {
                    true => event.add_listener(recipient),
                    false => event.remove_listener(recipient),
                };
                assert_eq!(set.await, Ok(()));
                self.listens = listens;
            }
            Op::Reload => self.reload().await,
        }
        self.expect_datagrams().await;
    }

    async fn bind(&mut self, slot: usize, at: At) {
        let used = match at {
            At::PortOf(other) => self.sockets[other].at,
            _ => None,
        };
        let (address, port) = match at {
            At::Loopback => ("127.0.0.1", 0),
            At::PortOf(_) => ("127.0.0.1", used.map_or(0, |at| at.port().into())),
            At::Elsewhere => ("192.0.2.1", 0),
            At::NoAddress => ("localhost", 0),
            At::NoPort => ("127.0.0.1", 65_536),
        };
        let socket = &mut self.sockets[slot];
        let udp = &self.test.app.udp;
        let expected = match at {
            _ if socket.at.is_some() => Err(net(NetError::CONNECTION_FAILED)),
            At::NoAddress => Err(InvalidArgument::AddressNotIp.into()),
            At::NoPort => Err(InvalidArgument::PortOutOfRange.into()),
            At::Elsewhere => Err(net(NetError::ADDRESS_INVALID)),
            At::PortOf(_) if used.is_some() => Err(net(NetError::ADDRESS_IN_USE)),
            At::Loopback | At::PortOf(_) => Ok(()),
        };
        assert_eq!(udp.bind(socket.id(), address, port).await, expected);
        if expected.is_ok() {
            let info = udp.get_info(socket.id()).await.expect("it exists");
            socket.at = info.local_addr();
            assert!(socket.at.is_some_and(|at| at.port() > 0));
        }
    }

    async fn send(&mut self, slot: usize, to: To, length: usize, by_handle: bool) {
        let target = match to {
            To::Socket(slot) => self.sockets[slot].at,
            To::Peer(peer) => Some(self.peers[peer].address()),
            To::NoName | To::NoPort => None,
        };
        let address = match to {
            To::NoName => "nowhere.invalid",
            _ => "127.0.0.1",
        };
        let port = match to {
            To::NoPort => -1,
            // No one is there.
            _ => target.map_or(9, |at| at.port().into()),
        };
        let is_full = matches!(to, To::Socket(slot) if self.sockets[slot].waiting.len() >= WAITING);
        if is_full {
            return;
        }
        let data = self.data(length);
        let (id, from) = (self.sockets[slot].id(), self.sockets[slot].at);
        let expected = match (from, to) {
            (None, _) => None,
            (Some(_), To::NoPort) => None,
            (Some(_), To::NoName) => Some(Err(net(NetError::NAME_NOT_RESOLVED))),
            (Some(_), _) if length > 65_507 => Some(Err(net(NetError::MSG_TOO_BIG))),
            (Some(_), _) => Some(Ok(length)),
        };
        let udp = &self.test.app.udp;
        let query = DnsQueryType::Any;
        let sent = match by_handle {
            true => {
                let handle = udp.socket(id).await.expect("it exists");
                handle.send(data.clone(), address, port, query)
            }
            false => udp.send(id, data.clone(), address, port, query),
        };
        let sent = within("the answer to send", sent).await;
        let sent = sent.map(|sent| sent.bytes_sent);
        match expected {
            Some(expected) => assert_eq!(sent, expected, "{to:?}"),
            // The order of these two checks is not specified.
            None => assert!(sent.is_err(), "{to:?}: {sent:?}"),
        }
        let Some(from) = from.filter(|_| sent.is_ok()) else {
            return;
        };
        match to {
            To::Socket(slot) if target.is_some() => {
                self.sockets[slot].waiting.push_back((data, from));
            }
            To::Peer(peer) => assert!(self.peers[peer].receive().await == (data, from)),
            _ => {}
        }
    }

    /// Suspends the app, which closes the sockets that are not persistent, and resumes it.
    async fn reload(&mut self) {
        let app = self.test.app.clone();
        assert_eq!(app.suspend().await, Ok(()));
        for slot in 0..SOCKETS {
            if !self.sockets[slot].persistent {
                let id = self.sockets[slot].id();
                let gone = app.udp.get_info(id).await;
                assert_eq!(gone.map(drop), Err(Error::SocketNotFound));
            }
        }
        assert_eq!(app.resume().await, Ok(()));
        let recipient = self.test.listener.clone().recipient();
        let added = app.udp.on_receive_error.add_listener(recipient);
        assert_eq!(added.await, Ok(()));
        for slot in 0..SOCKETS {
            if !self.sockets[slot].persistent {
                self.sockets[slot] = self.create().await;
            }
        }
        self.listens = false;
    }

    async fn expect_error(&mut self, id: UdpSocketId, code: NetError) {
        match self.test.next().await {
            ListenerEvent::UdpError(from, seen) if (from, seen) == (id, code) => {}
            other => panic!("expected {code} of {id}, not {other:?}"),
        }
    }

    /// Everything that waits for a socket that receives comes now.
    async fn expect_datagrams(&mut self) {
        // The sockets are independent, so their events come in any order.
        let is_receiving = |socket: &Socket, listens: bool| {
            listens && !socket.paused && !socket.waiting.is_empty()
        };
        while self
            .sockets
            .iter()
            .any(|socket| is_receiving(socket, self.listens))
        {
            let event = self.test.next().await;
            let (ListenerEvent::Datagram(id, ..) | ListenerEvent::UdpError(id, ..)) = event else {
                panic!("no event of udp: {event:?}");
            };
            let listens = self.listens;
            let socket = self.sockets.iter_mut().find(|socket| socket.id() == id);
            let socket = socket.filter(|socket| is_receiving(socket, listens));
            let socket = socket.unwrap_or_else(|| panic!("no event was due: {event:?}"));
            let (data, from) = socket.waiting.pop_front().expect("it is not empty");
            match event {
                ListenerEvent::Datagram(_, seen, bytes) => {
                    assert!(seen == from && bytes == data, "{} bytes", data.len());
                    assert!(data.len() <= socket.longest());
                }
                ListenerEvent::UdpError(_, code) => {
                    assert_eq!(code, NetError::MSG_TOO_BIG);
                    assert!(data.len() > socket.longest(), "{} bytes", data.len());
                    socket.paused = true;
                }
                _ => {}
            }
        }
    }

    /// Everything that `getSockets` tells is as in the model.
    async fn check(&mut self) {
        let infos = self.test.app.udp.get_sockets().await.expect("it runs");
        self.sockets.sort_by_key(|socket| socket.id);
        assert_eq!(infos.len(), self.sockets.len());
        for (info, socket) in infos.iter().zip(&self.sockets) {
            assert_eq!(info.socket_id, socket.id());
            assert_eq!(info.persistent, socket.persistent);
            assert_eq!(info.name.as_deref(), socket.name);
            assert_eq!(info.buffer_size, socket.buffer_size);
            assert_eq!(info.paused, socket.paused);
            assert_eq!(info.local_addr(), socket.at);
            assert_eq!(info.dropped_events, 0);
            assert!(matches!(info.dropped_datagrams, None | Some(0)), "{info:?}");
        }
        assert!(self.peers.iter().all(Peer::has_nothing));
        assert!(self.test.try_next().is_none());
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("UDP_MODEL_CASES").ok();
    ProptestConfig {
        cases: cases.map_or(48, |cases| cases.parse().expect("a number of cases")),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_calls_and_datagrams_match_the_model(
        ops in prop::collection::vec(op(), 1..120),
        arbiters in prop_oneof![3 => Just(1), 1 => Just(3_usize)],
    ) {
        actix_rt::System::new().block_on(async {
            let mut model = Model::new(arbiters).await;
            for op in &ops {
                model.run(op).await;
            }
            model.check().await;
        });
    }
}
