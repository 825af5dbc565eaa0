//! A server socket with a listener in each arbiter behaves like one server socket.

use std::collections::HashSet;

use chrome_sockets::os::TokioNetwork;
use chrome_sockets::tcp_server::{AtLimit, BlockReason, Limit, Limits};
use chrome_sockets::testing::FaultyNetwork;
use chrome_sockets::{NetError, ServerSocketId, Shutdown};
use support::{ListenerEvent, block, remote_arbiter, until};
use tokio::sync::mpsc::unbounded_channel;

use super::recording_network::RecordingNetwork;
use super::*;
use crate::tcp::networks::SilentNetwork;

/// Listens in every arbiter.
pub async fn listen(test: &TestApp) -> (ServerSocketId, SocketAddr) {
    listen_at(test, "127.0.0.1").await
}

pub async fn listen_at(test: &TestApp, address: &str) -> (ServerSocketId, SocketAddr) {
    let server = &test.app.tcp_server;
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    server.set_reuse_port(id, true).await.expect("it is set");
    let listening = server.listen(id, address, 0, None).await;
    listening.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    assert!(info.reuse_port);
    (id, info.local_addr().expect("it listens"))
}

pub async fn dial_many(at: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(dial(at).await);
    }
    peers
}

pub async fn echo_all(test: &mut TestApp, peers: &mut [TcpStream]) {
    for _ in 0..peers.len() {
        test.accepted().await.do_set_paused(false);
    }
    for peer in peers {
        write(peer, b"echo").await;
        assert_eq!(read(peer, 4).await, b"echo");
    }
}

#[actix_rt::test]
async fn a_connection_stays_in_the_thread_that_accepts_it() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(3);
    let (mut test, mut received) = with_local_echo(registry).await;
    let (_, at) = listen(&test).await;
    let mut peers = dial_many(at, 60).await;
    echo_all(&mut test, &mut peers).await;
    let peers = peers
        .iter()
        .map(|peer| peer.local_addr().expect("an address"));
    let threads: HashSet<_> = peers.map(|peer| network_log.thread_of(peer)).collect();
    assert_eq!(threads.len(), 3, "the kernel spreads them");
    while let Ok(received) = received.try_recv() {
        assert!(
            threads.contains(&received.thread),
            "and they are handled there"
        );
    }
}

#[actix_rt::test]
async fn a_pause_stops_all_listeners_and_loses_no_client() {
    const PEERS: usize = 150;
    let mut test = TestApp::on(Registry::new().arbiters(3)).await;
    let (id, at) = listen(&test).await;
    let storm = actix_rt::spawn(dial_many(at, PEERS));
    let mut come = HashSet::new();
    let server = test.app.tcp_server.clone();
    for round in 0..10 {
        while come.len() < round * 10 {
            assert!(come.insert(test.accepted().await.id()));
        }
        server.set_paused(id, true).await.expect("paused");
        while let Some(received) = test.try_next() {
            let ListenerEvent::Accept(_, client) = received else {
                panic!("{received:?} is no accept");
            };
            assert!(come.insert(client.id()));
        }
        actix_rt::time::sleep(std::time::Duration::from_millis(5)).await;
        assert!(test.try_next().is_none(), "a paused socket accepts nothing");
        server.set_paused(id, false).await.expect("resumed");
    }
    while come.len() < PEERS {
        assert!(come.insert(test.accepted().await.id()));
    }
    let peers = within("the peers", storm).await.expect("the peers connect");
    test.expect_no_event().await;
    // Later clients wait.
    server.set_paused(id, true).await.expect("paused");
    let _more = dial_many(at, 70).await;
    test.expect_no_event().await;
    let info = server.get_info(id).await.expect("it exists");
    // Linux does not report the backlog of listeners that share a port.
    assert!(info.backlog.is_none_or(|waiting| waiting == 70));
    assert_eq!(info.counts.accepted, PEERS as u64);
    assert_eq!(info.blocked_by, [BlockReason::App]);
    drop(peers);
}

