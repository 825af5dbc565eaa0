//! Local addresses and link-local addresses, with real sockets.

use std::net::{IpAddr, SocketAddrV6};

use chrome_sockets::Address;
use chrome_sockets::tcp::ConnectOptions;
use chrome_sockets::tcp_server::ListenOptions;
use chrome_sockets::testing::ScriptedNetwork;
use support::code;

use super::networks::{FixedNames, Minimal};
use super::*;

const ANY: ConnectOptions = ConnectOptions {
    dns_query_type: DnsQueryType::Any,
    timeout: None,
    local: None,
    proxy_header: None,
};

fn from(local: SocketAddr) -> ConnectOptions {
    ConnectOptions {
        local: Some(local),
        ..ANY
    }
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

/// A link-local address of this machine with the name of its interface, if it has any.
fn link_local() -> Option<(SocketAddrV6, String)> {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    interfaces.lines().find_map(|line| {
        let [ip, index, _, scope, flags, name] =
            *line.split_whitespace().collect::<Vec<_>>().as_slice()
        else {
            return None;
        };
        let hex = |text| u32::from_str_radix(text, 16).ok();
        // `IPV6_ADDR_LINKLOCAL`; neither `IFA_F_TENTATIVE` nor `IFA_F_DADFAILED`.
        let is_usable = hex(scope)? == 0x20 && hex(flags)? & 0x48 == 0;
        let ip = u128::from_str_radix(ip, 16).ok()?;
        let address = SocketAddrV6::new(ip.into(), 0, 0, hex(index)?);
        is_usable.then(|| (address, name.to_owned()))
    })
}

#[actix_rt::test]
async fn an_accepted_socket_knows_the_address_that_its_peer_connected_to() {
    let mut test = TestApp::new().await;
    let server = test.app.tcp_server.clone();
    for ip in ["127.0.0.1", "0.0.0.0", "::"] {
        let created = server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        server.listen(id, ip, 0, None).await.expect("listen");
        let info = server.get_info(id).await.expect("it exists");
        let port = info.local_port.expect("it listens");
        assert_eq!(info.local, Some(address(ip, port).into()));
        let at = address("127.0.0.1", port);
        let peer = dial(at).await;
        let client = test.accepted().await;
        let info = client.get_info().await.expect("it exists");
        let local = info.local_addr().expect("it is connected");
        assert_eq!(local.ip().to_canonical(), at.ip(), "{ip}");
        assert_eq!(local.port(), port, "{ip}");
        assert_eq!(info.local, Some(Address::Ip(local)), "{ip}");
        let peer = peer.local_addr().expect("its address");
        assert_eq!(info.peer_addr().map(|it| it.port()), Some(peer.port()));
        assert_eq!(info.peer, info.peer_addr().map(Address::from));
        // Chrome's fields are as Chrome's.
        assert_eq!((info.local_address, info.local_port), (None, None), "{ip}");
        client.disconnect().await.expect("it is open");
        let info = client.get_info().await.expect("it exists");
        assert_eq!((info.local, info.peer), (None, None), "{ip}");
        server.close(id).await.expect("close");
    }
}

#[actix_rt::test]
async fn connect_to_takes_addresses_and_hosts() {
    let mut test = TestApp::new().await;
    let (listener, at) = foreign_listener().await;
    let (ip, port) = (at.ip(), at.port());
    let tcp = test.app.tcp.clone();
    let mut peers = Vec::new();
    for endpoint in [
        at.into(),
        Address::from(at).into(),
        (ip, port).into(),
        ("127.0.0.1", port).into(),
        ("localhost".to_owned(), port).into(),
    ] {
        let endpoint: chrome_sockets::Endpoint = endpoint;
        let id = test.create().await;
        let connected = tcp.connect_to(id, endpoint.clone(), ANY).await;
        assert_eq!(connected, Ok(()), "{endpoint:?}");
        let (mut peer, from) = listener.accept().await.expect("accept");
        let info = tcp.get_info(id).await.expect("it exists");
        assert_eq!(info.peer_addr(), Some(at));
        assert_eq!(info.local, Some(from.into()));
        write(&mut peer, b"hello").await;
        assert_eq!(test.received(id, 5).await, b"hello");
        peers.push(peer);
    }
    // By handle too, and with errors as those of `connect`.
    let client = tcp.socket(test.create().await).await.expect("it exists");
    assert_eq!(client.connect_to(at, ANY).await, Ok(()));
    let again = client.connect_to(at, ANY);
    assert_eq!(code("connect_to", again).await, -23);
    let id = test.create().await;
    for (endpoint, expected) in [
        (("[::1]", port), -105),
        (("", port), -105),
        (("127.0.0.1", 0), -108),
    ] {
        let refused = tcp.connect_to(id, endpoint, ANY);
        assert_eq!(code("connect_to", refused).await, expected, "{endpoint:?}");
    }
    let ipv6 = ConnectOptions {
        dns_query_type: DnsQueryType::Ipv6,
        ..ANY
    };
    let refused = tcp.connect_to(id, at, ipv6);
    assert_eq!(code("connect_to", refused).await, -105);
}

#[actix_rt::test]
async fn a_connection_comes_from_the_chosen_local_address() {
    let test = TestApp::new().await;
    let tcp = &test.app.tcp;
    let (listener, at) = foreign_listener().await;
    let (other_listener, other_at) = foreign_listener().await;
    let mut local = address("127.0.80.1", 0);
    // First the OS chooses the port. Then another peer is reached from the same port.
    for (listener, at) in [(&listener, at), (&other_listener, other_at)] {
        let id = test.create().await;
        assert_eq!(tcp.connect_to(id, at, from(local)).await, Ok(()));
        let (_, seen) = listener.accept().await.expect("accept");
        assert_eq!(seen.ip(), local.ip());
        if local.port() != 0 {
            assert_eq!(seen, local);
        }
        let info = tcp.get_info(id).await.expect("it exists");
        assert_eq!(info.local_addr(), Some(seen));
        tcp.close(id).await.expect("close");
        local = address("127.0.80.2", 40_000 + seen.port() % 1000);
    }
}

#[actix_rt::test]
async fn a_local_address_that_cannot_be_used_is_refused_and_the_socket_can_connect() {
    let test = TestApp::new().await;
    let tcp = &test.app.tcp;
    let id = test.create().await;
    let before = tcp.get_info(id).await;
    let (_listener, at) = foreign_listener().await;
    let theirs = std::net::TcpListener::bind("127.0.80.3:0").expect("bind");
    let taken = theirs.local_addr().expect("its address");
    for (local, expected) in [
        // Reserved for documentation: no machine has it.
        (address("192.0.2.200", 0), -108),
        // Of another family than the peer.
        (address("::1", 0), -108),
        (taken, -147),
    ] {
        let refused = tcp.connect_to(id, at, from(local));
        assert_eq!(code("connect_to", refused).await, expected, "{local}");
        assert_eq!(tcp.get_info(id).await, before, "{local}");
    }
    let local = address("127.0.80.3", 0);
    assert_eq!(tcp.connect_to(id, at, from(local)).await, Ok(()));
}

#[actix_rt::test]
async fn only_addresses_of_the_family_of_the_local_address_are_tried() {
    let names: Vec<IpAddr> = vec![address("127.0.0.1", 0).ip(), address("::1", 0).ip()];
    let test = TestApp::with_network(FixedNames(names)).await;
    let (listener, at) = foreign_listener().await;
    let id = test.create().await;
    let options = from(address("127.0.80.4", 0));
    let endpoint = ("two.example", at.port());
    let connected = test.app.tcp.connect_to(id, endpoint, options.clone());
    assert_eq!(connected.await, Ok(()));
    let info = test.app.tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.peer_addr(), Some(at));
    drop(listener);
    // The error of the last address that is tried, which is the first of the name.
    let id = test.create().await;
    let refused = test.app.tcp.connect_to(id, endpoint, options);
    assert_eq!(code("connect_to", refused).await, -102);
}

