//! `connect`.

use std::net::SocketAddr;
use std::time::Duration;

use actix::Actor;
use chrome_sockets::tcp::ConnectOptions;
use chrome_sockets::tcp::DnsQueryType::{self, Any, Ipv4, Ipv6};
use chrome_sockets::{ClientSocketId, Error, InvalidArgument, NetError};
use futures::FutureExt;
use socket2::{Domain, Socket, Type};
use support::{TestApp, code, until, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::networks::{Attempt, FixedNames, SilentNetwork};
use super::{assert_ended, connect, connect_to, foreign_listener, pair, read, write};

/// An address without a listener, as long as the socket lives.
fn closed_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).expect("bind");
    let at = socket.local_addr().expect("its address");
    (socket, at.as_socket().expect("an IP address"))
}

/// A test app on a network whose port 1 never answers, and the progress of connects.
async fn silent_app() -> (TestApp, UnboundedReceiver<Attempt>) {
    let (sender, attempts) = unbounded_channel();
    (TestApp::with_network(SilentNetwork(sender)).await, attempts)
}

/// Asserts that a socket can connect, and then carries data both ways.
async fn assert_connects(test: &mut TestApp, id: ClientSocketId) {
    let mut peer = connect(&test.app, id).await;
    let tcp = test.app.tcp.clone();
    tcp.set_paused(id, false).await.expect("resume");
    write(&mut peer, b"there").await;
    assert_eq!(test.received(id, 5).await, b"there");
    tcp.send(id, &b"back"[..]).await.expect("send");
    assert_eq!(read(&mut peer, 4).await, b"back");
}

#[actix_rt::test]
async fn a_connected_socket_reports_both_addresses_and_receives_at_once() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let (listener, at) = foreign_listener().await;
    assert_eq!(connect_to(&test.app, id, at).await, Ok(()));
    let (mut peer, from) = listener.accept().await.expect("accept");
    let info = test.app.tcp.get_info(id).await.expect("it exists");
    assert!(info.connected);
    assert!(!info.paused);
    assert_eq!(info.peer_addr(), Some(at));
    assert_eq!(info.local_addr(), Some(from));
    write(&mut peer, b"hello").await;
    assert_eq!(test.received(id, 5).await, b"hello");
}

#[actix_rt::test]
async fn a_socket_that_was_paused_before_connect_receives_when_resumed() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let tcp = test.app.tcp.clone();
    tcp.set_paused(id, true).await.expect("pause");
    let mut peer = connect(&test.app, id).await;
    assert!(tcp.get_info(id).await.expect("it exists").paused);
    write(&mut peer, b"hello").await;
    test.expect_no_event().await;
    tcp.set_paused(id, false).await.expect("resume");
    assert_eq!(test.received(id, 5).await, b"hello");
}

#[actix_rt::test]
async fn a_refused_connection_is_an_error_and_the_socket_can_connect_again() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let before = test.app.tcp.get_info(id).await;
    let (_socket, at) = closed_port();
    for _ in 0..2 {
        let port = at.port().into();
        let refused = test.app.tcp.connect(id, "127.0.0.1", port, Any);
        assert_eq!(code("connect", refused).await, -102);
        assert_eq!(test.app.tcp.get_info(id).await, before);
    }
    test.expect_no_event().await;
    assert_connects(&mut test, id).await;
}

#[actix_rt::test]
async fn connecting_a_connected_socket_is_refused_and_nothing_changes() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let mut peer = connect(&test.app, id).await;
    let tcp = test.app.tcp.clone();
    let before = tcp.get_info(id).await;
    let (_other, at) = foreign_listener().await;
    let again = tcp.connect(id, "127.0.0.1", at.port().into(), Any);
    assert_eq!(code("connect", again).await, -23);
    assert_eq!(tcp.get_info(id).await, before);
    write(&mut peer, b"still").await;
    assert_eq!(test.received(id, 5).await, b"still");
}

#[actix_rt::test]
async fn connecting_an_accepted_socket_is_refused() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    let (_other, at) = foreign_listener().await;
    let answer = client.connect("127.0.0.1", at.port().into(), Any);
    assert_eq!(code("connect", answer).await, -23);
}

#[actix_rt::test]
async fn a_host_name_is_resolved() {
    let test = TestApp::new().await;
    for dns in [Any, Ipv4] {
        let id = test.create().await;
        let (listener, at) = foreign_listener().await;
        let port = at.port().into();
        let answer = test.app.tcp.connect(id, "localhost", port, dns);
        assert_eq!(within("the answer", answer).await, Ok(()), "{dns:?}");
        let _peer = listener.accept().await.expect("accept");
        let info = test.app.tcp.get_info(id).await.expect("it exists");
        assert_eq!(info.peer_addr(), Some(at), "{dns:?}");
    }
}