#[actix_rt::test]
async fn an_accept_error_of_one_listener_pauses_all_listeners_once() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let registry = Registry::with_network(network.clone()).arbiters(3);
    let (mut test, _received) = with_local_echo(registry).await;
    let (id, at) = listen(&test).await;
    let mut before = dial_many(at, 9).await;
    echo_all(&mut test, &mut before).await;
    network.inject("accept=EMFILE,times=1".parse().expect("a rule"));
    let mut peers = dial_many(at, 40).await;
    let mut come = 0;
    loop {
        match test.next().await {
            ListenerEvent::AcceptError(from, code) => {
                assert_eq!((from, code), (id, NetError::INSUFFICIENT_RESOURCES));
                break;
            }
            ListenerEvent::Accept(_, client) => {
                client.do_set_paused(false);
                come += 1;
            }
            other => panic!("expected no {other:?}"),
        }
    }
    test.expect_no_event().await;
    let server = test.app.tcp_server.clone();
    assert!(server.get_info(id).await.expect("it exists").paused);
    server.set_paused(id, false).await.expect("resumed");
    for _ in come..40 {
        test.accepted().await.do_set_paused(false);
    }
    for peer in &mut peers {
        write(peer, b"echo").await;
        assert_eq!(read(peer, 4).await, b"echo");
    }
}

#[actix_rt::test]
async fn limits_of_a_shared_port_are_exact() {
    let mut test = TestApp::on(Registry::new().arbiters(3)).await;
    let (id, at) = listen(&test).await;
    let connections = Some(Limit {
        most: 5,
        then: AtLimit::Queue,
    });
    let limits = Limits {
        connections,
        ..Limits::default()
    };
    let server = test.app.tcp_server.clone();
    server.set_limits(id, limits).await.expect("valid limits");
    let _peers = dial_many(at, 50).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(test.accepted().await);
    }
    test.expect_no_event().await;
    for come in 6..=50 {
        let client = clients.remove(0);
        client.close().await.expect("close");
        clients.push(test.accepted().await);
        let info = server.get_info(id).await.expect("it exists");
        assert_eq!(info.counts.accepted, come);
    }
}

#[actix_rt::test]
async fn a_listener_whose_arbiter_ends_moves_to_another_arbiter() {
    let (mut test, _received) = with_local_echo(Registry::new().arbiters(2)).await;
    let (sender, mut arbiters) = unbounded_channel();
    let set_up = test.app.on_each_arbiter(move |local| {
        // The other arbiter is the test's own.
        if local.index() == 1 {
            let _ = sender.send(Arbiter::current());
        }
    });
    set_up.await.expect("it runs");
    let (_, at) = listen(&test).await;
    let mut before = dial_many(at, 20).await;
    echo_all(&mut test, &mut before).await;
    let other = within("an arbiter", arbiters.recv()).await;
    other.expect("one of two results").stop();
    within("the new arbiter", arbiters.recv())
        .await
        .expect("one entry");
    let mut after = dial_many(at, 40).await;
    echo_all(&mut test, &mut after).await;
}

#[actix_rt::test]
async fn close_frees_the_port_and_resets_waiting_clients() {
    let test = TestApp::on(Registry::new().arbiters(2)).await;
    let (id, at) = listen(&test).await;
    let server = &test.app.tcp_server;
    server.set_paused(id, true).await.expect("paused");
    let waiting = dial_many(at, 40).await;
    server.close(id).await.expect("close");
    assert!(std::net::TcpListener::bind(at).is_ok(), "the port is free");
    for mut peer in waiting {
        let mut rest = Vec::new();
        let end = within("its end", peer.read_to_end(&mut rest)).await;
        end.expect_err("a reset");
    }
}

