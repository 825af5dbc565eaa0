//! `listen`: what it accepts, what it refuses, and the state after a refusal.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use support::{ListenerEvent, TestApp, code};

use super::{address, create, dial, expect_accept, listen_at, listens};

#[actix_rt::test]
async fn port_zero_picks_a_port_and_get_info_reports_it() {
    let mut test = TestApp::new().await;
    let (first, at) = listen_at(&test.app, "127.0.0.1").await;
    assert_eq!(at.ip(), Ipv4Addr::LOCALHOST);
    assert_ne!(at.port(), 0);
    let (second, other) = listen_at(&test.app, "127.0.0.1").await;
    assert_ne!(at.port(), other.port());
    for (id, address) in [(first, at), (second, other)] {
        let peer = dial(address).await;
        match test.next().await {
            ListenerEvent::Accept(from, _) => assert_eq!(from, id),
            received => panic!("expected onAccept, not {received:?}"),
        }
        drop(peer);
    }
}

#[actix_rt::test]
async fn listen_uses_the_given_port() {
    let mut test = TestApp::new().await;
    // A free port: that of a closed socket.
    let (id, at) = listen_at(&test.app, "127.0.71.1").await;
    test.app.tcp_server.close(id).await.expect("close");

    let id = create(&test.app).await;
    let listening = test
        .app
        .tcp_server
        .listen(id, "127.0.71.1", at.port().into(), None);
    listening.await.expect("listen");
    assert_eq!(address(&test.app, id).await, at);
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn listen_accepts_an_ipv6_address() {
    let mut test = TestApp::new().await;
    let (_, at) = listen_at(&test.app, "::1").await;
    assert_eq!(at.ip(), Ipv6Addr::LOCALHOST);
    let peer = dial(at).await;
    let client = expect_accept(&mut test, &peer).await;
    let info = test.app.tcp.get_info(client).await.expect("it exists");
    assert_eq!(info.peer_address, Some(Ipv6Addr::LOCALHOST.into()));
}

#[actix_rt::test]
async fn a_v4_client_of_a_dual_stack_socket_has_a_mapped_address() {
    let mut test = TestApp::new().await;
    let (_, at) = listen_at(&test.app, "::").await;
    assert_eq!(at.ip(), Ipv6Addr::UNSPECIFIED);

    let v4 = dial((Ipv4Addr::LOCALHOST, at.port()).into()).await;
    let client = expect_accept(&mut test, &v4).await;
    let info = test.app.tcp.get_info(client).await.expect("it exists");
    let shown = info.peer_address.map(|address| address.to_string());
    assert_eq!(shown.as_deref(), Some("::ffff:127.0.0.1"));

    let v6 = dial((Ipv6Addr::LOCALHOST, at.port()).into()).await;
    let client = expect_accept(&mut test, &v6).await;
    let info = test.app.tcp.get_info(client).await.expect("it exists");
    assert_eq!(info.peer_address, Some(Ipv6Addr::LOCALHOST.into()));
}

#[actix_rt::test]
async fn the_v4_wildcard_accepts_v4_clients() {
    let mut test = TestApp::new().await;
    let (_, at) = listen_at(&test.app, "0.0.0.0").await;
    assert_eq!(at.ip(), Ipv4Addr::UNSPECIFIED);
    let peer = dial((Ipv4Addr::LOCALHOST, at.port()).into()).await;
    let client = expect_accept(&mut test, &peer).await;
    let info = test.app.tcp.get_info(client).await.expect("it exists");
    assert_eq!(info.peer_address, Some(Ipv4Addr::LOCALHOST.into()));
}

#[actix_rt::test]
async fn invalid_arguments_are_refused_and_the_socket_can_listen_afterwards() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = create(&test.app).await;
    let before = server.get_info(id).await;
    for (address, port, backlog) in [
        // Not an IP literal.
        ("localhost", 0, None),
        ("", 0, None),
        ("*", 0, None),
        ("300.1.1.1", 0, None),
        ("127.0.0.1:0", 0, None),
        ("127.0.0.1 ", 0, None),
        ("[::1]", 0, None),
        ("[::]", 0, None),
        // IP addresses that are not canonical: Chromium accepts them.
        ("127.1", 0, None),
        ("0x7f000001", 0, None),
        ("2130706433", 0, None),
        ("0177.0.0.1", 0, None),
        // Ports outside 0-65535, including those that Chromium truncates to 16 bits.
        ("127.0.0.1", -1, None),
        ("127.0.0.1", 65536, None),
        ("127.0.0.1", i32::MAX, None),
        ("127.0.0.1", i32::MIN, None),
        // Backlogs below 1.
        ("127.0.0.1", 0, Some(0)),
        ("127.0.0.1", 0, Some(-1)),
        ("127.0.0.1", 0, Some(i32::MIN)),
    ] {
        let call = format!("listen({address:?}, {port}, {backlog:?})");
        let answer = server.listen(id, address, port, backlog);
        assert_eq!(code(&call, answer).await, -4, "{call}");
        assert_eq!(server.get_info(id).await, before, "{call}");
    }
    let answer = server.listen(id, "127.0.0.1", 0, None);
    answer.await.expect("it can listen after all refusals");
    assert!(listens(&test.app, id).await);
}

