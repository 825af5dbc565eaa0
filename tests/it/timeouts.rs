//! Time-outs of connections, on a clock that runs when nothing else does.
#![expect(clippy::panic, reason = "this is how a test fails")]

mod unhandled_events;

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{self, ClientSocket, SocketProperties, Timeouts};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{App, Error, NetError, ServerSocketId, tcp_server};
use tokio::time::{Instant, sleep, timeout};

use support::{Heard, World};

const LIMIT: Duration = Duration::from_secs(10);

/// How much later than it should anything may come: the clock has milliseconds.
const SLACK: Duration = Duration::from_millis(5);

const DAY: Duration = Duration::from_secs(86_400);

const CLAIM: Timeouts = Timeouts {
    claim: Some(LIMIT),
    idle: None,
    send: None,
};
const IDLE: Timeouts = Timeouts {
    claim: None,
    idle: Some(LIMIT),
    send: None,
};
const SEND: Timeouts = Timeouts {
    claim: None,
    idle: None,
    send: Some(LIMIT),
};

/// A server socket whose clients have these time-outs.
struct Scene {
    world: World,
    network: ScriptedNetwork,
    server: ServerSocketId,
    at: std::net::SocketAddr,
}

impl Scene {
    async fn new(timeouts: Timeouts) -> Self {
        tokio::time::pause();
        let network = ScriptedNetwork::new();
        let world = World::with_network(network.clone()).await;
        let (server, at) = world.listen().await;
        let set = world.app.tcp_server.set_timeouts(server, timeouts);
        set.await.expect("it is open");
        Scene {
            world,
            network,
            server,
            at,
        }
    }

    /// A client that the app has heard of, still paused.
    async fn client(&mut self) -> (ClientSocket, Peer) {
        let peer = self.network.client(self.at).expect("it listens");
        (self.world.accepted().await, peer)
    }

    /// A client that the app receives from.
    async fn open(&mut self) -> (ClientSocket, Peer) {
        let (client, peer) = self.client().await;
        client.set_paused(false).await.expect("it is open");
        (client, peer)
    }

    /// The end of a connection, which takes exactly this long to come.
    async fn times_out(&mut self, client: &ClientSocket, after: Duration) {
        let from = Instant::now();
        match self.world.next_before(after + SLACK).await {
            Heard::ReceiveError(id, NetError::TIMED_OUT) if id == client.id() => {}
            other => panic!("expected a time-out, not {other:?}"),
        }
        assert!(from.elapsed() >= after, "too early: {:?}", from.elapsed());
    }

    /// Nothing is heard for this long.
    async fn silent(&mut self, time: Duration) {
        sleep(time).await;
        if let Some(heard) = self.world.heard_already() {
            panic!("expected nothing, not {heard:?}");
        }
    }

    async fn proof_of_life(&mut self) {
        let (client, peer) = self.open().await;
        peer.send("alive");
        assert_eq!(self.world.received(client.id(), 5).await, b"alive");
        client.send(&b"yes"[..]).await.expect("it is sent");
        assert_eq!(peer.received(), b"yes");
    }
}

#[actix_rt::test]
async fn nothing_times_out_by_default() {
    let mut scene = Scene::new(Timeouts::default()).await;
    let (unclaimed, _unclaimed) = scene.client().await;
    let (idle, _idle) = scene.open().await;
    let (stalled, peer) = scene.open().await;
    peer.limit_writes(0);
    let sent = stalled.send(&b"x"[..]);
    scene.silent(DAY).await;
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
    let mut scene = Scene::new(CLAIM).await;
    let (client, peer) = scene.client().await;
    assert_eq!(client.get_info().await.map(|info| info.timeouts), Ok(CLAIM));
    scene.times_out(&client, LIMIT).await;
    assert!(peer.is_closed());
    assert_eq!(client.close().await, Err(Error::SocketNotFound));
    let gone = scene.world.app.tcp.get_info(client.id()).await;
    assert_eq!(gone, Err(Error::SocketNotFound));
    scene.proof_of_life().await;
}

#[actix_rt::test]
async fn a_claimed_client_has_no_claim_timeout() {
    let mut scene = Scene::new(CLAIM).await;
    let (client, peer) = scene.client().await;
    sleep(LIMIT - SLACK).await;
    client.set_paused(false).await.expect("in time");
    client.set_paused(true).await.expect("it is open");
    scene.silent(DAY).await;
    client.set_timeouts(CLAIM).await.expect("it is open");
    scene.silent(DAY).await;
    let (ended, _ended) = scene.client().await;
    ended.disconnect().await.expect("it is open");
    let made = scene.world.create().await;
    let set = scene.world.app.tcp.set_timeouts(made, CLAIM);
    set.await.expect("it is open");
    scene.silent(DAY).await;
    ended.close().await.expect("a disconnected one is claimed");
    assert!(!peer.is_closed());
}

