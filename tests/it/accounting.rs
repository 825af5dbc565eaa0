//! Accounts for every connection and every byte of many short connections with random faults and
//! panics.
//!
//! What the app was told it sent is what the peer received, unless the peer reset the connection
//! or a fault was injected. Without faults nothing is lost.
//!
//! `ACCOUNT_CONNECTIONS=1000000 cargo test --workspace --release --test it accounting:: --
//! --test-threads 1 --nocapture` makes more connections. `ACCOUNT_SEED` sets the first seed.

mod behaviour;
mod handlers;
mod recording_server;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use actix::prelude::*;
use behaviour::{Behaviour, Behaviours, pattern};
use chrome_sockets::os::{Network, TokioNetwork};
use chrome_sockets::supervision::RestartLimit;
use chrome_sockets::testing::{FaultyNetwork, Peer, RuleId, ScriptedNetwork};
use chrome_sockets::{AddListener, App, Error, Event, OnEvent, Registry, ServerSocketId};
use recording_server::{GetTotals, Recorder, Totals};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Number of connections that `cargo test` makes on the scripted network, and on real sockets.
const SCRIPTED: u32 = 50_000;
const REAL: u32 = 4_000;

/// Number of connections open at the same time.
const AT_ONCE: usize = 200;

const ABORTED: &str = "accept=ECONNABORTED,p=0.004";

const FAULTS: [&str; 19] = [
    "accept=EMFILE,p=0.02",
    "accept=EPROTO,p=0.004",
    "accept=panic,p=0.002",
    "read=ECONNRESET,p=0.003",
    "read=ETIMEDOUT,p=0.003",
    "read=reset,p=0.003",
    "read=panic,p=0.002",
    "read=short,bytes=3,p=0.01",
    "read=stall,for=2ms,p=0.002",
    "write=EPIPE,p=0.003",
    "write=reset,p=0.003",
    "write=short,bytes=5,p=0.01",
    "write=stall,for=2ms,p=0.002",
    "panic=server,p=0.002",
    "panic=clients,p=0.002",
    "panic=registry,p=0.1",
    "panic=subscriber,p=0.001",
    "stop=subscriber,p=0.001",
    "subscriber=stall,for=2ms,p=0.0005",
];

fn setting(name: &str, default: u32) -> u32 {
    let text = std::env::var(name).ok();
    let value = text.map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")));
    value.unwrap_or(default)
}

fn seed() -> u32 {
    setting("ACCOUNT_SEED", 1)
}

/// Repeats a call until it no longer answers `Panicked`.
async fn retry_panics<T: Unpin>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    loop {
        match within("an answer", call()).await {
            Ok(answer) => return answer,
            Err(error) => assert_eq!(error, Error::Panicked),
        }
    }
}

