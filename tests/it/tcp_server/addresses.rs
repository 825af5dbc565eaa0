//! `listen_on`, and the addresses in `onAccept`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix::Actor;
use chrome_sockets::tcp_server::{AcceptInfo, ListenOptions};
use chrome_sockets::{Address, Endpoint, Error};
use support::{EventSender, ListenerEvent, code};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

const IPV6_ONLY: ListenOptions = ListenOptions {
    backlog: None,
    ipv6_only: true,
    mode: None,
};

async fn listen_on(
    app: &App,
    endpoint: impl Into<Endpoint>,
    options: ListenOptions,
) -> Result<(ServerSocketId, SocketAddr), Error> {
    let id = create(app).await;
    app.tcp_server.listen_on(id, endpoint, options).await?;
    Ok((id, address(app, id).await))
}

/// Every `onAccept` of an app, unhandled.
async fn accepts(app: &App) -> UnboundedReceiver<AcceptInfo> {
    let (sender, accepts) = unbounded_channel();
    let listener = EventSender(sender).start().recipient();
    let added = app.tcp_server.on_accept.add_listener(listener).await;
    added.expect("the registry runs");
    accepts
}

#[actix_rt::test]
async fn on_accept_has_the_addresses_of_both_ends() {
    let test = TestApp::new().await;
    let mut accepts = accepts(&test.app).await;
    for (ip, to, shown) in [
        ("127.0.82.1", "127.0.82.1", "127.0.82.1"),
        ("0.0.0.0", "127.0.82.2", "127.0.82.2"),
        ("::1", "::1", "::1"),
        ("::", "::1", "::1"),
        ("::", "127.0.82.3", "::ffff:127.0.82.3"),
    ] {
        let (id, at) = listen_at(&test.app, ip).await;
        let to: IpAddr = to.parse().expect("an address");
        let peer = dial(SocketAddr::new(to, at.port())).await;
        let info = within("onAccept", accepts.recv()).await.expect("it runs");
        let local = SocketAddr::new(shown.parse().expect("an address"), at.port());
        assert_eq!(info.local(), Some(Address::Ip(local)), "{ip}");
        let from = peer.local_addr().expect("its address");
        let seen = info.peer().socket_addr().expect("an IP address");
        assert_eq!(seen.ip().to_canonical(), from.ip(), "{ip}");
        assert_eq!(seen.port(), from.port(), "{ip}");
        let client = info.client().get_info().await.expect("it exists");
        assert_eq!(client.peer, Some(info.peer()), "{ip}");
        assert_eq!(client.local, info.local(), "{ip}");
        test.app.tcp_server.close(id).await.expect("close");
    }
}

#[actix_rt::test]
async fn on_accept_has_the_addresses_on_a_shared_port_too() {
    let test = TestApp::new().await;
    let mut accepts = accepts(&test.app).await;
    let id = create(&test.app).await;
    let server = &test.app.tcp_server;
    server.set_reuse_port(id, true).await.expect("it is set");
    server.listen(id, "0.0.0.0", 0, None).await.expect("listen");
    let port = address(&test.app, id).await.port();
    let to = SocketAddr::from(([127, 0, 82, 4], port));
    let peer = dial(to).await;
    let info = within("onAccept", accepts.recv()).await.expect("it runs");
    assert_eq!(info.local(), Some(Address::Ip(to)));
    let from = peer.local_addr().expect("its address");
    assert_eq!(info.peer(), Address::Ip(from));
}

#[actix_rt::test]
async fn listen_on_takes_addresses_and_pairs() {
    let mut test = TestApp::new().await;
    let ip = Ipv4Addr::new(127, 0, 82, 5);
    let at = SocketAddr::from((ip, 0));
    for endpoint in [
        Endpoint::from(at),
        Address::from(at).into(),
        (IpAddr::from(ip), 0).into(),
        (ip, 0).into(),
        ("127.0.82.5", 0).into(),
        ("127.0.82.5".to_owned(), 0).into(),
    ] {
        let listening = listen_on(&test.app, endpoint.clone(), ListenOptions::default()).await;
        let (id, at) = listening.expect("listen_on");
        assert_eq!(at.ip(), ip, "{endpoint:?}");
        let peer = dial(at).await;
        expect_accept(&mut test, &peer).await;
        test.app.tcp_server.close(id).await.expect("close");
    }
}

