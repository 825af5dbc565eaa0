//! The manifest's `sockets.udp`.

use std::net::SocketAddr;

use chrome_sockets::udp::{DnsQueryType, SendInfo, SocketProperties};
use chrome_sockets::{DenyConnect, Error, NetError, Permissions};
use support::TestApp;

use super::{Peer, bound, create, expect_alive};

const DENIED: Error = Error::UdpPermissionDenied;

async fn permit(test: &TestApp, key: &str) {
    let permissions = Permissions::from_sockets(key).expect("it is right");
    let set = test.app.set_permissions(permissions).await;
    set.expect("the registry runs");
}

#[actix_rt::test]
async fn each_operation_needs_its_own_permission_and_a_refusal_changes_nothing() {
    let mut test = TestApp::new().await;
    let udp = test.app.udp.clone();
    assert_eq!(DENIED.last_error(), "App does not have permission");
    permit(
        &test,
        r#"{ "tcp": { "connect": "*" }, "tcpServer": { "listen": "*" } }"#,
    )
    .await;
    let id = create(&test, SocketProperties::default()).await;
    assert_eq!(udp.bind(id, "127.0.0.1", 0).await, Err(DENIED));
    // The permission is checked before everything else.
    assert_eq!(udp.bind(id, "nonsense", -1).await, Err(DENIED));
    let sent = udp.send(id, "x", "127.0.0.1", 9, DnsQueryType::Any).await;
    assert_eq!(sent, Err(DENIED));
    assert_eq!(udp.join_group(id, "nonsense").await, Err(DENIED));
    assert_eq!(udp.leave_group(id, "224.0.0.251").await, Err(DENIED));
    let info = udp.get_info(id).await.expect("it exists");
    assert_eq!(info.local_addr(), None);
    permit(&test, r#"{ "udp": { "bind": "127.0.0.1", "send": "*" } }"#).await;
    assert_eq!(udp.bind(id, "0.0.0.0", 0).await, Err(DENIED));
    udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    assert_eq!(udp.join_group(id, "224.0.0.251").await, Err(DENIED));
    expect_alive(&mut test, id).await;
    permit(
        &test,
        r#"{ "udp": { "bind": "*", "multicastMembership": "" } }"#,
    )
    .await;
    let joined = udp.join_group(id, "10.0.0.1").await;
    assert!(joined.is_err_and(|error| error.net_error() == Some(NetError::INVALID_ARGUMENT)));
    let sent = udp.send(id, "x", "127.0.0.1", 9, DnsQueryType::Any).await;
    assert_eq!(sent, Err(DENIED));
}

#[actix_rt::test]
async fn a_socket_that_has_sent_is_checked_at_every_send() {
    let test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    let (allowed, other) = (Peer::new().await, Peer::new().await);
    // From here on it sends without its actor.
    socket.send_to("1", other.address()).await.expect("sent");
    assert_eq!(other.receive().await.0, b"1");
    let port = allowed.address().port();
    let key =
        format!(r#"{{ "udp": {{ "bind": "*", "send": ["127.0.0.1:{port}", "*.example"] }} }}"#);
    permit(&test, &key).await;
    assert_eq!(
        socket.send_to("2", other.address()).await.map(drop),
        Err(DENIED)
    );
    socket
        .try_send_to("2", other.address())
        .expect("the refusal comes later");
    let (query, other_port) = (DnsQueryType::Any, other.address().port().into());
    let named = socket.send("2", "localhost", port.into(), query).await;
    assert_eq!(named.map(drop), Err(DENIED), "a name is no address");
    let sent = socket.send("2", "127.0.0.1", other_port, query).await;
    assert_eq!(sent.map(drop), Err(DENIED));
    socket.send_to("3", allowed.address()).await.expect("sent");
    assert_eq!(allowed.receive().await, (b"3".to_vec(), at));
    assert!(other.has_nothing());
}

#[actix_rt::test]
async fn datagrams_to_a_denied_address_are_refused_in_every_notation() {
    let mut test = TestApp::new().await;
    let (denied, other) = (Peer::new().await, Peer::new().await);
    test.registry.do_send(DenyConnect(denied.address()));
    let (id, at) = bound(&test).await;
    let mapped = create(&test, SocketProperties::default()).await;
    let bound = test.app.udp.bind(mapped, "::", 0).await;
    bound.expect("bind");
    let refused: Result<SendInfo, Error> = Err(NetError::ACCESS_DENIED.into());
    let port = denied.address().port();
    for (socket, addresses) in [
        (id, &["127.0.0.1", "0.0.0.0", "localhost"][..]),
        (mapped, &["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"]),
    ] {
        let handle = test.app.udp.socket(socket).await.expect("it exists");
        for address in addresses {
            let query = DnsQueryType::Any;
            let sent = handle.send("x", address, port.into(), query).await;
            assert_eq!(sent, refused, "{socket}, {address}");
        }
        assert_eq!(handle.send_to("x", denied.address()).await, refused);
        let sent = handle.send_to("y", other.address()).await;
        sent.expect("another port of the same address");
        assert_eq!(other.receive().await.0, b"y");
    }
    assert!(denied.has_nothing());
    // All addresses of the machine, the own one of this socket included.
    let all = Peer::new().await;
    let every = SocketAddr::from(([0, 0, 0, 0], all.address().port()));
    test.registry.do_send(DenyConnect(every));
    let handle = test.app.udp.socket(id).await.expect("it exists");
    assert_eq!(handle.send_to("x", all.address()).await, refused);
    let elsewhere = SocketAddr::from(([127, 0, 0, 9], all.address().port()));
    assert_eq!(handle.send_to("x", elsewhere).await, refused);
    assert!(all.has_nothing());
    assert_eq!(
        test.app.udp.get_info(id).await.map(|it| it.local_addr()),
        Ok(Some(at))
    );
    expect_alive(&mut test, id).await;
}
