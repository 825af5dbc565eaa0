//! Limits on the number of sockets that an app creates.

use chrome_sockets::tcp_server::{AtLimit, Limits};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{AppLimits, Error, InvalidArgument, Registry, tcp};

use super::limits::connections;
use super::shared_limits::TwoApps;

#[actix_rt::test]
async fn an_app_creates_no_more_sockets_than_its_limit() {
    let mut apps = TwoApps::new(Limits::default()).await;
    let app = apps.test.app.clone();
    let (_, at) = apps.listen(&app).await;
    let limits = AppLimits {
        sockets: Some(2),
        ..AppLimits::default()
    };
    app.set_limits(limits).await.expect("valid limits");
    let client = apps.test.create().await;
    let too_many = Error::TooManySockets;
    assert_eq!(app.tcp.create(Default::default()).await, Err(too_many));
    let server = app.tcp_server.create(Default::default()).await;
    assert_eq!(server, Err(too_many));
    assert_eq!(app.tcp.get_sockets().await.map(|all| all.len()), Ok(1));
    assert_eq!(
        app.tcp_server.get_sockets().await.map(|all| all.len()),
        Ok(1)
    );
    // Accepted sockets do not count, and other apps are not affected.
    let _peers = [apps.dial(at), apps.dial(at), apps.dial(at)];
    for _ in 0..3 {
        apps.accepted().await;
    }
    let other = apps.other.tcp.create(Default::default()).await;
    other.expect("it has no limit");

    // The call frees the place, by id and by handle.
    app.tcp.do_close(client);
    let server = app.tcp_server.create(Default::default()).await;
    let server = server.expect("one was closed").socket_id;
    app.tcp_server.do_close(server);
    let client = app.tcp.create(Default::default()).await;
    let client = client.expect("one was closed").socket_id;
    let handle = app.tcp.socket(client).await.expect("it is open");
    handle.do_close();
    apps.test.create().await;
    let name = "x".repeat(chrome_sockets::MAX_NAME + 1);
    let none = AppLimits {
        sockets: Some(3),
        ..AppLimits::default()
    };
    app.set_limits(none).await.expect("valid limits");
    let bad = tcp::SocketProperties {
        name: Some(name),
        ..Default::default()
    };
    let refused = app.tcp.create(bad).await;
    assert_eq!(refused, Err(InvalidArgument::NameTooLong.into()));
    apps.test.create().await;
    assert_eq!(app.tcp.create(Default::default()).await, Err(too_many));
}

#[actix_rt::test]
async fn invalid_limits_of_an_app_are_refused_and_change_nothing() {
    let apps = TwoApps::new(Limits::default()).await;
    let app = &apps.test.app;
    let limits = AppLimits {
        accepted: connections(0, AtLimit::Close),
        sockets: Some(0),
    };
    let refused = app.set_limits(limits).await;
    assert_eq!(refused, Err(InvalidArgument::ConnectionsZero.into()));
    apps.test.create().await;
    let network = ScriptedNetwork::new();
    let refused = Registry::with_network(network).limits(connections(0, AtLimit::Queue));
    assert_eq!(refused.err(), Some(InvalidArgument::ConnectionsZero));
}
