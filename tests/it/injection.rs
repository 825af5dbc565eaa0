//! Faults injected by rules, into real sockets and the scripted network. Each test ends with
//! proof of life: an old connection, one that came during the fault, and a new one all work.

mod actor_recovery;
mod arbiter_loss;
mod changing_rules;
mod determinism;
#[cfg(target_os = "linux")]
mod faults_page;
mod lost_operations;
#[cfg(target_os = "linux")]
mod matrix;
mod real_network;
mod restart_limit;
mod rule_text;
mod scripted_network;
mod subscribers;

use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use chrome_sockets::os::TokioNetwork;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType, SendInfo};
use chrome_sockets::testing::{FaultyNetwork, Rule, RuleId};
use chrome_sockets::{Answer, ClientSocketId, Error, NetError, Registry, ServerSocketId};
use support::{ListenerEvent, TestApp, code, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tcp::networks::FixedNames;

/// Seed of the rules of these tests.
const SEED: u64 = 7;

fn rule(text: &str) -> Rule {
    let rule = text.parse();
    rule.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A listening app on faulty real sockets, with a connection from before the fault.
struct Fixture {
    test: TestApp,
    network: FaultyNetwork,
    server: ServerSocketId,
    at: SocketAddr,
    old: (ClientSocket, TcpStream),
}

impl Fixture {
    async fn new() -> Self {
        Self::on(|registry| registry).await
    }

    async fn on(configured: impl FnOnce(Registry) -> Registry) -> Self {
        Self::with_network(FaultyNetwork::new(TokioNetwork, SEED), configured).await
    }

    /// On a network where every name resolves to this machine, after a lookup.
    async fn with_names() -> Self {
        let names = FixedNames(vec![Ipv4Addr::LOCALHOST.into()]);
        Self::with_network(FaultyNetwork::new(names, SEED), |registry| registry).await
    }

    async fn with_network(
        network: FaultyNetwork,
        configured: impl FnOnce(Registry) -> Registry,
    ) -> Self {
        let registry = configured(Registry::with_network(network.clone()));
        let mut test = TestApp::on(registry).await;
        let (server, at) = test.listen().await;
        let peer = dial(at).await;
        let client = expect_accept(&mut test, &peer).await;
        Fixture {
            old: (client, peer),
            test,
            network,
            server,
            at,
        }
    }

    fn inject(&self, text: &str) -> RuleId {
        self.network.inject(rule(text))
    }

    /// A new connection.
    async fn accepted(&mut self) -> (ClientSocket, TcpStream) {
        let peer = dial(self.at).await;
        let client = expect_accept(&mut self.test, &peer).await;
        (client, peer)
    }

    async fn accept_error(&mut self) -> NetError {
        match self.test.next().await {
            ListenerEvent::AcceptError(from, code) if from == self.server => code,
            other => panic!("expected onAcceptError, not {other:?}"),
        }
    }

    async fn resume(&self) {
        let resumed = self.test.app.tcp_server.set_paused(self.server, false);
        resumed.await.expect("resume");
    }

    async fn assert_paused(&self, paused: bool) {
        let info = self.test.app.tcp_server.get_info(self.server).await;
        let info = info.expect("it exists");
        assert_eq!(info.paused, paused);
        assert_eq!(info.local_addr(), Some(self.at), "it continues to listen");
    }

    /// Checks that the old connection works, those that came during the fault in their order,
    /// and a new one.
    async fn assert_alive(&mut self, during: Vec<TcpStream>) {
        let mut arrived = Vec::new();
        for peer in during {
            arrived.push((expect_accept(&mut self.test, &peer).await, peer));
        }
        let (client, peer) = &mut self.old;
        assert_talks(&mut self.test, client, peer).await;
        for (client, peer) in &mut arrived {
            assert_talks(&mut self.test, client, peer).await;
        }
        let (client, mut peer) = self.accepted().await;
        assert_talks(&mut self.test, &client, &mut peer).await;
    }
}

async fn dial(at: SocketAddr) -> TcpStream {
    let dialed = within("a connection", TcpStream::connect(at)).await;
    dialed.expect("it listens")
}

/// Expects `onAccept` of the connection of `peer`.
async fn expect_accept(test: &mut TestApp, peer: &TcpStream) -> ClientSocket {
    let client = test.accepted().await;
    let info = client.get_info().await.expect("it exists");
    assert_eq!(
        info.peer_addr(),
        peer.local_addr().ok(),
        "the other socket's turn"
    );
    client
}

/// Checks both directions of a connection, and pauses it, so that its end raises no event.
async fn assert_talks(test: &mut TestApp, client: &ClientSocket, peer: &mut TcpStream) {
    client.set_paused(false).await.expect("resume");
    let sent = within("the send", client.send(&b"to the peer"[..])).await;
    assert_eq!(sent, Ok(SendInfo { bytes_sent: 11 }));
    assert_eq!(read(peer, 11).await, b"to the peer");
    write(peer, b"to the app").await;
    assert_eq!(test.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

async fn read(peer: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let read = within("the app's data", peer.read_exact(&mut data)).await;
    read.expect("the connection works");
    data
}

async fn write(peer: &mut TcpStream, data: &[u8]) {
    let written = within("a write", peer.write_all(data)).await;
    written.expect("the connection works");
}

/// How the peer sees the end of the connection: `Ok` is a clean end.
async fn end(peer: &mut TcpStream) -> Result<(), io::ErrorKind> {
    let mut left = Vec::new();
    let end = within("the end", peer.read_to_end(&mut left)).await;
    end.map(drop).map_err(|error| error.kind())
}

fn connect(test: &TestApp, id: ClientSocketId, to: SocketAddr) -> Answer<()> {
    let (host, port) = (to.ip().to_string(), to.port().into());
    test.app.tcp.connect(id, host, port, DnsQueryType::Any)
}
