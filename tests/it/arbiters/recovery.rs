//! Client-socket actors that panic or stop in one of several arbiters.

use chrome_sockets::os::TokioNetwork;
use chrome_sockets::supervision::{ActorKind, Cause, RestartInfo};
use chrome_sockets::testing::FaultyNetwork;
use support::EventSender;

use super::*;

async fn restart_events(test: &TestApp) -> UnboundedReceiver<RestartInfo> {
    let (sender, received) = unbounded_channel();
    let listener = EventSender(sender).start();
    let added = test.app.on_restart.add_listener(listener.recipient());
    added.await.expect("it runs");
    received
}

async fn expect_echoes(peers: &mut [(ClientSocket, TcpStream)], data: &[u8]) {
    for (_, peer) in peers {
        write(peer, data).await;
        assert_eq!(read(peer, data.len()).await, data);
    }
}

async fn four_clients(test: &mut TestApp) -> Vec<(ClientSocket, TcpStream)> {
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        let (client, peer) = accept(test, at).await;
        client.set_paused(false).await.expect("resume");
        peers.push((client, peer));
    }
    peers
}

#[actix_rt::test]
async fn an_arbiter_that_ends_is_replaced_and_its_listeners_are_restarted() {
    let (mut test, mut received) = with_local_echo(Registry::new().arbiters(2)).await;
    let (sender, mut arbiters) = unbounded_channel();
    let set_up = test.app.on_each_arbiter(move |local| {
        let _ = sender.send((
            local.index(),
            Arbiter::current(),
            std::thread::current().id(),
        ));
    });
    set_up.await.expect("it runs");
    let mut restarts = restart_events(&test).await;
    let mut peers = four_clients(&mut test).await;
    expect_echoes(&mut peers, b"before").await;
    let mut first = Vec::new();
    for _ in 0..2 {
        let started = within("an arbiter", arbiters.recv()).await;
        first.push(started.expect("one entry"));
    }
    // The other arbiter is the test's own.
    let other = first.into_iter().find(|(index, ..)| *index == 1);
    let (index, arbiter, old) = other.expect("one of two results");
    arbiter.stop();
    // Some data arrives before the end of the arbiter, and some while there is no listener.
    for (_, peer) in &mut peers {
        write(peer, b"meanwhile").await;
    }
    let again = within("the new arbiter", arbiters.recv()).await;
    let (again, _, new) = again.expect("one entry");
    assert_eq!(again, index);
    assert_ne!(new, old);
    assert_ne!(new, std::thread::current().id(), "it has a thread too");
    let info = within("onRestart", restarts.recv())
        .await
        .expect("the listener runs");
    assert_eq!(info.actor, ActorKind::ClientSockets);
    assert_eq!((info.cause, info.gave_up), (Cause::ArbiterEnded, false));
    for (_, peer) in &mut peers {
        assert_eq!(read(peer, 9).await, b"meanwhile");
    }
    while received.try_recv().is_ok() {}
    expect_echoes(&mut peers, b"after").await;
    let mut threads = std::collections::HashMap::<_, std::collections::HashSet<_>>::new();
    while let Ok(received) = received.try_recv() {
        threads
            .entry(received.arbiter)
            .or_default()
            .insert(received.thread);
    }
    assert!(threads[&index].contains(&new) && threads[&index].len() == 1);
    assert_eq!(threads.len(), 2);
}

#[actix_rt::test]
async fn when_the_registrys_arbiter_ends_everything_continues_in_another() {
    let elsewhere = Arbiter::new();
    let (sender, mut registry) = unbounded_channel();
    elsewhere.spawn_fn(move || {
        let _ = sender.send(Registry::new().arbiters(2).start());
    });
    let registry = registry.recv().await.expect("it starts");
    let (mut test, mut received) = with_local_echo_in(TestApp::at(registry).await).await;
    let mut peers = four_clients(&mut test).await;
    expect_echoes(&mut peers, b"before").await;
    while received.try_recv().is_ok() {}
    elsewhere.stop();
    for (_, peer) in &mut peers {
        write(peer, b"meanwhile").await;
    }
    for (_, peer) in &mut peers {
        assert_eq!(read(peer, 9).await, b"meanwhile");
    }
    peers.extend(four_clients(&mut test).await);
    expect_echoes(&mut peers, b"after").await;
    let mut arbiters = std::collections::HashSet::new();
    while let Ok(received) = received.try_recv() {
        arbiters.insert(received.arbiter);
    }
    assert_eq!(arbiters.len(), 2, "each has listeners");
}

#[actix_rt::test]
async fn an_actor_that_panics_or_stops_continues_where_it_was() {
    let network = FaultyNetwork::new(TokioNetwork, 7);
    let registry = Registry::with_network(network.clone()).arbiters(2);
    let (mut test, mut received) = with_local_echo(registry).await;
    let mut restarts = restart_events(&test).await;
    let mut peers = four_clients(&mut test).await;
    expect_echoes(&mut peers, b"before").await;
    let mut threads = std::collections::HashSet::new();
    for fault in ["panic=clients,times=1", "stop=clients,times=1"] {
        while let Ok(received) = received.try_recv() {
            threads.insert((received.from.id(), received.thread));
        }
        network.inject(fault.parse().expect("a rule"));
        for (_, peer) in &mut peers {
            write(peer, b"meanwhile").await;
        }
        for (_, peer) in &mut peers {
            assert_eq!(read(peer, 9).await, b"meanwhile");
        }
        let info = within("onRestart", restarts.recv())
            .await
            .expect("the listener runs");
        assert_eq!(info.actor, ActorKind::ClientSockets);
        expect_echoes(&mut peers, b"after").await;
    }
    while let Ok(received) = received.try_recv() {
        let here = (received.from.id(), received.thread);
        assert!(threads.contains(&here), "{received:?} has moved");
    }
}
