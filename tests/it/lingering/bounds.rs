//! Bounds on time, bytes and connections, on the scripted network, whose clock advances only
//! when everything is idle.

use std::time::Duration;

use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{Error, NetError, ServerSocketId};
use support::TestApp;
use tokio::time::{Instant, sleep};

/// As documented.
const LIMIT: Duration = Duration::from_secs(30);
const DISCARDED: usize = 1024 * 1024;
const LINGERING: usize = 256;

const SLACK: Duration = Duration::from_millis(20);

struct Fixture {
    test: TestApp,
    network: ScriptedNetwork,
    server: ServerSocketId,
    at: std::net::SocketAddr,
}

impl Fixture {
    async fn new() -> Self {
        tokio::time::pause();
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        let (server, at) = test.listen().await;
        Fixture {
            test,
            network,
            server,
            at,
        }
    }

    /// A client to which something was sent.
    async fn client(&mut self) -> (ClientSocket, Peer) {
        let (client, peer) = self.unused().await;
        client.send(&b"hi "[..]).await.expect("it is sent");
        (client, peer)
    }

    async fn unused(&mut self) -> (ClientSocket, Peer) {
        let peer = self.network.client(self.at).expect("it listens");
        (self.test.accepted().await, peer)
    }

    async fn proof_of_life(&mut self) {
        let (client, peer) = self.client().await;
        client.send(&b"yes"[..]).await.expect("it is sent");
        client.close().await.expect("it is open");
        assert_eq!(peer.received(), b"hi yes");
        assert!(peer.is_closed());
    }
}

#[actix_rt::test]
async fn close_shuts_the_writing_side_at_once_and_releases_the_connection_at_the_peers_end() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    peer.send("unread");
    client.send(&b"all"[..]).await.expect("it is sent");
    client.close().await.expect("it is open");
    assert_eq!(peer.received(), b"hi all");
    assert!(peer.is_closed() && !peer.is_released());
    peer.send("late");
    sleep(LIMIT / 2).await;
    assert!(!peer.is_released());
    peer.shutdown();
    sleep(SLACK).await;
    assert!(peer.is_released() && !peer.is_reset());
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn a_connection_whose_peer_has_ended_is_released_at_once() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    client.set_paused(false).await.expect("it is open");
    peer.shutdown();
    fixture.test.ended(client.id()).await;
    assert!(peer.is_released() && !peer.is_reset());
}

#[actix_rt::test]
async fn a_connection_on_which_nothing_was_sent_is_released_at_once_unless_much_is_unread() {
    let mut fixture = Fixture::new().await;
    for (unread, at_once) in [(0, true), (1, true), (60_000, false)] {
        let (client, peer) = fixture.unused().await;
        peer.send(vec![0; unread]);
        client.close().await.expect("it is open");
        assert_eq!((peer.is_released(), peer.is_closed()), (at_once, true));
        peer.shutdown();
        sleep(SLACK).await;
        assert!(peer.is_released() && !peer.is_reset());
    }
}

#[actix_rt::test]
async fn a_peer_that_has_everything_but_does_not_end_is_closed_after_thirty_seconds() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    client.send(&b"all"[..]).await.expect("it is sent");
    client.close().await.expect("it is open");
    sleep(LIMIT - SLACK).await;
    assert!(!peer.is_released());
    sleep(2 * SLACK).await;
    assert!(peer.is_released() && !peer.is_reset(), "nothing is missing");
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn a_peer_that_acknowledges_nothing_is_reset_after_thirty_seconds() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    peer.set_unacknowledged(3);
    client.send(&b"all"[..]).await.expect("it is sent");
    client.close().await.expect("it is open");
    sleep(LIMIT - SLACK).await;
    assert!(!peer.is_released());
    sleep(2 * SLACK).await;
    assert!(peer.is_released() && peer.is_reset());
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn a_peer_that_takes_nothing_is_reset_after_thirty_seconds_and_the_send_fails() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    peer.limit_writes(1);
    let from = Instant::now();
    let sent = client.send(&b"all"[..]);
    client.close().await.expect("it is open");
    assert_eq!(sent.await.err(), Some(Error::Net(NetError::TIMED_OUT)));
    assert!((LIMIT..LIMIT + SLACK).contains(&from.elapsed()));
    assert!(peer.is_released() && peer.is_reset());
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn a_peer_that_acknowledges_a_byte_every_twenty_seconds_is_waited_for() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    let bytes = 30;
    peer.set_unacknowledged(bytes);
    client.send(vec![0; bytes]).await.expect("it is sent");
    client.close().await.expect("it is open");
    for left in (0..bytes).rev() {
        sleep(Duration::from_secs(20)).await;
        assert!(!peer.is_released(), "{left} bytes are left");
        peer.set_unacknowledged(left);
    }
    peer.shutdown();
    sleep(SLACK).await;
    assert!(peer.is_released() && !peer.is_reset());
}

