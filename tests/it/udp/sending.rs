//! `send`: addresses, names, sizes, errors and the quota.

use std::net::{IpAddr, SocketAddr};

use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::udp::{DnsQueryType, SocketProperties};
use chrome_sockets::{Error, InvalidArgument, NetError, Registry, UdpSocketId};
use support::{TestApp, within};

use super::{Peer, bound, create, expect_alive};

async fn send(
    test: &TestApp,
    id: UdpSocketId,
    data: impl Into<bytes::Bytes>,
    to: &str,
    port: u16,
) -> Result<usize, Error> {
    let query = DnsQueryType::Any;
    let sent = test.app.udp.send(id, data, to, port.into(), query);
    within("the answer to send", sent)
        .await
        .map(|sent| sent.bytes_sent)
}

#[actix_rt::test]
async fn a_datagram_of_any_size_is_sent_whole_and_a_larger_one_not_at_all() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let peer = Peer::new().await;
    let port = peer.address().port();
    for length in [0, 1, 4097, 65_507] {
        let data = vec![length as u8; length];
        assert_eq!(
            send(&test, id, data.clone(), "127.0.0.1", port).await,
            Ok(length)
        );
        assert!(peer.receive().await == (data, at), "{length} bytes");
    }
    for length in [65_508, 65_536, 1 << 20] {
        let refused = send(&test, id, vec![0; length], "127.0.0.1", port).await;
        assert_eq!(refused, Err(NetError::MSG_TOO_BIG.into()));
    }
    assert!(peer.has_nothing());
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn an_unreachable_port_is_no_error_and_the_socket_goes_on() {
    let mut test = TestApp::new().await;
    let (id, _) = bound(&test).await;
    let gone = Peer::new().await.address();
    let socket = test.app.udp.socket(id).await.expect("it exists");
    for _ in 0..10 {
        assert_eq!(send(&test, id, "x", "127.0.0.1", gone.port()).await, Ok(1));
        assert!(socket.send_to("x", gone).await.is_ok());
    }
    test.expect_no_event().await;
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn invalid_arguments_and_addresses_are_refused_one_by_one() {
    let mut test = TestApp::new().await;
    let (id, _) = bound(&test).await;
    let udp = test.app.udp.clone();
    for port in [-1, 65_536] {
        let sent = udp
            .send(id, "x", "127.0.0.1", port, DnsQueryType::Any)
            .await;
        assert_eq!(sent, Err(InvalidArgument::PortOutOfRange.into()));
    }
    // The OS refuses these.
    let zero = send(&test, id, "x", "127.0.0.1", 0).await;
    assert_eq!(zero, Err(NetError::INVALID_ARGUMENT.into()));
    let other_family = send(&test, id, "x", "::1", 9).await;
    assert_eq!(other_family, Err(NetError::ADDRESS_UNREACHABLE.into()));
    // These are no hosts.
    for host in ["", "a b", "\0", &"x".repeat(300)] {
        let sent = send(&test, id, "x", host, 9).await;
        assert_eq!(sent, Err(NetError::NAME_NOT_RESOLVED.into()), "{host:?}");
    }
    let wrong = udp.send(id, "x", "127.0.0.1", 9, DnsQueryType::Ipv6).await;
    assert_eq!(wrong, Err(NetError::NAME_NOT_RESOLVED.into()));
    let unbound = create(&test, SocketProperties::default()).await;
    let sent = send(&test, unbound, "x", "127.0.0.1", 9).await;
    assert_eq!(sent, Err(NetError::SOCKET_NOT_CONNECTED.into()));
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn localhost_is_the_loopback_address_of_the_sockets_family() {
    let test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let peer = Peer::new().await;
    for host in ["localhost", "LOCALHOST.", "a.localhost"] {
        let port = peer.address().port();
        assert_eq!(send(&test, id, host, host, port).await, Ok(host.len()));
        assert_eq!(peer.receive().await, (host.as_bytes().to_vec(), at));
    }
}

/// A bound socket on a scripted network.
async fn scripted() -> (TestApp, ScriptedNetwork, UdpSocketId, SocketAddr) {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let (id, at) = bound(&test).await;
    (test, network, id, at)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[actix_rt::test]
async fn a_name_is_looked_up_and_its_address_of_the_sockets_family_is_used() {
    let (test, network, id, at) = scripted().await;
    network.next_resolve("peer.example", Ok(vec![ip("2001:db8::1"), ip("192.0.2.7")]));
    assert_eq!(send(&test, id, "x", "Peer.Example", 7).await, Ok(1));
    let sent = network.sent_datagrams();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].from, sent[0].to), (at, ([192, 0, 2, 7], 7).into()));
    network.next_resolve("peer.example", Ok(vec![ip("2001:db8::1")]));
    let none = send(&test, id, "x", "peer.example", 7).await;
    assert_eq!(none, Err(NetError::NAME_NOT_RESOLVED.into()));
    let unknown = send(&test, id, "x", "unknown.example", 7).await;
    assert_eq!(unknown, Err(NetError::NAME_NOT_RESOLVED.into()));
}

