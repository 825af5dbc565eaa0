//! Limits and accept errors.

use std::io::ErrorKind;

use chrome_sockets::Address;
use chrome_sockets::os::TokioNetwork;
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptPolicy, AtLimit, Limit, LimitKind, LimitScope, Limits, RefusedInfo,
};
use chrome_sockets::testing::{FaultyNetwork, Rule};
use support::ListenerEvent;

use super::*;

async fn refusals(test: &TestApp) -> UnboundedReceiver<RefusedInfo> {
    let (sender, received) = unbounded_channel();
    let listener = EventSender(sender).start();
    let event = &test.app.tcp_server.on_refused;
    let added = event.add_listener(listener.recipient()).await;
    added.expect("added");
    received
}

#[actix_rt::test]
async fn a_limit_per_peer_counts_users() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let mut refusals = refusals(&test).await;
    let id = listen(&test, folder.path()).await;
    for then in [AtLimit::Close, AtLimit::Reset] {
        let limits = Limits {
            per_peer: Some(Limit { most: 1, then }),
            ..Limits::default()
        };
        test.app
            .tcp_server
            .set_limits(id, limits)
            .await
            .expect("set");
        let (client, peer) = pair(&mut test, &folder.path()).await;
        // All of this process are one user.
        let mut second = dial(&folder.path()).await;
        let refusal = within("onRefused", refusals.recv())
            .await
            .expect("an event");
        assert_eq!(refusal.limit, LimitKind::PerPeer(LimitScope::Socket));
        assert_eq!(refusal.peer, Address::Unix(UnixAddress::Unnamed));
        assert_eq!(refusal.peer_addr(), None);
        let end = within("the end", second.read(&mut [0; 1])).await;
        assert_eq!(end.expect("there is no reset"), 0, "{then:?}");
        client.close().await.expect("close");
        assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
        drop(peer);
        within("room for one more", async {
            while !test
                .app
                .tcp
                .get_sockets()
                .await
                .expect("sockets")
                .is_empty()
            {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    }
}

#[actix_rt::test]
async fn at_a_limit_of_connections_clients_wait_in_the_backlog() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let id = listen(&test, folder.path()).await;
    let limits = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Limits::default()
    };
    test.app
        .tcp_server
        .set_limits(id, limits)
        .await
        .expect("set");
    let (client, first) = pair(&mut test, &folder.path()).await;
    let mut second = dial(&folder.path()).await;
    test.expect_no_event().await;
    drop(first);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    let client = test.accepted().await;
    client.set_paused(false).await.expect("resume");
    write(&mut second, b"alive").await;
    assert_eq!(test.received(client.id(), 5).await, b"alive");
}

#[actix_rt::test]
async fn after_an_accept_error_the_socket_recovers_by_its_policy() {
    let folder = Folder::new();
    let network = FaultyNetwork::new(TokioNetwork, 1);
    let mut test = TestApp::with_network(network.clone()).await;
    let id = listen(&test, folder.path()).await;
    // By default it pauses.
    let rule: Rule = "accept=EMFILE,times=1".parse().expect("a rule");
    network.inject(rule.clone());
    let peer = dial(&folder.path()).await;
    match test.next().await {
        ListenerEvent::AcceptError(socket, error) => {
            assert_eq!((socket, error), (id, NetError::INSUFFICIENT_RESOURCES));
        }
        other => panic!("expected an accept error, not {other:?}"),
    }
    let server = &test.app.tcp_server;
    server.set_paused(id, false).await.expect("resume");
    test.accepted().await;
    drop(peer);

    let policy = AcceptPolicy {
        resources: AcceptAction::Shed,
        ..AcceptPolicy::default()
    };
    let server = &test.app.tcp_server;
    server.set_accept_policy(id, policy).await.expect("set");
    network.inject(rule);
    let mut shed = dial(&folder.path()).await;
    let end = within("the end", shed.read(&mut [0; 1])).await;
    match end {
        Ok(length) => assert_eq!(length, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    while !matches!(test.next().await, ListenerEvent::AcceptError(..)) {}
    expect_service(&mut test, &folder.path()).await;
}
