//! `setPaused` of a server socket.

use std::net::TcpStream;

use chrome_sockets::ServerSocketId;
use tokio::io::AsyncWriteExt;

use super::recording_listener::Ear;
use super::{accepts, address, create, dial};
use support::{Heard, World, within};

async fn pause(world: &World, id: ServerSocketId, paused: bool) {
    let answer = world.app.tcp_server.set_paused(id, paused);
    within("the answer to setPaused", answer)
        .await
        .expect("setPaused");
    assert_eq!(is_paused(world, id).await, paused);
}

async fn is_paused(world: &World, id: ServerSocketId) -> bool {
    let info = world.app.tcp_server.get_info(id).await;
    info.expect("it exists").paused
}

#[actix_rt::test]
async fn a_paused_socket_leaves_connections_in_the_backlog_and_resuming_delivers_them_in_order() {
    let mut world = World::new().await;
    let (id, at) = world.listen().await;
    pause(&world, id, true).await;
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(dial(at).await);
    }
    world.nothing().await;
    assert_eq!(world.app.tcp.get_sockets().await, Ok(Vec::new()));

    pause(&world, id, false).await;
    for peer in &peers {
        accepts(&mut world, peer).await;
    }
    // And it goes on, unlike Chromium's.
    let later = dial(at).await;
    accepts(&mut world, &later).await;
}

#[actix_rt::test]
async fn set_paused_is_idempotent() {
    let mut world = World::new().await;
    let (id, at) = world.listen().await;
    pause(&world, id, false).await;
    for _ in 0..3 {
        pause(&world, id, true).await;
    }
    let first = dial(at).await;
    world.nothing().await;
    for _ in 0..3 {
        pause(&world, id, false).await;
    }
    accepts(&mut world, &first).await;
    let second = dial(at).await;
    accepts(&mut world, &second).await;
    world.nothing().await;
}

#[actix_rt::test]
async fn pausing_and_resuming_may_alternate() {
    let mut world = World::new().await;
    let (id, at) = world.listen().await;
    for _ in 0..5 {
        pause(&world, id, true).await;
        let peer = dial(at).await;
        pause(&world, id, false).await;
        accepts(&mut world, &peer).await;
    }
}

#[actix_rt::test]
async fn pausing_is_allowed_before_listen_and_stays_in_force() {
    let mut world = World::new().await;
    let id = create(&world.app).await;
    pause(&world, id, true).await;
    let listening = world.app.tcp_server.listen(id, "127.0.0.1", 0, None);
    listening.await.expect("a paused socket may listen");
    assert!(is_paused(&world, id).await);
    let peer = dial(address(&world.app, id).await).await;
    world.nothing().await;
    pause(&world, id, false).await;
    accepts(&mut world, &peer).await;
}

#[actix_rt::test]
async fn pausing_survives_disconnect() {
    let mut world = World::new().await;
    let (id, _) = world.listen().await;
    pause(&world, id, true).await;
    let server = world.app.tcp_server.clone();
    server.disconnect(id).await.expect("disconnect");
    assert!(is_paused(&world, id).await);
    let listening = server.listen(id, "127.0.0.1", 0, None);
    listening.await.expect("listen");
    assert!(is_paused(&world, id).await);
    let peer = dial(address(&world.app, id).await).await;
    world.nothing().await;
    pause(&world, id, false).await;
    accepts(&mut world, &peer).await;
}

#[actix_rt::test]
async fn resuming_after_disconnect_accepts_when_it_listens_again() {
    let mut world = World::new().await;
    let (id, _) = world.listen().await;
    pause(&world, id, true).await;
    let server = world.app.tcp_server.clone();
    server.disconnect(id).await.expect("disconnect");
    pause(&world, id, false).await;
    let listening = server.listen(id, "127.0.0.1", 0, None);
    listening.await.expect("listen");
    let peer = dial(address(&world.app, id).await).await;
    accepts(&mut world, &peer).await;
}

#[actix_rt::test]
async fn nothing_is_delivered_after_the_answer_to_set_paused() {
    let mut world = World::new().await;
    let (id, at) = world.listen().await;
    let mut ear = Ear::of(&world.app).await;
    for round in 0..10 {
        // They connect without giving the socket a turn, so it has connections
        // to accept when it is paused.
        let peers: Vec<_> = (0..=round)
            .map(|_| TcpStream::connect(at).expect("connect"))
            .collect();
        pause(&world, id, true).await;
        let before = ear.so_far().await.len();
        for _ in 0..before {
            world.accepted().await;
        }
        world.nothing().await;
        assert!(ear.so_far().await.is_empty(), "round {round}");
        pause(&world, id, false).await;
        for _ in before..peers.len() {
            world.accepted().await;
            ear.accepted().await;
        }
    }
}

#[actix_rt::test]
async fn pausing_one_socket_leaves_the_others_accepting() {
    let mut world = World::new().await;
    let (paused, waits_at) = world.listen().await;
    let (_, at) = world.listen().await;
    pause(&world, paused, true).await;
    let waiting = dial(waits_at).await;
    let peer = dial(at).await;
    accepts(&mut world, &peer).await;
    world.nothing().await;
    pause(&world, paused, false).await;
    match world.next().await {
        Heard::Accept(id, _) => assert_eq!(id, paused),
        other => panic!("expected onAccept, not {other:?}"),
    }
    drop(waiting);
}

#[actix_rt::test]
async fn pausing_leaves_accepted_clients_receiving() {
    let mut world = World::new().await;
    let (id, at) = world.listen().await;
    let mut peer = dial(at).await;
    let client = accepts(&mut world, &peer).await;
    let resumed = world.app.tcp.set_paused(client, false);
    resumed.await.expect("resume");
    pause(&world, id, true).await;
    peer.write_all(b"still here").await.expect("write");
    assert_eq!(world.received(client, 10).await, b"still here");
}
