//! Unknown ids, and ids of other apps.

use super::*;

async fn assert_not_found(app: &App, server: ServerSocketId, client: ClientSocketId) {
    for (function, answer) in server_functions(app, server).await {
        assert_eq!(answer, NOT_FOUND, "tcpServer.{function} of {server}");
    }
    for (function, answer) in client_functions(app, client).await {
        assert_eq!(answer, NOT_FOUND, "tcp.{function} of {client}");
    }
    for (message, answer) in join_all(messages(&app.registry(), app, server, client)).await {
        assert_eq!(answer, Ok(NOT_FOUND), "{message} of {server} or {client}");
    }
}

#[actix_rt::test]
async fn ids_that_do_not_exist_are_not_found_by_any_function() {
    let mut fixture = Fixture::new().await;
    for id in [0, 1000, 1 << 32, (1 << 32) + 1, u64::MAX - 1, u64::MAX] {
        assert_not_found(&fixture.test.app, id.into(), id.into()).await;
    }
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn ids_of_the_other_namespace_are_not_found_by_any_function() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    // Client 1 exists; now ids 2 to 4 are clients only. 5 is a server only, since every client
    // above 4 is closed.
    for _ in 0..3 {
        fixture.test.create().await;
    }
    assert_not_found(&app, 2.into(), u64::MAX.into()).await;
    assert_not_found(&app, 4.into(), u64::MAX.into()).await;
    let mut server = fixture.server;
    while server.get() < 5 {
        let created = app.tcp_server.create(Default::default()).await;
        server = created.expect("create").socket_id;
    }
    assert_not_found(&app, u64::MAX.into(), server.get().into()).await;
    let infos = app.tcp_server.get_sockets().await.expect("alive");
    assert_eq!(infos.len(), 5, "no socket was affected");
    let infos = app.tcp.get_sockets().await.expect("alive");
    assert_eq!(infos.len(), 4, "no socket was affected");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn closed_ids_are_not_found_by_any_function() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let created = app.tcp_server.create(Default::default()).await;
    let server = created.expect("create").socket_id;
    let client = fixture.test.create().await;
    app.tcp_server.close(server).await.expect("close");
    app.tcp.close(client).await.expect("close");
    assert_not_found(&app, server, client).await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn another_apps_ids_are_not_found_whatever_the_name_of_the_app() {
    let mut fixture = Fixture::new().await;
    let large = "x".repeat(MIB);
    for name in ["", "TEST", "test ", "test\0", "tést", "*", &large] {
        let other = App::new(name, &fixture.test.registry);
        assert_not_found(&other, fixture.server, fixture.client.id()).await;
        assert_eq!(other.tcp_server.get_sockets().await, Ok(vec![]));
        assert_eq!(other.tcp.get_sockets().await, Ok(vec![]));
        // It is an app like any other.
        let created = other.tcp.create(Default::default()).await;
        let own = created.expect("create").socket_id;
        other.tcp.close(own).await.expect("close");
    }
    fixture.assert_alive().await;
}
