//! Handlers that run in the arbiter of their connections.

use super::recording_network::RecordingNetwork;
use super::*;

#[actix_rt::test]
async fn data_never_leaves_the_thread_of_its_connection() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(3);
    let (mut test, mut received) = with_local_echo(registry).await;
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..12 {
        let (client, peer) = accept(&mut test, at).await;
        client.set_paused(false).await.expect("resume");
        peers.push((client, peer));
    }
    for round in 0..50u8 {
        for (_, peer) in &mut peers {
            write(peer, &[round; 100]).await;
        }
        for (_, peer) in &mut peers {
            assert_eq!(read(peer, 100).await, [round; 100]);
        }
    }
    let mut arbiters = std::collections::HashMap::new();
    while let Ok(received) = received.try_recv() {
        let (_, peer) = peers
            .iter()
            .find(|(client, _)| *client == received.from)
            .expect("one of those");
        let peer = peer.local_addr().expect("an address");
        assert_eq!(
            network_log.thread_of(peer),
            received.thread,
            "read, handled, written"
        );
        let thread = arbiters.entry(received.arbiter).or_insert(received.thread);
        assert_eq!(*thread, received.thread);
        let is_the_registrys = received.thread == std::thread::current().id();
        assert_eq!(is_the_registrys, received.arbiter == 0);
    }
    assert_eq!(arbiters.len(), 3, "one listener per arbiter");
}

#[actix_rt::test]
async fn an_ordinary_listener_also_receives_events_of_every_arbiter() {
    let (mut test, mut local) = with_local_echo(Registry::new().arbiters(2)).await;
    let tcp = &test.app.tcp;
    let all = test.listener.clone().recipient();
    tcp.on_receive
        .add_listener(all.clone())
        .await
        .expect("it runs");
    assert_eq!(tcp.on_receive.has_listener(all).await, Ok(true));
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for data in [b"a", b"b"] {
        let (client, mut peer) = accept(&mut test, at).await;
        client.set_paused(false).await.expect("resume");
        write(&mut peer, data).await;
        assert_eq!(test.received(client.id(), 1).await, data);
        assert_eq!(read(&mut peer, 1).await, data);
        peers.push(peer);
    }
    let mut arbiters = Vec::new();
    for _ in 0..2 {
        let received = within("the echo", local.recv()).await;
        arbiters.push(received.expect("it was echoed").arbiter);
    }
    arbiters.sort_unstable();
    assert_eq!(arbiters, [0, 1], "each was handled only in its own arbiter");
    assert!(local.try_recv().is_err());
}

#[actix_rt::test]
async fn a_suspension_removes_local_listeners() {
    let (test, mut local) = with_local_echo(Registry::new().arbiters(2)).await;
    test.app.suspend().await.expect("suspend");
    test.app.resume().await.expect("resume");
    let tcp = &test.app.tcp;
    assert_eq!(tcp.on_receive.has_listeners().await, Ok(false));
    let end = within("the end of the listeners", local.recv()).await;
    assert!(end.is_none(), "nothing was echoed");
}
