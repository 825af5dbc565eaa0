//! Listeners that are slow, panic or die: the next listener receives what they have not handled,
//! and nothing else waits for them.

use actix::prelude::*;
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{AddListener, Event, OnEvent, RemoveListener};
use support::Listener;

use super::*;

/// An app that receives each event through a subscriber that may fail.
struct SubscriberFixture {
    test: TestApp,
    scripted: ScriptedNetwork,
    network: FaultyNetwork,
    server: ServerSocketId,
    at: SocketAddr,
}

impl SubscriberFixture {
    async fn new() -> Self {
        let scripted = ScriptedNetwork::new();
        let network = FaultyNetwork::new(scripted.clone(), SEED);
        let test = TestApp::with_network(network.clone()).await;
        let (server, at) = test.listen().await;
        let fixture = SubscriberFixture {
            test,
            scripted,
            network,
            server,
            at,
        };
        let app = fixture.test.app.clone();
        fixture.subscribe(&app.tcp_server.on_accept).await;
        fixture.subscribe(&app.tcp_server.on_accept_error).await;
        fixture.subscribe(&app.tcp.on_receive).await;
        fixture.subscribe(&app.tcp.on_receive_error).await;
        fixture
    }

    /// Adds a subscriber in place of the app's own listener.
    async fn subscribe<E: Event>(&self, event: &OnEvent<E>) -> Recipient<E>
    where
        Listener: Handler<E>,
        Registry: Handler<AddListener<E>> + Handler<RemoveListener<E>>,
    {
        let listener = self.test.listener.clone().recipient();
        let subscriber = self.network.subscriber(listener.clone());
        event.do_add_listener(subscriber.clone());
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
        let client = self.test.accepted().await;
        client.set_paused(false).await.expect("resume");
        (client, peer)
    }

    async fn wait_for_fault(&self, rule: RuleId, times: u64) {
        let network = self.network.clone();
        until("the fault", move || network.triggered(rule) == times).await;
    }
}

#[actix_rt::test]
async fn a_slow_subscriber_keeps_its_events_in_order_and_their_credit() {
    let mut fixture = SubscriberFixture::new().await;
    let (client, peer) = fixture.connection().await;
    let (other, _peer) = fixture.connection().await;
    let reads = fixture.inject("read=EINTR,times=0");
    let slow = fixture.inject("subscriber=stall,times=1");
    let data: Vec<u8> = (0..1_000_000).map(|i| (i % 251) as u8).collect();
    peer.send(&data);
    fixture.wait_for_fault(slow, 1).await;
    // After this, everything that can be read has been read.
    for _ in 0..100 {
        other.get_info().await.expect("it exists");
    }
    assert!(fixture.test.try_next().is_none());
    assert_eq!(fixture.network.stalled(slow), 1);
    // A window of events of 4096 bytes; the next read may not begin.
    assert!(fixture.network.evaluated(reads) <= 17);
    assert!(fixture.network.release(slow));
    let received = fixture.test.received(client.id(), data.len()).await;
    assert!(received == data, "in order");
}

