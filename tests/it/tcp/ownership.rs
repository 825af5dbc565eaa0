//! Owners and ids of client sockets.

use chrome_sockets::tcp::{DnsQueryType, SocketProperties};
use chrome_sockets::{App, ClientSocketId, Error};
use support::TestApp;

use super::{pair, read, write};
use crate::tcp_server::dial;

/// The answer of every function that takes an id.
async fn call_every_function(
    app: &App,
    id: ClientSocketId,
) -> Vec<(&'static str, Result<(), Error>)> {
    let tcp = &app.tcp;
    let rename = SocketProperties {
        name: Some("stolen".into()),
        persistent: Some(true),
        buffer_size: Some(1),
        allow_half_open: Some(true),
        ..Default::default()
    };
    let any = DnsQueryType::Any;
    vec![
        ("update", tcp.update(id, rename).await),
        ("setPaused(true)", tcp.set_paused(id, true).await),
        ("setPaused(false)", tcp.set_paused(id, false).await),
        ("setKeepAlive", tcp.set_keep_alive(id, true, None).await),
        ("setNoDelay", tcp.set_no_delay(id, true).await),
        ("connect", tcp.connect(id, "127.0.0.1", 1, any).await),
        ("connect, wrongly", tcp.connect(id, "", -1, any).await),
        ("send", tcp.send(id, &b"stolen"[..]).await.map(drop)),
        ("send of nothing", tcp.send(id, &b""[..]).await.map(drop)),
        ("getInfo", tcp.get_info(id).await.map(drop)),
        ("socket", tcp.socket(id).await.map(drop)),
        ("disconnect", tcp.disconnect(id).await),
        ("close", tcp.close(id).await),
    ]
}

async fn assert_not_found(app: &App, id: ClientSocketId) {
    for (function, answer) in call_every_function(app, id).await {
        assert_eq!(answer, Err(Error::SocketNotFound), "{function}");
    }
}

#[actix_rt::test]
async fn an_id_that_was_never_allocated_is_not_found_by_any_function() {
    let test = TestApp::new().await;
    assert_not_found(&test.app, 1.into()).await;
    test.create().await;
    for id in [0, 2, 9999, u64::MAX] {
        assert_not_found(&test.app, id.into()).await;
    }
}

#[actix_rt::test]
async fn a_closed_id_is_not_found_by_any_function() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    client.close().await.expect("close");
    assert_not_found(&test.app, client.id()).await;
    let created = test.create().await;
    test.app.tcp.close(created).await.expect("close");
    assert_not_found(&test.app, created).await;
}

#[actix_rt::test]
async fn another_apps_id_is_not_found_by_any_function_and_nothing_changes() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let idle = test.create().await;
    let before = test.app.tcp.get_sockets().await;

    let other = App::new("other", &test.registry);
    for id in [client.id(), idle] {
        assert_not_found(&other, id).await;
    }
    assert_eq!(other.tcp.get_sockets().await, Ok(Vec::new()));
    assert_eq!(test.app.tcp.get_sockets().await, before);
    // The other app's send has not arrived.
    client.send(&b"mine"[..]).await.expect("send");
    assert_eq!(read(&mut peer, 4).await, b"mine");
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"yours").await;
    assert_eq!(test.received(client.id(), 5).await, b"yours");
}

#[actix_rt::test]
async fn ids_count_from_one_and_are_never_reused_across_apps_accepted_or_created() {
    let mut test = TestApp::new().await;
    let other = App::new("other", &test.registry);
    let (_, at) = test.listen().await;
    let mut ids = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mine = test.create().await;
        let theirs = other.tcp.create(Default::default()).await;
        let theirs = theirs.expect("create").socket_id;
        peers.push(dial(at).await);
        let accepted = test.accepted().await;
        ids.extend([mine, theirs, accepted.id()].map(ClientSocketId::get));
        test.app.tcp.close(mine).await.expect("close");
        other.tcp.close(theirs).await.expect("close");
        accepted.close().await.expect("close");
    }
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(test.app.tcp.get_sockets().await, Ok(Vec::new()));
}
