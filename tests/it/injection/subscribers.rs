//! Listeners that are slow, panic or die: what they have not handled comes to
//! the next one, and nobody else waits for it.

use actix::prelude::*;
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{AddListener, Event, OnEvent, RemoveListener};

use super::*;
use support::Listener;

/// An app that hears each event through a subscriber that may fail.
struct Behind {
    world: World,
    scripted: ScriptedNetwork,
    network: FaultyNetwork,
    server: ServerSocketId,
    at: SocketAddr,
}

impl Behind {
    async fn new() -> Self {
        let scripted = ScriptedNetwork::new();
        let network = FaultyNetwork::new(scripted.clone(), SEED);
        let world = World::with_network(network.clone()).await;
        let (server, at) = world.listen().await;
        let behind = Behind {
            world,
            scripted,
            network,
            server,
            at,
        };
        let app = behind.world.app.clone();
        behind.hear(&app.tcp_server.on_accept).await;
        behind.hear(&app.tcp_server.on_accept_error).await;
        behind.hear(&app.tcp.on_receive).await;
        behind.hear(&app.tcp.on_receive_error).await;
        behind
    }

    /// Adds a subscriber before the world's listener, which itself leaves.
    async fn hear<E: Event>(&self, event: &OnEvent<E>) -> Recipient<E>
    where
        Listener: Handler<E>,
        Registry: Handler<AddListener<E>> + Handler<RemoveListener<E>>,
    {
        let listener = self.world.listener.clone().recipient();
        let subscriber = self.network.subscriber(listener.clone());
        event.add_listener(subscriber.clone());
        let left = event.remove_listener(listener).await;
        left.expect("the registry runs");
        subscriber
    }

    fn inject(&self, text: &str) -> RuleId {
        self.network.inject(rule(text))
    }

    fn dial(&self) -> Peer {
        self.scripted.client(self.at).expect("it listens")
    }

    /// A connection that receives.
    async fn connection(&mut self) -> (ClientSocket, Peer) {
        let peer = self.dial();
        let client = self.world.accepted().await;
        client.set_paused(false).await.expect("resume");
        (client, peer)
    }

    async fn struck(&self, rule: RuleId, times: u64) {
        let network = self.network.clone();
        until("the fault", move || network.struck(rule) == times).await;
    }
}

#[actix_rt::test]
async fn a_slow_subscriber_keeps_its_events_in_order_and_their_credit() {
    let mut behind = Behind::new().await;
    let (client, peer) = behind.connection().await;
    let (other, _peer) = behind.connection().await;
    let reads = behind.inject("read=EINTR,times=0");
    let slow = behind.inject("subscriber=stall,times=1");
    let data: Vec<u8> = (0..1_000_000).map(|i| (i % 251) as u8).collect();
    peer.send(&data);
    behind.struck(slow, 1).await;
    // Whatever is still to be read is read by now.
    for _ in 0..100 {
        other.get_info().await.expect("it exists");
    }
    assert!(behind.world.heard_already().is_none());
    assert_eq!(behind.network.stalled(slow), 1);
    // A window of 4096 bytes each; the last one may not begin.
    assert!(behind.network.asked(reads) <= 17);
    assert!(behind.network.release(slow));
    let received = behind.world.received(client.id(), data.len()).await;
    assert!(received == data, "in order");
}

