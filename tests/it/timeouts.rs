//! Timeouts of connections, on a clock that advances only when everything is idle.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod minimum_rate;
mod slow_readers;
mod unhandled_events;

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{self, ClientSocket, SocketProperties, Timeouts};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{App, Error, InvalidArgument, NetError, ServerSocketId, tcp_server};
use support::{ListenerEvent, TestApp};
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(10);

/// How late anything may come: the clock has a resolution of milliseconds.
const SLACK: Duration = Duration::from_millis(5);

const DAY: Duration = Duration::from_secs(86_400);

const CLAIM: Timeouts = Timeouts {
    claim: Some(LIMIT),
    idle: None,
    send: None,
    send_rate: None,
};
const IDLE: Timeouts = Timeouts {
    claim: None,
    idle: Some(LIMIT),
    send: None,
    send_rate: None,
};
const SEND: Timeouts = Timeouts {
    claim: None,
    idle: None,
    send: Some(LIMIT),
    send_rate: None,
};

/// A server socket whose clients have these timeouts.
struct Fixture {
    test: TestApp,
    network: ScriptedNetwork,
    server: ServerSocketId,
    at: std::net::SocketAddr,
}

impl Fixture {
    async fn new(timeouts: Timeouts) -> Self {
        tokio::time::pause();
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        let (server, at) = test.listen().await;
        let set = test.app.tcp_server.set_timeouts(server, timeouts);
        set.await.expect("it is open");
        Fixture {
            test,
            network,
            server,
            at,
        }
    }

    /// A client that was reported, still paused.
    async fn client(&mut self) -> (ClientSocket, Peer) {
        let peer = self.network.client(self.at).expect("it listens");
        (self.test.accepted().await, peer)
    }

    /// A client that receives.
    async fn open(&mut self) -> (ClientSocket, Peer) {
        let (client, peer) = self.client().await;
        client.set_paused(false).await.expect("it is open");
        (client, peer)
    }

    /// Expects the end of a connection after exactly this time.
    async fn expect_end_after(&mut self, client: &ClientSocket, after: Duration) {
        let from = Instant::now();
        match self.test.next_before(after + SLACK).await {
            ListenerEvent::ReceiveError(id, NetError::TIMED_OUT) if id == client.id() => {}
            other => panic!("expected a timeout, not {other:?}"),
        }
        assert!(from.elapsed() >= after, "too early: {:?}", from.elapsed());
    }

    /// Expects no event for this long.
    async fn expect_silence(&mut self, time: Duration) {
        sleep(time).await;
        if let Some(received) = self.test.try_next() {
            panic!("expected nothing, not {received:?}");
        }
    }

    async fn proof_of_life(&mut self) {
        let (client, peer) = self.open().await;
        peer.send("alive");
        assert_eq!(self.test.received(client.id(), 5).await, b"alive");
        client.send(&b"yes"[..]).await.expect("it is sent");
        assert_eq!(peer.received(), b"yes");
    }
}

#[actix_rt::test]
async fn nothing_times_out_by_default() {
    let mut fixture = Fixture::new(Timeouts::default()).await;
    let (unclaimed, _unclaimed) = fixture.client().await;
    let (idle, _idle) = fixture.open().await;
    let (stalled, peer) = fixture.open().await;
    peer.limit_writes(0);
    let sent = stalled.send(&b"x"[..]);
    fixture.expect_silence(DAY).await;
    for client in [&unclaimed, &idle, &stalled] {
        let info = client.get_info().await.expect("it is open");
        assert!(info.connected);
        assert_eq!(info.timeouts, Timeouts::default());
    }
    peer.unlimit_writes();
    sent.await.expect("it is sent at last");
}

