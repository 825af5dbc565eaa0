//! Owners and ids of server sockets.

use chrome_sockets::tcp_server::SocketProperties;
use chrome_sockets::{App, ClientSocketId, Error, MAX_NAME, Registry, ServerSocketId};
use support::TestApp;

use super::{create, dial};

/// The answer of every function that takes an id.
async fn call_every_function(
    app: &App,
    id: ServerSocketId,
) -> Vec<(&'static str, Result<(), Error>)> {
    let server = &app.tcp_server;
    let rename = SocketProperties {
        name: Some("stolen".into()),
        persistent: Some(true),
    };
    vec![
        ("update", server.update(id, rename).await),
        ("setPaused(true)", server.set_paused(id, true).await),
        ("setPaused(false)", server.set_paused(id, false).await),
        ("listen", server.listen(id, "127.0.0.1", 0, None).await),
        ("listen, wrongly", server.listen(id, "", -1, Some(0)).await),
        ("getInfo", server.get_info(id).await.map(drop)),
        ("disconnect", server.disconnect(id).await),
        ("close", server.close(id).await),
    ]
}

async fn assert_not_found(app: &App, id: ServerSocketId) {
    for (function, answer) in call_every_function(app, id).await {
        assert_eq!(answer, Err(Error::SocketNotFound), "{function}");
    }
}

#[actix_rt::test]
async fn an_id_that_was_never_allocated_is_not_found_by_any_function() {
    let test = TestApp::new().await;
    assert_not_found(&test.app, 1.into()).await;
    create(&test.app).await;
    for id in [0, 2, 9999, u64::MAX] {
        assert_not_found(&test.app, id.into()).await;
    }
    assert_eq!(Error::SocketNotFound.to_string(), "Socket not found");
}

#[actix_rt::test]
async fn a_closed_id_is_not_found_by_any_function() {
    let test = TestApp::new().await;
    let (id, _) = test.listen().await;
    test.app.tcp_server.close(id).await.expect("close");
    assert_not_found(&test.app, id).await;
}

#[actix_rt::test]
async fn another_apps_id_is_not_found_by_any_function_and_nothing_changes() {
    let mut test = TestApp::new().await;
    let (id, address) = test.listen().await;
    let idle = create(&test.app).await;
    let before = test.app.tcp_server.get_sockets().await;

    let other = App::new("other", &test.registry);
    for id in [id, idle] {
        assert_not_found(&other, id).await;
    }
    assert_eq!(other.tcp_server.get_sockets().await, Ok(Vec::new()));
    assert_eq!(test.app.tcp_server.get_sockets().await, before);
    let _peer = dial(address).await;
    test.accepted().await;
}

#[actix_rt::test]
async fn apps_with_the_same_id_are_the_same_app() {
    let test = TestApp::new().await;
    let id = create(&test.app).await;
    let again = App::new("test", &test.registry);
    assert_eq!(again.id(), test.app.id());
    let info = again.tcp_server.get_info(id).await.expect("it exists");
    assert_eq!(again.clone().tcp_server.get_sockets().await, Ok(vec![info]));
}

#[actix_rt::test]
async fn ids_count_from_one_and_are_never_reused_across_apps() {
    let test = TestApp::new().await;
    let other = App::new("other", &test.registry);
    assert_eq!(create(&test.app).await.get(), 1);
    assert_eq!(create(&other).await.get(), 2);
    let (third, _) = test.listen().await;
    assert_eq!(third.get(), 3);
    for id in [1, 3] {
        test.app.tcp_server.close(id.into()).await.expect("close");
    }
    assert_eq!(create(&other).await.get(), 4);
    other.tcp_server.close(4.into()).await.expect("close");
    assert_eq!(create(&test.app).await.get(), 5);
}

#[actix_rt::test]
async fn a_refused_create_affects_no_id_in_use() {
    let test = TestApp::new().await;
    let first = create(&test.app).await;
    let refused = test.app.tcp_server.create(SocketProperties {
        name: Some("x".repeat(MAX_NAME + 1)),
        persistent: None,
    });
    refused.await.expect_err("the name is too long");
    assert!(create(&test.app).await > first);
}

#[actix_rt::test]
async fn each_namespace_numbers_its_own_sockets() {
    let mut test = TestApp::new().await;
    let (server, address) = test.listen().await;
    assert_eq!(server.get(), 1);
    assert_eq!(test.create().await.get(), 1);
    let _peer = dial(address).await;
    assert_eq!(test.accepted().await.id().get(), 2);
    assert_eq!(create(&test.app).await.get(), 2);
    // An id means the socket of the namespace that it is used with.
    let server_alone = create(&test.app).await;
    let as_client = ClientSocketId::new(server_alone.get());
    assert_eq!(
        test.app.tcp.get_info(as_client).await,
        Err(Error::SocketNotFound)
    );
}

#[actix_rt::test]
async fn each_registry_numbers_its_own_sockets() {
    let test = TestApp::new().await;
    create(&test.app).await;
    let elsewhere = App::new("test", &Registry::new().start());
    assert_eq!(elsewhere.tcp_server.get_sockets().await, Ok(Vec::new()));
    assert_eq!(create(&elsewhere).await.get(), 1);
}
