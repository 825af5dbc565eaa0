//! The arbiter of a registry ends: everything continues in the system's arbiter.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::supervision::{ActorKind, Cause};
use chrome_sockets::tcp::Timeouts;
use chrome_sockets::tcp_server::SocketProperties;

use support::block;

use super::actor_recovery::RestartEvents;
use super::*;

/// A fixture whose registry lives in an arbiter of its own.
async fn in_own_arbiter() -> (Fixture, Arbiter) {
    let arbiter = Arbiter::new();
    let network = FaultyNetwork::new(TokioNetwork, SEED);
    let (sender, started) = tokio::sync::oneshot::channel();
    let registry = Registry::with_network(network.clone());
    arbiter.spawn_fn(move || drop(sender.send(registry.start())));
    let mut test = TestApp::at(started.await.expect("it starts")).await;
    let (server, at) = test.listen().await;
    let peer = dial(at).await;
    let client = expect_accept(&mut test, &peer).await;
    let fixture = Fixture {
        old: (client, peer),
        test,
        network,
        server,
        at,
    };
    (fixture, arbiter)
}

/// Ends the arbiter, and waits until its thread has ended.
fn end_arbiter(arbiter: Arbiter) {
    arbiter.stop();
    arbiter.join().expect("a clean end");
}

/// Waits until the registry runs again.
async fn wait_until_running(fixture: &Fixture) {
    within("the registry", async {
        let server = &fixture.test.app.tcp_server;
        while server.get_info(fixture.server).await.is_err() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_rt::test]
async fn everything_of_an_app_survives_the_end_of_its_arbiter() {
    let (mut fixture, arbiter) = in_own_arbiter().await;
    let tcp_server = fixture.test.app.tcp_server.clone();
    let properties = SocketProperties {
        persistent: Some(true),
        name: Some("kept".to_owned()),
    };
    tcp_server
        .update(fixture.server, properties)
        .await
        .expect("update");
    // A connection with unread bytes in both directions.
    let (full, mut full_peer) = fixture.accepted().await;
    write(&mut full_peer, b"unread").await;
    let unsent = vec![7; 8 << 20];
    let send = full.send(unsent.clone());
    let (paused, paused_at) = fixture.test.listen().await;
    tcp_server.set_paused(paused, true).await.expect("pause");
    let waiting = dial(paused_at).await;
    let before = tcp_server.get_sockets().await.expect("it runs");
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    let old_address = fixture.test.registry.clone();

    end_arbiter(arbiter);
    let during = vec![dial(fixture.at).await];
    wait_until_running(&fixture).await;
    assert!(!old_address.connected());
    let mut fallen = Vec::new();
    while !fallen.contains(&ActorKind::Registry) {
        let info = restarts.next().await;
        assert_eq!(info.cause, Cause::ArbiterEnded, "{info:?}");
        fallen.push(info.actor);
    }

    fixture.assert_alive(during).await;
    let mut after = tcp_server.get_sockets().await.expect("it runs");
    for (after, before) in after.iter_mut().zip(&before) {
        after.counts = before.counts;
    }
    assert_eq!(after, before);
    let (sent, got) = futures::future::join(send, read(&mut full_peer, unsent.len())).await;
    assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(unsent.len()));
    assert!(got == unsent, "everything is sent once and in order");
    full.set_paused(false).await.expect("resume");
    assert_eq!(fixture.test.received(full.id(), 6).await, b"unread");
    tcp_server.set_paused(paused, false).await.expect("resume");
    expect_accept(&mut fixture.test, &waiting).await;
}

#[actix_rt::test]
async fn pending_calls_are_answered_when_the_arbiter_ends() {
    let (fixture, arbiter) = in_own_arbiter().await;
    // The arbiter is blocked in the middle of this.
    let release = block(&arbiter.handle()).await;
    let server = &fixture.test.app.tcp_server;
    let answers = [0, 1].map(|_| server.get_info(fixture.server));
    arbiter.stop();
    drop(release);
    for answer in answers {
        // The call is carried out before the end, or not at all.
        let answer = within("the answer", answer).await;
        assert!(matches!(answer, Ok(_) | Err(Error::Stopped)), "{answer:?}");
    }
    arbiter.join().expect("a clean end");
    wait_until_running(&fixture).await;
}

#[actix_rt::test]
async fn a_pending_connect_fails_when_the_arbiter_ends_and_can_be_retried() {
    let (mut fixture, arbiter) = in_own_arbiter().await;
    let id = fixture.test.create().await;
    let rule = fixture.inject("connect=stall");
    let connecting = connect(&fixture.test, id, fixture.at);
    until("the stalled call", || fixture.network.stalled(rule) == 1).await;
    end_arbiter(arbiter);
    assert_eq!(code("connect", connecting).await, NetError::FAILED.code());
    fixture.network.remove(rule);
    wait_until_running(&fixture).await;
    let again = connect(&fixture.test, id, fixture.at);
    within("the connect", again).await.expect("it connects");
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn a_pause_and_timeouts_stay_in_force_after_the_end_of_the_arbiter() {
    let (mut fixture, arbiter) = in_own_arbiter().await;
    let (client, mut peer) = fixture.accepted().await;
    let timeouts = Timeouts {
        idle: Some(Duration::from_millis(300)),
        ..Timeouts::default()
    };
    client.set_timeouts(timeouts).await.expect("it is set");
    client.set_paused(false).await.expect("resume");
    end_arbiter(arbiter);
    wait_until_running(&fixture).await;
    assert_eq!(fixture.test.ended(client.id()).await, NetError::TIMED_OUT);
    end(&mut peer).await.expect("it is closed");
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn a_suspended_app_is_loaded_after_the_end_of_the_arbiter() {
    let (mut fixture, arbiter) = in_own_arbiter().await;
    let app = fixture.test.app.clone();
    let persistent = SocketProperties {
        persistent: Some(true),
        name: None,
    };
    let updated = app.tcp_server.update(fixture.server, persistent);
    updated.await.expect("update");
    let listener = fixture.test.listener.clone();
    let page = chrome_sockets::lifecycle::EventPage::new(move |app| {
        let listener = listener.clone();
        async move { support::subscribe(&app, &listener).await }
    });
    app.set_event_page(Some(page)).await.expect("it is set");
    app.suspend().await.expect("suspend");
    end_arbiter(arbiter);
    wait_until_running(&fixture).await;
    assert_eq!(app.is_suspended().await, Ok(true));
    let peer = dial(fixture.at).await;
    let client = expect_accept(&mut fixture.test, &peer).await;
    fixture.old = (client, peer);
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn injected_ends_of_two_arbiters_in_a_row_are_survived() {
    let (mut fixture, arbiter) = in_own_arbiter().await;
    fixture.inject("arbiter=server,times=1");
    let during = vec![dial(fixture.at).await];
    arbiter.join().expect("a clean end");
    wait_until_running(&fixture).await;
    fixture.assert_alive(during).await;
}

#[actix_rt::test]
async fn a_moved_registry_ends_when_its_last_address_is_dropped() {
    let (fixture, arbiter) = in_own_arbiter().await;
    end_arbiter(arbiter);
    wait_until_running(&fixture).await;
    let Fixture { test, at, .. } = fixture;
    drop(test);
    within("the end of the listener", async {
        while TcpStream::connect(at).await.is_ok() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn the_end_of_the_system_ends_everything() {
    let system = actix_rt::System::new();
    let at = system.block_on(async {
        let (fixture, arbiter) = in_own_arbiter().await;
        end_arbiter(arbiter);
        wait_until_running(&fixture).await;
        let at = fixture.at;
        // Its address stays alive.
        std::mem::forget(fixture.test.registry);
        at
    });
    drop(system);
    std::net::TcpStream::connect(at).expect_err("no listener");
}
