//! A denied call has no effect, in whatever way it is made.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use chrome_sockets::os::Network;
use chrome_sockets::tcp::DnsQueryType::Any;
use chrome_sockets::tcp::{self};
use chrome_sockets::testing::{Call, ScriptedNetwork};
use chrome_sockets::{
    App, ClientSocketId, Endpoint, Error, Permissions, Registry, ServerSocketId, tcp_server,
};
use support::{TestApp, code, within};

const DENIED: Result<(), Error> = Err(Error::PermissionDenied);

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// A test app with these permissions.
async fn test_app(network: impl Network, sockets: &str) -> TestApp {
    let permissions = Permissions::from_sockets(sockets).expect("valid");
    TestApp::on(Registry::with_network(network).permissions(permissions)).await
}

/// The answers to the same `listen`, made in every possible way.
async fn listen_every_way(
    app: &App,
    id: ServerSocketId,
    address: &str,
    port: i32,
) -> [Result<(), Error>; 2] {
    let message = tcp_server::Listen {
        app: app.id().clone(),
        socket_id: id,
        address: address.to_owned(),
        port,
        backlog: None,
    };
    let by_message = app.registry().send(message).await.expect("it runs");
    [
        app.tcp_server.listen(id, address, port, None).await,
        by_message,
    ]
}

/// The answers to the same `connect`, made in every possible way.
async fn connect_every_way(
    app: &App,
    id: ClientSocketId,
    host: &str,
    port: i32,
) -> [Result<(), Error>; 3] {
    let message = tcp::Connect {
        app: app.id().clone(),
        socket_id: id,
        peer_address: host.to_owned(),
        peer_port: port,
        dns_query_type: Any,
    };
    let handle = app.tcp.socket(id).await.expect("it exists");
    [
        app.tcp.connect(id, host, port, Any).await,
        app.registry().send(message).await.expect("it runs"),
        handle.connect(host, port, Any).await,
    ]
}

#[actix_rt::test]
async fn a_denied_listen_opens_nothing_and_changes_nothing() {
    let network = ScriptedNetwork::new();
    let test = test_app(
        network.clone(),
        r#"{"tcpServer": {"listen": "127.0.0.1:4000"}}"#,
    )
    .await;
    let server = &test.app.tcp_server;
    let id = server
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    let before = server.get_info(id).await;
    for (address, port) in [
        ("127.0.0.1", 0),
        ("127.0.0.1", 4001),
        ("0.0.0.0", 4000),
        ("::ffff:127.0.0.1", 4000),
        // An invalid `listen` is denied first, as in Chrome.
        ("localhost", 4000),
        ("", 4000),
        ("127.0.0.1", -1),
        ("127.0.0.1", 65536 + 4000),
    ] {
        let answers = listen_every_way(&test.app, id, address, port).await;
        assert_eq!(answers, [DENIED; 2], "{address:?} {port}");
    }
    let backlog = server.listen(id, "127.0.0.1", 1, Some(-1));
    assert_eq!(backlog.await, DENIED);
    assert_eq!(server.get_info(id).await, before);
    assert_eq!(network.calls(), []);

    server
        .listen(id, "127.0.0.1", 4000, None)
        .await
        .expect("it is permitted");
    assert_eq!(network.listening().len(), 1);
    let listening = server.get_info(id).await;
    let again = server.listen(id, "127.0.0.1", 4001, None);
    assert_eq!(again.await, DENIED, "not that it listens already");
    assert_eq!(server.get_info(id).await, listening);
    let again = server.listen(id, "127.0.0.1", 4000, None);
    assert_eq!(code("listen", again).await, -23);
}

