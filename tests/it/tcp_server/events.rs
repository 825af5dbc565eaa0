//! The listeners of `onAccept`.

use chrome_sockets::App;
use chrome_sockets::tcp_server::AcceptInfo;
use support::{ListenerEvent, TestApp};

use super::recording_listener::RecordingListener;
use super::{dial, expect_accept, listen_at};

/// Removes the test's own listener.
async fn without_listener(test: &TestApp) {
    let ours = test.listener.clone().recipient();
    let removed = test.app.tcp_server.on_accept.remove_listener(ours);
    removed.await.expect("the registry runs");
}

#[actix_rt::test]
async fn events_go_only_to_the_owners_listeners() {
    let mut test = TestApp::new().await;
    let other = App::new("other", &test.registry);
    let mut others = RecordingListener::of(&other).await;
    let (_, at) = test.listen().await;
    let (_, others_at) = listen_at(&other, "127.0.0.1").await;

    let ours = dial(at).await;
    expect_accept(&mut test, &ours).await;
    let _theirs = dial(others_at).await;
    let client = others.accepted().await;
    test.expect_no_event().await;
    assert!(others.so_far().await.is_empty());
    // The client belongs to the other app, too.
    assert!(other.tcp.get_info(client).await.is_ok());
    assert!(test.app.tcp.get_info(client).await.is_err());
}

#[actix_rt::test]
async fn each_of_several_listeners_gets_every_event() {
    let mut test = TestApp::new().await;
    let mut second = RecordingListener::of(&test.app).await;
    let mut third = RecordingListener::of(&test.app).await;
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(dial(at).await);
        let client = test.accepted().await.id();
        assert_eq!(second.accepted().await, client);
        assert_eq!(third.accepted().await, client);
    }
    test.expect_no_event().await;
    assert!(second.so_far().await.is_empty());
    assert!(third.so_far().await.is_empty());
}

#[actix_rt::test]
async fn one_listener_receives_events_of_all_sockets_of_the_app() {
    let mut test = TestApp::new().await;
    let (first, first_at) = test.listen().await;
    let (second, second_at) = test.listen().await;
    for (id, at) in [(second, second_at), (first, first_at)] {
        let _peer = dial(at).await;
        match test.next().await {
            ListenerEvent::Accept(from, _) => assert_eq!(from, id),
            other => panic!("expected onAccept, not {other:?}"),
        }
    }
}

#[actix_rt::test]
async fn a_listener_that_is_added_twice_receives_each_event_once_and_is_removed_by_one_removal() {
    let mut test = TestApp::new().await;
    let on_accept = test.app.tcp_server.on_accept.clone();
    let mut recorder = RecordingListener::of(&test.app).await;
    let again = on_accept.add_listener(recorder.recipient());
    again.await.expect("the registry runs");
    let (_, at) = test.listen().await;
    let _first = dial(at).await;
    test.accepted().await;
    recorder.accepted().await;
    test.expect_no_event().await;
    assert!(recorder.so_far().await.is_empty(), "it received two events");

    let removed = on_accept.remove_listener(recorder.recipient());
    removed.await.expect("the registry runs");
    let _second = dial(at).await;
    test.accepted().await;
    test.expect_no_event().await;
    assert!(recorder.so_far().await.is_empty(), "it is still there");
}

#[actix_rt::test]
async fn a_removed_listener_receives_no_events_and_the_others_do() {
    let mut test = TestApp::new().await;
    let on_accept = test.app.tcp_server.on_accept.clone();
    let mut recorder = RecordingListener::of(&test.app).await;
    let (_, at) = test.listen().await;
    let _first = dial(at).await;
    test.accepted().await;
    recorder.accepted().await;

    let removed = on_accept.remove_listener(recorder.recipient());
    removed.await.expect("the registry runs");
    let _second = dial(at).await;
    test.accepted().await;
    test.expect_no_event().await;
    assert!(recorder.so_far().await.is_empty());

    let added = on_accept.add_listener(recorder.recipient());
    added.await.expect("the registry runs");
    let _third = dial(at).await;
    assert_eq!(recorder.accepted().await, test.accepted().await.id());
}

