//! The same calls as messages to the registry.

use bytes::Bytes;
use chrome_sockets::tcp::{
    Close, Connect, Create, Disconnect, DnsQueryType, GetInfo, GetSocket, GetSockets, ReceiveInfo,
    Send, SetKeepAlive, SetNoDelay, SetPaused, ShutdownWrite, SocketProperties, Update,
};
use chrome_sockets::{AddListener, AppId, Error};
use support::{ListenerEvent, TestApp};

use super::{foreign_listener, read, read_to_end, write};
use crate::tcp_server::recording_listener::RecordingListener;

const RUNS: &str = "the registry runs";

#[actix_rt::test]
async fn messages_to_the_registry_do_the_same_as_functions_of_the_app() {
    let test = TestApp::new().await;
    let registry = &test.registry;
    let app = AppId::from("by message");
    let mut recorder = RecordingListener::new();
    let listener = AddListener::<ReceiveInfo> {
        app: app.clone(),
        recipient: recorder.recipient(),
    };
    assert_eq!(registry.send(listener).await.expect(RUNS), Ok(()));

    let created = registry.send(Create {
        app: app.clone(),
        properties: SocketProperties::default(),
    });
    let socket_id = created.await.expect(RUNS).expect("create").socket_id;
    let updated = registry.send(Update {
        app: app.clone(),
        socket_id,
        properties: SocketProperties {
            name: Some("mail".into()),
            ..Default::default()
        },
    });
    assert_eq!(updated.await.expect(RUNS), Ok(()));
    let paused = registry.send(SetPaused {
        app: app.clone(),
        socket_id,
        paused: true,
    });
    assert_eq!(paused.await.expect(RUNS), Ok(()));

    let (listener, at) = foreign_listener().await;
    let connected = registry.send(Connect {
        app: app.clone(),
        socket_id,
        peer_address: "127.0.0.1".into(),
        peer_port: at.port().into(),
        dns_query_type: DnsQueryType::Any,
    });
    assert_eq!(connected.await.expect(RUNS), Ok(()));
    let (mut peer, _) = listener.accept().await.expect("accept");
    let keep_alive = registry.send(SetKeepAlive {
        app: app.clone(),
        socket_id,
        enable: true,
        delay: Some(10),
    });
    assert_eq!(keep_alive.await.expect(RUNS), Ok(()));
    let no_delay = registry.send(SetNoDelay {
        app: app.clone(),
        socket_id,
        no_delay: true,
    });
    assert_eq!(no_delay.await.expect(RUNS), Ok(()));

    let sent = registry.send(Send {
        app: app.clone(),
        socket_id,
        data: Bytes::from_static(b"out"),
    });
    assert_eq!(sent.await.expect(RUNS).expect("send").bytes_sent, 3);
    assert_eq!(read(&mut peer, 3).await, b"out");
    write(&mut peer, b"in").await;
    let resumed = registry.send(SetPaused {
        app: app.clone(),
        socket_id,
        paused: false,
    });
    assert_eq!(resumed.await.expect(RUNS), Ok(()));
    match recorder.next().await {
        ListenerEvent::Receive(id, data) => assert_eq!((id, &data[..]), (socket_id, &b"in"[..])),
        other => panic!("expected onReceive, not {other:?}"),
    }

    let info = registry.send(GetInfo {
        app: app.clone(),
        socket_id,
    });
    let info = info.await.expect(RUNS).expect("it exists");
    assert_eq!(info.name.as_deref(), Some("mail"));
    assert_eq!(info.peer_addr(), Some(at));
    let sockets = registry.send(GetSockets { app: app.clone() });
    assert_eq!(sockets.await.expect(RUNS), Ok(vec![info]));
    let socket = registry.send(GetSocket {
        app: app.clone(),
        socket_id,
    });
    let socket = socket.await.expect(RUNS).expect("it exists");
    assert_eq!((socket.id(), socket.app()), (socket_id, &app));

    let shut = registry.send(ShutdownWrite {
        app: app.clone(),
        socket_id,
    });
    assert_eq!(shut.await.expect(RUNS), Ok(()));
    assert_eq!(read_to_end(&mut peer).await, b"");
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
    let socket_id = test.create().await;
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
