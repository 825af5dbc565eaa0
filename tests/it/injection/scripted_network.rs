//! The same rules on the scripted network: nothing depends on the machine.

use chrome_sockets::testing::{Peer, ScriptedNetwork};

use super::*;

/// As the outer scene, on a network without I/O.
struct Script {
    world: World,
    script: ScriptedNetwork,
    network: FaultyNetwork,
    server: ServerSocketId,
    at: SocketAddr,
    old: (ClientSocket, Peer),
}

impl Script {
    async fn new() -> Self {
        let script = ScriptedNetwork::new();
        let network = FaultyNetwork::new(script.clone(), SEED);
        let mut world = World::with_network(network.clone()).await;
        let (server, at) = world.listen().await;
        let peer = script.client(at).expect("it listens");
        let client = world.accepted().await;
        Script {
            world,
            script,
            network,
            server,
            at,
            old: (client, peer),
        }
    }

    fn dial(&self) -> Peer {
        self.script.client(self.at).expect("it listens")
    }

    async fn accepted(&mut self) -> (ClientSocket, Peer) {
        let peer = self.dial();
        (self.world.accepted().await, peer)
    }

    async fn assert_alive(&mut self, during: Vec<Peer>) {
        let mut came = Vec::new();
        for peer in during {
            let client = self.world.accepted().await;
            let info = client.get_info().await.expect("it exists");
            assert_eq!(info.peer_addr(), Some(peer.addr()), "another's turn");
            came.push((client, peer));
        }
        let (client, peer) = &self.old;
        assert_talks(&mut self.world, client, peer).await;
        for (client, peer) in &came {
            assert_talks(&mut self.world, client, peer).await;
        }
        let (client, peer) = self.accepted().await;
        assert_talks(&mut self.world, &client, &peer).await;
    }
}

async fn assert_talks(world: &mut World, client: &ClientSocket, peer: &Peer) {
    client.set_paused(false).await.expect("resume");
    let sent = within("the send", client.send(&b"to the peer"[..])).await;
    assert_eq!(sent, Ok(SendInfo { bytes_sent: 11 }));
    assert!(peer.received().ends_with(b"to the peer"));
    peer.send("to the app");
    assert_eq!(world.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

#[actix_rt::test]
async fn an_accept_error_or_stall_keeps_waiting_clients() {
    let mut scene = Script::new().await;
    let error = scene.network.inject(rule("accept=EMFILE,times=1"));
    let during = vec![scene.dial(), scene.dial()];
    match scene.world.next().await {
        Heard::AcceptError(_, code) => assert_eq!(code.code(), -12),
        other => panic!("expected onAcceptError, not {other:?}"),
    }
    assert_eq!(scene.network.struck(error), 1);
    assert_eq!(scene.script.waiting(scene.at), 2);
    let stall = scene.network.inject(rule("accept=stall,times=1"));
    let resumed = scene.world.app.tcp_server.set_paused(scene.server, false);
    resumed.await.expect("resume");
    until("the stall", || scene.network.stalled(stall) == 1).await;
    assert_eq!(scene.script.waiting(scene.at), 2);
    scene.network.release(stall);
    scene.assert_alive(during).await;
}

#[actix_rt::test]
async fn an_injected_end_of_a_connection_is_reported_and_visible_to_its_peer() {
    let mut scene = Script::new().await;
    for (text, expected) in [
        ("read=reset", -100),
        ("read=end", -100),
        ("read=ETIMEDOUT", -7),
        ("read=EHOSTUNREACH", -109),
    ] {
        let (client, peer) = scene.accepted().await;
        client.set_paused(false).await.expect("resume");
        let id = scene.network.inject(rule(text).times(1));
        peer.send("x");
        let end = scene.world.ended(client.id()).await;
        assert_eq!(end.code(), expected, "{text}");
        until("the end", || peer.is_closed()).await;
        assert_eq!(scene.network.struck(id), 1);
        let during = scene.dial();
        scene.assert_alive(vec![during]).await;
    }
}

#[actix_rt::test]
async fn stalled_short_and_interrupted_transfers_arrive_whole() {
    let mut scene = Script::new().await;
    let (client, peer) = scene.accepted().await;
    client.set_paused(false).await.expect("resume");
    let stalls = ["read=stall,times=1", "write=stall,times=1"];
    let stalls = stalls.map(|text| scene.network.inject(rule(text)));
    for text in [
        "read=EINTR,every=3",
        "read=short,bytes=9",
        "write=EAGAIN,every=3",
        "write=short,bytes=3,every=2",
    ] {
        scene.network.inject(rule(text));
    }
    // So that there are many reads, whatever the rules do.
    peer.short_reads(20);
    peer.send([7; 1000]);
    let sends: Vec<_> = (0..100).map(|_| client.send(&b"0123456789"[..])).collect();
    for stall in stalls {
        until("a stall", || scene.network.stalled(stall) == 1).await;
        scene.network.release(stall);
    }
    assert_eq!(scene.world.received(client.id(), 1000).await, [7; 1000]);
    for sent in sends {
        within("a send", sent).await.expect("send");
    }
    assert_eq!(peer.received(), b"0123456789".repeat(100));
    for report in scene.network.clear() {
        assert!(report.struck > 0, "{report}");
    }
    assert_talks(&mut scene.world, &client, &peer).await;
    scene.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn connect_resolve_and_listen_fail_as_often_as_the_rule_says() {
    let mut scene = Script::new().await;
    for text in [
        "connect=ECONNREFUSED,times=2",
        "resolve=ENOENT,times=2",
        "listen=EADDRINUSE,times=2",
    ] {
        scene.network.inject(rule(text));
    }
    let tcp = scene.world.app.tcp.clone();
    let id = scene.world.create().await;
    for expected in [-105, -105, -102, -102] {
        let port = scene.at.port().into();
        let known = vec![Ipv4Addr::LOCALHOST.into()];
        scene.script.next_resolve("near.example", Ok(known));
        let refused = tcp.connect(id, "near.example", port, DnsQueryType::Any);
        assert_eq!(code("connect", refused).await, expected);
    }
    within("connect", connect(&scene.world, id, scene.at))
        .await
        .expect("it may connect then");
    scene.world.accepted().await;
    let server = scene.world.app.tcp_server.clone();
    let other = server.create(Default::default()).await.expect("create");
    for _ in 0..2 {
        let refused = server.listen(other.socket_id, "127.0.0.1", 0, None);
        assert_eq!(code("listen", refused).await, -147);
    }
    let listening = server.listen(other.socket_id, "127.0.0.1", 0, None).await;
    assert_eq!(listening, Ok(()));
    scene.assert_alive(vec![]).await;
}