#[actix_rt::test]
async fn only_a_resume_claims_a_client() {
    let mut scene = Scene::new(CLAIM).await;
    let (client, _peer) = scene.client().await;
    sleep(LIMIT / 2).await;
    client.set_no_delay(true).await.expect("it is open");
    client
        .update(SocketProperties::default())
        .await
        .expect("it is open");
    client.send(&b"hello"[..]).await.expect("it is open");
    client.set_paused(true).await.expect("it is open");
    scene.times_out(&client, LIMIT / 2 - SLACK).await;
}

#[actix_rt::test]
async fn an_idle_connection_ends_after_its_last_byte() {
    let mut scene = Scene::new(IDLE).await;
    let (client, peer) = scene.open().await;
    for _ in 0..5 {
        sleep(LIMIT - SLACK).await;
        peer.send("x");
        scene.world.received(client.id(), 1).await;
        sleep(LIMIT - SLACK).await;
        client.send(&b"x"[..]).await.expect("it is open");
    }
    scene.times_out(&client, LIMIT).await;
    assert!(peer.is_closed());
    let info = client.get_info().await.expect("its id lives until close");
    assert!(!info.connected && info.paused);
    let not_connected = Err(NetError::SOCKET_NOT_CONNECTED.into());
    assert_eq!(client.send(&b"x"[..]).await, not_connected);
    scene.proof_of_life().await;
}

#[actix_rt::test]
async fn idle_time_does_not_run_while_the_socket_is_paused() {
    let mut scene = Scene::new(IDLE).await;
    let (client, _peer) = scene.client().await;
    scene.silent(DAY).await;
    client.set_paused(false).await.expect("it is open");
    sleep(LIMIT / 2).await;
    client.set_paused(true).await.expect("it is open");
    scene.silent(DAY).await;
    client.set_paused(false).await.expect("it is open");
    scene.times_out(&client, LIMIT).await;
}

#[actix_rt::test]
async fn a_peer_that_reads_nothing_ends_its_connection_and_fails_the_sends() {
    let mut scene = Scene::new(SEND).await;
    for paused in [false, true] {
        let (client, peer) = scene.open().await;
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
            scene.silent(DAY).await;
            let failed = client.send(&b"e"[..]).await;
            assert_eq!(failed, Err(NetError::TIMED_OUT.into()));
            client.set_paused(false).await.expect("it is open");
        }
        scene.times_out(&client, Duration::ZERO).await;
        client.close().await.expect("its id lives until close");
    }
    scene.proof_of_life().await;
}

#[actix_rt::test]
async fn a_peer_that_reads_a_byte_now_and_then_does_not_time_out() {
    let mut scene = Scene::new(SEND).await;
    let (client, peer) = scene.open().await;
    peer.limit_writes(0);
    let sent = client.send(&b"0123456789"[..]);
    for _ in 0..10 {
        sleep(LIMIT - SLACK).await;
        peer.limit_writes(1);
    }
    sent.await.expect("it is sent");
    assert_eq!(peer.received(), b"0123456789");
    scene.silent(DAY).await;
    client
        .send(&b""[..])
        .await
        .expect("nothing has waited since");
}

#[actix_rt::test]
async fn unsent_data_is_returned_to_the_quota() {
    let mut scene = Scene::new(SEND).await;
    let (client, peer) = scene.open().await;
    peer.limit_writes(0);
    let first = client.send(vec![0; 1 << 20]);
    assert_eq!(first.await, Err(NetError::TIMED_OUT.into()));
    scene.times_out(&client, Duration::ZERO).await;
    // Nothing of it counts any more.
    let quota = client.send(vec![0; tcp::DEFAULT_WRITE_QUOTA]).await;
    assert_eq!(quota, Err(NetError::SOCKET_NOT_CONNECTED.into()));
}

#[actix_rt::test]
async fn zero_is_refused_and_changes_nothing() {
    let mut scene = Scene::new(CLAIM).await;
    let (client, _peer) = scene.client().await;
    let zero = Timeouts {
        idle: Some(Duration::ZERO),
        ..Timeouts::default()
    };
    let refused = Err(NetError::INVALID_ARGUMENT.into());
    let app = scene.world.app.clone();
    assert_eq!(client.set_timeouts(zero).await, refused);
    assert_eq!(app.tcp.set_timeouts(client.id(), zero).await, refused);
    let server = app.tcp_server.set_timeouts(scene.server, zero);
    assert_eq!(server.await, refused);
    scene.times_out(&client, LIMIT).await;
    let (client, _peer) = scene.client().await;
    scene.times_out(&client, LIMIT).await;
}

