//! Limits with proxies: those per peer count the real client.

use std::time::Duration;

use chrome_sockets::proxy_protocol::{ProxyHeader, ProxyProtocol, Version};
use chrome_sockets::tcp_server::{AtLimit, Limit, LimitKind, LimitScope, Limits};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{AppLimits, NetError, Registry};

use super::{Fixture, failed, trusting};
use crate::policy::limits::{add_refusal_listener, next_refusal};

const fn most(most: usize, then: AtLimit) -> Option<Limit> {
    Some(Limit { most, then })
}

/// A proxy's connection for a client with this last byte.
fn connect(network: &ScriptedNetwork, fixture: &Fixture, client: u8) -> Peer {
    let proxy = network.client(fixture.at).expect("it listens");
    let ends = [[203, 0, 113, client], [198, 51, 100, 1]];
    let [source, destination] = ends.map(|ip| (ip, 80).into());
    let header = ProxyHeader::new(Version::V2, source, destination);
    proxy.send(header.to_bytes().expect("it is short"));
    proxy
}

/// Lets everything happen that takes no time.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn a_limit_per_peer_counts_clients_and_not_their_proxy() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    let mut refusals = add_refusal_listener(&fixture.test).await;
    let server = fixture.test.app.tcp_server.clone();
    for then in [AtLimit::Close, AtLimit::Reset] {
        let limits = Limits {
            per_peer: most(2, then),
            ..Limits::default()
        };
        server.set_limits(fixture.id, limits).await.expect("set");
        let mut open = Vec::new();
        for client in [1, 2, 3, 1, 2, 3] {
            open.push(connect(&network, &fixture, client));
            let info = fixture.accepted().await;
            let peer = info.peer().to_string();
            assert_eq!(peer, format!("203.0.113.{client}:80"));
            open[0].addr();
            fixture.test.accepted().await;
        }
        let third = connect(&network, &fixture, 2);
        let info = next_refusal(&mut refusals).await;
        assert_eq!(info.peer.to_string(), "203.0.113.2:80");
        assert_eq!(info.limit, LimitKind::PerPeer(LimitScope::Socket));
        settle().await;
        assert_eq!(third.is_reset(), then == AtLimit::Reset);
        assert!(third.is_closed());
        // The end of a connection of this client makes room for another of it.
        for client in fixture.test.app.tcp.get_sockets().await.expect("a list") {
            if client
                .peer_addr()
                .is_some_and(|it| it.ip().to_string() == "203.0.113.2")
            {
                fixture
                    .test
                    .app
                    .tcp
                    .close(client.socket_id)
                    .await
                    .expect("it exists");
            }
        }
        drop(open);
        settle().await;
        let _again = connect(&network, &fixture, 2);
        fixture.accepted().await;
        fixture.test.accepted().await;
        for client in fixture.test.app.tcp.get_sockets().await.expect("a list") {
            fixture
                .test
                .app
                .tcp
                .close(client.socket_id)
                .await
                .expect("it exists");
        }
        settle().await;
    }
    let counts = fixture.info().await.counts;
    assert_eq!((counts.refused, counts.delivered), (2, 14));
}

#[actix_rt::test]
async fn the_limits_per_peer_of_app_and_registry_count_clients_too() {
    let network = ScriptedNetwork::new();
    let per_peer = |count| Limits {
        per_peer: most(count, AtLimit::Close),
        ..Limits::default()
    };
    let registry = Registry::with_network(network.clone())
        .limits(per_peer(2))
        .expect("valid limits");
    let mut fixture = Fixture::on(registry, trusting(&["127.0.0.0/8"])).await;
    let mut refusals = add_refusal_listener(&fixture.test).await;
    let mut open = Vec::new();
    for (client, limit) in [
        (1, None),
        (2, None),
        (1, None),
        (1, Some(LimitScope::Registry)),
    ] {
        open.push(connect(&network, &fixture, client));
        match limit {
            None => drop(fixture.accepted().await),
            Some(scope) => {
                let info = next_refusal(&mut refusals).await;
                assert_eq!(info.limit, LimitKind::PerPeer(scope));
            }
        }
    }
    let limits = AppLimits {
        accepted: per_peer(1),
        ..AppLimits::default()
    };
    fixture.test.app.set_limits(limits).await.expect("set");
    // Those from before the limit was set are not counted by it.
    open.push(connect(&network, &fixture, 3));
    fixture.accepted().await;
    open.push(connect(&network, &fixture, 3));
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.limit, LimitKind::PerPeer(LimitScope::App));
}

