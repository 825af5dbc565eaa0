//! The listeners of `onReceive` and `onReceiveError`.

use chrome_sockets::App;
use chrome_sockets::tcp::ReceiveInfo;
use support::{ListenerEvent, TestApp};

use super::{connect, connected, write};
use crate::tcp_server::recording_listener::RecordingListener;

fn is_data(received: &ListenerEvent, expected: &[u8]) -> bool {
    matches!(received, ListenerEvent::Receive(_, data) if data[..] == *expected)
}

fn is_end(received: &ListenerEvent) -> bool {
    matches!(received, ListenerEvent::ReceiveError(_, error) if error.code() == -100)
}

#[actix_rt::test]
async fn events_go_only_to_the_owners_listeners() {
    let mut test = TestApp::new().await;
    let other = App::new("other", &test.registry);
    let mut others = RecordingListener::of(&other).await;
    let (ours, mut our_peer) = connected(&test).await;
    let created = other.tcp.create(Default::default()).await;
    let theirs = created.expect("create").socket_id;
    let mut their_peer = connect(&other, theirs).await;

    write(&mut our_peer, b"ours").await;
    assert_eq!(test.received(ours.id(), 4).await, b"ours");
    drop(our_peer);
    assert_eq!(test.ended(ours.id()).await.code(), -100);
    assert!(others.so_far().await.is_empty());

    write(&mut their_peer, b"theirs").await;
    assert!(is_data(&others.next().await, b"theirs"));
    drop(their_peer);
    assert!(is_end(&others.next().await));
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn each_of_several_listeners_gets_every_event() {
    let mut test = TestApp::new().await;
    let mut second = RecordingListener::of(&test.app).await;
    let mut third = RecordingListener::of(&test.app).await;
    let (client, mut peer) = connected(&test).await;
    for _ in 0..10 {
        write(&mut peer, b"for all").await;
        assert_eq!(test.received(client.id(), 7).await, b"for all");
        assert!(is_data(&second.next().await, b"for all"));
        assert!(is_data(&third.next().await, b"for all"));
    }
    drop(peer);
    assert_eq!(test.ended(client.id()).await.code(), -100);
    assert!(is_end(&second.next().await));
    assert!(is_end(&third.next().await));
    test.expect_no_event().await;
    assert!(second.so_far().await.is_empty());
    assert!(third.so_far().await.is_empty());
}

#[actix_rt::test]
async fn a_listener_that_is_added_twice_receives_each_event_once() {
    let mut test = TestApp::new().await;
    let mut recorder = RecordingListener::of(&test.app).await;
    let tcp = test.app.tcp.clone();
    let data = tcp.on_receive.add_listener(recorder.recipient());
    data.await.expect("the registry runs");
    let end = tcp.on_receive_error.add_listener(recorder.recipient());
    end.await.expect("the registry runs");
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"once").await;
    assert_eq!(test.received(client.id(), 4).await, b"once");
    drop(peer);
    test.ended(client.id()).await;
    test.expect_no_event().await;
    let received = recorder.so_far().await;
    assert_eq!(received.len(), 2, "{received:?}");
    assert!(is_data(&received[0], b"once") && is_end(&received[1]));
}

#[actix_rt::test]
async fn a_removed_listener_receives_no_events_and_the_others_do() {
    let mut test = TestApp::new().await;
    let mut recorder = RecordingListener::of(&test.app).await;
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"both").await;
    assert_eq!(test.received(client.id(), 4).await, b"both");
    assert!(is_data(&recorder.next().await, b"both"));

    let on_receive = test.app.tcp.on_receive.clone();
    let removed = on_receive.remove_listener(recorder.recipient());
    removed.await.expect("the registry runs");
    write(&mut peer, b"one").await;
    assert_eq!(test.received(client.id(), 3).await, b"one");
    test.expect_no_event().await;
    assert!(recorder.so_far().await.is_empty());

    // The other event has its own listeners.
    let on_end = test.app.tcp.on_receive_error.clone();
    assert_eq!(on_end.has_listener(recorder.recipient()).await, Ok(true));
    drop(peer);
    test.ended(client.id()).await;
    assert!(is_end(&recorder.next().await));
}

#[actix_rt::test]
async fn a_listener_is_removed_when_its_actor_stops() {
    let mut test = TestApp::new().await;
    let on_receive = test.app.tcp.on_receive.clone();
    let ours = test.listener.clone().recipient();
    on_receive.remove_listener(ours).await.expect("removed");
    let recorder = RecordingListener::of(&test.app).await;
    let recipient = recorder.recipient::<ReceiveInfo>();
    assert_eq!(on_receive.has_listeners().await, Ok(true));
    recorder.stop().await;
    assert_eq!(on_receive.has_listeners().await, Ok(false));
    assert_eq!(on_receive.has_listener(recipient).await, Ok(false));

    // Data waits for the next listener, as if there had been none.
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"for whom").await;
    test.expect_no_event().await;
    let ours = test.listener.clone().recipient();
    on_receive.add_listener(ours).await.expect("added");
    assert_eq!(test.received(client.id(), 8).await, b"for whom");
}

#[actix_rt::test]
async fn an_end_without_listeners_still_ends_the_connection() {
    let mut test = TestApp::new().await;
    let on_end = test.app.tcp.on_receive_error.clone();
    let ours = test.listener.clone().recipient();
    on_end.remove_listener(ours).await.expect("removed");
    let (client, mut peer) = connected(&test).await;
    client.disconnect().await.expect("disconnect");
    super::assert_ended(&test.app, client.id()).await;
    assert_eq!(super::read_to_end(&mut peer).await, b"");
    test.expect_no_event().await;
}
