//! Handover of server sockets that share their port.

use chrome_sockets::Registry;
use chrome_sockets::handover::AnySocketId;

use super::*;

/// A persistent server socket with a shared port that does not listen yet.
async fn shared_port_server(test: &TestApp) -> ServerSocketId {
    let server = &test.app.tcp_server;
    let properties = SocketProperties {
        persistent: Some(true),
        ..SocketProperties::default()
    };
    let created = server.create(properties).await.expect("create");
    let id = created.socket_id;
    server.set_reuse_port(id, true).await.expect("it is set");
    id
}

async fn listen(test: &TestApp, id: ServerSocketId) -> SocketAddr {
    let server = &test.app.tcp_server;
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    info.local_addr().expect("it listens")
}

async fn on(arbiters: usize) -> TestApp {
    TestApp::at(Registry::new().arbiters(arbiters).start()).await
}

#[actix_rt::test]
async fn a_socket_with_listeners_in_several_arbiters_stays_and_the_receipt_says_why() {
    let mut old = on(2).await;
    let new = on(2).await;
    let stays = shared_port_server(&old).await;
    let at = listen(&old, stays).await;
    let goes = shared_port_server(&old).await;
    // Some connections are accepted ahead.
    let server = old.app.tcp_server.clone();
    server.set_paused(stays, true).await.expect("paused");
    let waiting: Vec<_> = (0..10).map(|_| dial(at)).collect();

    let receipt = expect_handover(&old, &new).await;
    assert_eq!(receipt.servers, [("test".into(), goes)]);
    let [left] = &receipt.not_transferred[..] else {
        panic!("one is left: {receipt:?}");
    };
    assert_eq!(left.socket, AnySocketId::Server("test".into(), stays));
    assert!(left.reason.contains("several arbiters"), "{left:?}");

    let there = new.app.tcp_server.get_sockets().await.expect("it runs");
    let there: Vec<_> = there
        .iter()
        .map(|it| (it.socket_id, it.reuse_port))
        .collect();
    assert_eq!(there, [(goes, true)], "one that does not listen goes");
    server.set_paused(stays, false).await.expect("resumed");
    for _ in &waiting {
        old.accepted().await;
    }
    expect_service(&mut old, at).await;
}

#[actix_rt::test]
async fn a_socket_with_a_listener_in_one_arbiter_is_transferred_with_the_setting() {
    let old = on(1).await;
    let mut new = on(2).await;
    let id = shared_port_server(&old).await;
    let at = listen(&old, id).await;
    let receipt = expect_handover(&old, &new).await;
    assert_eq!(
        (receipt.servers.len(), receipt.not_transferred),
        (1, Vec::new())
    );
    let info = new
        .app
        .tcp_server
        .get_info(id)
        .await
        .expect("it has arrived");
    assert!(info.reuse_port);
    expect_service(&mut new, at).await;
}