#[actix_rt::test]
async fn a_look_up_holds_back_no_other_send_and_ends_with_the_socket() {
    let (test, network, id, _) = scripted().await;
    let blocked = network.block_resolve("slow.example");
    let udp = &test.app.udp;
    let slow = udp.send(id, "slow", "slow.example", 7, DnsQueryType::Any);
    let closing = udp.send(id, "late", "slow.example", 7, DnsQueryType::Any);
    assert_eq!(send(&test, id, "fast", "192.0.2.1", 7).await, Ok(4));
    assert_eq!(network.sent_datagrams().len(), 1);
    network.next_resolve("slow.example", Ok(vec![ip("192.0.2.7")]));
    network.next_resolve("slow.example", Ok(vec![ip("192.0.2.7")]));
    udp.close(id).await.expect("close");
    drop(blocked);
    let gone = Err(Error::SocketNotFound);
    assert_eq!(within("the answer", slow).await, gone);
    assert_eq!(within("the answer", closing).await, gone);
    assert_eq!(network.sent_datagrams(), []);
}

#[actix_rt::test]
async fn sends_wait_for_room_in_the_order_of_the_calls() {
    let (test, network, id, at) = scripted().await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    network.limit_sends(at, Some(2)).expect("it is bound");
    let to = SocketAddr::from(([192, 0, 2, 1], 7));
    let answers: Vec<_> = (0..6_u8).map(|n| socket.send_to(vec![n], to)).collect();
    socket.get_info().await.expect("it exists");
    let sent = || -> Vec<u8> {
        network
            .sent_datagrams()
            .iter()
            .map(|it| it.data[0])
            .collect()
    };
    assert_eq!(sent(), [0, 1]);
    network.limit_sends(at, Some(3)).expect("it is bound");
    for answer in answers.into_iter().take(5) {
        within("the answer", answer).await.expect("sent");
    }
    assert_eq!(sent(), [2, 3, 4]);
    // The last one fails with the socket.
    let last = socket.send_to("last", to);
    socket.close().await.expect("close");
    assert_eq!(last.await, Err(NetError::ABORTED.into()));
}

#[actix_rt::test]
async fn an_error_of_one_send_does_not_concern_the_next() {
    let (test, network, id, at) = scripted().await;
    for (errno, code) in [
        (libc::ENOBUFS, NetError::NO_BUFFER_SPACE),
        (libc::EMSGSIZE, NetError::MSG_TOO_BIG),
        (libc::ENETUNREACH, NetError::ADDRESS_UNREACHABLE),
        (libc::EACCES, NetError::ACCESS_DENIED),
        (libc::EIO, NetError::FAILED),
    ] {
        network.send_error(at, errno).expect("it is bound");
        assert_eq!(send(&test, id, "x", "192.0.2.1", 7).await, Err(code.into()));
        assert_eq!(send(&test, id, "x", "192.0.2.1", 7).await, Ok(1));
    }
}

#[actix_rt::test]
async fn sends_that_wait_count_in_the_write_quota_until_they_end() {
    let network = ScriptedNetwork::new();
    let registry = Registry::with_network(network.clone()).write_quota(1000);
    let test = TestApp::on(registry).await;
    let (id, at) = bound(&test).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    network.limit_sends(at, Some(0)).expect("it is bound");
    let to = SocketAddr::from(([192, 0, 2, 1], 7));
    let waiting = socket.send_to(vec![0; 900], to);
    let full = Err(Error::WriteQuotaExceeded);
    assert_eq!(socket.send_to(vec![0; 101], to).await.map(drop), full);
    assert_eq!(socket.try_send_to(vec![0; 101], to), full);
    assert_eq!(
        send(&test, id, vec![0; 101], "192.0.2.1", 7)
            .await
            .map(drop),
        full
    );
    network.limit_sends(at, None).expect("it is bound");
    waiting.await.expect("sent");
    // Empty datagrams count too, and what was sent does not.
    for _ in 0..100 {
        assert_eq!(send(&test, id, "", "192.0.2.1", 7).await, Ok(0));
        socket
            .try_send_to(vec![0; 1000], to)
            .expect("the quota is free");
        socket.get_info().await.expect("it exists");
    }
    assert_eq!(network.sent_datagrams().len(), 201);
}

#[actix_rt::test]
async fn a_handles_sends_keep_their_order_with_its_other_calls() {
    let test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    let peer = Peer::new().await;
    for number in 0..500_u32 {
        if number % 7 == 0 {
            socket.do_set_paused(number % 2 == 0);
        }
        let data = number.to_be_bytes().to_vec();
        socket
            .try_send_to(data, peer.address())
            .expect("the quota is free");
        // Not more at once than the peer's buffer holds.
        if number % 50 == 49 {
            for expected in number - 49..=number {
                let expected = (expected.to_be_bytes().to_vec(), at);
                assert_eq!(peer.receive().await, expected);
            }
        }
    }
}
