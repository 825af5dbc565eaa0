//! `create`, `update`, `bind`, `close`, `getInfo` and `getSockets`.

use chrome_sockets::udp::SocketProperties;
use chrome_sockets::{AppLimits, Error, InvalidArgument, MAX_NAME, NetError, UdpSocketId};
use support::TestApp;

use super::{Peer, address_of, bind_to, bound, create, expect_alive, failed};

#[actix_rt::test]
async fn an_address_that_is_no_canonical_literal_or_port_is_invalid_and_the_socket_stays() {
    let mut test = TestApp::new().await;
    let udp = test.app.udp.clone();
    let id = create(&test, SocketProperties::default()).await;
    for address in [
        "",
        "localhost",
        "[::1]",
        "300.1.1.1",
        "127.1",
        "0x7f000001",
        "*",
    ] {
        let error = Err(InvalidArgument::AddressNotIp.into());
        assert_eq!(udp.bind(id, address, 0).await, error, "{address}");
    }
    for port in [-1, 65_536, i32::MAX] {
        let error = Err(InvalidArgument::PortOutOfRange.into());
        assert_eq!(udp.bind(id, "127.0.0.1", port).await, error, "{port}");
    }
    let foreign = udp.bind(id, "192.0.2.1", 0).await;
    assert_eq!(foreign, Err(NetError::ADDRESS_INVALID.into()));
    let info = udp.get_info(id).await.expect("it exists");
    assert_eq!((info.local_addr(), info.dropped_datagrams), (None, None));
    udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn a_port_belongs_to_one_socket_until_it_is_closed() {
    let mut test = TestApp::new().await;
    let (first, at) = bound(&test).await;
    let second = create(&test, SocketProperties::default()).await;
    let udp = test.app.udp.clone();
    let port = at.port().into();
    let in_use = udp.bind(second, "127.0.0.1", port).await;
    assert_eq!(in_use, Err(NetError::ADDRESS_IN_USE.into()));
    let twice = udp.bind(first, "127.0.0.1", 0).await;
    assert_eq!(twice, Err(NetError::CONNECTION_FAILED.into()));
    udp.close(first).await.expect("close");
    // The answer means that the port is free.
    udp.bind(second, "127.0.0.1", port).await.expect("bind");
    assert_eq!(failed(&mut test, first).await, NetError::CONNECTION_CLOSED);
    expect_alive(&mut test, second).await;
}

#[actix_rt::test]
async fn a_closed_socket_is_gone_at_once_for_calls_by_id_and_by_handle() {
    let test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    assert_eq!((socket.id(), socket.app()), (id, test.app.id()));
    socket.do_close();
    let gone = Err(Error::SocketNotFound);
    assert_eq!(test.app.udp.get_info(id).await.map(drop), gone);
    assert_eq!(socket.get_info().await.map(drop), gone);
    assert_eq!(socket.send_to("x", at).await.map(drop), gone);
    assert_eq!(socket.try_send_to("x", at), gone);
    assert_eq!(socket.close().await, gone);
    assert_eq!(test.app.udp.get_sockets().await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn only_a_bound_socket_that_is_not_paused_reports_its_close() {
    let mut test = TestApp::new().await;
    let udp = test.app.udp.clone();
    let unbound = create(&test, SocketProperties::default()).await;
    let (paused, _) = bound(&test).await;
    udp.set_paused(paused, true).await.expect("paused");
    udp.close(unbound).await.expect("close");
    udp.close(paused).await.expect("close");
    test.expect_no_event().await;
    let (open, _) = bound(&test).await;
    udp.close(open).await.expect("close");
    assert_eq!(failed(&mut test, open).await, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn update_keeps_what_is_not_given_and_a_long_name_changes_nothing() {
    let test = TestApp::new().await;
    let udp = &test.app.udp;
    let id = create(
        &test,
        SocketProperties {
            persistent: Some(true),
            name: Some("one".into()),
            buffer_size: Some(9),
        },
    )
    .await;
    let long = SocketProperties {
        name: Some("x".repeat(MAX_NAME + 1)),
        persistent: Some(false),
        ..Default::default()
    };
    let refused = udp.update(id, long.clone()).await;
    assert_eq!(refused, Err(InvalidArgument::NameTooLong.into()));
    assert_eq!(
        udp.create(long).await.map(drop),
        Err(InvalidArgument::NameTooLong.into())
    );
    let nameless = SocketProperties {
        name: Some(String::new()),
        ..Default::default()
    };
    let info = udp.get_info(id).await.expect("it exists");
    assert_eq!((info.name.as_deref(), info.persistent), (Some("one"), true));
    udp.update(id, nameless).await.expect("update");
    let info = udp.get_info(id).await.expect("it exists");
    assert_eq!((info.name, info.buffer_size), (None, Some(9)));
    let unset = SocketProperties {
        buffer_size: Some(0),
        ..Default::default()
    };
    udp.update(id, unset).await.expect("update");
    let info = udp.get_info(id).await.expect("it exists");
    assert_eq!(info.buffer_size, None);
    assert_eq!(
        udp.get_sockets().await,
        Ok(vec![info]),
        "the refused one is not listed"
    );
}

#[actix_rt::test]
async fn sockets_of_ipv6_take_ipv4_too_and_show_it_mapped() {
    let mut test = TestApp::new().await;
    let id = create(&test, SocketProperties::default()).await;
    if test.app.udp.bind(id, "::", 0).await.is_err() {
        return support::programs::left_out("there is no IPv6");
    }
    let at = address_of(&test, id).await;
    let peer = Peer::new().await;
    peer.send(b"4", ([127, 0, 0, 1], at.port()).into()).await;
    let (data, from) = super::received(&mut test, id).await;
    assert_eq!(data, b"4");
    assert_eq!(from.ip().to_string(), "::ffff:127.0.0.1");
    // Both forms of the address reach the peer.
    let udp = &test.app.udp;
    let port = i32::from(peer.address().port());
    for to in ["127.0.0.1", "::ffff:127.0.0.1", "localhost"] {
        let query = match to {
            "localhost" => chrome_sockets::udp::DnsQueryType::Ipv4,
            _ => chrome_sockets::udp::DnsQueryType::Any,
        };
        udp.send(id, to, to, port, query).await.expect("sent");
        assert_eq!(peer.receive().await.0, to.as_bytes());
    }
    let (v6, at) = bind_to(&test, "::1").await;
    let peer = Peer::at("[::1]:0").await;
    peer.send(b"6", at).await;
    let expected = (b"6".to_vec(), peer.address());
    assert_eq!(super::received(&mut test, v6).await, expected);
}

#[actix_rt::test]
async fn udp_sockets_count_in_the_limit_of_sockets_until_they_are_closed() {
    let test = TestApp::new().await;
    let limits = AppLimits {
        sockets: Some(2),
        ..Default::default()
    };
    test.app.set_limits(limits).await.expect("set");
    let first = create(&test, SocketProperties::default()).await;
    create(&test, SocketProperties::default()).await;
    let many = Err(Error::TooManySockets);
    assert_eq!(
        test.app.udp.create(Default::default()).await.map(drop),
        many
    );
    assert_eq!(
        test.app.tcp.create(Default::default()).await.map(drop),
        many
    );
    test.app.udp.close(first).await.expect("close");
    test.create().await;
    assert_eq!(
        test.app.udp.create(Default::default()).await.map(drop),
        many
    );
}

#[actix_rt::test]
async fn ids_count_from_one_in_their_own_namespace_and_are_never_reused() {
    let test = TestApp::new().await;
    test.create().await;
    let first = create(&test, SocketProperties::default()).await;
    test.app.udp.close(first).await.expect("close");
    let second = create(&test, SocketProperties::default()).await;
    assert_eq!([first, second], [1, 2].map(UdpSocketId::new));
}
