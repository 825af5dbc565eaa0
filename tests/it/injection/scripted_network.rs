//! The same rules on the scripted network: nothing depends on the machine.

use chrome_sockets::testing::{Peer, ScriptedNetwork};

use super::*;

/// Like the outer fixture, on a network without I/O.
struct ScriptedFixture {
    test: TestApp,
    scripted: ScriptedNetwork,
    network: FaultyNetwork,
    server: ServerSocketId,
    at: SocketAddr,
    old: (ClientSocket, Peer),
}

impl ScriptedFixture {
    async fn new() -> Self {
        let scripted = ScriptedNetwork::new();
        let network = FaultyNetwork::new(scripted.clone(), SEED);
        let mut test = TestApp::with_network(network.clone()).await;
        let (server, at) = test.listen().await;
        let peer = scripted.client(at).expect("it listens");
        let client = test.accepted().await;
        ScriptedFixture {
            test,
            scripted,
            network,
            server,
            at,
            old: (client, peer),
        }
    }

    fn dial(&self) -> Peer {
        self.scripted.client(self.at).expect("it listens")
    }

    async fn accepted(&mut self) -> (ClientSocket, Peer) {
        let peer = self.dial();
        (self.test.accepted().await, peer)
    }

    async fn assert_alive(&mut self, during: Vec<Peer>) {
        let mut arrived = Vec::new();
        for peer in during {
            let client = self.test.accepted().await;
            let info = client.get_info().await.expect("it exists");
            assert_eq!(
                info.peer_addr(),
                Some(peer.addr()),
                "the other socket's turn"
            );
            arrived.push((client, peer));
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

async fn assert_talks(test: &mut TestApp, client: &ClientSocket, peer: &Peer) {
    client.set_paused(false).await.expect("resume");
    let sent = within("the send", client.send(&b"to the peer"[..])).await;
    assert_eq!(sent, Ok(SendInfo { bytes_sent: 11 }));
    assert!(peer.received().ends_with(b"to the peer"));
    peer.send("to the app");
    assert_eq!(test.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

#[actix_rt::test]
async fn an_accept_error_or_stall_keeps_waiting_clients() {
    let mut fixture = ScriptedFixture::new().await;
    let error = fixture.network.inject(rule("accept=EMFILE,times=1"));
    let during = vec![fixture.dial(), fixture.dial()];
    match fixture.test.next().await {
        ListenerEvent::AcceptError(_, code) => assert_eq!(code.code(), -12),
        other => panic!("expected onAcceptError, not {other:?}"),
    }
    assert_eq!(fixture.network.triggered(error), 1);
    assert_eq!(fixture.scripted.waiting(fixture.at), 2);
    let stall = fixture.network.inject(rule("accept=stall,times=1"));
    let resumed = fixture
        .test
        .app
        .tcp_server
        .set_paused(fixture.server, false);
    resumed.await.expect("resume");
    until("the stalled call", || fixture.network.stalled(stall) == 1).await;
    assert_eq!(fixture.scripted.waiting(fixture.at), 2);
    fixture.network.release(stall);
    fixture.assert_alive(during).await;
}

#[actix_rt::test]
async fn an_injected_end_of_a_connection_is_reported_and_visible_to_its_peer() {
    let mut fixture = ScriptedFixture::new().await;
    for (text, expected) in [
        ("read=reset", -100),
        ("read=end", -100),
        ("read=ETIMEDOUT", -7),
        ("read=EHOSTUNREACH", -109),
    ] {
        let (client, peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        let id = fixture.network.inject(rule(text).times(1));
        peer.send("x");
        let end = fixture.test.ended(client.id()).await;
        assert_eq!(end.code(), expected, "{text}");
        until("the end", || peer.is_closed()).await;
        assert_eq!(fixture.network.triggered(id), 1);
        let during = fixture.dial();
        fixture.assert_alive(vec![during]).await;
    }
}

#[actix_rt::test]
async fn stalled_short_and_interrupted_transfers_arrive_whole() {
    let mut fixture = ScriptedFixture::new().await;
    let (client, peer) = fixture.accepted().await;
    client.set_paused(false).await.expect("resume");
    let stalls = ["read=stall,times=1", "write=stall,times=1"];
    let stalls = stalls.map(|text| fixture.network.inject(rule(text)));
    for text in [
        "read=EINTR,every=3",
        "read=short,bytes=9",
        "write=EAGAIN,every=3",
        "write=short,bytes=3,every=2",
    ] {
        fixture.network.inject(rule(text));
    }
    // Many reads, whatever the rules do.
    peer.short_reads(20);
    peer.send([7; 1000]);
    let sends: Vec<_> = (0..100).map(|_| client.send(&b"0123456789"[..])).collect();
    for stall in stalls {
        until("a stall", || fixture.network.stalled(stall) == 1).await;
        fixture.network.release(stall);
    }
    assert_eq!(fixture.test.received(client.id(), 1000).await, [7; 1000]);
    for sent in sends {
        within("a send", sent).await.expect("send");
    }
    assert_eq!(peer.received(), b"0123456789".repeat(100));
    for report in fixture.network.clear() {
        assert!(report.triggered > 0, "{report}");
    }
    assert_talks(&mut fixture.test, &client, &peer).await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn connect_resolve_and_listen_fail_as_often_as_the_rule_says() {
    let mut fixture = ScriptedFixture::new().await;
    for text in [
        "connect=ECONNREFUSED,times=2",
        "resolve=ENOENT,times=2",
        "listen=EADDRINUSE,times=2",
    ] {
        fixture.network.inject(rule(text));
    }
    let tcp = fixture.test.app.tcp.clone();
    let id = fixture.test.create().await;
    for expected in [-105, -105, -102, -102] {
        let port = fixture.at.port().into();
        let known = vec![Ipv4Addr::LOCALHOST.into()];
        fixture.scripted.next_resolve("near.example", Ok(known));
        let refused = tcp.connect(id, "near.example", port, DnsQueryType::Any);
        assert_eq!(code("connect", refused).await, expected);
    }
    within("connect", connect(&fixture.test, id, fixture.at))
        .await
        .expect("it can connect afterwards");
    fixture.test.accepted().await;
    let server = fixture.test.app.tcp_server.clone();
    let other = server.create(Default::default()).await.expect("create");
    for _ in 0..2 {
        let refused = server.listen(other.socket_id, "127.0.0.1", 0, None);
        assert_eq!(code("listen", refused).await, -147);
    }
    let listening = server.listen(other.socket_id, "127.0.0.1", 0, None).await;
    assert_eq!(listening, Ok(()));
    fixture.assert_alive(vec![]).await;
}