#[actix_rt::test]
async fn the_addresses_of_a_name_are_tried_until_one_answers() {
    let (listener, at) = foreign_listener().await;
    // The port has no listener at the first address.
    let names = ["127.0.73.1", "127.0.0.1"].map(|ip| ip.parse().expect("an address"));
    let test = TestApp::with_network(FixedNames(names.into())).await;
    let id = test.create().await;
    let port = at.port().into();
    let answer = test.app.tcp.connect(id, "two.example", port, Any);
    assert_eq!(answer.await, Ok(()));
    let _peer = listener.accept().await.expect("accept");
    let info = test.app.tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.peer_addr(), Some(at));
}

#[actix_rt::test]
async fn only_addresses_of_the_requested_family_are_tried() {
    let (_listener, at) = foreign_listener().await;
    let port = at.port().into();
    let v4_alone = vec!["127.0.0.1".parse().expect("an address")];
    let test = TestApp::with_network(FixedNames(v4_alone)).await;
    let id = test.create().await;
    let v6 = test.app.tcp.connect(id, "v4.example", port, Ipv6);
    assert_eq!(code("connect", v6).await, -105);
    let v4 = test.app.tcp.connect(id, "v4.example", port, Ipv4);
    assert_eq!(v4.await, Ok(()));
    let info = test.app.tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.peer_addr(), Some(at));
}

#[actix_rt::test]
async fn a_name_without_an_address_is_not_resolved() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let before = test.app.tcp.get_info(id).await;
    // No name below .invalid has an address (RFC 6761); the others are not names.
    for host in ["nothing.invalid", "", " ", "a b", "[::1]", "127.0.0.1:1"] {
        let answer = test.app.tcp.connect(id, host, 1, Any);
        assert_eq!(code(host, answer).await, -105, "{host:?}");
        assert_eq!(test.app.tcp.get_info(id).await, before, "{host:?}");
    }
    assert_connects(&mut test, id).await;
}

#[actix_rt::test]
async fn an_address_of_the_other_family_is_not_resolved() {
    let test = TestApp::new().await;
    let id = test.create().await;
    let (_listener, at) = foreign_listener().await;
    let port = i32::from(at.port());
    for (literal, dns) in [("127.0.0.1", Ipv6), ("::1", Ipv4)] {
        let answer = test.app.tcp.connect(id, literal, port, dns);
        assert_eq!(code("connect", answer).await, -105, "{literal} {dns:?}");
    }
    let answer = test.app.tcp.connect(id, "127.0.0.1", port, Ipv4);
    assert_eq!(answer.await, Ok(()));
}

#[actix_rt::test]
async fn an_ipv6_literal_is_connected_to() {
    let test = TestApp::new().await;
    let listener = tokio::net::TcpListener::bind("[::1]:0")
        .await
        .expect("bind");
    let at = listener.local_addr().expect("its address");
    for dns in [DnsQueryType::default(), Ipv6] {
        let id = test.create().await;
        let port = at.port().into();
        let answer = test.app.tcp.connect(id, "::1", port, dns);
        assert_eq!(answer.await, Ok(()), "{dns:?}");
        let info = test.app.tcp.get_info(id).await.expect("it exists");
        assert_eq!(info.peer_addr(), Some(at));
    }
}

#[actix_rt::test]
async fn an_invalid_port_is_refused_and_the_socket_can_connect_afterwards() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let before = test.app.tcp.get_info(id).await;
    for (port, expected) in [
        (0, -108),
        (-1, -4),
        (65536, -4),
        (i32::MAX, -4),
        (i32::MIN, -4),
    ] {
        let answer = test.app.tcp.connect(id, "127.0.0.1", port, Any);
        assert_eq!(code("connect", answer).await, expected, "{port}");
        assert_eq!(test.app.tcp.get_info(id).await, before, "{port}");
    }
    assert_connects(&mut test, id).await;
}

