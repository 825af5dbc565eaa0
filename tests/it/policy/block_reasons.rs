//! Why a server socket does not accept, and what it counts.

use std::time::Duration;

use chrome_sockets::NetError;
use chrome_sockets::tcp::Timeouts;
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptPolicy, AtLimit, BlockReason, Limits, SocketProperties, UNHANDLED_ACCEPTS,
};
use support::{KeepingListener, ListenerEvent, TestApp, within};

use super::Fixture;
use super::limits::connections;
use crate::tcp_server::recording_listener::RecordingListener;

const NO_DESCRIPTOR: BlockReason = BlockReason::AcceptError(NetError::INSUFFICIENT_RESOURCES);

#[actix_rt::test]
async fn get_info_names_every_reason_at_once_and_each_ends_by_itself() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let server = &app.tcp_server;
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    server.update(fixture.id, persistent).await.expect("update");
    assert_eq!(fixture.info().await.blocked_by, []);

    let failed = fixture.network.accept_error(fixture.at, libc::EMFILE);
    failed.expect("it listens");
    assert!(matches!(
        fixture.test.next().await,
        ListenerEvent::AcceptError(..)
    ));
    let info = fixture.info().await;
    assert_eq!(info.blocked_by, [NO_DESCRIPTOR]);
    assert!(info.paused, "Chrome's word for it");

    fixture.set_paused(true).await;
    let paused = [BlockReason::App, NO_DESCRIPTOR];
    assert_eq!(fixture.info().await.blocked_by, paused);

    let recorder = fixture.test.listener.clone();
    let removed = server
        .on_accept
        .remove_listener(recorder.clone().recipient());
    removed.await.expect("removed");
    let without_listener = [BlockReason::App, NO_DESCRIPTOR, BlockReason::NoListener];
    assert_eq!(fixture.info().await.blocked_by, without_listener);

    within("suspend", app.suspend()).await.expect("suspend");
    let suspended = [&without_listener[..], &[BlockReason::Suspended]].concat();
    assert_eq!(fixture.info().await.blocked_by, suspended);

    // Each reason ends alone, and the others stay.
    let added = server.on_accept.add_listener(recorder.recipient());
    added.await.expect("added");
    let received = [BlockReason::App, NO_DESCRIPTOR, BlockReason::Suspended];
    assert_eq!(fixture.info().await.blocked_by, received);
    within("resume", app.resume()).await.expect("resume");
    assert_eq!(fixture.info().await.blocked_by, paused);
    fixture.set_paused(false).await;
    let info = fixture.info().await;
    assert_eq!(info.blocked_by, [], "of both pauses");
    assert!(!info.paused);

    let _peer = fixture.network.client(fixture.at).expect("it listens");
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn get_info_counts_accepted_delivered_failed_and_waiting_connections() {
    let mut fixture = Fixture::new().await;
    let dial = || fixture.network.client(fixture.at).expect("it listens");
    let mut peers = vec![dial(), dial(), dial()];
    for _ in 0..3 {
        fixture.test.accepted().await;
    }
    let failed = fixture.network.accept_error(fixture.at, libc::ENFILE);
    failed.expect("it listens");
    peers.extend([
        fixture.network.client(fixture.at).expect("it listens"),
        fixture.network.client(fixture.at).expect("it listens"),
    ]);
    assert!(matches!(
        fixture.test.next().await,
        ListenerEvent::AcceptError(..)
    ));
    let info = fixture.info().await;
    let counts = info.counts;
    assert_eq!((counts.accepted, counts.delivered), (3, 3));
    assert_eq!((counts.refused, counts.failed), (0, 1));
    assert_eq!(info.backlog, Some(2));

    fixture.set_paused(false).await;
    for _ in 0..2 {
        fixture.test.accepted().await;
    }
    let info = fixture.info().await;
    assert_eq!((info.counts.accepted, info.counts.delivered), (5, 5));
    assert_eq!(info.backlog, Some(0));
    let closed = fixture.test.app.tcp_server.disconnect(fixture.id);
    closed.await.expect("disconnect");
    assert_eq!(fixture.info().await.backlog, None);
}

