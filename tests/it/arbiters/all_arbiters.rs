//! Calls on an app or a registry take effect in every arbiter, and answers cover all of them.

use std::time::Instant;

use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::{PAUSE_GRACE, Shutdown};
use support::{EventSender, ListenerEvent, QUIET, block, remote_arbiter};

use super::recording_network::RecordingNetwork;
use super::*;

async fn expect_end(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = within("the end", peer.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
}

/// This many clients that receive.
async fn clients(test: &mut TestApp, count: usize) -> Vec<(ClientSocket, TcpStream)> {
    let (_, at) = test.listen().await;
    let mut clients = Vec::new();
    for _ in 0..count {
        let (client, peer) = accept(test, at).await;
        client.set_paused(false).await.expect("resume");
        clients.push((client, peer));
    }
    clients
}

#[actix_rt::test]
async fn a_suspension_closes_connections_in_every_arbiter() {
    let (mut test, _received) = with_local_echo(Registry::new().arbiters(3)).await;
    let mut clients = clients(&mut test, 6).await;
    test.app.suspend().await.expect("suspend");
    for (_, peer) in &mut clients {
        expect_end(peer).await;
    }
}

#[actix_rt::test]
async fn a_suspension_waits_for_events_in_every_arbiter() {
    let mut test = TestApp::on(Registry::new().arbiters(2)).await;
    let tcp = test.app.tcp.clone();
    for late in 0..2 {
        // The suspension has removed the listeners.
        test.app.suspend().await.expect("suspend");
        test.app.resume().await.expect("resume");
        let on_accept = &test.app.tcp_server.on_accept;
        on_accept.do_add_listener(test.listener.clone().recipient());
        let (sender, mut kept) = unbounded_channel();
        let keeping_listener = EventSender(sender).start();
        let added = tcp.on_receive.add_listener(keeping_listener.recipient());
        added.await.expect("it runs");
        let mut clients = clients(&mut test, 2).await;
        let (_, peer) = &mut clients[late];
        write(peer, b"held").await;
        let info = within("onReceive", kept.recv())
            .await
            .expect("the listener runs");
        let mut suspending = Box::pin(test.app.suspend());
        let early = actix_rt::time::timeout(QUIET, &mut suspending).await;
        assert!(early.is_err(), "an event is not handled");
        let began = Instant::now();
        drop(info);
        let suspended = within("the answer", suspending).await;
        suspended.expect("suspend");
        assert!(began.elapsed() < PAUSE_GRACE / 2, "it is answered at once");
        test.app.resume().await.expect("resume");
    }
}

#[actix_rt::test]
async fn a_drain_ends_and_counts_connections_of_every_arbiter() {
    let (mut test, _received) = with_local_echo(Registry::new().arbiters(3)).await;
    let mut clients = clients(&mut test, 6).await;
    let drained = test.app.drain(QUIET);
    let drained = within("the drain", drained).await.expect("it runs");
    assert_eq!(drained.forced.len(), 6, "{drained:?}");
    for (_, peer) in &mut clients {
        expect_end(peer).await;
    }
}

#[actix_rt::test]
async fn a_local_listener_in_any_arbiter_counts_as_a_listener() {
    for only in 0..3 {
        let test = TestApp::on(Registry::new().arbiters(3)).await;
        let tcp = &test.app.tcp;
        let removed = test.listener.clone().recipient();
        let removed = tcp.on_receive.remove_listener(removed);
        removed.await.expect("it runs");
        assert_eq!(tcp.on_receive.has_listeners().await, Ok(false));
        let (echo, _received) = Echo::pair();
        let set_up = test.app.on_each_arbiter(move |local| {
            if local.index() == only {
                echo.start(&local);
            }
        });
        set_up.await.expect("it runs");
        assert_eq!(tcp.on_receive.has_listeners().await, Ok(true), "{only}");
    }
}

#[actix_rt::test]
async fn data_that_came_before_the_first_local_listener_waits_for_it() {
    let mut test = TestApp::on(Registry::new().arbiters(2)).await;
    let tcp = &test.app.tcp;
    let removed = test.listener.clone().recipient();
    let removed = tcp.on_receive.remove_listener(removed);
    removed.await.expect("it runs");
    let mut clients = clients(&mut test, 4).await;
    for (_, peer) in &mut clients {
        write(peer, b"early").await;
    }
    actix_rt::time::sleep(QUIET).await;
    let (echo, _received) = Echo::pair();
    let set_up = test.app.on_each_arbiter(move |local| echo.start(&local));
    set_up.await.expect("it runs");
    for (_, peer) in &mut clients {
        assert_eq!(read(peer, 5).await, b"early");
    }
}

#[actix_rt::test]
async fn an_event_page_is_restarted_and_receives_every_event_once() {
    let test = TestApp::on(Registry::new().arbiters(2)).await;
    let (echo, _received) = Echo::pair();
    let echo = std::sync::Arc::new(echo);
    let (sender, mut arbiters) = unbounded_channel();
    let listener = test.another_listener();
    let page = EventPage::new(move |app: chrome_sockets::App| {
        let (echo, sender) = (echo.clone(), sender.clone());
        let on_accept = &app.tcp_server.on_accept;
        on_accept.do_add_listener(listener().start().recipient());
        app.on_each_arbiter(move |local| {
            echo.start(&local);
            let _ = sender.send((local.index(), Arbiter::current()));
        })
    });
    let mut test = test;
    test.app.suspend().await.expect("suspend");
    let set = test.app.set_event_page(Some(page));
    set.await.expect("it runs");
    test.app.resume().await.expect("resume");
    let mut first = Vec::new();
    for _ in 0..2 {
        let started = within("a listener", arbiters.recv()).await;
        first.push(started.expect("one entry"));
    }
    let mut clients = clients(&mut test, 4).await;
    // The other arbiter is the test's own.
    let other = first.into_iter().find(|(index, _)| *index == 1);
    other.expect("one of two results").1.stop();
    // Data arrives while the listener is dead.
    for (_, peer) in &mut clients {
        write(peer, b"once").await;
    }
    for _ in 0..2 {
        let started = within("a new listener", arbiters.recv()).await;
        started.expect("one entry");
    }
    for (_, peer) in &mut clients {
        assert_eq!(read(peer, 4).await, b"once");
    }
    for (client, peer) in &mut clients {
        client.close().await.expect("close");
        expect_end(peer).await;
    }
    let more = actix_rt::time::timeout(QUIET, arbiters.recv()).await;
    assert!(more.is_err(), "each was started again once");
}

#[actix_rt::test]
async fn a_shutdown_is_answered_when_the_slowest_arbiter_has_ended() {
    let test = TestApp::on(Registry::new().arbiters(2)).await;
    let slow = remote_arbiter(&test.app).await;
    let release = block(&slow).await;
    let mut answer = Box::pin(test.registry.send(Shutdown));
    let early = actix_rt::time::timeout(QUIET, &mut answer).await;
    assert!(early.is_err(), "one of them has not ended");
    drop(release);
    let ended = within("the answer", answer).await;
    ended.expect("it runs").expect("it ends");
}

#[actix_rt::test]
async fn dropping_the_last_registry_address_ends_connections_in_every_arbiter() {
    let (mut test, _received) = with_local_echo(Registry::new().arbiters(3)).await;
    let clients = clients(&mut test, 6).await;
    let peers: Vec<_> = clients.into_iter().map(|(_, peer)| peer).collect();
    drop(test);
    for mut peer in peers {
        expect_end(&mut peer).await;
    }
}

#[actix_rt::test]
async fn a_client_over_the_limit_is_reset_if_the_policy_asks_for_it() {
    let mut test = TestApp::on(Registry::new().arbiters(2)).await;
    let (id, at) = test.listen().await;
    let limits = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Reset,
        }),
        ..Limits::default()
    };
    let set = test.app.tcp_server.set_limits(id, limits).await;
    set.expect("valid limits");
    let _one = accept(&mut test, at).await;
    let mut refused = dial(at).await;
    let mut rest = Vec::new();
    let end = within("its end", refused.read_to_end(&mut rest)).await;
    end.expect_err("a reset");
}

#[actix_rt::test]
async fn an_idle_connection_is_not_polled() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(2);
    let mut test = TestApp::on(registry).await;
    let clients = clients(&mut test, 4).await;
    actix_rt::time::sleep(QUIET).await;
    let before = network_log.reads();
    assert!(before <= 2 * clients.len(), "{before} reads without data");
    actix_rt::time::sleep(QUIET).await;
    assert_eq!(network_log.reads(), before);
}

#[actix_rt::test]
async fn zero_arbiters_count_as_one() {
    let mut test = TestApp::on(Registry::new().arbiters(0)).await;
    let mut clients = clients(&mut test, 1).await;
    let (client, peer) = &mut clients[0];
    write(peer, b"here").await;
    assert!(matches!(test.next().await, ListenerEvent::Receive(from, _) if from == client.id()));
}