#[actix_rt::test]
async fn the_longest_timeout_never_expires() {
    let longest = Timeouts {
        claim: Some(Duration::MAX),
        idle: Some(Duration::MAX),
        send: Some(Duration::MAX),
    };
    let mut scene = Scene::new(longest).await;
    let (_unclaimed, _first) = scene.client().await;
    let (client, _second) = scene.open().await;
    scene.silent(DAY).await;
    client.send(&b"x"[..]).await.expect("it is open");
}

#[actix_rt::test]
async fn new_timeouts_count_from_when_they_are_set() {
    let mut scene = Scene::new(IDLE).await;
    let (client, _peer) = scene.open().await;
    sleep(LIMIT / 2).await;
    let sooner = Timeouts {
        idle: Some(LIMIT / 10),
        ..Timeouts::default()
    };
    client.set_timeouts(sooner).await.expect("it is open");
    scene.times_out(&client, LIMIT / 10).await;
    let (client, _peer) = scene.open().await;
    client
        .set_timeouts(Timeouts::default())
        .await
        .expect("it is open");
    scene.silent(DAY).await;
    client.set_timeouts(IDLE).await.expect("it is open");
    scene.times_out(&client, LIMIT).await;
}

#[actix_rt::test]
async fn the_clients_of_a_suspended_app_are_not_timed_out() {
    let mut scene = Scene::new(Timeouts {
        idle: Some(LIMIT),
        ..CLAIM
    })
    .await;
    let (client, peer) = scene.open().await;
    let persistent = SocketProperties {
        persistent: Some(true),
        ..SocketProperties::default()
    };
    client.update(persistent.clone()).await.expect("it is open");
    let (unclaimed, waiting) = scene.client().await;
    unclaimed.update(persistent).await.expect("it is open");
    scene.world.app.suspend().await.expect("it runs");
    sleep(DAY).await;
    assert!(!peer.is_closed() && !waiting.is_closed());
    let listener = scene.world.listener.clone();
    scene.world.app.resume().await.expect("it runs");
    let subscribed = support::subscribe(&scene.world.app, &listener);
    subscribed.await.expect("it runs");
    for _ in 0..2 {
        match scene.world.next_before(2 * LIMIT).await {
            Heard::ReceiveError(_, NetError::TIMED_OUT) => {}
            other => panic!("expected a time-out, not {other:?}"),
        }
    }
    assert!(peer.is_closed() && waiting.is_closed());
}

#[actix_rt::test]
async fn another_app_cannot_set_timeouts() {
    let scene = Scene::new(CLAIM).await;
    let other = App::new("other", &scene.world.registry);
    let client = scene.world.create().await;
    let not_found = Err(Error::SocketNotFound);
    assert_eq!(other.tcp.set_timeouts(client, IDLE).await, not_found);
    let server = other.tcp_server.set_timeouts(scene.server, IDLE);
    assert_eq!(server.await, not_found);
    let by_message = tcp_server::SetTimeouts {
        app: scene.world.app.id().clone(),
        socket_id: scene.server,
        timeouts: IDLE,
    };
    let answer = scene.world.registry.send(by_message).await;
    assert_eq!(answer.expect("it runs"), Ok(()));
    let by_message = tcp::SetTimeouts {
        app: scene.world.app.id().clone(),
        socket_id: client,
        timeouts: IDLE,
    };
    let answer = scene.world.registry.send(by_message).await;
    assert_eq!(answer.expect("it runs"), Ok(()));
}

#[actix_rt::test]
async fn of_many_connections_each_times_out_at_its_time() {
    const CROWD: usize = 1000;
    let mut scene = Scene::new(IDLE).await;
    let mut peers = Vec::new();
    for number in 0..CROWD {
        let (client, peer) = scene.open().await;
        peers.push(peer);
        // Closed ones leave nothing behind.
        if number % 3 == 0 {
            client.set_paused(true).await.expect("it is open");
            client.close().await.expect("it is open");
        }
    }
    for _ in 0..CROWD - CROWD.div_ceil(3) {
        match scene.world.next_before(LIMIT + SLACK).await {
            Heard::ReceiveError(_, NetError::TIMED_OUT) => {}
            other => panic!("expected a time-out, not {other:?}"),
        }
    }
    assert!(peers.iter().all(Peer::is_closed));
    scene.silent(DAY).await;
    scene.proof_of_life().await;
}

/// Waits for what must come by a clock that the test has paused.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(SLACK, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}
