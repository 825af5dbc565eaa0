//! Connections that a shared port accepts ahead count as backlog, and errors of its listeners
//! are reported once.

use chrome_sockets::os::TokioNetwork;
use chrome_sockets::tcp_server::{AcceptAction, AcceptPolicy};
use chrome_sockets::testing::FaultyNetwork;
use chrome_sockets::{NetError, ServerSocketId};
use support::{ListenerEvent, QUIET};

use super::recording_network::RecordingNetwork;
use super::shared_port::{dial_many, echo_all, listen};
use super::*;

/// Connections that one arbiter accepts ahead.
const AHEAD: usize = 16;

async fn resume(test: &TestApp, id: ServerSocketId) {
    let server = &test.app.tcp_server;
    server.set_paused(id, false).await.expect("resumed");
}

/// Expects `onAcceptError` with "no descriptor left".
async fn expect_accept_error(test: &mut TestApp, id: ServerSocketId) {
    match test.next().await {
        ListenerEvent::AcceptError(from, code) => {
            assert_eq!((from, code), (id, NetError::INSUFFICIENT_RESOURCES));
        }
        other => panic!("expected onAcceptError, not {other:?}"),
    }
}

/// A paused server socket with this many clients, of which the arbiters have accepted their
/// maximum ahead.
async fn paused_with(
    test: &TestApp,
    network_log: &RecordingNetwork,
    peers: usize,
    accepted: usize,
) -> (ServerSocketId, Vec<TcpStream>) {
    let (id, at) = listen(test).await;
    let server = &test.app.tcp_server;
    server.set_paused(id, true).await.expect("paused");
    let peers = dial_many(at, peers).await;
    within("the connections accepted ahead", async {
        while network_log.accepted() < accepted {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    (id, peers)
}

#[actix_rt::test]
async fn each_arbiter_accepts_sixteen_ahead_and_no_more() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(2);
    let mut test = TestApp::on(registry).await;
    // More than fit the kernel's backlog without sixteen for each arbiter.
    let (id, peers) = paused_with(&test, &network_log, 120, 2 * AHEAD).await;
    test.expect_no_event().await;
    assert_eq!(network_log.accepted(), 2 * AHEAD);
    resume(&test, id).await;
    for _ in &peers {
        test.accepted().await;
    }
}

#[actix_rt::test]
async fn arbiters_accept_in_turn() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(2);
    let mut test = TestApp::on(registry).await;
    let (id, _peers) = paused_with(&test, &network_log, 120, 2 * AHEAD).await;
    resume(&test, id).await;
    let mut threads = Vec::new();
    for _ in 0..2 * 4 {
        let client = test.accepted().await;
        let info = client.get_info().await.expect("it is open");
        threads.push(network_log.thread_of(info.peer_addr().expect("it is connected")));
    }
    assert_ne!(threads[0], threads[1]);
    for pair in threads.chunks(2) {
        assert_eq!(pair, &threads[..2], "the threads accept in turn");
    }
}

#[actix_rt::test]
async fn the_reported_backlog_includes_connections_accepted_ahead() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(2);
    let test = TestApp::on(registry).await;
    let (id, _peers) = paused_with(&test, &network_log, 10, 10).await;
    let info = test.app.tcp_server.get_info(id).await;
    assert_eq!(info.expect("it exists").backlog, Some(10));
}