#[actix_rt::test]
async fn a_client_with_two_listeners_counts_as_delivered_once() {
    let mut fixture = Fixture::new().await;
    let mut recorder = RecordingListener::new();
    let on_accept = &fixture.test.app.tcp_server.on_accept;
    let added = on_accept.add_listener(recorder.recipient());
    added.await.expect("added");
    let _peer = fixture.network.client(fixture.at).expect("it listens");
    let client = fixture.test.accepted().await;
    recorder.accepted().await;
    client.set_paused(false).await.expect("it is open");
    assert_eq!(fixture.info().await.counts.delivered, 1);
}

#[actix_rt::test]
async fn a_listener_that_handles_nothing_is_a_reason_and_its_clients_do_not_count_as_delivered() {
    use actix::Actor;
    let fixture = Fixture::new().await;
    let on_accept = &fixture.test.app.tcp_server.on_accept;
    let keeping_listener =
        KeepingListener::<chrome_sockets::tcp_server::AcceptInfo>::default().start();
    let test = fixture.test.listener.clone().recipient();
    let added = on_accept.add_listener(keeping_listener.recipient());
    added.await.expect("added");
    on_accept.remove_listener(test).await.expect("removed");
    let dial = |_| fixture.network.client(fixture.at).expect("it listens");
    let _peers: Vec<_> = (0..=UNHANDLED_ACCEPTS).map(dial).collect();
    within("all that it takes", async {
        while fixture.network.waiting(fixture.at) > 1 {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let info = fixture.info().await;
    assert_eq!(info.blocked_by, [BlockReason::Unhandled]);
    assert_eq!(info.counts.accepted, UNHANDLED_ACCEPTS as u64);
    assert_eq!(info.counts.delivered, 0);
    assert_eq!(info.backlog, Some(1));
}

#[actix_rt::test]
async fn a_pause_by_the_app_is_a_reason_in_the_successor_too() {
    let old = TestApp::new().await;
    let (id, _) = old.listen().await;
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let server = &old.app.tcp_server;
    server.update(id, persistent).await.expect("update");
    server.set_paused(id, true).await.expect("paused");
    let new = TestApp::new().await;
    crate::handover::expect_handover(&old, &new).await;
    let info = new.app.tcp_server.get_info(id).await.expect("it is there");
    assert_eq!(info.blocked_by, [BlockReason::App]);
}

#[actix_rt::test]
async fn get_info_reports_policy_limits_and_timeouts() {
    let fixture = Fixture::new().await;
    let info = fixture.info().await;
    assert_eq!(info.accept_policy, AcceptPolicy::default());
    assert_eq!((info.limits, info.timeouts), Default::default());
    let policy = AcceptPolicy {
        listener: AcceptAction::Close,
        ..AcceptPolicy::default()
    };
    let limits: Limits = connections(7, AtLimit::Reset);
    let timeouts = Timeouts {
        idle: Some(Duration::from_secs(7)),
        ..Timeouts::default()
    };
    let server = &fixture.test.app.tcp_server;
    let set = server.set_accept_policy(fixture.id, policy);
    set.await.expect("a valid policy");
    let set = server.set_limits(fixture.id, limits);
    set.await.expect("valid limits");
    let set = server.set_timeouts(fixture.id, timeouts);
    set.await.expect("valid timeouts");
    let info = fixture.info().await;
    assert_eq!(info.accept_policy, policy);
    assert_eq!((info.limits, info.timeouts), (limits, timeouts));
    let all = server.get_sockets().await.expect("it runs");
    assert_eq!(all, [info]);
}

#[actix_rt::test]
async fn a_drain_is_a_reason_while_it_lasts() {
    for of_app in [false, true] {
        let mut fixture = Fixture::new().await;
        let peer = fixture.network.client(fixture.at).expect("it listens");
        let client = fixture.test.accepted().await;
        let app = fixture.test.app.clone();
        let drained = match of_app {
            true => app.drain(support::LIMIT),
            false => app.tcp_server.drain(fixture.id, support::LIMIT),
        };
        within("the reason", async {
            while fixture.info().await.blocked_by != [BlockReason::Draining] {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
        client.close().await.expect("it is open");
        within("the receipt", drained).await.expect("drained");
        assert_eq!(fixture.info().await.blocked_by, []);
        drop(peer);
    }
}