#[actix_rt::test]
async fn an_address_in_use_is_refused_and_the_socket_can_listen_elsewhere() {
    let mut test = TestApp::new().await;
    let (_, taken) = test.listen().await;
    let server = test.app.tcp_server.clone();
    let id = create(&test.app).await;
    let before = server.get_info(id).await;
    let again = server.listen(id, "127.0.0.1", taken.port().into(), None);
    assert_eq!(code("listen", again).await, -147);
    assert_eq!(server.get_info(id).await, before);

    // The socket that has the address continues, and so does the other one elsewhere.
    let peer = dial(taken).await;
    expect_accept(&mut test, &peer).await;
    let elsewhere = server.listen(id, "127.0.0.1", 0, None);
    elsewhere.await.expect("listen");
    let peer = dial(address(&test.app, id).await).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn an_address_of_another_program_is_in_use() {
    let test = TestApp::new().await;
    let theirs = TcpListener::bind("127.0.71.2:0").expect("bind");
    let port = theirs.local_addr().expect("its address").port();
    let id = create(&test.app).await;
    let server = &test.app.tcp_server;
    let refused = server.listen(id, "127.0.71.2", port.into(), None);
    assert_eq!(code("listen", refused).await, -147);
    drop(theirs);
    let answer = server.listen(id, "127.0.71.2", port.into(), None);
    answer.await.expect("it is free now");
}

#[actix_rt::test]
async fn a_foreign_address_is_invalid_and_the_socket_can_listen_elsewhere() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = create(&test.app).await;
    let before = server.get_info(id).await;
    // Reserved for documentation: no machine has them.
    for foreign in ["192.0.2.200", "2001:db8::1"] {
        let refused = server.listen(id, foreign, 0, None);
        assert_eq!(code(foreign, refused).await, -108, "{foreign}");
        assert_eq!(server.get_info(id).await, before, "{foreign}");
    }
    let answer = server.listen(id, "127.0.0.1", 0, None);
    answer.await.expect("listen");
    assert!(listens(&test.app, id).await);
}

#[actix_rt::test]
async fn listening_twice_is_refused_and_nothing_changes() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let server = test.app.tcp_server.clone();
    let before = server.get_info(id).await;
    for (address, port) in [
        ("127.0.0.1", 0),
        ("127.0.0.1", i32::from(at.port())),
        ("127.0.71.3", 0),
        ("::", 0),
    ] {
        let refused = server.listen(id, address, port, None);
        assert_eq!(code("listen", refused).await, -23, "{address}:{port}");
        assert_eq!(server.get_info(id).await, before, "{address}:{port}");
    }
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn listening_again_after_disconnect_works() {
    let mut test = TestApp::new().await;
    let server = test.app.tcp_server.clone();
    let (id, first) = listen_at(&test.app, "127.0.71.4").await;
    // The same port, then another address.
    for (ip, port) in [("127.0.71.4", first.port()), ("127.0.71.5", 0)] {
        let before = address(&test.app, id).await;
        server.disconnect(id).await.expect("disconnect");
        let answer = server.listen(id, ip, port.into(), None);
        answer.await.expect("listen");
        let now = address(&test.app, id).await;
        assert_eq!(now.ip().to_string(), ip);
        assert_eq!(now == before, port != 0);
        let peer = dial(now).await;
        expect_accept(&mut test, &peer).await;
    }
}

#[actix_rt::test]
async fn un_awaited_calls_listen_disconnect_and_listen_in_order() {
    let mut test = TestApp::new().await;
    let server = test.app.tcp_server.clone();
    let id = create(&test.app).await;
    let first = server.listen(id, "127.0.71.6", 0, None);
    let twice = server.listen(id, "127.0.71.6", 0, None);
    drop(server.disconnect(id));
    let second = server.listen(id, "127.0.71.7", 0, None);
    assert_eq!(first.await, Ok(()));
    assert_eq!(code("listen", twice).await, -23);
    assert_eq!(second.await, Ok(()));
    let at = address(&test.app, id).await;
    assert_eq!(at.ip(), Ipv4Addr::new(127, 0, 71, 7));
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
}
