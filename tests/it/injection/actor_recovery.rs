//! The crate's own actors panic and stop, and recover with their state.

use std::io;

use actix::prelude::*;
use chrome_sockets::App;
use chrome_sockets::supervision::{ActorKind, Cause, RestartInfo, RestartLimit};
use chrome_sockets::tcp_server::SocketProperties;
use chrome_sockets::testing::ScriptedNetwork;
use support::EventSender;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// The restart events of a registry.
pub(super) struct RestartEvents(UnboundedReceiver<RestartInfo>);

impl RestartEvents {
    pub(super) async fn of(app: &App) -> Self {
        let (sender, events) = unbounded_channel();
        let listener = EventSender(sender).start();
        let added = app.on_restart.add_listener(listener.recipient());
        added.await.expect("the registry runs");
        RestartEvents(events)
    }

    pub(super) async fn next(&mut self) -> RestartInfo {
        within("onRestart", self.0.recv())
            .await
            .expect("the listener runs")
    }

    /// Expects the next events to be panics of this actor.
    pub(super) async fn panics(&mut self, actor: ActorKind, count: u64) {
        for nth in 1..=count {
            let info = self.next().await;
            assert_eq!((info.actor, info.restarts), (actor, nth));
            assert!(matches!(info.cause, Cause::Panicked(why) if why.contains("injected")));
            assert!(!info.gave_up);
        }
    }

    fn none(&mut self) {
        assert!(self.0.try_recv().is_err(), "nothing else has fallen");
    }
}

async fn times(count: usize, mut panics: impl AsyncFnMut() -> bool) {
    let mut seen = 0;
    while seen < count {
        seen += usize::from(panics().await);
    }
}

#[actix_rt::test]
async fn a_server_socket_that_panics_keeps_its_clients_its_state_and_its_address() {
    let mut fixture = Fixture::new().await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    let server = &fixture.test.app.tcp_server;
    let properties = SocketProperties {
        persistent: Some(true),
        name: Some("kept".to_owned()),
    };
    server
        .update(fixture.server, properties)
        .await
        .expect("update");
    let before = server.get_info(fixture.server).await.expect("it exists");
    let rule = fixture.inject("panic=server,times=3");
    let during = vec![dial(fixture.at).await, dial(fixture.at).await];
    restarts
        .panics(ActorKind::ServerSocket(fixture.server), 3)
        .await;
    assert_eq!(fixture.network.triggered(rule), 3);
    fixture.assert_alive(during).await;
    let server = &fixture.test.app.tcp_server;
    let mut after = server.get_info(fixture.server).await.expect("it exists");
    assert_eq!(after.counts.delivered, 4);
    after.counts = before.counts;
    assert_eq!(after, before);
    restarts.none();
}

#[actix_rt::test]
async fn a_paused_server_socket_that_panics_stays_paused() {
    let mut fixture = Fixture::new().await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    let server = fixture.test.app.tcp_server.clone();
    server
        .set_paused(fixture.server, true)
        .await
        .expect("pause");
    fixture.inject("panic=server,times=2");
    let during = vec![dial(fixture.at).await];
    // Each call gives it a turn.
    for _ in 0..2 {
        server.get_info(fixture.server).await.expect("it exists");
    }
    restarts
        .panics(ActorKind::ServerSocket(fixture.server), 2)
        .await;
    fixture.test.expect_no_event().await;
    fixture.assert_paused(true).await;
    fixture.resume().await;
    fixture.assert_alive(during).await;
}

