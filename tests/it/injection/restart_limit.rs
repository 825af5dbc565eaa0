//! Actors that fail too often.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::supervision::{ActorKind, RestartLimit, UNHANDLED_RESTARTS};
use support::EventSender;
use tokio::sync::mpsc::unbounded_channel;

use super::actor_recovery::RestartEvents;
use super::*;

#[actix_rt::test]
async fn an_actor_that_fails_too_often_is_terminated_and_the_others_continue() {
    let limit = RestartLimit {
        most: 3,
        within: Duration::from_secs(60),
    };
    let mut fixture = Fixture::on(|it| it.restart_limit(limit)).await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    let server = fixture.test.app.tcp_server.clone();
    let (other, other_at) = fixture.test.listen().await;
    fixture.inject("panic=server,times=4");
    // A turn of this actor, which panics again.
    let _ = server.get_info(other).await;
    restarts.panics(ActorKind::ServerSocket(other), 3).await;
    let last = restarts.next().await;
    assert!(last.gave_up && last.restarts == 4, "{last:?}");
    assert_eq!(last.actor, ActorKind::ServerSocket(other));
    until_gone(&server, other).await;
    TcpStream::connect(other_at)
        .await
        .expect_err("it is closed");
    fixture.assert_alive(vec![]).await;
}

async fn until_gone(server: &chrome_sockets::TcpServer, id: ServerSocketId) {
    within("the end of the socket", async {
        while server.get_info(id).await.is_ok() {}
    })
    .await;
    assert_eq!(server.get_info(id).await.err(), Some(Error::SocketNotFound));
}

#[actix_rt::test]
async fn client_sockets_that_fail_too_often_lose_their_connections_and_report_it() {
    let limit = RestartLimit {
        most: 3,
        within: Duration::from_secs(60),
    };
    let mut fixture = Fixture::on(|it| it.restart_limit(limit)).await;
    let mut restarts = RestartEvents::of(&fixture.test.app).await;
    let client = fixture.old.0.clone();
    client.set_paused(false).await.expect("resume");
    fixture.inject("panic=clients,times=4");
    for _ in 0..4 {
        let _ = client.get_info().await;
    }
    restarts.panics(ActorKind::ClientSockets, 3).await;
    assert!(restarts.next().await.gave_up);
    assert_eq!(fixture.test.ended(client.id()).await, NetError::FAILED);
    // A terminated actor sends nothing more: its peers see a reset.
    let reset = end(&mut fixture.old.1).await;
    assert_eq!(reset, Err(std::io::ErrorKind::ConnectionReset));
    // New connections work.
    let (client, peer) = fixture.accepted().await;
    fixture.old = (client, peer);
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn a_registry_that_fails_too_often_closes_everything() {
    let limit = RestartLimit {
        most: 2,
        within: Duration::from_secs(60),
    };
    let fixture = Fixture::on(|it| it.restart_limit(limit)).await;
    fixture.inject("panic=registry");
    let server = &fixture.test.app.tcp_server;
    for _ in 0..3 {
        assert_eq!(
            server.get_info(fixture.server).await.err(),
            Some(Error::Panicked)
        );
    }
    assert_eq!(
        server.get_info(fixture.server).await.err(),
        Some(Error::Stopped)
    );
    within("the end of the listener", async {
        while TcpStream::connect(fixture.at).await.is_ok() {}
    })
    .await;
}

#[actix_rt::test]
async fn unhandled_restart_events_are_counted_and_not_kept() {
    let fixture = Fixture::on(|it| it.restart_limit(RestartLimit::UNLIMITED)).await;
    let (sender, mut received) = unbounded_channel();
    let listener = EventSender(sender).start();
    let app = fixture.test.app.clone();
    let added = app.on_restart.add_listener(listener.recipient());
    added.await.expect("it runs");
    let rule = fixture.inject("panic=registry");
    let most = UNHANDLED_RESTARTS as u64 + 10;
    for _ in 0..most {
        let _ = app.tcp_server.get_info(fixture.server).await;
    }
    fixture.network.remove(rule);
    app.tcp_server
        .get_info(fixture.server)
        .await
        .expect("it runs");
    let mut kept = Vec::new();
    while let Ok(info) = received.try_recv() {
        kept.push(info);
    }
    assert_eq!(kept.len(), UNHANDLED_RESTARTS);
    kept.clear();
    fixture.inject("panic=registry,times=1");
    let _ = app.tcp_server.get_info(fixture.server).await;
    let next = within("onRestart", received.recv()).await.expect("it runs");
    assert_eq!((next.missed, next.restarts), (10, most + 1));
}