#[actix_rt::test]
async fn removing_a_listener_that_never_listened_does_nothing() {
    let mut test = TestApp::new().await;
    let stranger = RecordingListener::new();
    let on_accept = test.app.tcp_server.on_accept.clone();
    let removed = on_accept.remove_listener(stranger.recipient());
    assert_eq!(removed.await, Ok(()));
    // Nor for an app that the registry does not know.
    let unknown = App::new("unheard", &test.registry);
    let on_accept = unknown.tcp_server.on_accept.clone();
    let removed = on_accept.remove_listener(stranger.recipient());
    assert_eq!(removed.await, Ok(()));
    let (_, at) = test.listen().await;
    let _peer = dial(at).await;
    test.accepted().await;
}

#[actix_rt::test]
async fn has_listener_answers_whether_the_listener_was_added() {
    let test = TestApp::new().await;
    let app = App::new("other", &test.registry);
    let on_accept = &app.tcp_server.on_accept;
    let (recorder, stranger) = (RecordingListener::new(), RecordingListener::new());
    assert_eq!(on_accept.has_listeners().await, Ok(false));
    assert_eq!(
        on_accept.has_listener(recorder.recipient()).await,
        Ok(false)
    );

    let added = on_accept.add_listener(recorder.recipient());
    added.await.expect("the registry runs");
    assert_eq!(on_accept.has_listeners().await, Ok(true));
    assert_eq!(on_accept.has_listener(recorder.recipient()).await, Ok(true));
    let other = on_accept.has_listener(stranger.recipient());
    assert_eq!(other.await, Ok(false));
    // Each event has its own listeners.
    assert_eq!(app.tcp.on_receive.has_listeners().await, Ok(false));

    let removed = on_accept.remove_listener(recorder.recipient());
    removed.await.expect("the registry runs");
    assert_eq!(on_accept.has_listeners().await, Ok(false));
    assert_eq!(
        on_accept.has_listener(recorder.recipient()).await,
        Ok(false)
    );
}

#[actix_rt::test]
async fn a_listener_is_removed_when_its_actor_stops() {
    let mut test = TestApp::new().await;
    without_listener(&test).await;
    let on_accept = test.app.tcp_server.on_accept.clone();
    let recorder = RecordingListener::of(&test.app).await;
    let recipient = recorder.recipient::<AcceptInfo>();
    assert_eq!(on_accept.has_listeners().await, Ok(true));
    recorder.stop().await;
    assert_eq!(on_accept.has_listeners().await, Ok(false));
    assert_eq!(on_accept.has_listener(recipient).await, Ok(false));

    // Connections wait for the next listener, as if there had been none.
    let (_, at) = test.listen().await;
    let peer = dial(at).await;
    test.expect_no_event().await;
    assert_eq!(test.app.tcp.get_sockets().await, Ok(Vec::new()));
    let added = on_accept.add_listener(test.listener.clone().recipient());
    added.await.expect("the registry runs");
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn without_a_listener_connections_wait_in_the_backlog_until_one_is_added() {
    let mut test = TestApp::new().await;
    without_listener(&test).await;
    let (id, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(dial(at).await);
    }
    test.expect_no_event().await;
    let tcp = test.app.tcp.clone();
    assert_eq!(tcp.get_sockets().await, Ok(Vec::new()), "it accepted");
    let info = test.app.tcp_server.get_info(id).await.expect("it exists");
    assert!(!info.paused, "waiting for a listener is not pausing");

    let on_accept = test.app.tcp_server.on_accept.clone();
    let added = on_accept.add_listener(test.listener.clone().recipient());
    added.await.expect("the registry runs");
    for peer in &peers {
        expect_accept(&mut test, peer).await;
    }
}

#[actix_rt::test]
async fn a_listener_of_another_app_or_event_does_not_make_a_socket_accept() {
    let mut test = TestApp::new().await;
    without_listener(&test).await;
    let other = App::new("other", &test.registry);
    let mut others = RecordingListener::of(&other).await;
    let (_, at) = test.listen().await;
    let _peer = dial(at).await;
    test.expect_no_event().await;
    assert!(others.so_far().await.is_empty());
    assert_eq!(test.app.tcp.get_sockets().await, Ok(Vec::new()));
}