#[actix_rt::test]
async fn bytes_and_their_order_survive_panics_of_the_client_sockets() {
    const BYTES: usize = 200_000;
    let mut fixture = Fixture::on(|it| it.restart_limit(RestartLimit::UNLIMITED)).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        let (client, peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        connections.push((client, peer));
    }
    let rule = fixture.inject("panic=clients,every=5");
    let data: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
    let mut peers = Vec::new();
    let mut received: Vec<(ClientSocketId, Vec<u8>)> = Vec::new();
    for (client, peer) in connections {
        received.push((client.id(), Vec::new()));
        let sends: Vec<_> = data
            .chunks(1000)
            .map(|it| client.send(it.to_vec()))
            .collect();
        let data = data.clone();
        peers.push(actix_rt::spawn(async move {
            let (mut read, mut write) = peer.into_split();
            let reading = async {
                let mut got = vec![0; BYTES];
                within("the app's data", read.read_exact(&mut got)).await?;
                io::Result::Ok(got)
            };
            let writing = async {
                for piece in data.chunks(700) {
                    write.write_all(piece).await?;
                }
                io::Result::Ok(write)
            };
            let (got, write) = futures::future::join(reading, writing).await;
            for send in sends {
                let sent = within("the send", send).await;
                assert_eq!(sent, Ok(SendInfo { bytes_sent: 1000 }), "no send is lost");
            }
            (got.expect("it is sent"), read, write.expect("it is read"))
        }));
    }
    while received.iter().any(|(_, got)| got.len() < BYTES) {
        match fixture.test.next().await {
            ListenerEvent::Receive(id, bytes) => {
                let of = received.iter_mut().find(|(known, _)| *known == id);
                of.expect("one of them").1.extend_from_slice(&bytes);
            }
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    for (id, got) in &received {
        assert!(*got == data, "client {id} received what was sent, in order");
    }
    for peer in peers {
        let (got, ..) = peer.await.expect("it runs");
        assert!(got == data, "a peer received what was sent, in order");
    }
    assert!(
        fixture.network.triggered(rule) > 20,
        "it panicked all the time"
    );
    fixture.network.clear();
}

#[actix_rt::test]
async fn a_call_in_progress_when_the_registry_or_a_server_socket_panics_answers_panicked() {
    let mut fixture = Fixture::new().await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    fixture.inject("panic=registry,times=1");
    let server = &fixture.test.app.tcp_server;
    let answers = [0, 1].map(|_| server.get_info(fixture.server));
    let [first, second] = answers;
    assert_eq!(first.await.err(), Some(Error::Panicked));
    second.await.expect("it is carried out");
    restarts.panics(ActorKind::Registry, 1).await;
    fixture.inject("listen=panic,times=1");
    let server = fixture.test.app.tcp_server.clone();
    let id = server.create(Default::default()).await.expect("create");
    let listens = [0, 1].map(|_| server.listen(id.socket_id, "127.0.0.1", 0, None));
    let [first, second] = listens;
    assert_eq!(first.await, Err(Error::Panicked));
    assert_eq!(second.await, Ok(()));
    restarts
        .panics(ActorKind::ServerSocket(id.socket_id), 1)
        .await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn a_registry_that_panics_continues_with_the_same_address() {
    let mut fixture = Fixture::new().await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    fixture.inject("panic=registry,every=2,times=10");
    let server = fixture.test.app.tcp_server.clone();
    let mut made = 0;
    times(10, async || match server.create(Default::default()).await {
        Ok(_) => {
            made += 1;
            false
        }
        Err(error) => {
            assert_eq!(error, Error::Panicked);
            true
        }
    })
    .await;
    assert_eq!(made, 10, "every other one");
    restarts.panics(ActorKind::Registry, 10).await;
    let registry = fixture.test.registry.clone();
    assert!(registry.connected());
    assert_eq!(registry, fixture.test.app.registry());
    let sockets = server.get_sockets().await.expect("it runs");
    assert_eq!(sockets.len(), 11, "with the one that listens");
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn a_resolve_or_connect_that_panics_fails_and_the_next_one_works() {
    let mut fixture = Fixture::with_names().await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    for (text, host) in [
        ("resolve=panic,times=1", "near.example"),
        ("connect=panic,times=1", "127.0.0.1"),
    ] {
        let id = fixture.test.create().await;
        fixture.inject(text);
        let port = fixture.at.port().into();
        let tcp = fixture.test.app.tcp.clone();
        let failed = tcp.connect(id, host, port, DnsQueryType::Ipv4);
        assert_eq!(code(text, failed).await, NetError::FAILED.code());
        let info = restarts.next().await;
        assert_eq!(info.actor, ActorKind::Connecting(id), "{text}");
        let again = tcp.connect(id, host, port, DnsQueryType::Ipv4);
        within("the connect", again).await.expect("it connects");
        fixture.test.accepted().await;
        tcp.close(id).await.expect("close");
        fixture.test.ended(id).await;
    }
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn a_connection_at_which_the_actor_always_panics_ends_and_is_reported() {
    let mut fixture = Fixture::new().await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    let (client, mut peer) = fixture.accepted().await;
    let address = peer.local_addr().expect("it is connected");
    fixture.inject(&format!("read=panic,peer={address}"));
    client.do_set_paused(false);
    write(&mut peer, b"x").await;
    assert_eq!(fixture.test.ended(client.id()).await, NetError::FAILED);
    restarts.panics(ActorKind::ClientSockets, 3).await;
    end(&mut peer).await.expect_err("what it sent was not read");
    fixture.assert_alive(vec![]).await;
    restarts.none();
}

#[actix_rt::test]
async fn a_send_at_which_the_actor_always_panics_fails_and_is_reported() {
    let mut fixture = Fixture::new().await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    let (client, peer) = fixture.accepted().await;
    let address = peer.local_addr().expect("it is connected");
    client.set_paused(false).await.expect("resume");
    fixture.inject(&format!("write=panic,peer={address}"));
    let sent = client.send(&b"never"[..]);
    assert_eq!(code("send", sent).await, NetError::FAILED.code());
    assert_eq!(fixture.test.ended(client.id()).await, NetError::FAILED);
    restarts.panics(ActorKind::ClientSockets, 3).await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn stopped_actors_are_replaced_with_all_their_state() {
    for (text, actor) in [
        ("stop=server,times=1", None),
        ("stop=clients,times=1", Some(ActorKind::ClientSockets)),
        ("stop=registry,times=1", Some(ActorKind::Registry)),
    ] {
        let mut fixture = Fixture::new().await;
        let actor = actor.unwrap_or(ActorKind::ServerSocket(fixture.server));
        let mut restarts = RestartEvents::of(&fixture.test.app).await;
        let (client, mut peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        let rule = fixture.inject(text);
        let _ = client.get_info().await;
        let _ = fixture.test.app.tcp_server.get_info(fixture.server).await;
        let info = restarts.next().await;
        assert_eq!((info.actor, info.cause), (actor, Cause::Stopped), "{text}");
        assert_eq!(fixture.network.triggered(rule), 1, "{text}");
        let during = vec![dial(fixture.at).await];
        fixture.assert_alive(during).await;
        assert_talks(&mut fixture.test, &client, &mut peer).await;
        if actor == ActorKind::Registry {
            assert_ne!(fixture.test.registry, fixture.test.app.registry());
        }
    }
}

#[actix_rt::test]
async fn requests_of_the_registry_to_an_actor_that_panics_are_repeated() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let client = fixture.old.0.clone();
    let rule = fixture.inject("panic=clients,times=1");
    // The first call is in progress when the second comes.
    let (info, sockets) = (client.get_info(), app.tcp.get_sockets());
    assert_eq!(sockets.await.expect("it is asked again").len(), 1);
    info.await.expect("it is carried out");
    assert_eq!(fixture.network.triggered(rule), 1);
    let rule = fixture.inject("panic=clients,times=1");
    client.do_set_no_delay(true);
    app.suspend().await.expect("it is suspended");
    end(&mut fixture.old.1)
        .await
        .expect("it was not persistent");
    assert_eq!(fixture.network.triggered(rule), 1);
}

#[actix_rt::test]
async fn a_suspended_app_is_loaded_even_if_its_server_socket_panics() {
    let network = ScriptedNetwork::new();
    let faulty = FaultyNetwork::new(network.clone(), SEED);
    let mut test = TestApp::with_network(faulty.clone()).await;
    let (server, at) = test.listen().await;
    let persistent = SocketProperties {
        persistent: Some(true),
        name: None,
    };
    let updated = test.app.tcp_server.update(server, persistent);
    updated.await.expect("update");
    let listener = test.listener.clone();
    let page = chrome_sockets::lifecycle::EventPage::new(move |app| {
        let listener = listener.clone();
        async move { support::subscribe(&app, &listener).await }
    });
    test.app
        .set_event_page(Some(page))
        .await
        .expect("it is set");
    test.app.suspend().await.expect("suspend");
    let rule = faulty.inject(rule("panic=server,times=2"));
    let peer = network.client(at).expect("it listens");
    let client = test.accepted().await;
    assert_eq!(faulty.triggered(rule), 2);
    peer.send("hello");
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 5).await, b"hello");
}
