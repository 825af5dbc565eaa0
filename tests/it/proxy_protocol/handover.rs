//! Settings and connections go to the next process with their client and proxy.

use std::io::Read;

use chrome_sockets::proxy_protocol::{OtherPeers, ProxyProtocol, tlv};
use chrome_sockets::tcp_server::{AtLimit, Limit, LimitKind, LimitScope, Limits, SocketProperties};
use chrome_sockets::{NetError, Registry, tcp};
use support::{TestApp, within};

use super::{Fixture, dial, failed, listen_to, trusting, write};
use crate::handover::{begin_handover, expect_handover, socket_pair};
use crate::policy::limits::{add_refusal_listener, next_refusal};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n";
const CLIENT: &str = "192.0.2.1:56789";

impl Fixture {
    async fn make_persistent(&self) {
        let persistent = SocketProperties {
            persistent: Some(true),
            ..Default::default()
        };
        let updated = self.test.app.tcp_server.update(self.id, persistent);
        updated.await.expect("it exists");
    }
}

#[actix_rt::test]
async fn the_settings_and_the_address_of_a_client_go_to_the_next_process() {
    let settings = ProxyProtocol {
        others: OtherPeers::Refuse,
        timeout: std::time::Duration::from_millis(2500),
        max_pending: 77,
        ..trusting(&["127.0.0.0/8", "2001:db8::/32"])
    };
    let mut old = Fixture::on(Registry::new(), settings.clone()).await;
    old.make_persistent().await;
    let mut proxy = dial(old.at).await;
    write(&mut proxy, HEADER).await;
    let client = old.accepted().await.client().clone();
    let persistent = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");
    let mut new = TestApp::new().await;
    let (accepts, errors) = listen_to(&new).await;
    let receipt = expect_handover(&old.test, &new).await;
    assert_eq!(receipt.clients.len(), 1);
    let info = new.app.tcp_server.get_info(old.id).await;
    assert_eq!(info.expect("it exists").proxy_protocol, Some(settings));
    let info = new.app.tcp.get_info(client.id()).await.expect("it exists");
    assert_eq!(info.peer_addr().expect("connected").to_string(), CLIENT);
    write(&mut proxy, b"more").await;
    let resumed = new.app.tcp.set_paused(client.id(), false);
    resumed.await.expect("it is open");
    assert_eq!(new.received(client.id(), 4).await, b"more");
    let mut fixture = Fixture {
        test: new,
        id: old.id,
        at: old.at,
        accepts,
        errors,
    };
    fixture.assert_serves().await;
}

#[actix_rt::test]
async fn a_client_that_no_listener_has_heard_of_keeps_its_proxy_and_its_place_in_limits() {
    let old = Fixture::new().await;
    old.make_persistent().await;
    let limits = Limits {
        per_peer: Some(Limit {
            most: 1,
            then: AtLimit::Close,
        }),
        ..Limits::default()
    };
    let server = &old.test.app.tcp_server;
    server.set_limits(old.id, limits).await.expect("set");
    // Its header is complete when it is accepted; or a part of it is read, and the rest arrives
    // while the socket is paused.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x01\xc6\x33\x64\x01\xdd\xd5\x01\xbb\x05\0\x02id";
    let mut proxy = dial(old.at).await;
    write(&mut proxy, &header[..20]).await;
    old.test
        .app
        .tcp_server
        .get_info(old.id)
        .await
        .expect("it exists");
    let accepted = async {
        while old.info().await.counts.accepted == 0 {
            actix_rt::task::yield_now().await;
        }
    };
    within("the accept", accepted).await;
    server.set_paused(old.id, true).await.expect("paused");
    write(&mut proxy, &[&header[20..], b"data"].concat()).await;
    let new = TestApp::new().await;
    let mut refusals = add_refusal_listener(&new).await;
    let (accepts, errors) = listen_to(&new).await;
    let receipt = expect_handover(&old.test, &new).await;
    assert_eq!(receipt.not_transferred, []);
    let server = new.app.tcp_server.clone();
    let mut fixture = Fixture {
        test: new,
        id: old.id,
        at: old.at,
        accepts,
        errors,
    };
    server.set_paused(old.id, false).await.expect("resumed");
    let info = fixture.accepted().await;
    assert_eq!(info.peer().to_string(), CLIENT);
    let proxy_peer = info.proxy_peer().expect("it has one");
    assert_eq!(proxy_peer.address.socket_addr(), proxy.local_addr().ok());
    assert_eq!(proxy_peer.header.tlv(tlv::UNIQUE_ID), Some(&b"id"[..]));
    fixture.assert_receives(&info, b"data").await;
    let mut second = dial(old.at).await;
    write(&mut second, HEADER).await;
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.limit, LimitKind::PerPeer(LimitScope::Socket));
    assert_eq!(info.peer.to_string(), CLIENT);
}

#[actix_rt::test]
async fn a_handover_waits_for_a_header_that_is_begun() {
    let mut old = Fixture::new().await;
    old.make_persistent().await;
    let mut proxy = dial(old.at).await;
    write(&mut proxy, &HEADER[..20]).await;
    old.assert_serves().await;
    let new = TestApp::new().await;
    let (mut accepts, _errors) = listen_to(&new).await;
    let (here, there) = socket_pair();
    let outgoing = begin_handover(&old.test, here);
    let registry = new.registry.clone();
    let incoming = actix_rt::spawn(async move {
        let left = chrome_sockets::handover::Inheritance::from_socket(there);
        left.adopt(&registry).await
    });
    old.test.expect_no_event().await;
    assert!(!outgoing.is_finished());
    write(&mut proxy, &HEADER[20..]).await;
    let outgoing = within("the handover", outgoing).await.expect("it runs");
    outgoing.expect("the outgoing side succeeds");
    let incoming = within("the takeover", incoming).await.expect("it runs");
    incoming.expect("the incoming side succeeds");
    // Its client goes along: no listener of the old process hears of it.
    let info = within("onAccept", accepts.recv()).await;
    let info = info.expect("the listener runs");
    assert_eq!(info.peer().to_string(), CLIENT);
    assert!(old.accepts.try_recv().is_err());
}

#[actix_rt::test]
async fn a_header_that_never_comes_does_not_stop_a_handover() {
    let mut old = Fixture::new().await;
    old.make_persistent().await;
    let silent = dial(old.at).await;
    old.assert_serves().await;
    let new = TestApp::new().await;
    let (accepts, errors) = listen_to(&new).await;
    expect_handover(&old.test, &new).await;
    let info = old.errors.try_recv();
    assert!(info.is_err_and(|_| true) || old.errors.is_empty());
    let mut silent = silent.into_std().expect("a socket");
    silent.set_nonblocking(false).expect("the option is set");
    let limit = Some(support::LIMIT);
    silent.set_read_timeout(limit).expect("the option is set");
    let end = tokio::task::spawn_blocking(move || silent.read(&mut [0]));
    let end = within("the end", end).await.expect("no panic");
    assert!(matches!(end, Ok(0)) || end.is_err());
    let mut fixture = Fixture {
        test: new,
        id: old.id,
        at: old.at,
        accepts,
        errors,
    };
    fixture.assert_serves().await;
    let _ = failed(NetError::TIMED_OUT);
}
