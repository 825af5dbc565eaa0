//! The listeners of `onAccept`.

use chrome_sockets::App;
use chrome_sockets::tcp_server::AcceptInfo;

use super::recording_listener::Ear;
use super::{accepts, dial, listen_at};
use support::{Heard, World};

/// Takes away the listener that a world starts with.
async fn without_listener(world: &World) {
    let ours = world.listener.clone().recipient();
    let removed = world.app.tcp_server.on_accept.remove_listener(ours);
    removed.await.expect("the registry runs");
}

#[actix_rt::test]
async fn events_go_only_to_the_owners_listeners() {
    let mut world = World::new().await;
    let other = App::new("other", &world.registry);
    let mut others = Ear::of(&other).await;
    let (_, at) = world.listen().await;
    let (_, others_at) = listen_at(&other, "127.0.0.1").await;

    let ours = dial(at).await;
    accepts(&mut world, &ours).await;
    let _theirs = dial(others_at).await;
    let client = others.accepted().await;
    world.nothing().await;
    assert!(others.so_far().await.is_empty());
    // The client is the other app's, too.
    assert!(other.tcp.get_info(client).await.is_ok());
    assert!(world.app.tcp.get_info(client).await.is_err());
}

#[actix_rt::test]
async fn each_of_several_listeners_gets_every_event() {
    let mut world = World::new().await;
    let mut second = Ear::of(&world.app).await;
    let mut third = Ear::of(&world.app).await;
    let (_, at) = world.listen().await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(dial(at).await);
        let client = world.accepted().await.id();
        assert_eq!(second.accepted().await, client);
        assert_eq!(third.accepted().await, client);
    }
    world.nothing().await;
    assert!(second.so_far().await.is_empty());
    assert!(third.so_far().await.is_empty());
}

#[actix_rt::test]
async fn one_listener_receives_events_of_all_sockets_of_the_app() {
    let mut world = World::new().await;
    let (first, first_at) = world.listen().await;
    let (second, second_at) = world.listen().await;
    for (id, at) in [(second, second_at), (first, first_at)] {
        let _peer = dial(at).await;
        match world.next().await {
            Heard::Accept(from, _) => assert_eq!(from, id),
            other => panic!("expected onAccept, not {other:?}"),
        }
    }
}

#[actix_rt::test]
async fn a_listener_that_is_added_twice_receives_each_event_once_and_is_removed_by_one_removal() {
    let mut world = World::new().await;
    let on_accept = world.app.tcp_server.on_accept.clone();
    let mut ear = Ear::of(&world.app).await;
    let again = on_accept.add_listener(ear.recipient());
    again.await.expect("the registry runs");
    let (_, at) = world.listen().await;
    let _first = dial(at).await;
    world.accepted().await;
    ear.accepted().await;
    world.nothing().await;
    assert!(ear.so_far().await.is_empty(), "it heard twice");

    let removed = on_accept.remove_listener(ear.recipient());
    removed.await.expect("the registry runs");
    let _second = dial(at).await;
    world.accepted().await;
    world.nothing().await;
    assert!(ear.so_far().await.is_empty(), "it is still there");
}

#[actix_rt::test]
async fn a_removed_listener_receives_no_events_and_the_others_do() {
    let mut world = World::new().await;
    let on_accept = world.app.tcp_server.on_accept.clone();
    let mut ear = Ear::of(&world.app).await;
    let (_, at) = world.listen().await;
    let _first = dial(at).await;
    world.accepted().await;
    ear.accepted().await;

    let removed = on_accept.remove_listener(ear.recipient());
    removed.await.expect("the registry runs");
    let _second = dial(at).await;
    world.accepted().await;
    world.nothing().await;
    assert!(ear.so_far().await.is_empty());

    let added = on_accept.add_listener(ear.recipient());
    added.await.expect("the registry runs");
    let _third = dial(at).await;
    assert_eq!(ear.accepted().await, world.accepted().await.id());
}

