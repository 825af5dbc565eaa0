//! Which permissions apply to an app, and what happens when they change.

use chrome_sockets::tcp::DnsQueryType::Any;
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{App, Error, Permissions, Registry, SetPermissions, Shutdown};
use support::{TestApp, code};

const DENIED: Result<(), Error> = Err(Error::PermissionDenied);

fn may_listen() -> Permissions {
    Permissions::from_sockets(r#"{"tcpServer": {"listen": "127.0.0.1"}}"#).expect("valid")
}

/// The answer to `listen` of a new socket.
async fn listen(app: &App) -> Result<(), Error> {
    let server = &app.tcp_server;
    let id = server
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    server.listen(id, "127.0.0.1", 0, None).await
}

/// The answer to `connect` of a new socket; the port has no listener.
async fn connect(app: &App) -> Result<(), Error> {
    let id = app
        .tcp
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    app.tcp.connect(id, "127.0.0.1", 80, Any).await
}

#[actix_rt::test]
async fn by_default_everything_is_permitted() {
    let registry = Registry::with_network(ScriptedNetwork::new()).start();
    let app = App::new("any", &registry);
    assert_eq!(listen(&app).await, Ok(()));
    let id = app
        .tcp
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    let refused = app.tcp.connect(id, "127.0.0.1", 80, Any);
    assert_eq!(code("connect", refused).await, -102);
}

#[actix_rt::test]
async fn the_registrys_permissions_apply_to_apps_without_their_own() {
    let registry = Registry::with_network(ScriptedNetwork::new()).permissions(Permissions::none());
    let registry = registry.start();
    let (with, without) = (App::new("with", &registry), App::new("without", &registry));
    with.set_permissions(may_listen()).await.expect("it runs");
    assert_eq!(listen(&with).await, Ok(()));
    assert_eq!(connect(&with).await, DENIED);
    assert_eq!(listen(&without).await, DENIED);
    assert_eq!(connect(&without).await, DENIED);
}

#[actix_rt::test]
async fn the_permissions_of_one_app_do_not_apply_to_another() {
    let network = ScriptedNetwork::new();
    let registry = Registry::with_network(network).start();
    let (one, other) = (App::new("one", &registry), App::new("other", &registry));
    // Both apps exist, with sockets of their own.
    assert_eq!((listen(&one).await, listen(&other).await), (Ok(()), Ok(())));
    one.set_permissions(Permissions::none())
        .await
        .expect("it runs");
    assert_eq!(listen(&one).await, DENIED);
    assert_eq!(listen(&other).await, Ok(()), "nothing is taken from it");
    other.set_permissions(may_listen()).await.expect("it runs");
    assert_eq!(listen(&one).await, DENIED, "nothing is given to it");
    assert_eq!(listen(&other).await, Ok(()));
    assert_eq!(connect(&other).await, DENIED);
    // Another `App` with the same id is the same app.
    assert_eq!(listen(&App::new("one", &registry)).await, DENIED);
    assert_eq!(listen(&App::new("other", &registry)).await, Ok(()));
}

#[actix_rt::test]
async fn new_permissions_apply_to_existing_sockets() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let (app, server) = (&test.app, &test.app.tcp_server);
    let id = server
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    let client = app
        .tcp
        .socket(test.create().await)
        .await
        .expect("it exists");
    for round in 0..3 {
        app.set_permissions(Permissions::none())
            .await
            .expect("it runs");
        assert_eq!(
            server.listen(id, "127.0.0.1", 80, None).await,
            DENIED,
            "{round}"
        );
        assert_eq!(
            client.connect("127.0.0.1", 80, Any).await,
            DENIED,
            "{round}"
        );
        let message = SetPermissions {
            app: app.id().clone(),
            permissions: Permissions::all(),
        };
        let set = test.registry.send(message).await.expect("it runs");
        assert_eq!(set, Ok(()));
        server
            .listen(id, "127.0.0.1", 80, None)
            .await
            .expect("it is permitted");
        client
            .connect("127.0.0.1", 80, Any)
            .await
            .expect("it is permitted");
        server.disconnect(id).await.expect("disconnect");
        client.disconnect().await.expect("disconnect");
    }
}

#[actix_rt::test]
async fn a_later_call_is_checked_by_new_permissions_without_awaiting_them() {
    let registry = Registry::with_network(ScriptedNetwork::new()).start();
    let app = App::new("hasty", &registry);
    let id = app
        .tcp_server
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    drop(app.set_permissions(Permissions::none()));
    let denied = app.tcp_server.listen(id, "127.0.0.1", 0, None);
    assert_eq!(denied.await, DENIED);
    drop(app.set_permissions(may_listen()));
    let permitted = app.tcp_server.listen(id, "127.0.0.1", 0, None);
    assert_eq!(permitted.await, Ok(()));
}

#[actix_rt::test]
async fn open_sockets_stay_open_when_their_permission_is_revoked() {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let (server, at) = test.listen().await;
    let far = network.server("127.0.0.1:80".parse().expect("an address"));
    let client = test.create().await;
    let tcp = test.app.tcp.clone();
    tcp.connect(client, "127.0.0.1", 80, Any)
        .await
        .expect("connect");

    test.app
        .set_permissions(Permissions::none())
        .await
        .expect("it runs");
    assert_eq!(network.listening(), [at]);
    let peer = network.client(at).expect("it listens");
    let accepted = test.accepted().await;
    accepted.set_paused(false).await.expect("resume");
    peer.send("accepted");
    assert_eq!(test.received(accepted.id(), 8).await, b"accepted");
    far.send("connected");
    assert_eq!(test.received(client, 9).await, b"connected");
    assert_eq!(tcp.send(client, "out").await.expect("send").bytes_sent, 3);

    // Once closed it does not open again.
    let tcp_server = &test.app.tcp_server;
    tcp_server.disconnect(server).await.expect("disconnect");
    let again = tcp_server.listen(server, "127.0.0.1", at.port().into(), None);
    assert_eq!(again.await, DENIED);
    tcp.disconnect(client).await.expect("disconnect");
    assert_eq!(tcp.connect(client, "127.0.0.1", 80, Any).await, DENIED);
}

#[actix_rt::test]
async fn setting_permissions_after_the_registrys_end_is_an_error() {
    let registry = Registry::with_network(ScriptedNetwork::new()).start();
    let app = App::new("late", &registry);
    registry
        .send(Shutdown)
        .await
        .expect("it runs")
        .expect("it ends");
    let answer = app.set_permissions(Permissions::all());
    assert_eq!(answer.await, Err(Error::Stopped));
}
