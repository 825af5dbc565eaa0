//! Other calls while a drain is in progress.

use actix::Actor;
use chrome_sockets::Registry;
use chrome_sockets::tcp::SocketProperties;
use support::Listener;

use super::*;
use crate::handover::expect_handover;

#[actix_rt::test]
async fn listen_is_refused_until_the_drain_ends() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let (client, peer) = open(&mut test, at).await;
    let drained = test.app.drain(LIMIT);
    let tcp_server = test.app.tcp_server.clone();
    let created = tcp_server.create(Default::default()).await;
    let new = created.expect("create").socket_id;
    expect_refused(at).await;
    for socket in [server, new] {
        let refused = tcp_server.listen(socket, "127.0.0.1", 0, None).await;
        assert_eq!(refused, Err(Error::Draining));
    }
    drop(peer);
    test.ended(client.id()).await;
    assert_eq!(
        within("the receipt", drained)
            .await
            .expect("drained")
            .finished,
        1
    );
    let again = tcp_server.listen(new, "127.0.0.1", 0, None).await;
    again.expect("listen");
    expect_service(&mut test, server).await;
}

#[actix_rt::test]
async fn the_earlier_of_two_deadlines_ends_the_clients_for_both() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let (client, _peer) = open(&mut test, at).await;
    let late = test.app.tcp_server.drain(server, LIMIT);
    let of_app = test.app.drain(LIMIT);
    let early = test.app.tcp_server.drain(server, SOON);
    for drained in [late, of_app, early] {
        let drained = within("the receipt", drained).await.expect("drained");
        assert_eq!(drained.forced, [client.id()]);
        assert_eq!(drained.finished, 0);
    }
}

#[actix_rt::test]
async fn pausing_or_closing_the_server_socket_does_not_affect_its_clients() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let (finishing, peer) = open(&mut test, at).await;
    let (staying, mut other) = open(&mut test, at).await;
    let drained = test.app.tcp_server.drain(server, 5 * SOON);
    let tcp_server = &test.app.tcp_server;
    tcp_server
        .set_paused(server, true)
        .await
        .expect("it is open");
    tcp_server
        .set_paused(server, false)
        .await
        .expect("it is open");
    tcp_server.close(server).await.expect("it is open");
    other.write_all(b"alive").await.expect("write");
    assert_eq!(test.received(staying.id(), 5).await, b"alive");
    drop(peer);
    test.ended(finishing.id()).await;
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!((drained.finished, drained.forced), (1, vec![staying.id()]));
}

#[actix_rt::test]
async fn connections_that_a_suspension_closes_count_as_finished() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (_closed, _first) = open(&mut test, at).await;
    let (kept, mut second) = open(&mut test, at).await;
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    kept.update(persistent).await.expect("it is open");
    let drained = test.app.drain(5 * SOON);
    test.app.suspend().await.expect("it runs");
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!((drained.finished, drained.forced), (1, vec![kept.id()]));
    expect_end(&mut second).await;
    test.app.resume().await.expect("it runs");
    subscribe(&test.app, &test.listener).await.expect("it runs");
}

#[actix_rt::test]
async fn a_connection_that_is_handed_over_counts_as_finished_and_continues_in_the_successor() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, at) = old.listen().await;
    let (client, mut peer) = open(&mut old, at).await;
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("it is open");
    let drained = old.app.drain(LIMIT);
    expect_handover(&old, &new).await;
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!((drained.finished, drained.forced), (1, vec![]));
    peer.write_all(b"alive").await.expect("write");
    assert_eq!(new.received(client.id(), 5).await, b"alive");
    let drained = new.app.drain(Duration::ZERO).await.expect("drained");
    assert_eq!(
        drained.forced,
        [client.id()],
        "it counts in the process that has it"
    );
}

#[actix_rt::test]
async fn the_end_of_the_registry_ends_a_drain() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (_client, _peer) = open(&mut test, at).await;
    let drained = test.app.drain(LIMIT);
    let over = test.registry.send(chrome_sockets::Shutdown).await;
    over.expect("it runs").expect("it ends");
    let drained = within("the answer", drained).await;
    assert_eq!(drained, Err(Error::Stopped));
}

#[actix_rt::test]
async fn the_last_app_dropped_during_a_drain_ends_it() {
    let registry = Registry::new().start();
    let app = App::new("app", &registry);
    drop(registry);
    let created = app.tcp_server.create(Default::default()).await;
    let server = created.expect("create").socket_id;
    let listening = app.tcp_server.listen(server, "127.0.0.1", 0, None).await;
    listening.expect("listen");
    let info = app.tcp_server.get_info(server).await.expect("it is open");
    let at = info.local_addr().expect("it listens");
    let (sender, _received) = tokio::sync::mpsc::unbounded_channel();
    let listener = Listener::new(sender).start();
    subscribe(&app, &listener).await.expect("added");
    let mut peer = dial(at).await;
    let mut clients = Vec::new();
    within("the client", async {
        while clients.is_empty() {
            clients = app.tcp.get_sockets().await.expect("it runs");
        }
    })
    .await;
    let of_app = app.drain(LIMIT);
    let of_server = app.tcp_server.drain(server, LIMIT);
    expect_refused(at).await;
    drop((app, listener));
    assert_eq!(within("the answer", of_app).await, Err(Error::Stopped));
    assert_eq!(within("the answer", of_server).await, Err(Error::Stopped));
    expect_end(&mut peer).await;
}
