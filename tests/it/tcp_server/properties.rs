//! `create`, `update`, `getInfo` and `getSockets`.

use chrome_sockets::tcp_server::SocketProperties;
use chrome_sockets::{Error, InvalidArgument, MAX_NAME};
use support::TestApp;

use super::{create, dial};

fn named(name: &str) -> SocketProperties {
    SocketProperties {
        name: Some(name.into()),
        ..Default::default()
    }
}

#[actix_rt::test]
async fn a_new_socket_is_not_persistent_not_paused_nameless_and_without_address() {
    let test = TestApp::new().await;
    let id = create(&test.app).await;
    let info = test.app.tcp_server.get_info(id).await.expect("it exists");
    assert_eq!(info.socket_id, id);
    assert!(!info.persistent);
    assert!(!info.paused);
    assert_eq!(info.name, None);
    assert_eq!(info.local_address, None);
    assert_eq!(info.local_port, None);
    assert_eq!(info.local_addr(), None);
}

#[actix_rt::test]
async fn create_sets_persistent_and_name() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let created = server.create(SocketProperties {
        persistent: Some(true),
        name: Some("web".into()),
    });
    let id = created.await.expect("create").socket_id;
    let info = server.get_info(id).await.expect("it exists");
    assert!(info.persistent);
    assert_eq!(info.name.as_deref(), Some("web"));
    assert!(!info.paused);
}

#[actix_rt::test]
async fn an_empty_name_counts_as_unset() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let created = server.create(named("")).await.expect("create");
    let id = created.socket_id;
    assert_eq!(server.get_info(id).await.expect("it exists").name, None);

    server.update(id, named("web")).await.expect("update");
    let info = server.get_info(id).await.expect("it exists");
    assert_eq!(info.name.as_deref(), Some("web"));
    server.update(id, named("")).await.expect("update");
    assert_eq!(server.get_info(id).await.expect("it exists").name, None);
}

#[actix_rt::test]
async fn update_sets_given_properties_and_keeps_the_others() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = create(&test.app).await;

    server.update(id, named("web")).await.expect("update");
    let info = server.get_info(id).await.expect("it exists");
    assert_eq!(
        (info.persistent, info.name.as_deref()),
        (false, Some("web"))
    );

    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    server.update(id, persistent).await.expect("update");
    let info = server.get_info(id).await.expect("it exists");
    assert_eq!((info.persistent, info.name.as_deref()), (true, Some("web")));

    server.update(id, Default::default()).await.expect("update");
    assert_eq!(server.get_info(id).await.expect("it exists"), info);

    let both = SocketProperties {
        persistent: Some(false),
        name: Some("mail".into()),
    };
    server.update(id, both).await.expect("update");
    let info = server.get_info(id).await.expect("it exists");
    assert_eq!(
        (info.persistent, info.name.as_deref()),
        (false, Some("mail"))
    );
}

#[actix_rt::test]
async fn update_does_not_affect_listening_and_paused() {
    let mut test = TestApp::new().await;
    let (id, address) = test.listen().await;
    let server = &test.app.tcp_server;
    server.set_paused(id, true).await.expect("pause");
    let mut before = server.get_info(id).await.expect("it exists");
    server.update(id, named("web")).await.expect("update");
    before.name = Some("web".into());
    assert_eq!(server.get_info(id).await, Ok(before));
    server.set_paused(id, false).await.expect("resume");
    let _peer = dial(address).await;
    test.accepted().await;
}

#[actix_rt::test]
async fn a_name_above_the_limit_is_refused_and_changes_nothing() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let too_long = "x".repeat(MAX_NAME + 1);
    let invalid = Error::from(InvalidArgument::NameTooLong);
    assert_eq!(server.create(named(&too_long)).await, Err(invalid));
    assert_eq!(server.get_sockets().await, Ok(Vec::new()));

    let id = create(&test.app).await;
    let before = server.get_info(id).await.expect("it exists");
    let refused = server.update(
        id,
        SocketProperties {
            persistent: Some(true),
            name: Some(too_long),
        },
    );
    assert_eq!(refused.await, Err(invalid));
    assert_eq!(server.get_info(id).await, Ok(before));

    let longest = "x".repeat(MAX_NAME);
    server.update(id, named(&longest)).await.expect("update");
    let info = server.get_info(id).await.expect("it exists");
    assert_eq!(info.name, Some(longest));
}

#[actix_rt::test]
async fn get_info_reports_address_and_port_only_while_listening() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = create(&test.app).await;
    assert_eq!(
        server.get_info(id).await.expect("getInfo").local_addr(),
        None
    );
    server
        .listen(id, "127.0.0.1", 0, None)
        .await
        .expect("listen");
    let info = server.get_info(id).await.expect("getInfo");
    assert_eq!(info.local_address, "127.0.0.1".parse().ok());
    assert!(info.local_port.is_some_and(|port| port != 0), "{info:?}");
    server.disconnect(id).await.expect("disconnect");
    let info = server.get_info(id).await.expect("getInfo");
    assert_eq!((info.local_address, info.local_port), (None, None));
}

#[actix_rt::test]
async fn get_sockets_reports_what_get_info_reports_in_the_order_of_ids() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    assert_eq!(server.get_sockets().await, Ok(Vec::new()));

    let first = create(&test.app).await;
    let (second, _) = test.listen().await;
    let named = server.create(named("third")).await.expect("create");
    let third = named.socket_id;
    server.set_paused(first, true).await.expect("pause");

    let mut expected = Vec::new();
    for id in [first, second, third] {
        expected.push(server.get_info(id).await.expect("it exists"));
    }
    assert_eq!(server.get_sockets().await, Ok(expected.clone()));

    server.close(second).await.expect("close");
    expected.remove(1);
    assert_eq!(server.get_sockets().await, Ok(expected.clone()));
    server.disconnect(third).await.expect("disconnect");
    assert_eq!(server.get_sockets().await, Ok(expected));
}

#[actix_rt::test]
async fn get_sockets_reports_the_state_at_the_call() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = create(&test.app).await;
    let before = server.get_sockets();
    let closed = server.close(id);
    let after = server.get_sockets();
    assert_eq!(before.await.expect("sockets").len(), 1);
    assert_eq!(closed.await, Ok(()));
    assert_eq!(after.await, Ok(Vec::new()));
}