#[actix_rt::test]
async fn input_does_not_count_as_progress() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    peer.set_unacknowledged(1);
    client.close().await.expect("it is open");
    for _ in 0..35 {
        peer.send("?");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(peer.is_released() && peer.is_reset());
}

#[actix_rt::test]
async fn one_mebibyte_of_input_is_discarded_and_more_resets_the_connection() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    client.close().await.expect("it is open");
    peer.send(vec![0; DISCARDED]);
    sleep(SLACK).await;
    assert!(!peer.is_released());
    peer.send("?");
    sleep(SLACK).await;
    assert!(peer.is_released() && peer.is_reset());
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn input_is_discarded_while_the_peer_does_not_read() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.client().await;
    peer.limit_writes(0);
    let sent = client.send(&b"all"[..]);
    client.close().await.expect("it is open");
    peer.send(vec![0; DISCARDED + 1]);
    sent.await.expect_err("it is reset");
    assert!(peer.is_reset());
}

#[actix_rt::test]
async fn a_lingering_connection_does_not_count_in_limits_and_a_drain_waits_for_it() {
    let mut fixture = Fixture::new().await;
    let limits = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Close,
        }),
        ..Default::default()
    };
    let server = &fixture.test.app.tcp_server;
    let set = server.set_limits(fixture.server, limits);
    set.await.expect("valid limits");
    let (client, peer) = fixture.client().await;
    peer.set_unacknowledged(1);
    client.close().await.expect("it is open");
    let (next, _next) = fixture.client().await;
    next.close().await.expect("it is open");
    let drained = fixture.test.app.drain(LIMIT / 2).await;
    assert_eq!(drained.expect("it is loaded").forced, [client.id()]);
}

#[actix_rt::test]
async fn of_too_many_lingering_connections_the_oldest_is_closed_first() {
    let mut fixture = Fixture::new().await;
    let mut peers = Vec::new();
    for _ in 0..LINGERING + 2 {
        let (client, peer) = fixture.client().await;
        client.send(&b"all"[..]).await.expect("it is sent");
        client.close().await.expect("it is open");
        peers.push(peer);
    }
    let released: Vec<_> = peers.iter().map(|peer| peer.is_released()).collect();
    let oldest = released.iter().take_while(|released| **released).count();
    let all = released.iter().filter(|released| **released).count();
    assert_eq!((oldest, all), (2, 2));
    assert!(
        peers
            .iter()
            .all(|peer| peer.is_closed() && !peer.is_reset())
    );
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn of_too_many_lingering_connections_the_oldest_is_reset_if_sends_of_it_wait() {
    let mut fixture = Fixture::new().await;
    let (client, stuck) = fixture.client().await;
    stuck.limit_writes(0);
    let sent = client.send(&b"all"[..]);
    client.close().await.expect("it is open");
    let mut peers = Vec::new();
    for _ in 0..LINGERING {
        let (client, peer) = fixture.client().await;
        client.close().await.expect("it is open");
        peers.push(peer);
    }
    assert_eq!(sent.await.err(), Some(Error::Net(NetError::ABORTED)));
    assert!(stuck.is_reset());
    assert!(!peers.iter().any(|peer| peer.is_released()));
}
