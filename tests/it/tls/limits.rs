//! Crowds of clients that do not finish their handshakes.

use std::time::Duration;

use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{Registry, tls};
use tokio::io::AsyncWriteExt;

use super::serving::Failures;
use super::{Trusting, assert_talks, connect};
use crate::tcp_server::dial;
use support::{World, within};

#[actix_rt::test]
async fn a_thousand_stalled_handshakes_delay_no_other_client() {
    let mut t = Trusting::new().await;
    let mut failures = Failures::of(&t.world).await;
    let (_, at) = t.serve(t.authority.issue("localhost").server()).await;
    let mut stalled = Vec::new();
    for i in 0..1000 {
        let mut peer = dial(at).await;
        // Some say nothing, some begin.
        if i % 2 == 0 {
            let begun = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
            peer.write_all(&begun).await.expect("write");
        }
        stalled.push(peer);
    }
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let mut peer = connect(at, &t.authority).await.expect("the handshake");
        let client = t.world.accepted().await;
        assert_talks(&mut t.world, &client, &mut peer).await;
        let took = began.elapsed();
        assert!(took < tls::DEFAULT_TIME_OUT / 2, "at once, not {took:?}");
    }
    // They are given up one after the other, and all are told.
    for i in 0..1000 {
        let info = failures.next().await;
        assert_eq!(info.result_code.code(), -7, "{i}");
    }
    drop(stalled);
    let mut peer = connect(at, &t.authority).await.expect("the handshake");
    let client = t.world.accepted().await;
    assert_talks(&mut t.world, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_flood_of_garbage_is_counted_and_changes_nothing() {
    const FLOOD: u64 = 2000;
    let mut t = Trusting::new().await;
    let mut failures = Failures::of(&t.world).await;
    let (_, at) = t.serve(t.authority.issue("localhost").server()).await;
    let mut old = connect(at, &t.authority).await.expect("the handshake");
    let client = t.world.accepted().await;
    let flood = actix_rt::spawn(async move {
        for i in 0..FLOOD {
            let mut peer = dial(at).await;
            let garbage: Vec<u8> = (0..2048_u64).map(|j| ((i * j) >> 3) as u8).collect();
            // The server may have had enough of it already.
            let _ = peer.write_all(&garbage).await;
        }
    });
    let mut counted = 0;
    while counted < FLOOD {
        let info = failures.next().await;
        let number = info.result_code.code();
        assert!([-107, -101, -100].contains(&number), "{number}");
        counted += 1 + info.missed;
    }
    assert_eq!(counted, FLOOD);
    within("the end of the flood", flood)
        .await
        .expect("no panic");
    assert_talks(&mut t.world, &client, &mut old).await;
    let mut new = connect(at, &t.authority).await.expect("the handshake");
    let client = t.world.accepted().await;
    assert_talks(&mut t.world, &client, &mut new).await;
}

/// A world without time, whose server socket lets two handshakes go on.
struct Two {
    world: World,
    failures: Failures,
    network: ScriptedNetwork,
    at: std::net::SocketAddr,
}

impl Two {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let world = World::on(Registry::with_network(network.clone())).await;
        let failures = Failures::of(&world).await;
        let (id, at) = world.listen().await;
        let issued = super::Authority::new().issue("localhost");
        let set = world
            .app
            .tcp_server
            .set_tls(id, Some(issued.server().handshakes(2)));
        set.await.expect("it exists");
        tokio::time::pause();
        Two {
            world,
            failures,
            network,
            at,
        }
    }

    fn dial(&self) -> Peer {
        self.network.client(self.at).expect("it listens")
    }

    /// Lets everything happen that needs no time.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[actix_rt::test]
async fn at_the_limit_the_oldest_handshake_is_dropped_after_a_second() {
    let mut two = Two::new().await;
    let first = two.dial();
    two.settle().await;
    tokio::time::advance(Duration::from_millis(500)).await;
    let second = two.dial();
    two.settle().await;
    let (third, fourth) = (two.dial(), two.dial());
    two.settle().await;
    // One is held in the hand; the other waits in the backlog.
    assert_eq!(two.network.waiting(two.at), 1);
    two.failures.none();
    assert!(!first.is_closed());

    tokio::time::advance(Duration::from_millis(501)).await;
    let info = two.failures.next().await;
    assert_eq!(info.result_code.code(), -12);
    assert_eq!(info.peer_addr(), first.addr());
    two.settle().await;
    assert!(first.is_closed() && !second.is_closed());
    two.failures.none();

    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(two.failures.next().await.peer_addr(), second.addr());
    two.settle().await;
    assert_eq!(two.network.waiting(two.at), 0);
    // Those that are left have all of their time.
    let began = tokio::time::Instant::now();
    for peer in [&third, &fourth] {
        let info = two.failures.next().await;
        assert_eq!(info.result_code.code(), -7);
        assert_eq!(info.peer_addr(), peer.addr());
    }
    let waited = began.elapsed();
    assert!(waited > tls::DEFAULT_TIME_OUT / 2, "{waited:?}");
    two.world.nothing().await;
}

#[actix_rt::test]
async fn at_the_limit_a_handshake_that_ends_makes_room_at_once() {
    let mut two = Two::new().await;
    let (first, _second, third) = (two.dial(), two.dial(), two.dial());
    two.settle().await;
    first.end();
    assert_eq!(two.failures.next().await.peer_addr(), first.addr());
    two.settle().await;
    third.send("garbage");
    let info = two.failures.next().await;
    assert_eq!(info.peer_addr(), third.addr());
    assert_eq!(info.result_code.code(), -107);
}
