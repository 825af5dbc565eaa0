//! Nothing is lost in silence: many short connections, with faults and panics
//! at random, and each of them is accounted for, as every byte is.
//!
//! `ACCOUNT_CONNECTIONS=1000000 cargo test --release --test it accounting::` makes
//! more, `ACCOUNT_SEED` begins elsewhere.

mod books;

use std::collections::VecDeque;
use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::os::{Network, TokioNetwork};
use chrome_sockets::supervision::RestartLimit;
use chrome_sockets::testing::{FaultyNetwork, Peer, RuleId, ScriptedNetwork};
use chrome_sockets::{AddListener, App, Error, Event, OnEvent, Registry, ServerSocketId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::within;
use books::{Balance, Books, TakeBalance};

/// How many connections `cargo test` makes on the scripted network, and on
/// real sockets.
const SCRIPTED: u32 = 50_000;
const REAL: u32 = 4_000;

/// How many are open at once.
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
    "panic=rows,p=0.002",
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

/// What a connection sends: its number, its length, and bytes of its own.
fn pattern(number: u32) -> Vec<u8> {
    let mut random = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 8 + (random >> 40) as u32 % 120;
    let mut bytes = [number.to_be_bytes(), length.to_be_bytes()].concat();
    while bytes.len() < length as usize {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.push((random >> 56) as u8);
    }
    bytes
}

/// Makes a call until nothing panics at it.
async fn insist<T: Unpin>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    loop {
        match within("an answer", call()).await {
            Ok(answer) => return answer,
            Err(error) => assert_eq!(error, Error::Panicked),
        }
    }
}