#[actix_rt::test]
async fn an_accept_error_of_all_listeners_is_reported_once_and_delays_no_connection() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let registry = Registry::with_network(network.clone()).arbiters(3);
    let (mut test, _received) = with_local_echo(registry).await;
    let (id, at) = listen(&test).await;
    let mut before = dial_many(at, 9).await;
    echo_all(&mut test, &mut before).await;
    network.inject("accept=EMFILE".parse().expect("a rule"));
    let mut waiting = dial_many(at, 60).await;
    expect_accept_error(&mut test, id).await;
    test.expect_no_event().await;
    for peer in &mut before {
        write(peer, b"still").await;
        assert_eq!(read(peer, 5).await, b"still");
    }
    network.clear();
    resume(&test, id).await;
    echo_all(&mut test, &mut waiting).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_accept_error_while_paused_is_reported_after_resume_and_delays_no_connection() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let registry = Registry::with_network(network.clone()).arbiters(2);
    let (mut test, _received) = with_local_echo(registry).await;
    let (id, at) = listen(&test).await;
    let mut before = dial_many(at, 9).await;
    echo_all(&mut test, &mut before).await;
    let server = test.app.tcp_server.clone();
    server.set_paused(id, true).await.expect("paused");
    network.inject("accept=EMFILE".parse().expect("a rule"));
    let mut waiting = dial_many(at, 40).await;
    test.expect_no_event().await;
    for peer in &mut before {
        write(peer, b"still").await;
        assert_eq!(read(peer, 5).await, b"still");
    }
    resume(&test, id).await;
    expect_accept_error(&mut test, id).await;
    network.clear();
    resume(&test, id).await;
    echo_all(&mut test, &mut waiting).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_listener_that_cannot_register_in_its_arbiter_is_reported() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(2);
    let (mut test, _received) = with_local_echo(registry).await;
    network_log.refuse_reregistering(true);
    let (id, at) = listen(&test).await;
    expect_accept_error(&mut test, id).await;
    network_log.refuse_reregistering(false);
    resume(&test, id).await;
    let mut peers = dial_many(at, 20).await;
    echo_all(&mut test, &mut peers).await;
}

#[actix_rt::test]
async fn arbiters_that_end_leave_no_listener_open() {
    let (mut test, _received) = with_local_echo(Registry::new().arbiters(3)).await;
    let (sender, mut arbiters) = unbounded_channel();
    let set_up = test.app.on_each_arbiter(move |local| {
        // Arbiter 0 is the test's own.
        if local.index() > 0 {
            let _ = sender.send(Arbiter::current());
        }
    });
    set_up.await.expect("it runs");
    let (_, at) = listen(&test).await;
    let mut peers = dial_many(at, 20).await;
    echo_all(&mut test, &mut peers).await;
    let mut first = Vec::new();
    for _ in 0..2 {
        let arbiter = within("an arbiter", arbiters.recv()).await;
        first.push(arbiter.expect("one entry"));
    }
    first.iter().for_each(|arbiter| {
        arbiter.stop();
    });
    for _ in 0..2 {
        let new = within("a new arbiter", arbiters.recv()).await;
        new.expect("one entry");
    }
    // Nothing else would wake the socket.
    actix_rt::time::sleep(QUIET).await;
    for _ in 0..20 {
        let mut after = dial_many(at, 1).await;
        echo_all(&mut test, &mut after).await;
        peers.extend(after);
    }
}

#[actix_rt::test]
async fn one_client_is_shed_and_the_others_are_served() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let registry = Registry::with_network(network.clone()).arbiters(3);
    let (mut test, _received) = with_local_echo(registry).await;
    let (id, at) = listen(&test).await;
    let server = test.app.tcp_server.clone();
    let policy = AcceptPolicy {
        resources: AcceptAction::Shed,
        ..AcceptPolicy::default()
    };
    let set = server.set_accept_policy(id, policy).await;
    set.expect("a valid limit");
    let (mut open, mut shed) = (Vec::new(), 0);
    // Another listener fails each time.
    for _ in 0..8 {
        network.inject("accept=EMFILE,times=1".parse().expect("a rule"));
        let mut peer = dial(at).await;
        match test.next().await {
            ListenerEvent::AcceptError(..) => {
                shed += 1;
                let mut rest = Vec::new();
                let end = within("its end", peer.read_to_end(&mut rest)).await;
                assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
            }
            // The error came before this connection, so there was nothing to shed.
            ListenerEvent::Accept(..) => open.push(peer),
            other => panic!("expected another event than {other:?}"),
        }
        let mut served = dial_many(at, 12).await;
        echo_all(&mut test, &mut served).await;
        open.extend(served);
        let counts = server.get_info(id).await.expect("it exists").counts;
        assert_eq!((counts.refused, counts.failed), (shed, shed));
    }
    assert!(shed > 0, "none was shed");
}
