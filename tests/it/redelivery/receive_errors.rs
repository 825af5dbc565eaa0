//! `onReceiveError`: reported after all data, and again if no listener handled it.

use std::time::Duration;

use super::*;

#[actix_rt::test]
async fn the_end_is_reported_after_redelivered_data() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Handle, Panic]).await;
    fixture.peer.send("abc");
    fixture.peer.shutdown();
    assert_eq!(listener.wait_for_death().await, data("a"));
    let info = fixture.client.get_info().await.expect("it is open");
    assert!(
        info.connected && !info.paused,
        "its end must not change its state"
    );
    fixture.listen().await;
    fixture.expect_data("bc").await;
    fixture.expect_end(NetError::CONNECTION_CLOSED).await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_end_whose_listener_panics_is_reported_to_the_next_one() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Handle, Panic]).await;
    fixture.peer.send("a");
    fixture.peer.reset();
    assert_eq!(listener.wait_for_death().await, data("a"));
    fixture.test.expect_no_event().await;
    fixture.listen().await;
    fixture.expect_end(NetError::CONNECTION_CLOSED).await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_end_is_reported_as_soon_as_a_listener_is_added() {
    tokio::time::pause();
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.shutdown();
    assert_eq!(listener.wait_for_death().await, []);
    let listener = fixture.test.listener.clone();
    let ends = &fixture.test.app.tcp.on_receive_error;
    let added = ends.add_listener(listener.recipient());
    added.await.expect("the registry runs");
    let reported = fixture.test.next_before(Duration::from_secs(1)).await;
    assert!(matches!(reported, ListenerEvent::ReceiveError(id, _) if id == fixture.client.id()));
}

#[actix_rt::test]
async fn an_end_after_the_death_of_the_listener_is_reported_to_the_next_one() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Stop]).await;
    fixture.peer.send("a");
    assert_eq!(listener.wait_for_death().await, data("a"));
    // Reported at once, since the app disconnects; but there is no listener.
    fixture.client.disconnect().await.expect("it is open");
    fixture.listen().await;
    fixture.expect_end(NetError::CONNECTION_CLOSED).await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_end_that_one_of_several_listeners_handled_is_not_reported_again() {
    let mut fixture = Fixture::new().await;
    let first = fixture.start_listener(&[Panic]).await;
    let mut second = fixture.start_listener(&[]).await;
    fixture.peer.shutdown();
    assert_eq!(first.wait_for_death().await, []);
    let end = within("the end", second.handled.recv()).await;
    assert_eq!(end, Some(HandledEvent::End(NetError::CONNECTION_CLOSED)));
    fixture.listen().await;
    fixture.test.expect_no_event().await;
    assert!(second.handled.try_recv().is_err());
}

#[actix_rt::test]
async fn an_end_that_none_of_several_listeners_handled_is_reported_again_once() {
    let mut fixture = Fixture::new().await;
    let first = fixture.start_listener(&[Panic]).await;
    let second = fixture.start_listener(&[Panic]).await;
    fixture.peer.shutdown();
    assert_eq!(first.wait_for_death().await, []);
    assert_eq!(second.wait_for_death().await, []);
    fixture.listen().await;
    fixture.expect_end(NetError::CONNECTION_CLOSED).await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_end_is_not_reported_after_the_socket_has_reconnected() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.shutdown();
    assert_eq!(listener.wait_for_death().await, []);
    fixture.peer = reconnect(&fixture.client, &fixture.network).await;
    fixture.client.set_paused(false).await.expect("it is open");
    fixture.listen().await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn an_end_without_any_listener_is_not_reported_later() {
    let mut fixture = Fixture::new().await;
    let tcp = &fixture.test.app.tcp;
    let listener = fixture.test.listener.clone();
    let added = tcp.on_receive.add_listener(listener.recipient());
    added.await.expect("it runs");
    fixture.peer.send("a");
    fixture.peer.shutdown();
    fixture.expect_data("a").await;
    fixture.listen().await;
    fixture.test.expect_no_event().await;
}

/// The end of a connection was reported to a listener that died at it, and the app has resumed
/// the socket since.
async fn resumed_after_its_end() -> Fixture {
    let fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.shutdown();
    assert_eq!(listener.wait_for_death().await, []);
    let ended = fixture.client.get_info().await.expect("it is open");
    assert!(!ended.connected && ended.paused);
    fixture.client.set_paused(false).await.expect("it is open");
    fixture
}

#[actix_rt::test]
async fn an_end_that_is_reported_late_does_not_pause_a_socket_that_was_resumed_since() {
    let mut fixture = resumed_after_its_end().await;
    fixture.listen().await;
    fixture.expect_end(NetError::CONNECTION_CLOSED).await;
    let info = fixture.client.get_info().await.expect("it is open");
    assert!(!info.paused, "the app has resumed it");
    // So it receives at once when it is connected again.
    fixture.peer = reconnect(&fixture.client, &fixture.network).await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn the_end_of_an_earlier_connection_is_not_reported_after_the_next_one_ended() {
    let mut fixture = resumed_after_its_end().await;
    fixture.peer = reconnect(&fixture.client, &fixture.network).await;
    fixture.client.set_paused(true).await.expect("it is open");
    // Paused, so its end is not reported.
    fixture.client.disconnect().await.expect("it is open");
    fixture.listen().await;
    fixture.test.expect_no_event().await;
    let info = fixture.client.get_info().await.expect("it is open");
    assert!(info.paused);
}