/// Hears an event, through listeners that die.
fn hear<E: Event>(network: &FaultyNetwork, event: &OnEvent<E>, books: &Addr<Books>)
where
    Books: Handler<E>,
    Registry: Handler<AddListener<E>>,
{
    let (network, event) = (network.clone(), event.clone());
    let books: Recipient<E> = books.clone().recipient();
    actix_rt::spawn(async move {
        loop {
            let subscriber = network.subscriber(books.clone());
            insist(async || event.add_listener(subscriber.clone()).await).await;
            while subscriber.connected() {
                actix_rt::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    });
}

/// An app whose every connection is written down.
struct Office {
    app: App,
    network: FaultyNetwork,
    aborted: RuleId,
    books: Addr<Books>,
    server: ServerSocketId,
    at: SocketAddr,
}

impl Office {
    async fn open(network: impl Network, connections: u32, name: &str) -> Self {
        let seed = setting("ACCOUNT_SEED", 1);
        println!("ACCOUNT_SEED={seed} ACCOUNT_CONNECTIONS={connections} {name}");
        let network = FaultyNetwork::new(network, seed.into());
        let registry = Registry::with_network(network.clone());
        let registry = registry.restart_limit(RestartLimit::UNLIMITED).start();
        let app = App::new("account", &registry);
        let books = Books::new(app.clone(), connections).start();
        hear(&network, &app.tcp_server.on_accept, &books);
        hear(&network, &app.tcp_server.on_accept_error, &books);
        hear(&network, &app.tcp.on_receive, &books);
        hear(&network, &app.tcp.on_receive_error, &books);
        let server = app.tcp_server.create(Default::default()).await;
        let server = server.expect("create").socket_id;
        let listening = app.tcp_server.listen(server, "127.0.0.1", 0, None).await;
        listening.expect("listen");
        let info = app.tcp_server.get_info(server).await.expect("it exists");
        for text in FAULTS {
            network.inject(text.parse().expect("a rule"));
        }
        Office {
            aborted: network.inject(ABORTED.parse().expect("a rule")),
            at: info.local_addr().expect("it listens"),
            app,
            network,
            books,
            server,
        }
    }

    /// All is over: nothing may be missing. `got` is how many bytes the peer of
    /// each connection has.
    async fn audit(self, got: &[usize]) {
        let balance = within("the last end", async {
            loop {
                let balance = self.books.send(TakeBalance).await.expect("it runs");
                match balance.open {
                    0 => return balance,
                    _ => actix_rt::task::yield_now().await,
                }
            }
        });
        let balance: Balance = balance.await;
        let tcp_server = self.app.tcp_server.clone();
        let info = insist(async || tcp_server.get_info(self.server).await).await;
        for report in self.network.report() {
            println!("{report}");
        }
        println!("{:?}; {balance}", info.counts);
        let aborted = self.network.struck(self.aborted);
        let dialled = got.len() as u64;
        assert_eq!(dialled, info.counts.accepted + aborted, "nobody waits");
        assert_eq!(
            info.counts.accepted,
            info.counts.delivered + balance.lost_before,
            "delivered, or told lost"
        );
        assert_eq!(info.counts.delivered, balance.whole + balance.lost);
        let (mut bytes_in, mut bytes_out) = (0, 0);
        for (number, got) in (0..).zip(got) {
            if let Some(received) = balance.whole_bytes(number) {
                assert_eq!(received, *got, "connection {number}: in, and out");
                bytes_in += received;
                bytes_out += got;
            }
        }
        assert_eq!(bytes_in, bytes_out);
        println!("{bytes_in} bytes in, {bytes_out} bytes out");
        let few = FAULTS.len() as u64;
        assert!(
            balance.lost > few && balance.whole > dialled / 2,
            "it proves little"
        );
    }
}

#[actix_rt::test]
async fn every_connection_is_delivered_or_told_lost_and_every_byte_comes_back() {
    let connections = setting("ACCOUNT_CONNECTIONS", SCRIPTED);
    let scripted = ScriptedNetwork::new();
    let office = Office::open(scripted.clone(), connections, "scripted").await;
    let mut got = vec![0; connections as usize];
    let mut open: VecDeque<(u32, Peer)> = VecDeque::new();
    let mut next = 0;
    while next < connections || !open.is_empty() {
        while next < connections && open.len() < AT_ONCE {
            let peer = scripted.client(office.at).expect("it listens");
            peer.send(pattern(next));
            peer.end();
            open.push_back((next, peer));
            next += 1;
        }
        let before = open.len();
        within("the end of any connection", async {
            while open.len() == before {
                // A turn of the others costs them more than this look.
                actix_rt::task::yield_now().await;
                open.retain(|(number, peer)| {
                    let closed = peer.is_closed();
                    if closed {
                        got[*number as usize] = echoed(*number, &peer.received());
                    }
                    !closed
                });
            }
        })
        .await;
    }
    office.audit(&got).await;
}

/// How much of what it has sent this connection's peer has got.
fn echoed(number: u32, got: &[u8]) -> usize {
    assert!(pattern(number).starts_with(got), "{number} got {got:?}");
    got.len()
}

#[actix_rt::test]
async fn every_connection_of_real_sockets_is_delivered_or_told_lost() {
    let connections = setting("ACCOUNT_CONNECTIONS", REAL).min(20_000);
    let office = Office::open(TokioNetwork, connections, "real").await;
    let at = office.at;
    let mut got = vec![0; connections as usize];
    let mut running = tokio::task::JoinSet::new();
    for number in 0..connections {
        if running.len() == AT_ONCE {
            let (number, length) = running.join_next().await.expect("some").expect("it runs");
            got[number as usize] = length;
        }
        running.spawn_local(async move {
            // What fails here fails for the app, which is told.
            let mut back = Vec::new();
            let dialled = within("a connection", TcpStream::connect(at)).await;
            if let Ok(mut peer) = dialled {
                let _ = peer.write_all(&pattern(number)).await;
                let _ = peer.shutdown().await;
                let _ = within("the end", peer.read_to_end(&mut back)).await;
            }
            (number, echoed(number, &back))
        });
    }
    while let Some(done) = running.join_next().await {
        let (number, length) = done.expect("it runs");
        got[number as usize] = length;
    }
    office.audit(&got).await;
}
