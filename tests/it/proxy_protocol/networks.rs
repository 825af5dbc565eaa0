//! Which connections have headers, and the networks of tests.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixStream};

use chrome_sockets::os::TokioNetwork;
use chrome_sockets::proxy_protocol::{MAX_NETWORKS, OtherPeers, ProxyError, ProxyProtocol};
use chrome_sockets::testing::{FaultyNetwork, Rule};
use chrome_sockets::{InvalidArgument, NetError, Registry, UnixAddress};

use super::{Fixture, dial, expect_end, failed, trusting, write};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n";

#[actix_rt::test]
async fn connections_from_elsewhere_are_taken_as_they_are() {
    let settings = trusting(&["192.0.2.0/24", "2001:db8::/32"]);
    let mut fixture = Fixture::on(Registry::new(), settings).await;
    let mut peer = dial(fixture.at).await;
    let address = peer.local_addr().expect("its address");
    // Whatever it sends is data, also a header.
    write(&mut peer, HEADER).await;
    let info = fixture.accepted().await;
    assert_eq!(info.peer().socket_addr(), Some(address));
    assert_eq!(info.proxy_peer(), None);
    fixture.assert_receives(&info, HEADER).await;
}

#[actix_rt::test]
async fn connections_from_elsewhere_are_refused_if_the_settings_say_so() {
    let settings = ProxyProtocol {
        others: OtherPeers::Refuse,
        ..trusting(&["192.0.2.0/24"])
    };
    let mut fixture = Fixture::on(Registry::new(), settings).await;
    let mut peer = dial(fixture.at).await;
    write(&mut peer, HEADER).await;
    expect_end(&mut peer).await;
    let info = fixture.error().await;
    assert_eq!(info.error, ProxyError::NotTrusted);
    assert_eq!(info.peer, peer.local_addr().expect("its address"));
    let counts = fixture.info().await.counts;
    assert_eq!((counts.accepted, counts.failed), (1, 1));
    // From a trusted network the same is accepted.
    let settings = ProxyProtocol {
        others: OtherPeers::Refuse,
        ..trusting(&["192.0.2.0/24", "127.0.0.1"])
    };
    let server = &fixture.test.app.tcp_server;
    let set = server.set_proxy_protocol(fixture.id, settings);
    set.await.expect("the settings are valid");
    fixture.assert_serves().await;
}

#[actix_rt::test]
async fn the_setting_can_be_removed_and_is_in_get_info() {
    let mut fixture = Fixture::new().await;
    let settings = fixture.info().await.proxy_protocol;
    assert_eq!(settings, Some(trusting(&["127.0.0.0/8"])));
    // Accepted as a proxy, it still owes its header.
    let mut proxy = dial(fixture.at).await;
    write(&mut proxy, b"PROXY TCP4 ").await;
    fixture.test.expect_no_event().await;
    let server = &fixture.test.app.tcp_server;
    let set = server.set_proxy_protocol(fixture.id, None);
    set.await.expect("it exists");
    assert_eq!(fixture.info().await.proxy_protocol, None);
    let mut peer = dial(fixture.at).await;
    write(&mut peer, HEADER).await;
    let info = fixture.accepted().await;
    assert_eq!(info.proxy_peer(), None);
    fixture.assert_receives(&info, HEADER).await;
    write(&mut proxy, &HEADER[11..]).await;
    let info = fixture.accepted().await;
    assert_eq!(info.peer().to_string(), "192.0.2.1:56789");
}