#[actix_rt::test]
async fn a_drain_closes_waiting_clients() {
    let test = TestApp::on(Registry::new().arbiters(2)).await;
    let (id, at) = listen(&test).await;
    let server = &test.app.tcp_server;
    server.set_paused(id, true).await.expect("paused");
    let _waiting = dial_many(at, 50).await;
    let drained = within("the drain", server.drain(id, support::LIMIT)).await;
    assert_eq!(drained.expect("drained").never_accepted, 50);
}

#[actix_rt::test]
async fn a_drain_counts_waiting_clients_of_a_busy_arbiter() {
    let test = TestApp::on(Registry::new().arbiters(2)).await;
    let arbiter = remote_arbiter(&test.app).await;
    let (id, at) = listen(&test).await;
    let server = &test.app.tcp_server;
    server.set_paused(id, true).await.expect("paused");
    let release = block(&arbiter).await;
    let _waiting = dial_many(at, 50).await;
    let drained = server.drain(id, support::LIMIT);
    // The backlog is closed in the meantime. The rest of the drain needs the arbiter.
    until("the port's end", || std::net::TcpListener::bind(at).is_ok()).await;
    drop(release);
    let drained = within("the drain", drained).await;
    assert_eq!(drained.expect("drained").never_accepted, 50);
}

#[actix_rt::test]
async fn reuse_port_is_refused_while_listening_and_by_networks_without_it() {
    let test = TestApp::on(Registry::new().arbiters(2)).await;
    let (id, _) = listen(&test).await;
    let server = &test.app.tcp_server;
    let late = server.set_reuse_port(id, false).await;
    assert_eq!(late, Err(NetError::SOCKET_IS_CONNECTED.into()));
    server.disconnect(id).await.expect("disconnect");
    server.set_reuse_port(id, false).await.expect("it is set");
    let info = server.get_info(id).await.expect("it exists");
    assert!(!info.reuse_port);

    for arbiters in [1, 2] {
        // A network that cannot share ports.
        let (sender, _) = unbounded_channel();
        let registry = Registry::with_network(SilentNetwork(sender)).arbiters(arbiters);
        let test = TestApp::on(registry).await;
        let server = &test.app.tcp_server;
        let created = server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        server.set_reuse_port(id, true).await.expect("it is set");
        let listening = server.listen(id, "127.0.0.1", 0, None).await;
        assert_eq!(listening, Err(NetError::NOT_IMPLEMENTED.into()));
    }
}

#[actix_rt::test]
async fn registries_with_one_arbiter_each_can_share_a_port() {
    let mut one = TestApp::at(Registry::new().start()).await;
    let mut other = TestApp::at(Registry::new().start()).await;
    let (_, at) = listen(&one).await;
    let server = &other.app.tcp_server;
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    server.set_reuse_port(id, true).await.expect("it is set");
    let listening = server.listen(id, "127.0.0.1", at.port().into(), None).await;
    listening.expect("it shares the port");
    let peers = dial_many(at, 64).await;
    let mut accepted = [0, 0];
    until("all connections", || {
        for (test, count) in [&mut one, &mut other].into_iter().zip(&mut accepted) {
            while let Some(event) = test.try_next() {
                match event {
                    ListenerEvent::Accept(_, client) => client.do_set_paused(false),
                    event => panic!("expected onAccept, not {event:?}"),
                }
                *count += 1;
            }
        }
        accepted[0] + accepted[1] == peers.len()
    })
    .await;
    assert!(accepted[0] > 0 && accepted[1] > 0, "{accepted:?}");
    // When one has closed its listener, the other accepts all.
    let ended = within("the end", one.registry.send(Shutdown)).await;
    ended.expect("it runs").expect("it ends");
    let mut peers = dial_many(at, 16).await;
    for _ in &peers {
        let client = other.accepted().await;
        client.send("hello").await.expect("an open connection");
    }
    for peer in &mut peers {
        assert_eq!(read(peer, 5).await, b"hello");
    }
}