#[actix_rt::test]
async fn a_link_local_address_is_listened_on_and_connected_to_by_its_interface() {
    let Some((address, interface)) = link_local() else {
        // This machine has no link-local address.
        return;
    };
    let mut test = TestApp::new().await;
    let (server, tcp) = (test.app.tcp_server.clone(), test.app.tcp.clone());
    let (ip, scope) = (address.ip(), address.scope_id());
    let by_name = format!("{ip}%{interface}");
    let by_number = format!("{ip}%{scope}");
    for host in [&by_name, &by_number] {
        let created = server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        let listening = server.listen_on(id, (host.as_str(), 0), ListenOptions::default());
        assert_eq!(listening.await, Ok(()), "{host}");
        let info = server.get_info(id).await.expect("it exists");
        let at = info.local_addr().expect("it listens");
        assert_eq!(at, SocketAddrV6::new(*ip, at.port(), 0, scope).into());
        for endpoint in [
            chrome_sockets::Endpoint::from(at),
            (by_name.as_str(), at.port()).into(),
            (by_number.as_str(), at.port()).into(),
        ] {
            let id = test.create().await;
            let connected = tcp.connect_to(id, endpoint.clone(), ANY).await;
            assert_eq!(connected, Ok(()), "{endpoint:?}");
            let client = test.accepted().await;
            let info = tcp.get_info(id).await.expect("it exists");
            assert_eq!(info.peer_addr(), Some(at), "{endpoint:?}");
            let accepted = client.get_info().await.expect("it exists");
            assert_eq!(accepted.local_addr(), Some(at), "{endpoint:?}");
        }
    }
    // An interface that does not exist.
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let missing = ("fe80::1%no-such-if", 1);
    let refused = server.listen_on(id, missing, ListenOptions::default());
    assert_eq!(code("listen_on", refused).await, -108);
    let refused = tcp.connect_to(test.create().await, missing, ANY);
    assert_eq!(code("connect_to", refused).await, -108);
    // Without its interface the address is ambiguous.
    let unscoped = (ip.to_string(), 0);
    let refused = server.listen_on(id, unscoped, ListenOptions::default());
    assert_eq!(code("listen_on", refused).await, -4);
}

