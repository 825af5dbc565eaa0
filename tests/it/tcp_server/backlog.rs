//! Connections that wait in the kernel.

use support::{TestApp, within};

use super::{address, create, dial, expect_accept, listens};

/// Connections that wait with the default backlog: more than any small default would hold.
const MANY: usize = 200;

#[actix_rt::test]
async fn a_full_backlog_establishes_no_more_connections_until_there_is_room() {
    let mut test = TestApp::new().await;
    let server = test.app.tcp_server.clone();
    let id = create(&test.app).await;
    server.set_paused(id, true).await.expect("pause");
    let listening = server.listen(id, "127.0.0.1", 0, Some(1));
    listening.await.expect("listen");
    let at = address(&test.app, id).await;

    // A backlog of n holds n + 1 connections on Linux.
    let first = dial(at).await;
    let second = dial(at).await;
    let third = actix_rt::spawn(dial(at));
    test.expect_no_event().await;
    assert!(!third.is_finished(), "a third connection was established");

    server.set_paused(id, false).await.expect("resume");
    expect_accept(&mut test, &first).await;
    expect_accept(&mut test, &second).await;
    // The client's kernel retries, and now there is room.
    let third = within("the third connection", third).await.expect("dial");
    expect_accept(&mut test, &third).await;
}

#[actix_rt::test]
async fn the_default_backlog_lets_many_wait() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let server = test.app.tcp_server.clone();
    server.set_paused(id, true).await.expect("pause");
    let mut peers = Vec::new();
    for _ in 0..MANY {
        peers.push(dial(at).await);
    }
    test.expect_no_event().await;
    server.set_paused(id, false).await.expect("resume");
    for peer in &peers {
        expect_accept(&mut test, peer).await;
    }
}

#[actix_rt::test]
async fn the_largest_backlog_is_accepted() {
    let mut test = TestApp::new().await;
    let id = create(&test.app).await;
    let server = test.app.tcp_server.clone();
    let listening = server.listen(id, "127.0.0.1", 0, Some(i32::MAX));
    listening.await.expect("the OS cuts it to its own limit");
    assert!(listens(&test.app, id).await);
    let peer = dial(address(&test.app, id).await).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn a_backlog_of_one_is_accepted() {
    let mut test = TestApp::new().await;
    let id = create(&test.app).await;
    let server = test.app.tcp_server.clone();
    let listening = server.listen(id, "127.0.0.1", 0, Some(1));
    listening.await.expect("listen");
    let at = address(&test.app, id).await;
    // The backlog bounds waiting connections, not accepted ones.
    let mut peers = Vec::new();
    for _ in 0..10 {
        let peer = dial(at).await;
        expect_accept(&mut test, &peer).await;
        peers.push(peer);
    }
}