#[actix_rt::test]
async fn a_check_by_the_proxy_itself_counts_for_the_proxy() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    let mut refusals = add_refusal_listener(&fixture.test).await;
    let limits = Limits {
        per_peer: most(1, AtLimit::Close),
        ..Limits::default()
    };
    let set = fixture.test.app.tcp_server.set_limits(fixture.id, limits);
    set.await.expect("set");
    let local = |fixture: &Fixture| {
        let proxy = network.client(fixture.at).expect("it listens");
        proxy.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        proxy
    };
    let first = local(&fixture);
    let info = fixture.accepted().await;
    assert_eq!(info.peer().socket_addr(), Some(first.addr()));
    let second = local(&fixture);
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.peer, second.addr());
    let _client = connect(&network, &fixture, 1);
    fixture.accepted().await;
}

#[actix_rt::test]
async fn connections_that_owe_their_header_count_for_the_other_limits() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    let limits = Limits {
        connections: most(2, AtLimit::Queue),
        ..Limits::default()
    };
    let set = fixture.test.app.tcp_server.set_limits(fixture.id, limits);
    set.await.expect("set");
    let first = network.client(fixture.at).expect("it listens");
    let _second = network.client(fixture.at).expect("it listens");
    let _third = connect(&network, &fixture, 3);
    settle().await;
    assert_eq!(network.waiting(fixture.at), 1);
    first.shutdown();
    let info = fixture.error().await;
    assert_eq!(info.error, failed(NetError::CONNECTION_CLOSED));
    let info = fixture.accepted().await;
    assert_eq!(info.peer().to_string(), "203.0.113.3:80");
}

#[actix_rt::test]
async fn at_the_limit_of_pending_headers_the_oldest_is_closed_after_a_second() {
    let network = ScriptedNetwork::new();
    let settings = ProxyProtocol {
        max_pending: 2,
        timeout: Duration::from_secs(10),
        ..trusting(&["127.0.0.0/8"])
    };
    let registry = Registry::with_network(network.clone());
    let mut fixture = Fixture::on(registry, settings).await;
    tokio::time::pause();
    let silent = [(); 4].map(|()| network.client(fixture.at).expect("it listens"));
    settle().await;
    // One is accepted and waits; the other waits in the backlog.
    assert_eq!(network.waiting(fixture.at), 1);
    tokio::time::advance(Duration::from_millis(1001)).await;
    for peer in &silent[..2] {
        let info = fixture.error().await;
        assert_eq!(info.error, failed(NetError::INSUFFICIENT_RESOURCES));
        assert_eq!(info.peer, peer.addr());
    }
    settle().await;
    assert!(silent[0].is_closed() && !silent[2].is_closed());
    assert_eq!(network.waiting(fixture.at), 0);
    // A header makes room at once.
    let last = connect(&network, &fixture, 9);
    settle().await;
    silent[2].send("PROXY UNKNOWN\r\n");
    let info = fixture.accepted().await;
    assert_eq!(info.peer().socket_addr(), Some(silent[2].addr()));
    let info = fixture.accepted().await;
    assert_eq!(info.peer().to_string(), "203.0.113.9:80");
    drop(last);
}

#[actix_rt::test]
async fn a_flood_of_garbage_is_counted_and_changes_nothing() {
    const FLOOD: u64 = 1000;
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    let mut counted = 0;
    for _ in 0..FLOOD {
        let peer = network.client(fixture.at).expect("it listens");
        peer.send("GET / HTTP/1.1\r\n\r\n");
        settle().await;
        while let Ok(info) = fixture.errors.try_recv() {
            counted += 1 + info.missed;
        }
    }
    while counted < FLOOD {
        counted += 1 + fixture.error().await.missed;
    }
    assert_eq!(counted, FLOOD);
    assert_eq!(fixture.info().await.counts.failed, FLOOD);
    let _client = connect(&network, &fixture, 1);
    fixture.accepted().await;
}
