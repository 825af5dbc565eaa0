//! `connect_to` with a header.

use std::net::SocketAddr;

use chrome_sockets::proxy_protocol::{Addresses, MAX_HEADER, ProxyHeader, Version, tlv};
use chrome_sockets::tcp::{ConnectOptions, SecureOptions};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{InvalidArgument, NetError, Registry};
use support::{TestApp, code, within};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::Fixture;
use crate::tls::certificates::Authority;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn with(header: ProxyHeader) -> ConnectOptions {
    ConnectOptions {
        proxy_header: Some(header),
        ..ConnectOptions::default()
    }
}

fn header(version: Version) -> ProxyHeader {
    ProxyHeader::new(
        version,
        address("192.0.2.1:56789"),
        address("198.51.100.1:443"),
    )
}

#[actix_rt::test]
async fn the_header_is_sent_before_everything_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let at = listener.local_addr().expect("its address");
    let test = TestApp::new().await;
    let headers = [
        header(Version::V1),
        header(Version::V2),
        header(Version::V2)
            .with_tlv(tlv::UNIQUE_ID, b"id")
            .with_checksum(),
        ProxyHeader::v2(Addresses::Local),
    ];
    for header in headers {
        let id = test.create().await;
        let bytes = header.to_bytes().expect("it is valid");
        let connected = test.app.tcp.connect_to(id, at, with(header));
        // Made at once, and carried out when it is connected.
        let sent = test.app.tcp.socket(id).await.expect("it exists");
        connected.await.expect("connected");
        sent.send("data").await.expect("sent");
        let (mut peer, _) = listener.accept().await.expect("accept");
        let mut all = vec![0; bytes.len() + 4];
        let read = within("the header", peer.read_exact(&mut all)).await;
        read.expect("read");
        assert_eq!(all, [&bytes[..], b"data"].concat());
    }
}

#[actix_rt::test]
async fn a_server_socket_reads_the_header_of_a_client_socket_also_before_tls() {
    let authority = Authority::new();
    let registry = Registry::new().tls_client(authority.client());
    let mut fixture = Fixture::on(registry, super::trusting(&["127.0.0.0/8"])).await;
    let server = authority.issue("localhost").server();
    let set = fixture
        .test
        .app
        .tcp_server
        .set_tls(fixture.id, Some(server));
    set.await.expect("it exists");
    for version in [Version::V1, Version::V2] {
        let id = fixture.test.create().await;
        let tcp = fixture.test.app.tcp.clone();
        tcp.set_paused(id, true).await.expect("paused");
        let endpoint = ("localhost", fixture.at.port());
        let options = ConnectOptions {
            dns_query_type: chrome_sockets::tcp::DnsQueryType::Ipv4,
            ..with(header(version))
        };
        let connected = tcp.connect_to(id, endpoint, options);
        connected.await.expect("connected");
        let secured = tcp.secure(id, SecureOptions::default());
        within("the handshake", secured).await.expect("secured");
        let info = fixture.accepted().await;
        assert_eq!(info.peer().to_string(), "192.0.2.1:56789");
        let proxy_peer = info.proxy_peer().expect("it has one");
        assert_eq!(proxy_peer.header, header(version));
        let proxy = tcp.get_info(id).await.expect("it exists").local_addr();
        assert_eq!(proxy_peer.address.socket_addr(), proxy);
        tcp.send(id, "hello").await.expect("sent");
        fixture.assert_receives(&info, b"hello").await;
    }
}

#[actix_rt::test]
async fn short_writes_send_the_whole_header_and_a_failed_one_fails_the_call() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let at = address("127.0.0.1:443");
    let peer = network.server(at);
    peer.short_writes(1);
    let id = test.create().await;
    let connected = test.app.tcp.connect_to(id, at, with(header(Version::V1)));
    connected.await.expect("connected");
    let bytes = header(Version::V1).to_bytes().expect("it is valid");
    assert_eq!(peer.received(), bytes);
    // A peer that takes only a part of it.
    let peer = network.server(at);
    peer.limit_writes(20);
    let id = test.create().await;
    let options = ConnectOptions {
        timeout: Some(std::time::Duration::from_millis(50)),
        ..with(header(Version::V1))
    };
    let connected = test.app.tcp.connect_to(id, at, options);
    let timed_out = NetError::CONNECTION_TIMED_OUT.code();
    assert_eq!(code("connect_to", connected).await, timed_out);
    assert_eq!(peer.received(), bytes[..20]);
    let peer = network.server(at);
    peer.write_error(104);
    let connected = test.app.tcp.connect_to(id, at, with(header(Version::V2)));
    let reset = NetError::CONNECTION_RESET.code();
    assert_eq!(code("connect_to", connected).await, reset);
    // The socket can be used again.
    let _peer = network.server(at);
    let connected = test.app.tcp.connect_to(id, at, with(header(Version::V2)));
    connected.await.expect("connected");
}

#[actix_rt::test]
async fn a_header_that_cannot_be_written_is_an_invalid_argument() {
    let test = TestApp::new().await;
    let id = test.create().await;
    let long = header(Version::V2).with_tlv(tlv::NOOP, &vec![0; MAX_HEADER - 16 - 12 - 2]);
    let not_v1 = InvalidArgument::ProxyHeaderNotV1;
    for (header, error) in [
        (long, InvalidArgument::ProxyHeaderTooLong),
        (
            header(Version::V2).with_tlv(tlv::NOOP, &vec![0; 70_000]),
            InvalidArgument::ProxyHeaderTooLong,
        ),
        (header(Version::V1).with_tlv(tlv::NOOP, b""), not_v1),
        (header(Version::V1).with_checksum(), not_v1),
    ] {
        let connected = test
            .app
            .tcp
            .connect_to(id, address("127.0.0.1:9"), with(header));
        assert_eq!(connected.await, Err(error.into()));
    }
}
