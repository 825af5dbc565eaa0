//! The same calls as messages to the registry.

use chrome_sockets::tcp_server::{
    AcceptInfo, Close, Create, Disconnect, GetInfo, GetSockets, Listen, SetPaused,
    SocketProperties, Update,
};
use chrome_sockets::{AddListener, AppId, Error, HasListener, NetError, RemoveListener};
use support::TestApp;

use super::recording_listener::RecordingListener;
use super::{create, dial};

const RUNS: &str = "the registry runs";

#[actix_rt::test]
async fn messages_to_the_registry_do_the_same_as_functions_of_the_app() {
    let test = TestApp::new().await;
    let registry = &test.registry;
    let app = AppId::from("by message");
    let mut recorder = RecordingListener::new();
    let listener = AddListener::<AcceptInfo> {
        app: app.clone(),
        recipient: recorder.recipient(),
    };
    assert_eq!(registry.send(listener).await.expect(RUNS), Ok(()));
    let asked = HasListener::<AcceptInfo> {
        app: app.clone(),
        recipient: None,
    };
    assert_eq!(registry.send(asked).await.expect(RUNS), Ok(true));

    let created = registry.send(Create {
        app: app.clone(),
        properties: SocketProperties::default(),
    });
    let socket_id = created.await.expect(RUNS).expect("create").socket_id;
    let updated = registry.send(Update {
        app: app.clone(),
        socket_id,
        properties: SocketProperties {
            persistent: Some(true),
            name: Some("web".into()),
        },
    });
    assert_eq!(updated.await.expect(RUNS), Ok(()));
    let paused = registry.send(SetPaused {
        app: app.clone(),
        socket_id,
        paused: true,
    });
    assert_eq!(paused.await.expect(RUNS), Ok(()));
    let listen = Listen {
        app: app.clone(),
        socket_id,
        address: "127.0.0.1".into(),
        port: 0,
        backlog: None,
    };
    assert_eq!(registry.send(listen.clone()).await.expect(RUNS), Ok(()));
    assert_eq!(
        registry.send(listen).await.expect(RUNS),
        Err(Error::Net(NetError::SOCKET_IS_CONNECTED))
    );

    let info = registry.send(GetInfo {
        app: app.clone(),
        socket_id,
    });
    let info = info.await.expect(RUNS).expect("it exists");
    assert!(info.persistent && info.paused);
    assert_eq!(info.name.as_deref(), Some("web"));
    let sockets = registry.send(GetSockets { app: app.clone() });
    assert_eq!(sockets.await.expect(RUNS), Ok(vec![info.clone()]));

    let _peer = dial(info.local_addr().expect("it listens")).await;
    let resumed = registry.send(SetPaused {
        app: app.clone(),
        socket_id,
        paused: false,
    });
    assert_eq!(resumed.await.expect(RUNS), Ok(()));
    recorder.accepted().await;

    let removed = registry.send(RemoveListener::<AcceptInfo> {
        app: app.clone(),
        recipient: recorder.recipient(),
    });
    assert_eq!(removed.await.expect(RUNS), Ok(()));
    let disconnected = registry.send(Disconnect {
        app: app.clone(),
        socket_id,
    });
    assert_eq!(disconnected.await.expect(RUNS), Ok(()));
    let close = Close { app, socket_id };
    assert_eq!(registry.send(close.clone()).await.expect(RUNS), Ok(()));
    assert_eq!(
        registry.send(close).await.expect(RUNS),
        Err(Error::SocketNotFound)
    );
}

#[actix_rt::test]
async fn a_message_applies_to_sockets_of_the_app_that_it_names() {
    let test = TestApp::new().await;
    let socket_id = create(&test.app).await;
    let ours = test.registry.send(GetInfo {
        app: test.app.id().clone(),
        socket_id,
    });
    assert!(ours.await.expect(RUNS).is_ok());
    let theirs = test.registry.send(GetInfo {
        app: "other".into(),
        socket_id,
    });
    assert_eq!(theirs.await.expect(RUNS), Err(Error::SocketNotFound));
}