#[actix_rt::test]
async fn a_stall_with_a_duration_delays_every_event_by_it() {
    let mut behind = Behind::new().await;
    let (client, peer) = behind.connection().await;
    tokio::time::pause();
    behind.inject("subscriber=stall,for=200ms");
    let begun = tokio::time::Instant::now();
    for text in ["one", "two"] {
        peer.send(text);
        let heard = behind.world.next_before(std::time::Duration::from_secs(1));
        match heard.await {
            Heard::Receive(id, bytes) => assert_eq!((id, &*bytes), (client.id(), text.as_bytes())),
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    assert_eq!(begun.elapsed().as_millis() / 10, 40);
}

/// What a subscriber that dies had in hand, and in its mailbox, comes to the
/// next one, in order.
async fn dies(text: &str) {
    let mut behind = Behind::new().await;
    let app = behind.world.app.clone();
    let (client, peer) = behind.connection().await;
    client
        .update(chrome_sockets::tcp::SocketProperties {
            buffer_size: Some(10),
            ..Default::default()
        })
        .await
        .expect("update");
    let fault = behind.inject(text);

    // onReceive: the third of ten.
    peer.send([7; 100]);
    behind.struck(fault, 1).await;
    assert_eq!(behind.world.received(client.id(), 20).await, [7; 20]);
    behind.world.nothing().await;
    behind.hear(&app.tcp.on_receive).await;
    assert_eq!(behind.world.received(client.id(), 80).await, [7; 80]);

    // onReceiveError.
    behind.network.clear();
    let text = text.split(',').next().expect("a rule");
    let fault = behind.inject(&format!("{text},times=1"));
    peer.end();
    behind.struck(fault, 1).await;
    behind.world.nothing().await;
    behind.hear(&app.tcp.on_receive_error).await;
    let end = behind.world.ended(client.id()).await;
    assert_eq!(end, NetError::CONNECTION_CLOSED);

    // onAccept.
    let fault = behind.inject(&format!("{text},after=1,times=1"));
    let peers = [0; 4].map(|_| behind.dial());
    behind.struck(fault, 1).await;
    let mut came = vec![behind.world.accepted().await];
    behind.world.nothing().await;
    behind.hear(&app.tcp_server.on_accept).await;
    while came.len() < peers.len() {
        came.push(behind.world.accepted().await);
    }
    if text.starts_with("panic") {
        // The one at which it has panicked comes last.
        came[1..].rotate_right(1);
    }
    for (client, peer) in came.iter().zip(&peers) {
        let info = client.get_info().await.expect("it exists");
        assert_eq!(info.peer_addr(), Some(peer.addr()), "in order");
    }
    let info = app.tcp_server.get_info(behind.server).await;
    let counts = info.expect("it exists").counts;
    assert_eq!((counts.accepted, counts.delivered), (5, 5));
}

#[actix_rt::test]
async fn the_next_subscriber_receives_the_event_at_which_one_panicked_and_those_behind_it() {
    dies("panic=subscriber,after=2,times=1").await;
}

#[actix_rt::test]
async fn the_next_subscriber_receives_the_events_of_one_that_stopped() {
    dies("stop=subscriber,after=2,times=1").await;
}

#[actix_rt::test]
async fn the_next_listener_receives_an_accept_error_that_a_dying_one_has_not_handled() {
    for text in ["panic=subscriber,times=1", "stop=subscriber,times=1"] {
        let mut behind = Behind::new().await;
        let app = behind.world.app.clone();
        let fault = behind.inject(text);
        behind.inject("accept=EMFILE,times=1");
        let _peer = behind.dial();
        behind.struck(fault, 1).await;
        behind.world.nothing().await;
        behind.hear(&app.tcp_server.on_accept_error).await;
        let told = |heard, server| match heard {
            Heard::AcceptError(from, code) => assert_eq!((from, code.code()), (server, -12)),
            other => panic!("expected onAcceptError, not {other:?}"),
        };
        told(behind.world.next().await, behind.server);
        behind.world.nothing().await;

        // One that is raised while nobody lives waits, too.
        let fault = behind.inject(text);
        behind.inject("accept=EMFILE,times=2");
        for times in 1..=2 {
            let resumed = app.tcp_server.set_paused(behind.server, false);
            resumed.await.expect("resume");
            behind.struck(fault, 1).await;
            until("the error", || {
                let reports = behind.network.report();
                reports.iter().any(|it| it.struck == times && it.id > fault)
            })
            .await;
        }
        behind.hear(&app.tcp_server.on_accept_error).await;
        for _ in 0..2 {
            told(behind.world.next().await, behind.server);
        }
        let resumed = app.tcp_server.set_paused(behind.server, false);
        resumed.await.expect("resume");
        behind.world.accepted().await;
    }
}