/// Adds `books` as a listener; with faults, behind subscribers that die and are replaced.
async fn subscribe<E: Event>(
    network: &Option<FaultyNetwork>,
    event: &OnEvent<E>,
    recorder: &Addr<Recorder>,
) where
    Recorder: Handler<E>,
    Registry: Handler<AddListener<E>>,
{
    let recorder: Recipient<E> = recorder.clone().recipient();
    let Some(network) = network.clone() else {
        return event.add_listener(recorder).await.expect("it runs");
    };
    let event = event.clone();
    actix_rt::spawn(async move {
        loop {
            let subscriber = network.subscriber(recorder.clone());
            retry_panics(async || event.add_listener(subscriber.clone()).await).await;
            while subscriber.connected() {
                actix_rt::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    });
}

/// Arbiters and faults of a run.
#[derive(Clone, Copy)]
struct Setup {
    name: &'static str,
    arbiters: usize,
    /// The server socket has a listener in each arbiter.
    shares_port: bool,
    faults: &'static [&'static str],
}

const ONE_ARBITER: Setup = Setup {
    name: "one arbiter",
    arbiters: 1,
    shares_port: false,
    faults: &FAULTS,
};

const THREE_ARBITERS: Setup = Setup {
    name: "three arbiters",
    arbiters: 3,
    ..ONE_ARBITER
};

const SHARED_PORT: Setup = Setup {
    name: "three arbiters and a shared port",
    shares_port: true,
    ..THREE_ARBITERS
};

impl Setup {
    const fn without_faults(self) -> Self {
        Setup {
            faults: &[],
            ..self
        }
    }
}

/// What the peer of a connection received.
#[derive(Clone, Copy, Debug, Default)]
struct PeerResult {
    bytes: u32,
    /// The connection was reset, and not by the peer.
    reset: bool,
}

/// An app whose every connection is recorded.
struct Fixture {
    app: App,
    /// `None` without faults.
    network: Option<FaultyNetwork>,
    aborted: Option<RuleId>,
    recorder: Addr<Recorder>,
    server: ServerSocketId,
    at: SocketAddr,
    behaviours: Behaviours,
}

impl Fixture {
    async fn open(
        network: impl Network,
        setup: Setup,
        behaviours: Behaviours,
        connections: u32,
    ) -> Self {
        let seed = seed();
        let name = setup.name;
        println!("ACCOUNT_SEED={seed} ACCOUNT_CONNECTIONS={connections} {name}");
        // The fast path of a send is open only if no faulty network is in between.
        let (registry, network) = match setup.faults {
            [] => (Registry::with_network(network), None),
            _ => {
                let network = FaultyNetwork::new(network, seed.into());
                (Registry::with_network(network.clone()), Some(network))
            }
        };
        let registry = registry.arbiters(setup.arbiters);
        let registry = registry.restart_limit(RestartLimit::UNLIMITED).start();
        let app = App::new("account", &registry);
        let recorder =
            Recorder::new(app.clone(), behaviours, connections, network.is_none()).start();
        subscribe(&network, &app.tcp_server.on_accept, &recorder).await;
        subscribe(&network, &app.tcp_server.on_accept_error, &recorder).await;
        subscribe(&network, &app.tcp.on_receive, &recorder).await;
        subscribe(&network, &app.tcp.on_receive_error, &recorder).await;
        let server = app.tcp_server.create(Default::default()).await;
        let server = server.expect("create").socket_id;
        let sharing = app.tcp_server.set_reuse_port(server, setup.shares_port);
        sharing.await.expect("it is set");
        let listening = app.tcp_server.listen(server, "0.0.0.0", 0, None).await;
        listening.expect("listen");
        let info = app.tcp_server.get_info(server).await.expect("it exists");
        let inject = |text: &str| {
            let network = network.as_ref()?;
            Some(network.inject(text.parse().expect("a rule")))
        };
        for text in setup.faults {
            inject(text);
        }
        Fixture {
            aborted: inject(ABORTED),
            at: info.local_addr().expect("it listens"),
            app,
            network,
            recorder,
            server,
            behaviours,
        }
    }

    /// Checks that nothing is missing after the last connection. `received` is what each peer
    /// received.
    async fn check(self, received: &[PeerResult]) {
        let totals = within("the last end", async {
            loop {
                let totals = self.recorder.send(GetTotals).await.expect("it runs");
                match totals.open {
                    0 => return totals,
                    _ => actix_rt::task::yield_now().await,
                }
            }
        });
        let totals: Totals = totals.await;
        let tcp_server = self.app.tcp_server.clone();
        let info = retry_panics(async || tcp_server.get_info(self.server).await).await;
        let report = self.network.iter().flat_map(FaultyNetwork::report);
        let report: Vec<_> = report.collect();
        for rule in &report {
            println!("{rule}");
        }
        println!("{:?}; {totals}", info.counts);
        let aborted = report.iter().find(|rule| Some(rule.id) == self.aborted);
        let aborted = aborted.map_or(0, |rule| rule.triggered);
        let dialled = received.len() as u64;
        assert_eq!(dialled, info.counts.accepted + aborted, "no client waits");
        assert_eq!(
            info.counts.accepted,
            info.counts.delivered + totals.lost_before,
            "delivered, or reported lost"
        );
        assert_eq!(info.counts.delivered, totals.complete + totals.lost);

        let (mut sent, mut back, mut resets, mut resetters) = (0, 0, 0, 0);
        for (number, (received, outcome)) in (0..).zip(received.iter().zip(&totals.outcome)) {
            if self.behaviours.of(number) == Behaviour::PeerResets {
                resetters += 1;
                continue;
            }
            resets += u64::from(received.reset);
            let Some(outcome) = outcome.filter(|_| !received.reset) else {
                continue;
            };
            let (bytes, behaviours) = (received.bytes, self.behaviours.of(number));
            match outcome.failed {
                true => assert!(
                    bytes >= outcome.sent,
                    "{number}, {behaviours:?}: sent {} {bytes}",
                    outcome.sent
                ),
                false => assert_eq!(
                    bytes, outcome.sent,
                    "{number}, {behaviours:?}: got, and sent"
                ),
            }
            if outcome.complete {
                let all = self.behaviours.output(number).len();
                assert_eq!(bytes as usize, all, "{number}, {behaviours:?}: all of it");
            }
            sent += u64::from(outcome.sent);
            back += u64::from(bytes);
        }
        let triggered: u64 = report.iter().map(|rule| rule.triggered).sum();
        let triggered = triggered - aborted;
        println!(
            "{sent} bytes sent, {back} bytes got, {resets} resets, {resetters} by peers, {triggered} faults"
        );
        assert!(resets <= triggered + aborted, "no reset without a fault");
        assert!(
            totals.lost + totals.lost_before <= triggered + resetters,
            "each loss has its fault, or its peer that has reset"
        );
        let few = report.len().saturating_sub(1) as u64;
        assert!(
            totals.lost >= few && totals.complete > dialled / 2 && resetters > few,
            "it proves little"
        );
    }
}

async fn on_scripted_network(setup: Setup, least: u32) {
    let connections = setting("ACCOUNT_CONNECTIONS", least);
    let behaviours = Behaviours::scripted(seed());
    let scripted = ScriptedNetwork::new();
    let fixture = Fixture::open(scripted.clone(), setup, behaviours, connections).await;
    let mut received = vec![PeerResult::default(); connections as usize];
    let mut open: VecDeque<(u32, Peer)> = VecDeque::new();
    let mut next = 0;
    while next < connections || !open.is_empty() {
        while next < connections && open.len() < AT_ONCE {
            let at = (Ipv4Addr::LOCALHOST, fixture.at.port());
            let peer = scripted.client(at.into()).expect("it listens");
            peer.send(behaviours.input(next));
            match behaviours.of(next) {
                Behaviour::PeerResets => peer.reset(),
                Behaviour::Echo | Behaviour::CloseOnUnread => peer.shutdown(),
            }
            open.push_back((next, peer));
            next += 1;
        }
        let before = open.len();
        within("the end of any connection", async {
            while open.len() == before {
                // Yielding to the other tasks costs more than this check.
                actix_rt::task::yield_now().await;
                open.retain(|(number, peer)| {
                    let closed = peer.is_closed();
                    if closed {
                        received[*number as usize].bytes =
                            received_bytes(behaviours, *number, &peer.received());
                    }
                    !closed
                });
            }
        })
        .await;
    }
    fixture.check(&received).await;
}

/// Number of bytes that the peer of this connection received, compared with what was sent to it.
fn received_bytes(behaviours: Behaviours, number: u32, received: &[u8]) -> u32 {
    assert!(
        behaviours.output(number).starts_with(received),
        "{number} got {received:?}"
    );
    received.len() as u32
}

async fn on_real_sockets(setup: Setup, least: u32) {
    let connections = setting("ACCOUNT_CONNECTIONS", least);
    let behaviours = Behaviours::real(seed());
    let fixture = Fixture::open(TokioNetwork, setup, behaviours, connections).await;
    let port = fixture.at.port();
    let mut received = vec![PeerResult::default(); connections as usize];
    let mut running = tokio::task::JoinSet::new();
    for number in 0..connections {
        if running.len() == AT_ONCE {
            let (number, it) = running
                .join_next()
                .await
                .expect("a running task")
                .expect("it runs");
            received[number as usize] = it;
        }
        // Each peer binds its own loopback address, so ports in TIME_WAIT do not run out.
        let at = Ipv4Addr::new(127, 0, 0, 1 + (number % 128) as u8);
        running.spawn_local(async move { (number, peer(behaviours, number, (at, port)).await) });
    }
    while let Some(done) = running.join_next().await {
        let (number, it) = done.expect("it runs");
        received[number as usize] = it;
    }
    fixture.check(&received).await;
}

/// Plays the peer of one connection.
async fn peer(behaviours: Behaviours, number: u32, at: (Ipv4Addr, u16)) -> PeerResult {
    // A failure here is a failure of the connection, which the app reports.
    let Ok(mut peer) = within("a connection", TcpStream::connect(at)).await else {
        return PeerResult::default();
    };
    let mut back = Vec::new();
    let input = behaviours.input(number);
    match behaviours.of(number) {
        Behaviour::PeerResets => {
            let _ = peer.write_all(&input).await;
            peer.set_zero_linger().expect("the option is set");
            return PeerResult::default();
        }
        Behaviour::Echo => {
            let (first, rest) = input.split_at(input.len() / 2);
            let _ = peer.write_all(first).await;
            if number.is_multiple_of(3) {
                actix_rt::task::yield_now().await;
            }
            let _ = peer.write_all(rest).await;
            let _ = peer.shutdown().await;
        }
        Behaviour::CloseOnUnread => {
            let _ = peer.write_all(&pattern(number)).await;
            // The app has begun to answer, so it no longer reads.
            let _ = within("the answer", peer.read_buf(&mut back)).await;
            let _ = peer.write_all(&input[pattern(number).len()..]).await;
        }
    }
    let end = within("the end", peer.read_to_end(&mut back)).await;
    PeerResult {
        bytes: received_bytes(behaviours, number, &back),
        reset: end.is_err(),
    }
}

#[actix_rt::test]
async fn every_connection_is_delivered_or_reported_lost_and_every_byte_comes_back() {
    on_scripted_network(ONE_ARBITER, SCRIPTED).await;
}

#[actix_rt::test]
async fn every_connection_on_three_arbiters_is_delivered_or_reported_lost() {
    on_scripted_network(THREE_ARBITERS, SCRIPTED / 2).await;
}

#[actix_rt::test]
async fn every_connection_of_a_scripted_shared_port_is_delivered_or_reported_lost() {
    on_scripted_network(SHARED_PORT, SCRIPTED / 2).await;
}

#[actix_rt::test]
async fn every_real_connection_is_delivered_or_reported_lost() {
    on_real_sockets(ONE_ARBITER, REAL).await;
}

#[actix_rt::test]
async fn every_real_connection_on_three_arbiters_is_delivered_or_reported_lost() {
    on_real_sockets(THREE_ARBITERS, REAL).await;
}

#[actix_rt::test]
async fn every_real_connection_of_a_shared_port_is_delivered_or_reported_lost() {
    on_real_sockets(SHARED_PORT, REAL).await;
}

#[actix_rt::test]
async fn without_faults_nothing_is_lost() {
    on_real_sockets(ONE_ARBITER.without_faults(), REAL).await;
}

#[actix_rt::test]
async fn without_faults_three_arbiters_lose_nothing() {
    on_real_sockets(THREE_ARBITERS.without_faults(), REAL).await;
}

#[actix_rt::test]
async fn without_faults_a_shared_port_loses_nothing() {
    on_real_sockets(SHARED_PORT.without_faults(), REAL).await;
}