#[actix_rt::test]
async fn an_unclaimed_client_is_closed_and_reported() {
    let mut fixture = Fixture::new(CLAIM).await;
    let (client, peer) = fixture.client().await;
    assert_eq!(client.get_info().await.map(|info| info.timeouts), Ok(CLAIM));
    fixture.expect_end_after(&client, LIMIT).await;
    assert!(peer.is_closed());
    assert_eq!(client.close().await, Err(Error::SocketNotFound));
    let closed = fixture.test.app.tcp.get_info(client.id()).await;
    assert_eq!(closed, Err(Error::SocketNotFound));
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn a_claimed_client_has_no_claim_timeout() {
    let mut fixture = Fixture::new(CLAIM).await;
    let (client, peer) = fixture.client().await;
    sleep(LIMIT - SLACK).await;
    client.set_paused(false).await.expect("in time");
    client.set_paused(true).await.expect("it is open");
    fixture.expect_silence(DAY).await;
    client.set_timeouts(CLAIM).await.expect("it is open");
    fixture.expect_silence(DAY).await;
    let (ended, _ended) = fixture.client().await;
    ended.disconnect().await.expect("it is open");
    let made = fixture.test.create().await;
    let set = fixture.test.app.tcp.set_timeouts(made, CLAIM);
    set.await.expect("it is open");
    fixture.expect_silence(DAY).await;
    ended.close().await.expect("a disconnected one is claimed");
    assert!(!peer.is_closed());
}

#[actix_rt::test]
async fn only_a_resume_claims_a_client() {
    let mut fixture = Fixture::new(CLAIM).await;
    let (client, _peer) = fixture.client().await;
    sleep(LIMIT / 2).await;
    client.set_no_delay(true).await.expect("it is open");
    client
        .update(SocketProperties::default())
        .await
        .expect("it is open");
    client.send(&b"hello"[..]).await.expect("it is open");
    client.set_paused(true).await.expect("it is open");
    fixture.expect_end_after(&client, LIMIT / 2 - SLACK).await;
}

#[actix_rt::test]
async fn an_idle_connection_ends_after_its_last_byte() {
    let mut fixture = Fixture::new(IDLE).await;
    let (client, peer) = fixture.open().await;
    for _ in 0..5 {
        sleep(LIMIT - SLACK).await;
        peer.send("x");
        fixture.test.received(client.id(), 1).await;
        sleep(LIMIT - SLACK).await;
        client.send(&b"x"[..]).await.expect("it is open");
    }
    fixture.expect_end_after(&client, LIMIT).await;
    assert!(peer.is_closed());
    let info = client
        .get_info()
        .await
        .expect("the id is valid until close");
    assert!(!info.connected && info.paused);
    let not_connected = Err(NetError::SOCKET_NOT_CONNECTED.into());
    assert_eq!(client.send(&b"x"[..]).await, not_connected);
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn idle_time_does_not_run_while_the_socket_is_paused() {
    let mut fixture = Fixture::new(IDLE).await;
    let (client, _peer) = fixture.client().await;
    fixture.expect_silence(DAY).await;
    client.set_paused(false).await.expect("it is open");
    sleep(LIMIT / 2).await;
    client.set_paused(true).await.expect("it is open");
    fixture.expect_silence(DAY).await;
    client.set_paused(false).await.expect("it is open");
    fixture.expect_end_after(&client, LIMIT).await;
}

#[actix_rt::test]
async fn a_peer_that_reads_nothing_ends_its_connection_and_fails_the_sends() {
    let mut fixture = Fixture::new(SEND).await;
    for paused in [false, true] {
        let (client, peer) = fixture.open().await;
        client.set_paused(paused).await.expect("it is open");
        peer.limit_writes(2);
        let from = Instant::now();
        let part = client.send(&b"abc"[..]);
        sleep(LIMIT / 2).await;
        let later = client.send(&b"d"[..]);
        assert_eq!(part.await, Err(NetError::TIMED_OUT.into()));
        let took = from.elapsed();
        assert!(took >= LIMIT && took <= LIMIT + SLACK, "{took:?}");
        assert_eq!(later.await, Err(NetError::TIMED_OUT.into()));
        assert!(peer.is_closed());
        if paused {
            fixture.expect_silence(DAY).await;
            let failed = client.send(&b"e"[..]).await;
            assert_eq!(failed, Err(NetError::TIMED_OUT.into()));
            client.set_paused(false).await.expect("it is open");
        }
        fixture.expect_end_after(&client, Duration::ZERO).await;
        client.close().await.expect("the id is valid until close");
    }
    fixture.proof_of_life().await;
}

#[actix_rt::test]
async fn a_peer_that_reads_a_byte_now_and_then_does_not_time_out() {
    let mut fixture = Fixture::new(SEND).await;
    let (client, peer) = fixture.open().await;
    peer.limit_writes(0);
    let sent = client.send(&b"0123456789"[..]);
    for _ in 0..10 {
        sleep(LIMIT - SLACK).await;
        peer.limit_writes(1);
    }
    sent.await.expect("it is sent");
    assert_eq!(peer.received(), b"0123456789");
    fixture.expect_silence(DAY).await;
    client
        .send(&b""[..])
        .await
        .expect("nothing has waited since");
}

#[actix_rt::test]
async fn unsent_data_is_returned_to_the_quota() {
    let mut fixture = Fixture::new(SEND).await;
    let (client, peer) = fixture.open().await;
    peer.limit_writes(0);
    let first = client.send(vec![0; 1 << 20]);
    assert_eq!(first.await, Err(NetError::TIMED_OUT.into()));
    fixture.expect_end_after(&client, Duration::ZERO).await;
    // Its bytes no longer count in the quota.
    let quota = client.send(vec![0; tcp::DEFAULT_WRITE_QUOTA]).await;
    assert_eq!(quota, Err(NetError::SOCKET_NOT_CONNECTED.into()));
}

#[actix_rt::test]
async fn zero_is_refused_and_changes_nothing() {
    let mut fixture = Fixture::new(CLAIM).await;
    let (client, _peer) = fixture.client().await;
    let zero = Timeouts {
        idle: Some(Duration::ZERO),
        ..Timeouts::default()
    };
    let refused = Err(InvalidArgument::IdleTimeoutZero.into());
    let app = fixture.test.app.clone();
    assert_eq!(client.set_timeouts(zero).await, refused);
    assert_eq!(app.tcp.set_timeouts(client.id(), zero).await, refused);
    let server = app.tcp_server.set_timeouts(fixture.server, zero);
    assert_eq!(server.await, refused);
    fixture.expect_end_after(&client, LIMIT).await;
    let (client, _peer) = fixture.client().await;
    fixture.expect_end_after(&client, LIMIT).await;
}

#[actix_rt::test]
async fn the_longest_timeout_never_expires() {
    let longest = Timeouts {
        claim: Some(Duration::MAX),
        idle: Some(Duration::MAX),
        send: Some(Duration::MAX),
        send_rate: None,
    };
    let mut fixture = Fixture::new(longest).await;
    let (_unclaimed, _first) = fixture.client().await;
    let (client, _second) = fixture.open().await;
    fixture.expect_silence(DAY).await;
    client.send(&b"x"[..]).await.expect("it is open");
}

#[actix_rt::test]
async fn new_timeouts_count_from_when_they_are_set() {
    let mut fixture = Fixture::new(IDLE).await;
    let (client, _peer) = fixture.open().await;
    sleep(LIMIT / 2).await;
    let sooner = Timeouts {
        idle: Some(LIMIT / 10),
        ..Timeouts::default()
    };
    client.set_timeouts(sooner).await.expect("it is open");
    fixture.expect_end_after(&client, LIMIT / 10).await;
    let (client, _peer) = fixture.open().await;
    client
        .set_timeouts(Timeouts::default())
        .await
        .expect("it is open");
    fixture.expect_silence(DAY).await;
    client.set_timeouts(IDLE).await.expect("it is open");
    fixture.expect_end_after(&client, LIMIT).await;
}

#[actix_rt::test]
async fn the_clients_of_a_suspended_app_are_not_timed_out() {
    let mut fixture = Fixture::new(Timeouts {
        idle: Some(LIMIT),
        ..CLAIM
    })
    .await;
    let (client, peer) = fixture.open().await;
    let persistent = SocketProperties {
        persistent: Some(true),
        ..SocketProperties::default()
    };
    client.update(persistent.clone()).await.expect("it is open");
    let (unclaimed, waiting) = fixture.client().await;
    unclaimed.update(persistent).await.expect("it is open");
    fixture.test.app.suspend().await.expect("it runs");
    sleep(DAY).await;
    assert!(!peer.is_closed() && !waiting.is_closed());
    let listener = fixture.test.listener.clone();
    fixture.test.app.resume().await.expect("it runs");
    let subscribed = support::subscribe(&fixture.test.app, &listener);
    subscribed.await.expect("it runs");
    for _ in 0..2 {
        match fixture.test.next_before(2 * LIMIT).await {
            ListenerEvent::ReceiveError(_, NetError::TIMED_OUT) => {}
            other => panic!("expected a timeout, not {other:?}"),
        }
    }
    assert!(peer.is_closed() && waiting.is_closed());
}

#[actix_rt::test]
async fn another_app_cannot_set_timeouts() {
    let fixture = Fixture::new(CLAIM).await;
    let other = App::new("other", &fixture.test.registry);
    let client = fixture.test.create().await;
    let not_found = Err(Error::SocketNotFound);
    assert_eq!(other.tcp.set_timeouts(client, IDLE).await, not_found);
    let server = other.tcp_server.set_timeouts(fixture.server, IDLE);
    assert_eq!(server.await, not_found);
    let by_message = tcp_server::SetTimeouts {
        app: fixture.test.app.id().clone(),
        socket_id: fixture.server,
        timeouts: IDLE,
    };
    let answer = fixture.test.registry.send(by_message).await;
    assert_eq!(answer.expect("it runs"), Ok(()));
    let by_message = tcp::SetTimeouts {
        app: fixture.test.app.id().clone(),
        socket_id: client,
        timeouts: IDLE,
    };
    let answer = fixture.test.registry.send(by_message).await;
    assert_eq!(answer.expect("it runs"), Ok(()));
}

#[actix_rt::test]
async fn of_many_connections_each_times_out_at_its_time() {
    const CROWD: usize = 1000;
    let mut fixture = Fixture::new(IDLE).await;
    let mut peers = Vec::new();
    for number in 0..CROWD {
        let (client, peer) = fixture.open().await;
        peers.push(peer);
        // Closed sockets leave nothing behind.
        if number % 3 == 0 {
            client.set_paused(true).await.expect("it is open");
            client.close().await.expect("it is open");
        }
    }
    for _ in 0..CROWD - CROWD.div_ceil(3) {
        match fixture.test.next_before(LIMIT + SLACK).await {
            ListenerEvent::ReceiveError(_, NetError::TIMED_OUT) => {}
            other => panic!("expected a timeout, not {other:?}"),
        }
    }
    assert!(peers.iter().all(Peer::is_closed));
    fixture.expect_silence(DAY).await;
    fixture.proof_of_life().await;
}

/// Waits by a clock that the test has paused.
async fn within_paused<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(SLACK, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}
