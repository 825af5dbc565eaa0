//! Handlers live in the arbiters of their connections.

use std::collections::{HashMap, HashSet};

use chrome_sockets::Registry;
use support::{ListenerEvent, block, remote_arbiter};

use super::*;
use crate::arbiters::recording_network::RecordingNetwork;

#[actix_rt::test]
async fn no_byte_changes_threads() {
    for shares_port in [false, true] {
        let network = RecordingNetwork::default();
        let registry = Registry::with_network(network.clone()).arbiters(3);
        let mut test = TestApp::on(registry).await;
        let mut log = Log::new();
        let server = test.app.tcp_server.create(Default::default()).await;
        let server = server.expect("create").socket_id;
        let tcp_server = test.app.tcp_server.clone();
        tcp_server.do_serve(server, log.factory(Kind::Echo));
        let sharing = tcp_server.set_reuse_port(server, shares_port);
        sharing.await.expect("it exists");
        let listening = tcp_server.listen(server, "127.0.0.1", 0, None);
        listening.await.expect("listen");
        let info = tcp_server.get_info(server).await.expect("it exists");
        let at = info.local_addr().expect("it listens");
        let mut peers = Vec::new();
        for _ in 0..24 {
            peers.push(dial(at).await);
        }
        for round in 0..20u8 {
            for peer in &mut peers {
                write(peer, &[round; 100]).await;
            }
            for peer in &mut peers {
                assert_eq!(read(peer, 100).await, [round; 100]);
            }
        }
        let mut threads = HashMap::new();
        let mut used = HashSet::new();
        while let Ok(logged) = log.logged.try_recv() {
            let thread = threads.entry(logged.client.id()).or_insert(logged.thread);
            assert_eq!(*thread, logged.thread, "a handler has one thread");
            if !matches!(logged.step, Step::Data(_)) {
                continue;
            }
            let info = logged.client.get_info().await.expect("it is open");
            let peer = info.peer_addr().expect("it is connected");
            assert_eq!(network.thread_of(peer), logged.thread, "read and written");
            used.insert(logged.thread);
        }
        assert_eq!(threads.len(), 24);
        assert!(used.len() > 1, "several arbiters are used");
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn the_end_of_an_arbiter_ends_the_clients_whose_handlers_it_had() {
    let mut test = TestApp::on(Registry::new().arbiters(2)).await;
    let (sender, mut arbiters) = unbounded_channel();
    let set_up = test.app.on_each_arbiter(move |local| {
        let _ = sender.send((local.index(), Arbiter::current()));
    });
    set_up.await.expect("it runs");
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    let mut peers = HashMap::new();
    for _ in 0..4 {
        let peer = dial(at).await;
        let logged = log.next().await;
        assert_eq!(logged.step, Step::Started);
        peers.insert(logged.client.id(), (peer, logged.thread));
    }
    let here = std::thread::current().id();
    let mut lost: HashSet<_> = peers
        .iter()
        .filter(|(_, (_, thread))| *thread != here)
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(lost.len(), 2);
    let arbiter = loop {
        let (index, arbiter) = within("an arbiter", arbiters.recv()).await.expect("two");
        if index == 1 {
            break arbiter;
        }
    };
    arbiter.stop();
    while !lost.is_empty() {
        match test.next().await {
            ListenerEvent::ReceiveError(id, NetError::FAILED) => {
                assert!(lost.remove(&id));
                let (mut peer, _) = peers.remove(&id).expect("one of them");
                assert_eq!(read_to_end(&mut peer).await, b"");
            }
            other => panic!("expected onReceiveError, not {other:?}"),
        }
        log.expect(Step::Dropped).await;
    }
    for (peer, _) in peers.values_mut() {
        write(peer, b"on").await;
        assert_eq!(read(peer, 2).await, b"on");
        let logged = log.next().await;
        assert_eq!(logged.step, Step::Data(Bytes::from_static(b"on")));
    }
    test.expect_no_event().await;
    // The arbiter that replaces it has handlers too.
    for _ in 0..3 {
        assert_serves(&mut log, at).await;
    }
}

#[actix_rt::test]
async fn a_client_whose_arbiter_ends_before_it_has_a_handler_gets_one_or_is_reported() {
    let mut test = TestApp::on(Registry::new().arbiters(2)).await;
    let arbiter = remote_arbiter(&test.app).await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    // The arbiter is busy, and then ends.
    let release = block(&arbiter).await;
    arbiter.stop();
    let mut peers = Vec::new();
    for _ in 0..8 {
        let mut peer = dial(at).await;
        write(&mut peer, b"ping").await;
        peers.push(peer);
    }
    // Those of the other arbiter are served meanwhile.
    let (mut started, mut received) = (0, 0);
    while received < 4 {
        match log.next().await.step {
            Step::Started => started += 1,
            Step::Data(data) if data == "ping" => received += 1,
            other => panic!("expected a start or data, not {other:?}"),
        }
    }
    assert_eq!(started, 4);
    drop(release);
    let (mut served, mut lost) = (0, 0);
    for peer in &mut peers {
        let mut answer = [0; 4];
        let answered = peer.read_exact(&mut answer);
        match within("an answer, or the end", answered).await {
            Ok(_) => served += 1,
            // The old thread has started its handler, and has then ended.
            Err(_) => lost += 1,
        }
    }
    for _ in 0..lost {
        match test.next().await {
            ListenerEvent::ReceiveError(_, NetError::FAILED) => {}
            other => panic!("expected onReceiveError, not {other:?}"),
        }
    }
    test.expect_no_event().await;
    drop(peers);
    let mut ended = 0;
    while ended < served {
        ended += usize::from(matches!(log.next().await.step, Step::End(_)));
    }
    let open = async { test.app.tcp.get_sockets().await.expect("it runs").len() };
    assert!(within("the sockets", open).await <= served);
    while log.logged.try_recv().is_ok() {}
    support::until("the end of every handler", || {
        log.sender.strong_count() == 2
    })
    .await;
    while log.logged.try_recv().is_ok() {}
    assert_serves(&mut log, at).await;
}
