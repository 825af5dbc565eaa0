//! Persistent sockets move to the next process, with what they have joined.

use chrome_sockets::handover::{Inheritance, Successor, hand_over};
use chrome_sockets::udp::{DnsQueryType, SocketProperties};
use chrome_sockets::{Error, Registry, UdpSocketId};
use support::{TestApp, within};

use super::{Peer, address_of, bind_to, bound, create, expect_alive, received};
use crate::handover::hostile_records::{expect_refused, frame, send};
use crate::handover::{expect_handover, socket_pair};

fn persistent(name: &str) -> SocketProperties {
    SocketProperties {
        persistent: Some(true),
        name: Some(name.into()),
        buffer_size: Some(9000),
    }
}

#[actix_rt::test]
async fn a_socket_moves_with_its_port_its_properties_its_groups_and_its_datagrams() {
    let old = TestApp::new().await;
    let mut new = TestApp::on(Registry::new().arbiters(2)).await;
    let udp = &old.app.udp;
    let (id, at) = bind_to(&old, "0.0.0.0").await;
    udp.update(id, persistent("moves")).await.expect("update");
    let joined = udp.join_group(id, "224.0.0.251").await.is_ok();
    udp.set_broadcast(id, true).await.expect("it is bound");
    let unbound = create(&old, persistent("unbound")).await;
    let ttl = udp.set_multicast_time_to_live(unbound, 9).await;
    ttl.expect("it is not bound");
    let (stays, _) = bound(&old).await;
    // A paused socket's datagrams stay in the kernel.
    udp.set_paused(id, true).await.expect("paused");
    let peer = Peer::new().await;
    let to = ([127, 0, 0, 1], at.port()).into();
    peer.send(b"before", to).await;
    let receipt = expect_handover(&old, &new).await;
    let app = old.app.id().clone();
    assert_eq!(receipt.udp_sockets, [(app.clone(), id), (app, unbound)]);
    assert_eq!(receipt.not_transferred, []);
    peer.send(b"after", to).await;

    let info = new.app.udp.get_info(id).await.expect("it has moved");
    assert_eq!(info.local_addr(), Some(at));
    assert_eq!(
        (info.name.as_deref(), info.buffer_size),
        (Some("moves"), Some(9000))
    );
    assert!(info.persistent && info.paused);
    let groups = new.app.udp.get_joined_groups(id).await.expect("it exists");
    assert_eq!(groups.len(), usize::from(joined));
    new.app.udp.set_paused(id, false).await.expect("resumed");
    assert_eq!(received(&mut new, id).await.0, b"before");
    assert_eq!(received(&mut new, id).await.0, b"after");
    if joined {
        let left = new.app.udp.leave_group(id, "224.0.0.251").await;
        left.expect("it was a member");
    }
    let port = peer.address().port().into();
    let query = DnsQueryType::Any;
    let sent = new.app.udp.send(id, "all", "127.255.255.255", port, query);
    let denied = sent.await.is_err();
    assert!(!denied, "broadcasts are still on");
    let bound_there = new.app.udp.bind(unbound, "127.0.0.1", 0).await;
    bound_there.expect("bind");
    let descriptor = support::descriptors::find_datagram(address_of(&new, unbound).await);
    assert_eq!(descriptor.multicast_ttl_v4().ok(), Some(9));
    expect_alive(&mut new, id).await;

    // The old process has neither of them, and keeps the other one.
    assert_eq!(udp.get_info(id).await.map(drop), Err(Error::SocketNotFound));
    let left = udp.get_sockets().await.expect("it runs");
    assert_eq!(
        left.iter().map(|it| it.socket_id).collect::<Vec<_>>(),
        [stays]
    );
    // No id is allocated twice.
    let next = create(&new, SocketProperties::default()).await;
    assert_eq!(next, UdpSocketId::new(stays.get() + 1));
}

#[actix_rt::test]
async fn a_handover_that_fails_leaves_the_socket_with_its_calls_and_its_datagrams() {
    let mut old = TestApp::new().await;
    let (id, at) = bound(&old).await;
    old.app
        .udp
        .update(id, persistent("stays"))
        .await
        .expect("update");
    let new = TestApp::new().await;
    // The number is in use there.
    create(&new, SocketProperties::default()).await;
    let peer = Peer::new().await;
    for _ in 0..3 {
        let (here, there) = socket_pair();
        let outgoing = hand_over(&old.registry, Successor::from_socket(here));
        let incoming = Inheritance::from_socket(there).adopt(&new.registry);
        let during = async {
            peer.send(b"during", at).await;
            let socket = old.app.udp.socket(id).await.expect("it exists");
            let sent = socket.send_to("out", peer.address()).await;
            sent.map(drop)
        };
        let all = futures::future::join3(outgoing, incoming, during);
        let (outgoing, incoming, during) = within("the handover", all).await;
        assert!(outgoing.is_err() && incoming.is_err());
        assert_eq!(during, Ok(()));
        assert_eq!(received(&mut old, id).await.0, b"during");
        assert_eq!(peer.receive().await.0, b"out");
        expect_alive(&mut old, id).await;
    }
}

