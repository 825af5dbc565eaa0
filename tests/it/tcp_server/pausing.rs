//! `setPaused` of a server socket.

use std::net::TcpStream;

use chrome_sockets::ServerSocketId;
use support::{ListenerEvent, TestApp, within};
use tokio::io::AsyncWriteExt;

use super::recording_listener::RecordingListener;
use super::{address, create, dial, expect_accept};

async fn pause(test: &TestApp, id: ServerSocketId, paused: bool) {
    let answer = test.app.tcp_server.set_paused(id, paused);
    within("the answer to setPaused", answer)
        .await
        .expect("setPaused");
    assert_eq!(is_paused(test, id).await, paused);
}

async fn is_paused(test: &TestApp, id: ServerSocketId) -> bool {
    let info = test.app.tcp_server.get_info(id).await;
    info.expect("it exists").paused
}

#[actix_rt::test]
async fn a_paused_socket_leaves_connections_in_the_backlog_and_resuming_delivers_them_in_order() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    pause(&test, id, true).await;
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(dial(at).await);
    }
    test.expect_no_event().await;
    assert_eq!(test.app.tcp.get_sockets().await, Ok(Vec::new()));

    pause(&test, id, false).await;
    for peer in &peers {
        expect_accept(&mut test, peer).await;
    }
    // It continues to accept, unlike Chromium.
    let later = dial(at).await;
    expect_accept(&mut test, &later).await;
}

#[actix_rt::test]
async fn set_paused_is_idempotent() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    pause(&test, id, false).await;
    for _ in 0..3 {
        pause(&test, id, true).await;
    }
    let first = dial(at).await;
    test.expect_no_event().await;
    for _ in 0..3 {
        pause(&test, id, false).await;
    }
    expect_accept(&mut test, &first).await;
    let second = dial(at).await;
    expect_accept(&mut test, &second).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn pausing_and_resuming_may_alternate() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    for _ in 0..5 {
        pause(&test, id, true).await;
        let peer = dial(at).await;
        pause(&test, id, false).await;
        expect_accept(&mut test, &peer).await;
    }
}

#[actix_rt::test]
async fn pausing_is_allowed_before_listen_and_stays_in_force() {
    let mut test = TestApp::new().await;
    let id = create(&test.app).await;
    pause(&test, id, true).await;
    let listening = test.app.tcp_server.listen(id, "127.0.0.1", 0, None);
    listening.await.expect("a paused socket can listen");
    assert!(is_paused(&test, id).await);
    let peer = dial(address(&test.app, id).await).await;
    test.expect_no_event().await;
    pause(&test, id, false).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn pausing_survives_disconnect() {
    let mut test = TestApp::new().await;
    let (id, _) = test.listen().await;
    pause(&test, id, true).await;
    let server = test.app.tcp_server.clone();
    server.disconnect(id).await.expect("disconnect");
    assert!(is_paused(&test, id).await);
    let listening = server.listen(id, "127.0.0.1", 0, None);
    listening.await.expect("listen");
    assert!(is_paused(&test, id).await);
    let peer = dial(address(&test.app, id).await).await;
    test.expect_no_event().await;
    pause(&test, id, false).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn resuming_after_disconnect_accepts_when_it_listens_again() {
    let mut test = TestApp::new().await;
    let (id, _) = test.listen().await;
    pause(&test, id, true).await;
    let server = test.app.tcp_server.clone();
    server.disconnect(id).await.expect("disconnect");
    pause(&test, id, false).await;
    let listening = server.listen(id, "127.0.0.1", 0, None);
    listening.await.expect("listen");
    let peer = dial(address(&test.app, id).await).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn nothing_is_delivered_after_the_answer_to_set_paused() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let mut recorder = RecordingListener::of(&test.app).await;
    for round in 0..10 {
        // They connect without giving the socket a turn, so it has connections to accept when it
        // is paused.
        let peers: Vec<_> = (0..=round)
            .map(|_| TcpStream::connect(at).expect("connect"))
            .collect();
        pause(&test, id, true).await;
        let before = recorder.so_far().await.len();
        for _ in 0..before {
            test.accepted().await;
        }
        test.expect_no_event().await;
        assert!(recorder.so_far().await.is_empty(), "round {round}");
        pause(&test, id, false).await;
        for _ in before..peers.len() {
            test.accepted().await;
            recorder.accepted().await;
        }
    }
}

#[actix_rt::test]
async fn pausing_one_socket_leaves_the_others_accepting() {
    let mut test = TestApp::new().await;
    let (paused, waits_at) = test.listen().await;
    let (_, at) = test.listen().await;
    pause(&test, paused, true).await;
    let waiting = dial(waits_at).await;
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
    test.expect_no_event().await;
    pause(&test, paused, false).await;
    match test.next().await {
        ListenerEvent::Accept(id, _) => assert_eq!(id, paused),
        other => panic!("expected onAccept, not {other:?}"),
    }
    drop(waiting);
}

#[actix_rt::test]
async fn pausing_leaves_accepted_clients_receiving() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = expect_accept(&mut test, &peer).await;
    let resumed = test.app.tcp.set_paused(client, false);
    resumed.await.expect("resume");
    pause(&test, id, true).await;
    peer.write_all(b"still here").await.expect("write");
    assert_eq!(test.received(client, 10).await, b"still here");
}
