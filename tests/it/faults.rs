//! Every fault that the OS can return, scripted. Each test ends with proof of life: an old
//! connection, one that came during the fault, and a new one all work.

mod connecting;
mod dying_listeners;
mod listening;
mod read_write;

use std::fmt::Debug;
use std::net::SocketAddr;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType, SendInfo};
use chrome_sockets::tcp_server::{AcceptInfo, UNHANDLED_ACCEPTS};
use chrome_sockets::testing::{Call, Peer, ScriptedNetwork};
use chrome_sockets::{Answer, ClientSocketId, Error, NetError, ServerSocketId};
use support::{ListenerEvent, TestApp, code, until, within};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A listening app on a scripted network, with a connection from before the fault.
struct Fixture {
    test: TestApp,
    network: ScriptedNetwork,
    server: ServerSocketId,
    at: SocketAddr,
    old: (ClientSocket, Peer),
}

impl Fixture {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let mut test = TestApp::with_network(network.clone()).await;
        let (server, at) = test.listen().await;
        let peer = network.client(at).expect("it listens");
        let client = expect_accept(&mut test, &peer).await;
        Fixture {
            old: (client, peer),
            test,
            network,
            server,
            at,
        }
    }

    /// A client that waits to be accepted.
    fn dial(&self) -> Peer {
        self.network.client(self.at).expect("it listens")
    }

    /// A new connection.
    async fn accepted(&mut self) -> (ClientSocket, Peer) {
        let peer = self.dial();
        let client = expect_accept(&mut self.test, &peer).await;
        (client, peer)
    }

    /// A socket connected to a server that the test plays.
    async fn connected(&mut self, to: SocketAddr) -> (ClientSocketId, Peer) {
        let id = self.test.create().await;
        let peer = self.network.server(to);
        let answer = connect(&self.test, id, &to.ip().to_string(), to.port());
        within("connect", answer).await.expect("connect");
        (id, peer)
    }

    /// Checks that the old connection works, those that came during the fault in their order,
    /// and a new one.
    async fn assert_alive(&mut self, during: Vec<Peer>) {
        let mut arrived = Vec::new();
        for peer in during {
            arrived.push((expect_accept(&mut self.test, &peer).await, peer));
        }
        let (client, peer) = &self.old;
        assert_talks(&mut self.test, client, peer).await;
        for (client, peer) in &arrived {
            assert_talks(&mut self.test, client, peer).await;
        }
        let (client, peer) = self.accepted().await;
        assert_talks(&mut self.test, &client, &peer).await;
    }
}

fn connect(test: &TestApp, id: ClientSocketId, host: &str, port: u16) -> Answer<()> {
    test.app
        .tcp
        .connect(id, host, port.into(), DnsQueryType::Any)
}

/// Expects `onAccept` of the connection of `peer`.
async fn expect_accept(test: &mut TestApp, peer: &Peer) -> ClientSocket {
    let client = test.accepted().await;
    let info = client.get_info().await.expect("it exists");
    assert_eq!(
        info.peer_addr(),
        Some(peer.addr()),
        "the other socket's turn"
    );
    client
}

/// Checks both directions of a connection, and pauses it, so that its end raises no event.
async fn assert_talks(test: &mut TestApp, client: &ClientSocket, peer: &Peer) {
    client.set_paused(false).await.expect("resume");
    let sent = within("the send", client.send(&b"to the peer"[..])).await;
    assert_eq!(sent, Ok(SendInfo { bytes_sent: 11 }));
    assert!(peer.received().ends_with(b"to the peer"));
    peer.send("to the app");
    assert_eq!(test.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

/// The same for a socket known by its id.
async fn assert_id_talks(test: &mut TestApp, id: ClientSocketId, peer: &Peer) {
    let client = test.app.tcp.socket(id).await.expect("it exists");
    assert_talks(test, &client, peer).await;
}

/// Bytes without equal neighbours or repeated chunks, so that lost or reordered data is noticed.
fn pattern(length: usize) -> Vec<u8> {
    let bytes = (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8);
    bytes.collect()
}
