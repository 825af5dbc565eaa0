//! Suspension, redelivery and drains.

use std::time::Duration;

use chrome_sockets::tcp_server::SocketProperties;
use support::{Listener, Stop};

use super::*;

#[actix_rt::test]
async fn a_suspended_app_keeps_persistent_sockets_and_their_files_only() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let kept = listen(&test, folder.path()).await;
    let properties = SocketProperties {
        persistent: Some(true),
        name: None,
    };
    test.app
        .tcp_server
        .update(kept, properties)
        .await
        .expect("update");
    listen(&test, folder.0.path().join("t")).await;
    assert_eq!(folder.names(), ["s", "t"]);
    test.app.suspend().await.expect("suspended");
    assert_eq!(folder.names(), ["s"]);
    let mut peer = dial(&folder.path()).await;
    write(&mut peer, b"early").await;
    let listener = actix::Actor::start(test.another_listener()());
    support::subscribe(&test.app, &listener)
        .await
        .expect("added");
    test.app.resume().await.expect("resumed");
    let client = test.accepted().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 5).await, b"early");
}

#[actix_rt::test]
async fn events_of_a_dead_listener_come_again() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    test.listener.send(Stop).await.expect("it runs");
    let mut peer = dial(&folder.path()).await;
    write(&mut peer, b"data").await;
    let listener: actix::Addr<Listener> = actix::Actor::start(test.another_listener()());
    support::subscribe(&test.app, &listener)
        .await
        .expect("added");
    let client = test.accepted().await;
    listener.send(Stop).await.expect("it runs");
    client.set_paused(false).await.expect("resume");
    let listener = actix::Actor::start(test.another_listener()());
    support::subscribe(&test.app, &listener)
        .await
        .expect("added");
    assert_eq!(test.received(client.id(), 4).await, b"data");
}

#[actix_rt::test]
async fn a_drain_lets_clients_finish_and_ends_the_others_at_its_deadline() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let id = listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    let (other, mut other_peer) = pair(&mut test, &folder.path()).await;
    let drained = test.app.tcp_server.drain(id, Duration::from_millis(100));
    write(&mut peer, b"bye").await;
    assert_eq!(test.received(client.id(), 3).await, b"bye");
    client.send("bye").await.expect("sent");
    client.close().await.expect("close");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    assert_eq!(read_to_end(&mut peer).await, b"bye");
    drop(peer);
    let drained = within("the drain", drained).await.expect("drained");
    assert_eq!(drained.forced, [other.id()]);
    assert_eq!(test.ended(other.id()).await, NetError::ABORTED);
    assert_eq!(read_to_end(&mut other_peer).await, b"");
    assert_eq!(folder.names(), [""; 0]);
    let listening = test
        .app
        .tcp_server
        .listen_unix(id, folder.path(), None, None);
    within("listen", listening)
        .await
        .expect("the drain is over");
    expect_service(&mut test, &folder.path()).await;
}