#[actix_rt::test]
async fn a_stall_with_a_duration_delays_every_event_by_it() {
    let mut fixture = SubscriberFixture::new().await;
    let (client, peer) = fixture.connection().await;
    tokio::time::pause();
    fixture.inject("subscriber=stall,for=200ms");
    let begun = tokio::time::Instant::now();
    for text in ["one", "two"] {
        peer.send(text);
        let events = fixture.test.next_before(std::time::Duration::from_secs(1));
        match events.await {
            ListenerEvent::Receive(id, bytes) => {
                assert_eq!((id, &*bytes), (client.id(), text.as_bytes()))
            }
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    assert_eq!(begun.elapsed().as_millis() / 10, 40);
}

/// The next listener receives, in order, what a dying subscriber had in its handler and its
/// mailbox.
async fn check_dying_subscriber(text: &str) {
    let mut fixture = SubscriberFixture::new().await;
    let app = fixture.test.app.clone();
    let (client, peer) = fixture.connection().await;
    client
        .update(chrome_sockets::tcp::SocketProperties {
            buffer_size: Some(10),
            ..Default::default()
        })
        .await
        .expect("update");
    let fault = fixture.inject(text);

    // onReceive: the third of ten.
    peer.send([7; 100]);
    fixture.wait_for_fault(fault, 1).await;
    assert_eq!(fixture.test.received(client.id(), 20).await, [7; 20]);
    fixture.test.expect_no_event().await;
    fixture.subscribe(&app.tcp.on_receive).await;
    assert_eq!(fixture.test.received(client.id(), 80).await, [7; 80]);

    // onReceiveError.
    fixture.network.clear();
    let text = text.split(',').next().expect("a rule");
    let fault = fixture.inject(&format!("{text},times=1"));
    peer.shutdown();
    fixture.wait_for_fault(fault, 1).await;
    fixture.test.expect_no_event().await;
    fixture.subscribe(&app.tcp.on_receive_error).await;
    let end = fixture.test.ended(client.id()).await;
    assert_eq!(end, NetError::CONNECTION_CLOSED);

    // onAccept.
    let fault = fixture.inject(&format!("{text},after=1,times=1"));
    let peers = [0; 4].map(|_| fixture.dial());
    fixture.wait_for_fault(fault, 1).await;
    let mut arrived = vec![fixture.test.accepted().await];
    fixture.test.expect_no_event().await;
    fixture.subscribe(&app.tcp_server.on_accept).await;
    while arrived.len() < peers.len() {
        arrived.push(fixture.test.accepted().await);
    }
    if text.starts_with("panic") {
        // The client at which it panicked comes last.
        arrived[1..].rotate_right(1);
    }
    for (client, peer) in arrived.iter().zip(&peers) {
        let info = client.get_info().await.expect("it exists");
        assert_eq!(info.peer_addr(), Some(peer.addr()), "in order");
    }
    let info = app.tcp_server.get_info(fixture.server).await;
    let counts = info.expect("it exists").counts;
    assert_eq!((counts.accepted, counts.delivered), (5, 5));
}

#[actix_rt::test]
async fn the_next_subscriber_receives_the_event_at_which_one_panicked_and_those_behind_it() {
    check_dying_subscriber("panic=subscriber,after=2,times=1").await;
}

#[actix_rt::test]
async fn the_next_subscriber_receives_the_events_of_one_that_stopped() {
    check_dying_subscriber("stop=subscriber,after=2,times=1").await;
}

#[actix_rt::test]
async fn the_next_listener_receives_an_accept_error_that_a_dying_one_has_not_handled() {
    for text in ["panic=subscriber,times=1", "stop=subscriber,times=1"] {
        let mut fixture = SubscriberFixture::new().await;
        let app = fixture.test.app.clone();
        let fault = fixture.inject(text);
        fixture.inject("accept=EMFILE,times=1");
        let _peer = fixture.dial();
        fixture.wait_for_fault(fault, 1).await;
        fixture.test.expect_no_event().await;
        fixture.subscribe(&app.tcp_server.on_accept_error).await;
        let expect_error = |event, server| match event {
            ListenerEvent::AcceptError(from, code) => {
                assert_eq!((from, code.code()), (server, -12))
            }
            other => panic!("expected onAcceptError, not {other:?}"),
        };
        expect_error(fixture.test.next().await, fixture.server);
        fixture.test.expect_no_event().await;

        // An error that is raised while no listener lives waits too.
        let fault = fixture.inject(text);
        fixture.inject("accept=EMFILE,times=2");
        for times in 1..=2 {
            let resumed = app.tcp_server.set_paused(fixture.server, false);
            resumed.await.expect("resume");
            fixture.wait_for_fault(fault, 1).await;
            until("the error", || {
                let reports = fixture.network.report();
                reports
                    .iter()
                    .any(|it| it.triggered == times && it.id > fault)
            })
            .await;
        }
        fixture.subscribe(&app.tcp_server.on_accept_error).await;
        for _ in 0..2 {
            expect_error(fixture.test.next().await, fixture.server);
        }
        let resumed = app.tcp_server.set_paused(fixture.server, false);
        resumed.await.expect("resume");
        fixture.test.accepted().await;
    }
}