#[actix_rt::test]
async fn chromes_functions_take_no_scope() {
    let test = TestApp::with_network(ScriptedNetwork::new()).await;
    let created = test.app.tcp_server.create(Default::default()).await;
    let server = created.expect("create").socket_id;
    let client = test.create().await;
    for host in ["fe80::1%lo", "::1%lo", "fe80::1%1"] {
        let listening = test.app.tcp_server.listen(server, host, 0, None);
        assert_eq!(code("listen", listening).await, -4, "{host}");
        let connecting = test.app.tcp.connect(client, host, 1, DnsQueryType::Any);
        assert_eq!(code("connect", connecting).await, -105, "{host}");
    }
    // Only link-local addresses have a scope.
    for host in ["::1%lo", "127.0.0.1%lo"] {
        let options = ListenOptions::default();
        let listening = test.app.tcp_server.listen_on(server, (host, 0), options);
        assert_eq!(code("listen_on", listening).await, -4, "{host}");
        let connecting = test.app.tcp.connect_to(client, (host, 1), ANY);
        assert_eq!(code("connect_to", connecting).await, -105, "{host}");
    }
}

#[actix_rt::test]
async fn a_network_that_cannot_choose_a_local_address_says_so() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(Minimal(network.clone())).await;
    let at = address("192.0.2.1", 80);
    let _server = network.server(at);
    let local = from(address("127.0.0.1", 0));
    let id = test.create().await;
    let refused = test.app.tcp.connect_to(id, at, local);
    assert_eq!(code("connect_to", refused).await, -11);
}
