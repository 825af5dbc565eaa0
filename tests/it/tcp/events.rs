//! The listeners of `onReceive` and `onReceiveError`.

use chrome_sockets::App;
use chrome_sockets::tcp::ReceiveInfo;

use super::{connect, connected, write};
use crate::tcp_server::recording_listener::Ear;
use support::{Heard, World};

fn is_data(heard: &Heard, expected: &[u8]) -> bool {
    matches!(heard, Heard::Receive(_, data) if data[..] == *expected)
}

fn is_end(heard: &Heard) -> bool {
    matches!(heard, Heard::ReceiveError(_, error) if error.code() == -100)
}

#[actix_rt::test]
async fn events_go_only_to_the_owners_listeners() {
    let mut world = World::new().await;
    let other = App::new("other", &world.registry);
    let mut others = Ear::of(&other).await;
    let (ours, mut our_peer) = connected(&world).await;
    let created = other.tcp.create(Default::default()).await;
    let theirs = created.expect("create").socket_id;
    let mut their_peer = connect(&other, theirs).await;

    write(&mut our_peer, b"ours").await;
    assert_eq!(world.received(ours.id(), 4).await, b"ours");
    drop(our_peer);
    assert_eq!(world.ended(ours.id()).await.code(), -100);
    assert!(others.so_far().await.is_empty());

    write(&mut their_peer, b"theirs").await;
    assert!(is_data(&others.next().await, b"theirs"));
    drop(their_peer);
    assert!(is_end(&others.next().await));
    world.nothing().await;
}

#[actix_rt::test]
async fn each_of_several_listeners_gets_every_event() {
    let mut world = World::new().await;
    let mut second = Ear::of(&world.app).await;
    let mut third = Ear::of(&world.app).await;
    let (client, mut peer) = connected(&world).await;
    for _ in 0..10 {
        write(&mut peer, b"for all").await;
        assert_eq!(world.received(client.id(), 7).await, b"for all");
        assert!(is_data(&second.next().await, b"for all"));
        assert!(is_data(&third.next().await, b"for all"));
    }
    drop(peer);
    assert_eq!(world.ended(client.id()).await.code(), -100);
    assert!(is_end(&second.next().await));
    assert!(is_end(&third.next().await));
    world.nothing().await;
    assert!(second.so_far().await.is_empty());
    assert!(third.so_far().await.is_empty());
}

#[actix_rt::test]
async fn a_listener_that_is_added_twice_receives_each_event_once() {
    let mut world = World::new().await;
    let mut ear = Ear::of(&world.app).await;
    let tcp = world.app.tcp.clone();
    let data = tcp.on_receive.add_listener(ear.recipient());
    data.await.expect("the registry runs");
    let end = tcp.on_receive_error.add_listener(ear.recipient());
    end.await.expect("the registry runs");
    let (client, mut peer) = connected(&world).await;
    write(&mut peer, b"once").await;
    assert_eq!(world.received(client.id(), 4).await, b"once");
    drop(peer);
    world.ended(client.id()).await;
    world.nothing().await;
    let heard = ear.so_far().await;
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(is_data(&heard[0], b"once") && is_end(&heard[1]));
}

#[actix_rt::test]
async fn a_removed_listener_receives_no_events_and_the_others_do() {
    let mut world = World::new().await;
    let mut ear = Ear::of(&world.app).await;
    let (client, mut peer) = connected(&world).await;
    write(&mut peer, b"both").await;
    assert_eq!(world.received(client.id(), 4).await, b"both");
    assert!(is_data(&ear.next().await, b"both"));

    let on_receive = world.app.tcp.on_receive.clone();
    let removed = on_receive.remove_listener(ear.recipient());
    removed.await.expect("the registry runs");
    write(&mut peer, b"one").await;
    assert_eq!(world.received(client.id(), 3).await, b"one");
    world.nothing().await;
    assert!(ear.so_far().await.is_empty());

    // The other event's listeners are others.
    let on_end = world.app.tcp.on_receive_error.clone();
    assert_eq!(on_end.has_listener(ear.recipient()).await, Ok(true));
    drop(peer);
    world.ended(client.id()).await;
    assert!(is_end(&ear.next().await));
}

#[actix_rt::test]
async fn a_listener_is_removed_when_its_actor_stops() {
    let mut world = World::new().await;
    let on_receive = world.app.tcp.on_receive.clone();
    let ours = world.listener.clone().recipient();
    on_receive.remove_listener(ours).await.expect("removed");
    let ear = Ear::of(&world.app).await;
    let recipient = ear.recipient::<ReceiveInfo>();
    assert_eq!(on_receive.has_listeners().await, Ok(true));
    ear.stop().await;
    assert_eq!(on_receive.has_listeners().await, Ok(false));
    assert_eq!(on_receive.has_listener(recipient).await, Ok(false));

    // As if there had been none, what comes waits for the next one.
    let (client, mut peer) = connected(&world).await;
    write(&mut peer, b"for whom").await;
    world.nothing().await;
    let ours = world.listener.clone().recipient();
    on_receive.add_listener(ours).await.expect("added");
    assert_eq!(world.received(client.id(), 8).await, b"for whom");
}

#[actix_rt::test]
async fn an_end_without_listeners_still_ends_the_connection() {
    let mut world = World::new().await;
    let on_end = world.app.tcp.on_receive_error.clone();
    let ours = world.listener.clone().recipient();
    on_end.remove_listener(ours).await.expect("removed");
    let (client, mut peer) = connected(&world).await;
    client.disconnect().await.expect("disconnect");
    super::assert_ended(&world.app, client.id()).await;
    assert_eq!(super::read_to_end(&mut peer).await, b"");
    world.nothing().await;
}