#[actix_rt::test]
async fn removing_a_listener_that_never_listened_does_nothing() {
    let mut world = World::new().await;
    let stranger = Ear::new();
    let on_accept = world.app.tcp_server.on_accept.clone();
    let removed = on_accept.remove_listener(stranger.recipient());
    assert_eq!(removed.await, Ok(()));
    // Nor where the app has not been heard of at all.
    let unheard = App::new("unheard", &world.registry);
    let on_accept = unheard.tcp_server.on_accept.clone();
    let removed = on_accept.remove_listener(stranger.recipient());
    assert_eq!(removed.await, Ok(()));
    let (_, at) = world.listen().await;
    let _peer = dial(at).await;
    world.accepted().await;
}

#[actix_rt::test]
async fn has_listener_answers_whether_the_listener_was_added() {
    let world = World::new().await;
    let app = App::new("other", &world.registry);
    let on_accept = &app.tcp_server.on_accept;
    let (ear, stranger) = (Ear::new(), Ear::new());
    assert_eq!(on_accept.has_listeners().await, Ok(false));
    assert_eq!(on_accept.has_listener(ear.recipient()).await, Ok(false));

    let added = on_accept.add_listener(ear.recipient());
    added.await.expect("the registry runs");
    assert_eq!(on_accept.has_listeners().await, Ok(true));
    assert_eq!(on_accept.has_listener(ear.recipient()).await, Ok(true));
    let other = on_accept.has_listener(stranger.recipient());
    assert_eq!(other.await, Ok(false));
    // Each event has listeners of its own.
    assert_eq!(app.tcp.on_receive.has_listeners().await, Ok(false));

    let removed = on_accept.remove_listener(ear.recipient());
    removed.await.expect("the registry runs");
    assert_eq!(on_accept.has_listeners().await, Ok(false));
    assert_eq!(on_accept.has_listener(ear.recipient()).await, Ok(false));
}

#[actix_rt::test]
async fn a_listener_is_removed_when_its_actor_stops() {
    let mut world = World::new().await;
    without_listener(&world).await;
    let on_accept = world.app.tcp_server.on_accept.clone();
    let ear = Ear::of(&world.app).await;
    let recipient = ear.recipient::<AcceptInfo>();
    assert_eq!(on_accept.has_listeners().await, Ok(true));
    ear.stop().await;
    assert_eq!(on_accept.has_listeners().await, Ok(false));
    assert_eq!(on_accept.has_listener(recipient).await, Ok(false));

    // As if there had been none, connections wait for the next one.
    let (_, at) = world.listen().await;
    let peer = dial(at).await;
    world.nothing().await;
    assert_eq!(world.app.tcp.get_sockets().await, Ok(Vec::new()));
    let added = on_accept.add_listener(world.listener.clone().recipient());
    added.await.expect("the registry runs");
    accepts(&mut world, &peer).await;
}

#[actix_rt::test]
async fn without_a_listener_connections_wait_in_the_backlog_until_one_is_added() {
    let mut world = World::new().await;
    without_listener(&world).await;
    let (id, at) = world.listen().await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(dial(at).await);
    }
    world.nothing().await;
    let tcp = world.app.tcp.clone();
    assert_eq!(tcp.get_sockets().await, Ok(Vec::new()), "it accepted");
    let info = world.app.tcp_server.get_info(id).await.expect("it exists");
    assert!(!info.paused, "waiting for a listener is not pausing");

    let on_accept = world.app.tcp_server.on_accept.clone();
    let added = on_accept.add_listener(world.listener.clone().recipient());
    added.await.expect("the registry runs");
    for peer in &peers {
        accepts(&mut world, peer).await;
    }
}

#[actix_rt::test]
async fn a_listener_of_another_app_or_event_does_not_make_a_socket_accept() {
    let mut world = World::new().await;
    without_listener(&world).await;
    let other = App::new("other", &world.registry);
    let mut others = Ear::of(&other).await;
    let (_, at) = world.listen().await;
    let _peer = dial(at).await;
    world.nothing().await;
    assert!(others.so_far().await.is_empty());
    assert_eq!(world.app.tcp.get_sockets().await, Ok(Vec::new()));
}