#[actix_rt::test]
async fn calls_during_a_handover_answer_that_the_socket_has_gone() {
    let old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (id, at) = bound(&old).await;
    old.app
        .udp
        .update(id, persistent("moves"))
        .await
        .expect("update");
    let socket = old.app.udp.socket(id).await.expect("it exists");
    let (here, there) = socket_pair();
    let outgoing = hand_over(&old.registry, Successor::from_socket(here));
    let incoming = Inheritance::from_socket(there).adopt(&new.registry);
    // What is sent to the socket itself fits into the OS's buffer: it must not drop any.
    let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let elsewhere = elsewhere.local_addr().expect("an address");
    let sends = async {
        let mut sent = 0;
        loop {
            let to = if sent < 50 { at } else { elsewhere };
            match socket.send_to("x", to).await {
                Ok(_) => sent += 1,
                Err(error) => return (sent.min(50), error),
            }
            actix_rt::task::yield_now().await;
        }
    };
    let all = futures::future::join3(outgoing, incoming, sends);
    let (outgoing, incoming, (sent, error)) = within("the handover", all).await;
    outgoing.expect("handed over");
    incoming.expect("adopted");
    assert_eq!(error, Error::SocketNotFound);
    // Each was raised before the handover, or waited in the kernel.
    let mut old = old;
    let mut raised = 0;
    while let Some(_event) = old.try_next() {
        raised += 1;
    }
    for _ in raised..sent {
        assert_eq!(received(&mut new, id).await.0, b"x");
    }
    expect_alive(&mut new, id).await;
}

/// The records of a handover of UDP sockets, each as its fields beside the first ones.
fn records(sockets: &[&str]) -> Vec<u8> {
    let count = sockets.len();
    let inventory = format!(
        r#"{{"Inventory":{{"protocol":"chrome-sockets handover","version":1,"servers":0,"clients":0,"udp_sockets":{count},"last_server":9,"last_client":9,"last_udp":9}}}}"#
    );
    let mut records = frame(0, 0, &inventory);
    for fields in sockets {
        records.extend(record(0, 0, fields));
    }
    records
}

fn record(descriptors: usize, data: usize, fields: &str) -> Vec<u8> {
    let record = format!(
        r#"{{"Udp":{{"app":"test","name":null,"buffer_size":null,"paused":false,"suspended":false,{fields}}}}}"#
    );
    frame(descriptors, data, &record)
}

#[actix_rt::test]
async fn records_that_no_socket_can_have_are_refused_and_nothing_of_them_comes() {
    use std::io::Write;
    use std::os::fd::AsFd;

    let mut test = TestApp::new().await;
    let name = format!(r#""id":1,"name":"{}""#, "x".repeat(5000));
    let many: Vec<_> = (0..1025)
        .map(|at| format!("\"224.1.{}.{}\"", at / 256, at % 256))
        .collect();
    let many = format!(r#""id":1,"groups":[{}]"#, many.join(","));
    let too_high = format!(r#""id":{}"#, (1_u64 << 53) + 1);
    for (bytes, reason) in [
        (records(&[r#""id":1"#, r#""id":1"#]), "occurs twice"),
        (records(&[&too_high]), "above 2^53"),
        (records(&[&name]), "duplicate field"),
        (records(&[r#""id":1,"groups":["10.0.0.1"]"#]), "no groups"),
        (
            records(&[r#""id":1,"groups":["224.0.0.1","224.0.0.1"]"#]),
            "no groups",
        ),
        (records(&[&many]), "no groups"),
        (
            records(&[r#""id":1,"time_to_live":256"#]),
            "not a valid handover",
        ),
        (records(&[r#""id":1,"more":1"#]), "unknown field"),
        (records(&[""]), "not a valid handover"),
        (
            [records(&[]), record(0, 0, r#""id":1"#)].concat(),
            "unexpected record Udp",
        ),
    ] {
        let refused = expect_refused(&test, |old| {
            let _ = (&mut &*old).write_all(&bytes);
        });
        let error = refused.await;
        assert!(error.contains(reason), "{reason}: {error}");
        assert_eq!(test.app.udp.get_sockets().await, Ok(Vec::new()));
    }
    // Descriptors of another kind.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let unbound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
    let unbound = unbound.expect("a socket");
    let unix = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    for (descriptor, reason) in [
        (listener.as_fd(), "not a UDP socket"),
        (unix.as_fd(), "not a UDP socket"),
        (unbound.as_fd(), "not a bound UDP socket"),
    ] {
        let mut bytes = records(&[]);
        let inventory = String::from_utf8(bytes.split_off(4)).expect("text");
        let inventory = inventory.replace("\"udp_sockets\":0", "\"udp_sockets\":1");
        bytes.extend(inventory.into_bytes());
        let refused = expect_refused(&test, |old| {
            (&mut &*old).write_all(&bytes).expect("written");
            send(old, &record(1, 0, r#""id":1"#), &[descriptor]);
        });
        let error = refused.await;
        assert!(error.contains(reason), "{reason}: {error}");
        assert_eq!(test.app.udp.get_sockets().await, Ok(Vec::new()));
    }
    // The same ids are free.
    let (id, _) = bound(&test).await;
    assert_eq!(id, UdpSocketId::new(1));
    expect_alive(&mut test, id).await;
}