#[actix_rt::test]
async fn listen_on_refuses_what_listen_refuses() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = create(&test.app).await;
    let before = server.get_info(id).await;
    let none = ListenOptions::default();
    for host in [
        "localhost",
        "",
        "*",
        "127.1",
        "[::1]",
        "127.0.0.1:0",
        "::1%lo",
    ] {
        let refused = server.listen_on(id, (host, 0), none);
        assert_eq!(code(host, refused).await, -4, "{host:?}");
    }
    for backlog in [0, -1] {
        let options = ListenOptions {
            backlog: Some(backlog),
            ..none
        };
        let refused = server.listen_on(id, (Ipv4Addr::LOCALHOST, 0), options);
        assert_eq!(code("listen_on", refused).await, -4, "{backlog}");
    }
    let refused = server.listen_on(id, (Ipv4Addr::LOCALHOST, 0), IPV6_ONLY);
    assert_eq!(code("listen_on", refused).await, -4, "ipv6_only with IPv4");
    assert_eq!(server.get_info(id).await, before);
    let listening = server.listen_on(id, (Ipv4Addr::LOCALHOST, 0), none);
    listening.await.expect("it can listen after all refusals");
    let twice = server.listen_on(id, (Ipv4Addr::LOCALHOST, 0), none);
    assert_eq!(code("listen_on", twice).await, -23);
}

/// A server socket for IPv4, one for IPv6, and their port. The OS chooses a port that is free for
/// IPv4; another program may have it for IPv6, so this tries several.
async fn on_both_wildcards(app: &App, shared: bool) -> (ServerSocketId, ServerSocketId, u16) {
    for _ in 0..10 {
        let any_port = (Ipv4Addr::UNSPECIFIED, 0);
        let listening = listen_on(app, any_port, Default::default()).await;
        let (v4, at) = listening.expect("the OS chooses the port");
        let v6 = create(app).await;
        let setting = app.tcp_server.set_reuse_port(v6, shared);
        setting.await.expect("it does not listen");
        let endpoint = (Ipv6Addr::UNSPECIFIED, at.port());
        let listening = app.tcp_server.listen_on(v6, endpoint, IPV6_ONLY).await;
        if listening.is_ok() {
            return (v4, v6, at.port());
        }
        app.tcp_server.do_close(v6);
        app.tcp_server.close(v4).await.expect("close");
    }
    panic!("no port is free for both");
}

#[actix_rt::test]
async fn both_wildcards_have_a_socket_each_on_one_port() {
    let mut test = TestApp::new().await;
    let (v4, v6, port) = on_both_wildcards(&test.app, false).await;
    for (ip, server) in [
        (IpAddr::from(Ipv4Addr::LOCALHOST), v4),
        (Ipv6Addr::LOCALHOST.into(), v6),
        (Ipv4Addr::new(127, 0, 82, 6).into(), v4),
    ] {
        let _peer = dial(SocketAddr::new(ip, port)).await;
        match test.next().await {
            ListenerEvent::Accept(from, client) => {
                assert_eq!(from, server, "{ip}");
                let info = client.get_info().await.expect("it exists");
                assert_eq!(info.local_addr(), Some(SocketAddr::new(ip, port)), "{ip}");
            }
            received => panic!("expected onAccept, not {received:?}"),
        }
    }
    // Without the option `::` takes IPv4 too, so the port is not free.
    test.app.tcp_server.close(v6).await.expect("close");
    let both = listen_on(&test.app, (Ipv6Addr::UNSPECIFIED, port), Default::default());
    let in_use = both.await.expect_err("in use");
    assert_eq!(in_use.net_error().map(|error| error.code()), Some(-147));
    // With it, IPv4 clients are refused.
    test.app.tcp_server.close(v4).await.expect("close");
    let again = listen_on(&test.app, (Ipv6Addr::UNSPECIFIED, port), IPV6_ONLY).await;
    again.expect("listen_on");
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    assert!(refused.is_err());
}

#[actix_rt::test]
async fn a_shared_port_takes_ipv6_only_too() {
    let mut test = TestApp::new().await;
    let (_, _, port) = on_both_wildcards(&test.app, true).await;
    let peer = dial(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn a_network_without_ipv6_only_says_so() {
    let network = chrome_sockets::testing::ScriptedNetwork::new();
    let test = TestApp::with_network(crate::tcp::networks::Minimal(network)).await;
    let refused = listen_on(&test.app, (Ipv6Addr::UNSPECIFIED, 80), IPV6_ONLY).await;
    let refused = refused.expect_err("it has no such option");
    assert_eq!(refused.net_error().map(|error| error.code()), Some(-11));
}