#[actix_rt::test]
async fn invalid_settings_change_nothing() {
    let fixture = Fixture::new().await;
    let valid = trusting(&["127.0.0.0/8"]);
    let network = valid.networks[0];
    let networks = |count| ProxyProtocol {
        networks: vec![network; count],
        ..valid.clone()
    };
    let timeout = ProxyProtocol {
        timeout: std::time::Duration::ZERO,
        ..valid.clone()
    };
    let max_pending = ProxyProtocol {
        max_pending: 0,
        ..valid.clone()
    };
    for (settings, error) in [
        (networks(0), InvalidArgument::ProxyNetworksEmpty),
        (
            networks(MAX_NETWORKS + 1),
            InvalidArgument::ProxyNetworksTooMany,
        ),
        (timeout, InvalidArgument::ProxyTimeoutZero),
        (max_pending, InvalidArgument::ProxyMaxPendingZero),
    ] {
        let server = &fixture.test.app.tcp_server;
        let set = server.set_proxy_protocol(fixture.id, settings);
        assert_eq!(set.await, Err(error.into()));
        assert_eq!(fixture.info().await.proxy_protocol, Some(valid.clone()));
    }
}

#[actix_rt::test]
async fn a_read_that_fails_in_the_header_is_reported() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let mut fixture = Fixture::with_network(network.clone()).await;
    let rule: Rule = "read=ECONNRESET,times=1".parse().expect("a rule");
    network.inject(rule);
    let mut proxy = dial(fixture.at).await;
    write(&mut proxy, HEADER).await;
    let info = fixture.error().await;
    assert_eq!(info.error, failed(NetError::CONNECTION_RESET));
    fixture.assert_serves().await;
}

#[actix_rt::test]
async fn short_reads_lose_nothing() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let mut fixture = Fixture::with_network(network.clone()).await;
    network.inject("read=short".parse().expect("a rule"));
    for _ in 0..20 {
        fixture.assert_serves().await;
    }
}

#[actix_rt::test]
async fn a_panic_of_the_server_socket_loses_no_connection_that_owes_its_header() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let mut fixture = Fixture::with_network(network.clone()).await;
    let mut proxy = dial(fixture.at).await;
    write(&mut proxy, &HEADER[..30]).await;
    fixture.test.expect_no_event().await;
    network.inject("panic=server,times=1".parse().expect("a rule"));
    write(&mut proxy, &HEADER[30..]).await;
    let info = fixture.accepted().await;
    assert_eq!(info.peer().to_string(), "192.0.2.1:56789");
    fixture.test.accepted().await;
    fixture.assert_serves().await;
}

#[actix_rt::test]
async fn peers_at_a_unix_socket_are_proxies_if_the_settings_say_so() {
    let settings = ProxyProtocol {
        unix_peers: true,
        ..ProxyProtocol::default()
    };
    let mut fixture = Fixture::on(Registry::new(), settings.clone()).await;
    let server = fixture.test.app.tcp_server.clone();
    let created = server.create(Default::default()).await.expect("create");
    let id = created.socket_id;
    let set = server.set_proxy_protocol(id, settings.clone());
    set.await.expect("the settings are valid");
    let name = format!("chrome-sockets-proxy-{}", std::process::id());
    let address = UnixAddress::from_abstract(name.as_bytes());
    let listening = server.listen_unix(id, address, None, None);
    listening.await.expect("listen");
    let address = UnixSocketAddr::from_abstract_name(name).expect("a name");
    let connect = || UnixStream::connect_addr(&address).expect("connect");
    let mut proxy = connect();
    proxy.write_all(HEADER).expect("write");
    let info = fixture.accepted().await;
    assert_eq!(info.peer().to_string(), "192.0.2.1:56789");
    assert!(info.peer_credentials().is_some(), "the proxy's");
    let proxy_peer = info.proxy_peer().expect("it has one");
    assert!(proxy_peer.address.unix().is_some());
    drop(proxy);
    let mut other = connect();
    other.write_all(b"garbage").expect("write");
    let info = fixture.error().await;
    assert_eq!(info.error, ProxyError::NoHeader);
    assert!(info.peer.unix().is_some() && info.peer_addr().is_none());
    // Without the setting, a peer there is none.
    let set = server.set_proxy_protocol(id, trusting(&["0.0.0.0/0", "::/0"]));
    set.await.expect("the settings are valid");
    let _plain = connect();
    let info = fixture.accepted().await;
    assert!(info.proxy_peer().is_none() && info.peer().unix().is_some());
}
