//! Multicast groups and broadcasts.

use std::net::Ipv4Addr;

use chrome_sockets::udp::{DnsQueryType, SocketProperties};
use chrome_sockets::{InvalidArgument, NetError};
use support::TestApp;
use support::programs::left_out;

use super::{Peer, bind_to, create, received};

const GROUP: &str = "239.255.77.77";

#[actix_rt::test]
async fn a_member_of_a_group_receives_what_is_sent_to_it_until_it_leaves() {
    let mut test = TestApp::new().await;
    let (id, at) = bind_to(&test, "0.0.0.0").await;
    let udp = test.app.udp.clone();
    if udp.join_group(id, GROUP).await.is_err() {
        return left_out("the machine has no interface for groups");
    }
    let twice = udp.join_group(id, GROUP).await;
    assert_eq!(twice, Err(NetError::ADDRESS_INVALID.into()));
    udp.join_group(id, "224.0.0.251").await.expect("joined");
    let groups = udp.get_joined_groups(id).await.expect("it exists");
    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
    assert_eq!(groups, [GROUP, "224.0.0.251"]);
    // The socket itself sends through the interface at which it has joined.
    let to_group = (GROUP.parse::<Ipv4Addr>().expect("an address"), at.port());
    let socket = udp.socket(id).await.expect("it exists");
    if socket.send_to("self", to_group.into()).await.is_ok() {
        assert_eq!(received(&mut test, id).await.0, b"self");
    }
    udp.leave_group(id, GROUP).await.expect("left");
    let gone = udp.leave_group(id, GROUP).await;
    assert_eq!(gone, Err(NetError::ADDRESS_INVALID.into()));
    let groups = udp.get_joined_groups(id).await.expect("it exists");
    assert_eq!(groups.len(), 1);
}

#[actix_rt::test]
async fn what_is_no_group_or_of_another_family_is_refused() {
    let test = TestApp::new().await;
    let udp = &test.app.udp;
    let unbound = create(&test, SocketProperties::default()).await;
    let joined = udp.join_group(unbound, GROUP).await;
    assert_eq!(joined, Err(NetError::UNEXPECTED.into()));
    let left = udp.leave_group(unbound, GROUP).await;
    assert_eq!(left, Err(NetError::ADDRESS_INVALID.into()));
    let (id, _) = bind_to(&test, "0.0.0.0").await;
    for (group, error) in [
        ("", NetError::ADDRESS_INVALID.into()),
        ("nonsense", NetError::ADDRESS_INVALID.into()),
        ("ff02::fb", NetError::ADDRESS_INVALID.into()),
        ("10.0.0.1", InvalidArgument::NotMulticast.into()),
        ("255.255.255.255", InvalidArgument::NotMulticast.into()),
    ] {
        assert_eq!(udp.join_group(id, group).await, Err(error), "{group:?}");
    }
    assert_eq!(udp.get_joined_groups(id).await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn multicast_options_are_set_before_bind_only() {
    let test = TestApp::new().await;
    let udp = &test.app.udp;
    let id = create(&test, SocketProperties::default()).await;
    for ttl in [-1, 256, i32::MAX] {
        let set = udp.set_multicast_time_to_live(id, ttl).await;
        assert_eq!(
            set,
            Err(InvalidArgument::TimeToLiveOutOfRange.into()),
            "{ttl}"
        );
    }
    for ttl in [0, 255, 7] {
        let set = udp.set_multicast_time_to_live(id, ttl).await;
        set.expect("it is in the range");
    }
    let set = udp.set_multicast_loopback_mode(id, false).await;
    set.expect("it is not bound");
    udp.bind(id, "0.0.0.0", 0).await.expect("bind");
    let late = Err(NetError::SOCKET_IS_CONNECTED.into());
    assert_eq!(udp.set_multicast_time_to_live(id, 300).await, late);
    assert_eq!(udp.set_multicast_loopback_mode(id, true).await, late);
    // The OS has them.
    let at = super::address_of(&test, id).await;
    let socket = support::descriptors::find_datagram(at);
    assert_eq!(socket.multicast_ttl_v4().ok(), Some(7));
    assert_eq!(socket.multicast_loop_v4().ok(), Some(false));
}

#[actix_rt::test]
async fn a_broadcast_needs_set_broadcast_which_needs_bind() {
    let test = TestApp::new().await;
    let udp = &test.app.udp;
    let id = create(&test, SocketProperties::default()).await;
    let unbound = udp.set_broadcast(id, true).await;
    assert_eq!(unbound, Err(NetError::SOCKET_NOT_CONNECTED.into()));
    udp.bind(id, "0.0.0.0", 0).await.expect("bind");
    let peer = Peer::at("0.0.0.0:0").await;
    let port = peer.address().port().into();
    let to = "127.255.255.255";
    let denied = udp.send(id, "x", to, port, DnsQueryType::Any).await;
    assert_eq!(denied, Err(NetError::ACCESS_DENIED.into()));
    udp.set_broadcast(id, true).await.expect("it is bound");
    let sent = udp.send(id, "all", to, port, DnsQueryType::Any).await;
    sent.expect("broadcasts are on");
    assert_eq!(peer.receive().await.0, b"all");
    udp.set_broadcast(id, false).await.expect("it is bound");
    let denied = udp.send(id, "x", to, port, DnsQueryType::Any).await;
    assert_eq!(denied, Err(NetError::ACCESS_DENIED.into()));
}
