//! Many clients that do not finish their handshakes.

use std::time::Duration;

use chrome_sockets::tcp::RESERVED_SEND;
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{Error, Registry, tls};
use support::{TestApp, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::certificates::Authority;
use super::serving::HandshakeErrors;
use super::{TlsFixture, assert_talks, connect};
use crate::tcp_server::dial;

#[actix_rt::test]
async fn a_thousand_stalled_handshakes_delay_no_other_client() {
    let mut fixture = TlsFixture::new().await;
    let mut failures = HandshakeErrors::of(&fixture.test).await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let mut stalled = Vec::new();
    for i in 0..1000 {
        let mut peer = dial(at).await;
        // Some are silent, some begin a handshake.
        if i % 2 == 0 {
            let begun = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
            peer.write_all(&begun).await.expect("write");
        }
        stalled.push(peer);
    }
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let mut peer = connect(at, &fixture.authority)
            .await
            .expect("the handshake");
        let client = fixture.test.accepted().await;
        assert_talks(&mut fixture.test, &client, &mut peer).await;
        let took = began.elapsed();
        assert!(took < tls::DEFAULT_TIMEOUT / 2, "at once, not {took:?}");
    }
    // They are dropped one after the other, and all are reported.
    for i in 0..1000 {
        let info = failures.next().await;
        assert_eq!(info.result_code.code(), -7, "{i}");
    }
    drop(stalled);
    let mut peer = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_flood_of_garbage_is_counted_and_changes_nothing() {
    const FLOOD: u64 = 2000;
    let mut fixture = TlsFixture::new().await;
    let mut failures = HandshakeErrors::of(&fixture.test).await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let mut old = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    let flood = actix_rt::spawn(async move {
        for i in 0..FLOOD {
            let mut peer = dial(at).await;
            let garbage: Vec<u8> = (0..2048_u64).map(|j| ((i * j) >> 3) as u8).collect();
            // The server may have closed it already.
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
    assert_talks(&mut fixture.test, &client, &mut old).await;
    let mut new = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut new).await;
}

/// A test app with a paused clock, whose server socket allows two concurrent handshakes.
struct TwoHandshakes {
    test: TestApp,
    failures: HandshakeErrors,
    network: ScriptedNetwork,
    at: std::net::SocketAddr,
}

impl TwoHandshakes {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let test = TestApp::on(Registry::with_network(network.clone())).await;
        let failures = HandshakeErrors::of(&test).await;
        let (id, at) = test.listen().await;
        let issued = super::Authority::new().issue("localhost");
        let set = test
            .app
            .tcp_server
            .set_tls(id, Some(issued.server().handshakes(2)));
        set.await.expect("it exists");
        tokio::time::pause();
        TwoHandshakes {
            test,
            failures,
            network,
            at,
        }
    }

    fn dial(&self) -> Peer {
        self.network.client(self.at).expect("it listens")
    }

    /// Lets everything happen that takes no time.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[actix_rt::test]
async fn at_the_limit_the_oldest_handshake_is_dropped_after_a_second() {
    let mut fixture = TwoHandshakes::new().await;
    let first = fixture.dial();
    fixture.settle().await;
    tokio::time::advance(Duration::from_millis(500)).await;
    let second = fixture.dial();
    fixture.settle().await;
    let (third, fourth) = (fixture.dial(), fixture.dial());
    fixture.settle().await;
    // One is accepted and waits; the other waits in the backlog.
    assert_eq!(fixture.network.waiting(fixture.at), 1);
    fixture.failures.expect_none();
    assert!(!first.is_closed());

    tokio::time::advance(Duration::from_millis(501)).await;
    let info = fixture.failures.next().await;
    assert_eq!(info.result_code.code(), -12);
    assert_eq!(info.peer, first.addr());
    fixture.settle().await;
    assert!(first.is_closed() && !second.is_closed());
    fixture.failures.expect_none();

    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(fixture.failures.next().await.peer, second.addr());
    fixture.settle().await;
    assert_eq!(fixture.network.waiting(fixture.at), 0);
    // The remaining ones have all of their time.
    let began = tokio::time::Instant::now();
    for peer in [&third, &fourth] {
        let info = fixture.failures.next().await;
        assert_eq!(info.result_code.code(), -7);
        assert_eq!(info.peer, peer.addr());
    }
    let waited = began.elapsed();
    assert!(waited > tls::DEFAULT_TIMEOUT / 2, "{waited:?}");
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn at_the_limit_a_handshake_that_ends_makes_room_at_once() {
    let mut fixture = TwoHandshakes::new().await;
    let (first, _second, third) = (fixture.dial(), fixture.dial(), fixture.dial());
    fixture.settle().await;
    first.shutdown();
    assert_eq!(fixture.failures.next().await.peer, first.addr());
    fixture.settle().await;
    third.send("garbage");
    let info = fixture.failures.next().await;
    assert_eq!(info.peer, third.addr());
    assert_eq!(info.result_code.code(), -107);
}

#[actix_rt::test]
async fn a_full_write_quota_keeps_no_encrypted_client_from_its_answer() {
    let authority = Authority::new();
    let registry = Registry::new().write_quota(8 << 20);
    let test = TestApp::on(registry).await;
    let mut fixture = TlsFixture { test, authority };
    let server = fixture.authority.issue("localhost").server();
    let (_, at) = fixture.serve(server).await;
    let _silent = connect(at, &fixture.authority).await.expect("handshake");
    let silent = fixture.test.accepted().await;
    let exceeded = Err(Error::WriteQuotaExceeded);
    for part in [1 << 20, 1 << 10, 1] {
        until("the end of the quota", || {
            silent.try_send(vec![0; part]) == exceeded
        })
        .await;
    }
    // It is encrypted in the socket's own thread, so the sends do not use the fast path.
    let mut peer = connect(at, &fixture.authority).await.expect("handshake");
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    let answer = vec![7; RESERVED_SEND];
    client.send(answer.clone()).await.expect("beyond the quota");
    let mut got = vec![0; RESERVED_SEND];
    within("the answer", peer.read_exact(&mut got))
        .await
        .expect("read");
    assert!(got == answer);
    assert_eq!(silent.try_send(&b"x"[..]), exceeded);
}
