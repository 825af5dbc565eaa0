//! `create`, `update`, `getInfo`, `getSockets` and the state of `setPaused`.

use chrome_sockets::tcp::SocketProperties;
use chrome_sockets::{Error, InvalidArgument, MAX_NAME};
use support::TestApp;

use super::{connected, pair};

fn named(name: &str) -> SocketProperties {
    SocketProperties {
        name: Some(name.into()),
        ..Default::default()
    }
}

fn sized(buffer_size: i32) -> SocketProperties {
    SocketProperties {
        buffer_size: Some(buffer_size),
        ..Default::default()
    }
}

#[actix_rt::test]
async fn a_new_socket_is_not_persistent_not_paused_nameless_and_not_connected() {
    let test = TestApp::new().await;
    let id = test.create().await;
    let info = test.app.tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.socket_id, id);
    assert!(!info.persistent);
    assert!(!info.paused);
    assert!(!info.connected);
    assert_eq!(info.name, None);
    assert_eq!(info.buffer_size, None);
    assert_eq!((info.local_address, info.local_port), (None, None));
    assert_eq!((info.peer_address, info.peer_port), (None, None));
}

#[actix_rt::test]
async fn create_sets_persistent_name_and_buffer_size() {
    let test = TestApp::new().await;
    let created = test.app.tcp.create(SocketProperties {
        persistent: Some(true),
        name: Some("mail".into()),
        buffer_size: Some(100),
        allow_half_open: Some(true),
        ..Default::default()
    });
    let id = created.await.expect("create").socket_id;
    let info = test.app.tcp.get_info(id).await.expect("it exists");
    assert!(info.persistent);
    assert_eq!(info.name.as_deref(), Some("mail"));
    assert_eq!(info.buffer_size, Some(100));
}

#[actix_rt::test]
async fn an_empty_name_counts_as_unset() {
    let test = TestApp::new().await;
    let tcp = &test.app.tcp;
    let created = tcp.create(named("")).await.expect("create");
    let id = created.socket_id;
    assert_eq!(tcp.get_info(id).await.expect("it exists").name, None);
    tcp.update(id, named("mail")).await.expect("update");
    let info = tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.name.as_deref(), Some("mail"));
    tcp.update(id, named("")).await.expect("update");
    assert_eq!(tcp.get_info(id).await.expect("it exists").name, None);
}

#[actix_rt::test]
async fn a_buffer_size_below_one_counts_as_unset() {
    let test = TestApp::new().await;
    let tcp = &test.app.tcp;
    for unset in [0, -1, i32::MIN] {
        let created = tcp.create(sized(unset)).await.expect("create");
        let id = created.socket_id;
        let info = tcp.get_info(id).await.expect("it exists");
        assert_eq!(info.buffer_size, None, "{unset}");
        for size in [1, i32::MAX] {
            tcp.update(id, sized(size)).await.expect("update");
            let info = tcp.get_info(id).await.expect("it exists");
            assert_eq!(info.buffer_size, Some(size));
        }
        tcp.update(id, sized(unset)).await.expect("update");
        let info = tcp.get_info(id).await.expect("it exists");
        assert_eq!(info.buffer_size, None, "{unset}");
    }
}

#[actix_rt::test]
async fn update_sets_given_properties_and_keeps_the_others() {
    let test = TestApp::new().await;
    let tcp = &test.app.tcp;
    let id = test.create().await;
    let mut expected = tcp.get_info(id).await.expect("it exists");

    tcp.update(id, named("mail")).await.expect("update");
    expected.name = Some("mail".into());
    assert_eq!(tcp.get_info(id).await, Ok(expected.clone()));

    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    tcp.update(id, persistent).await.expect("update");
    expected.persistent = true;
    assert_eq!(tcp.get_info(id).await, Ok(expected.clone()));

    tcp.update(id, sized(10)).await.expect("update");
    expected.buffer_size = Some(10);
    assert_eq!(tcp.get_info(id).await, Ok(expected.clone()));

    tcp.update(id, Default::default()).await.expect("update");
    assert_eq!(tcp.get_info(id).await, Ok(expected));
}

#[actix_rt::test]
async fn update_does_not_affect_the_connection() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    let mut expected = client.get_info().await.expect("it exists");
    client.update(named("mail")).await.expect("update");
    expected.name = Some("mail".into());
    assert_eq!(client.get_info().await, Ok(expected));
}

#[actix_rt::test]
async fn a_name_above_the_limit_is_refused_and_changes_nothing() {
    let test = TestApp::new().await;
    let tcp = &test.app.tcp;
    let too_long = "x".repeat(MAX_NAME + 1);
    let invalid = Error::from(InvalidArgument::NameTooLong);
    assert_eq!(tcp.create(named(&too_long)).await, Err(invalid));
    assert_eq!(tcp.get_sockets().await, Ok(Vec::new()));

    let id = test.create().await;
    let before = tcp.get_info(id).await;
    let refused = tcp.update(
        id,
        SocketProperties {
            persistent: Some(true),
            name: Some(too_long),
            buffer_size: Some(1),
            allow_half_open: Some(true),
            ..Default::default()
        },
    );
    assert_eq!(refused.await, Err(invalid));
    assert_eq!(tcp.get_info(id).await, before);
}

#[actix_rt::test]
async fn set_paused_is_allowed_and_idempotent_in_every_state() {
    let mut test = TestApp::new().await;
    let tcp = test.app.tcp.clone();
    let new = test.create().await;
    let (accepted, _accepted_peer) = pair(&mut test).await;
    let (connected, _connected_peer) = connected(&test).await;
    let (ended, _ended_peer) = pair(&mut test).await;
    ended.disconnect().await.expect("disconnect");
    for id in [new, accepted.id(), connected.id(), ended.id()] {
        for paused in [true, true, false, false, true] {
            assert_eq!(tcp.set_paused(id, paused).await, Ok(()));
            let info = tcp.get_info(id).await.expect("it exists");
            assert_eq!(info.paused, paused);
        }
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn get_sockets_reports_what_get_info_reports_in_the_order_of_ids() {
    let mut test = TestApp::new().await;
    let tcp = test.app.tcp.clone();
    assert_eq!(tcp.get_sockets().await, Ok(Vec::new()));

    let first = test.create().await;
    let (second, _second_peer) = pair(&mut test).await;
    let (third, _third_peer) = connected(&test).await;
    tcp.close(first).await.expect("close");
    // It may reuse the memory of the first, and is still the last.
    let created = tcp.create(named("fourth")).await.expect("create");
    let fourth = created.socket_id;

    let mut expected = Vec::new();
    for id in [second.id(), third.id(), fourth] {
        expected.push(tcp.get_info(id).await.expect("it exists"));
    }
    assert_eq!(tcp.get_sockets().await, Ok(expected.clone()));
    tcp.close(third.id()).await.expect("close");
    expected.remove(1);
    assert_eq!(tcp.get_sockets().await, Ok(expected));
}