#[actix_rt::test]
async fn a_denied_connect_resolves_nothing_opens_nothing_and_changes_nothing() {
    let network = ScriptedNetwork::new();
    let at = "127.0.0.1:80".parse().expect("an address");
    let _peer = network.server(at);
    let test = test_app(network.clone(), r#"{"tcp": {"connect": "127.0.0.1:80"}}"#).await;
    let tcp = test.app.tcp.clone();
    let id = test.create().await;
    let before = tcp.get_info(id).await;
    let denied = [
        ("127.0.0.1", 81),
        ("127.0.0.2", 80),
        ("localhost", 80),
        ("nothing.invalid", 80),
        // An invalid `connect` is denied first, as in Chrome.
        ("", 80),
        ("a b", 80),
        ("127.0.0.1", 0),
        ("127.0.0.1", -1),
        ("127.0.0.1", 65536 + 80),
    ];
    for (host, port) in denied {
        let answers = connect_every_way(&test.app, id, host, port).await;
        assert_eq!(answers, [DENIED; 3], "{host:?} {port}");
    }
    assert_eq!(tcp.get_info(id).await, before);
    assert_eq!(network.calls(), []);

    let hold = network.block_connect(at);
    let connecting = tcp.connect(id, "127.0.0.1", 80, Any);
    for (host, port) in denied {
        let answers = connect_every_way(&test.app, id, host, port).await;
        assert_eq!(answers, [DENIED; 3], "while it connects: {host:?} {port}");
    }
    hold.release();
    assert_eq!(within("the connection", connecting).await, Ok(()));
    let connected = tcp.get_info(id).await;
    for (host, port) in denied {
        let answers = connect_every_way(&test.app, id, host, port).await;
        assert_eq!(answers, [DENIED; 3], "when connected: {host:?} {port}");
    }
    assert_eq!(tcp.get_info(id).await, connected);
    assert_eq!(network.calls(), [Call::Connect { address: at }]);
    let again = tcp.connect(id, "127.0.0.1", 80, Any);
    assert_eq!(code("connect", again).await, -23);
}

#[actix_rt::test]
async fn an_unknown_socket_is_not_found_whatever_the_permissions() {
    let test = test_app(ScriptedNetwork::new(), "{}").await;
    let app = &test.app;
    let not_found = Err(Error::SocketNotFound);
    let listening = app.tcp_server.listen(1.into(), "127.0.0.1", 0, None);
    assert_eq!(listening.await, not_found);
    let connecting = app.tcp.connect(1.into(), "127.0.0.1", 80, Any);
    assert_eq!(connecting.await, not_found);

    let id = test.create().await;
    let handle = app.tcp.socket(id).await.expect("it exists");
    handle.close().await.expect("close");
    assert_eq!(handle.connect("127.0.0.1", 80, Any).await, not_found);
    assert_eq!(app.tcp.connect(id, "127.0.0.1", 80, Any).await, not_found);
}

#[actix_rt::test]
async fn an_accepted_client_needs_no_permission_to_connect() {
    let network = ScriptedNetwork::new();
    let mut test = test_app(network.clone(), r#"{"tcpServer": {"listen": "127.0.0.1"}}"#).await;
    let (_, at) = test.listen().await;
    let peer = network.client(at).expect("it listens");
    let client = test.accepted().await;
    client.set_paused(false).await.expect("resume");
    peer.send("in");
    assert_eq!(test.received(client.id(), 2).await, b"in");
    assert_eq!(client.send("out").await.expect("send").bytes_sent, 3);
    assert_eq!(client.connect("127.0.0.1", 80, Any).await, DENIED);
}

#[actix_rt::test]
async fn calls_beyond_chrome_need_the_same_permissions() {
    let network = ScriptedNetwork::new();
    let sockets = r#"{
        "tcpServer": {"listen": ["127.0.0.1:4000", "[fe80::1]:4000"]},
        "tcp": {"connect": ["192.0.2.1:80", "[fe80::1]:80", "one.example:80"]}
    }"#;
    let test = test_app(network.clone(), sockets).await;
    let (app, id) = (&test.app, test.create().await);
    let server = app.tcp_server.create(Default::default()).await;
    let server = server.expect("create").socket_id;
    let socket_address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    for endpoint in [
        Endpoint::from(socket_address("127.0.0.1:4001")),
        socket_address("0.0.0.0:4000").into(),
        socket_address("[fe80::2%7]:4000").into(),
        ("127.0.0.1", 0).into(),
        ("fe80::2%7", 4000).into(),
        ("localhost", 4000).into(),
        ("127.0.0.1%7", 4000).into(),
    ] {
        let denied = app
            .tcp_server
            .listen_on(server, endpoint.clone(), Default::default());
        assert_eq!(denied.await, DENIED, "{endpoint:?}");
    }
    let client = app.tcp.socket(id).await.expect("it exists");
    for endpoint in [
        Endpoint::from(socket_address("192.0.2.1:81")),
        socket_address("192.0.2.2:80").into(),
        socket_address("[fe80::2%7]:80").into(),
        ("fe80::2%7", 80).into(),
        ("two.example", 80).into(),
        ("", 80).into(),
    ] {
        let denied = app.tcp.connect_to(id, endpoint.clone(), Default::default());
        assert_eq!(denied.await, DENIED, "{endpoint:?}");
        let denied = client.connect_to(endpoint.clone(), Default::default());
        assert_eq!(denied.await, DENIED, "{endpoint:?}");
    }
    assert_eq!(network.calls(), []);

    // A scope is no part of a permission.
    let scoped = ("fe80::1%7", 4000);
    let listening = app.tcp_server.listen_on(server, scoped, Default::default());
    assert_eq!(listening.await, Ok(()));
    let refused = app
        .tcp
        .connect_to(id, ("fe80::1%7", 80), Default::default());
    assert_eq!(code("connect_to", refused).await, -102);
    let (listened, connected) = (
        SocketAddrV6::new(LINK_LOCAL, 4000, 0, 7),
        SocketAddrV6::new(LINK_LOCAL, 80, 0, 7),
    );
    let calls = network.calls();
    assert!(matches!(calls[0], Call::Listen { address, .. } if address == listened.into()));
    assert_eq!(
        calls[1..],
        [Call::Connect {
            address: connected.into()
        }]
    );
}