#[actix_rt::test]
async fn a_second_connect_fails_while_the_first_is_pending() {
    let (test, mut attempts) = silent_app().await;
    let id = test.create().await;
    let tcp = &test.app.tcp;
    let mut first = tcp.connect(id, "127.0.0.1", 1, Any);
    let second = tcp.connect(id, "127.0.0.1", 1, Any);
    assert_eq!(code("connect", second).await, -104);
    let began = within("the first connect", attempts.recv()).await;
    assert_eq!(began, Some(Attempt::Started));
    assert!((&mut first).now_or_never().is_none(), "it has no answer");
    assert!(!tcp.get_info(id).await.expect("it exists").connected);
    let sent = tcp.send(id, &b"early"[..]);
    assert_eq!(code("send", sent).await, -15);
    assert!(attempts.try_recv().is_err(), "the first was aborted");
}

#[actix_rt::test]
async fn close_during_connect_aborts_it_and_removes_the_socket() {
    let (mut test, mut attempts) = silent_app().await;
    let id = test.create().await;
    let tcp = test.app.tcp.clone();
    let connecting = tcp.connect(id, "127.0.0.1", 1, Any);
    within("the connect", attempts.recv()).await;
    assert_eq!(tcp.close(id).await, Ok(()));
    assert_eq!(code("connect", connecting).await, -3);
    assert_eq!(tcp.get_info(id).await, Err(Error::SocketNotFound));
    let aborted = within("the end of the connect", attempts.recv()).await;
    assert_eq!(aborted, Some(Attempt::Aborted));
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn disconnect_during_connect_aborts_it_and_the_socket_can_connect_again() {
    let (mut test, mut attempts) = silent_app().await;
    let id = test.create().await;
    let tcp = test.app.tcp.clone();
    let before = tcp.get_info(id).await;
    let connecting = tcp.connect(id, "127.0.0.1", 1, Any);
    within("the connect", attempts.recv()).await;
    assert_eq!(tcp.disconnect(id).await, Ok(()));
    assert_eq!(code("connect", connecting).await, -3);
    assert_eq!(tcp.get_info(id).await, before, "nothing was connected");
    let aborted = within("the end of the connect", attempts.recv()).await;
    assert_eq!(aborted, Some(Attempt::Aborted));
    test.expect_no_event().await;
    assert_connects(&mut test, id).await;
}

#[actix_rt::test]
async fn a_connect_that_is_not_awaited_connects() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let (listener, at) = foreign_listener().await;
    let port = at.port().into();
    drop(test.app.tcp.connect(id, "127.0.0.1", port, Any));
    let (mut peer, _) = within("the connection", listener.accept())
        .await
        .expect("accept");
    write(&mut peer, b"hello").await;
    assert_eq!(test.received(id, 5).await, b"hello");
}

#[actix_rt::test]
async fn a_socket_whose_connection_ended_can_connect_again() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    for _ in 0..2 {
        let peer = connect(&test.app, id).await;
        let tcp = test.app.tcp.clone();
        tcp.set_paused(id, false).await.expect("resume");
        drop(peer);
        assert_eq!(test.ended(id).await.code(), -100);
        assert_ended(&test.app, id).await;
    }
    assert_connects(&mut test, id).await;
}

#[actix_rt::test]
async fn an_accepted_socket_that_connects_later_reports_its_local_address() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    client.disconnect().await.expect("disconnect");
    let (listener, at) = foreign_listener().await;
    let connecting = client.connect("127.0.0.1", at.port().into(), Any);
    assert_eq!(connecting.await, Ok(()));
    let (_peer, from) = listener.accept().await.expect("accept");
    let info = client.get_info().await.expect("it exists");
    assert_eq!(info.local_addr(), Some(from));
}

#[actix_rt::test]
async fn an_end_that_waits_for_a_listener_is_not_lost_by_a_connect_with_invalid_arguments() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    client.set_paused(false).await.expect("resume");
    let start = test.another_listener();
    let on_receive_error = &test.app.tcp.on_receive_error;
    let dying = start().start();
    let added = on_receive_error.add_listener(dying.clone().recipient());
    added.await.expect("the registry runs");
    test.remove_listener().await;
    dying.send(support::Stop).await.expect("it runs");
    until("the death of the listener", || !dying.connected()).await;
    client.disconnect().await.expect("it is open");

    let wrong_port = client.connect("127.0.0.1", 65_536, Any).await;
    assert_eq!(wrong_port, Err(InvalidArgument::PeerPortOutOfRange.into()));
    let options = ConnectOptions {
        timeout: Some(Duration::ZERO),
        ..Default::default()
    };
    let without_time = client.connect_to(("127.0.0.1", 1), options).await;
    assert_eq!(
        without_time,
        Err(InvalidArgument::ConnectTimeoutZero.into())
    );

    let added = on_receive_error.add_listener(start().start().recipient());
    added.await.expect("the registry runs");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}
