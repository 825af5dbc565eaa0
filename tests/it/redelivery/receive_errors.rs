//! `onReceiveError`: after all data, and told again if it reached nobody.

use super::*;
use std::time::Duration;

#[actix_rt::test]
async fn the_end_is_reported_after_redelivered_data() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Handle, Panic]).await;
    scene.peer.send("abc");
    scene.peer.end();
    assert_eq!(patient.dies().await, data("a"));
    let info = scene.client.get_info().await.expect("it is open");
    assert!(info.connected && !info.paused, "its end was not told");
    scene.listen().await;
    scene.hears("bc").await;
    scene.ends(NetError::CONNECTION_CLOSED).await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn an_end_whose_listener_panics_is_reported_to_the_next_one() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Handle, Panic]).await;
    scene.peer.send("a");
    scene.peer.reset();
    assert_eq!(patient.dies().await, data("a"));
    scene.world.nothing().await;
    scene.listen().await;
    scene.ends(NetError::CONNECTION_CLOSED).await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn an_end_is_reported_as_soon_as_a_listener_is_added() {
    tokio::time::pause();
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.end();
    assert_eq!(patient.dies().await, []);
    let listener = scene.world.listener.clone();
    let ends = &scene.world.app.tcp.on_receive_error;
    let added = ends.add_listener(listener.recipient());
    added.await.expect("the registry runs");
    let told = scene.world.next_before(Duration::from_secs(1)).await;
    assert!(matches!(told, Heard::ReceiveError(id, _) if id == scene.client.id()));
}

#[actix_rt::test]
async fn an_end_after_the_death_of_the_listener_is_reported_to_the_next_one() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Stop]).await;
    scene.peer.send("a");
    assert_eq!(patient.dies().await, data("a"));
    // Told at once, as the app does it; but nobody hears it.
    scene.client.disconnect().await.expect("it is open");
    scene.listen().await;
    scene.ends(NetError::CONNECTION_CLOSED).await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn an_end_that_one_of_several_listeners_handled_is_not_reported_again() {
    let mut scene = Scene::new().await;
    let first = scene.patient(&[Panic]).await;
    let mut second = scene.patient(&[]).await;
    scene.peer.end();
    assert_eq!(first.dies().await, []);
    let end = within("the end", second.heard.recv()).await;
    assert_eq!(end, Some(Told::End(NetError::CONNECTION_CLOSED)));
    scene.listen().await;
    scene.world.nothing().await;
    assert!(second.heard.try_recv().is_err());
}

#[actix_rt::test]
async fn an_end_that_none_of_several_listeners_handled_is_reported_again_once() {
    let mut scene = Scene::new().await;
    let first = scene.patient(&[Panic]).await;
    let second = scene.patient(&[Panic]).await;
    scene.peer.end();
    assert_eq!(first.dies().await, []);
    assert_eq!(second.dies().await, []);
    scene.listen().await;
    scene.ends(NetError::CONNECTION_CLOSED).await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn an_end_is_not_reported_after_the_socket_has_reconnected() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.end();
    assert_eq!(patient.dies().await, []);
    scene.peer = reconnect(&scene.client, &scene.network).await;
    scene.client.set_paused(false).await.expect("it is open");
    scene.listen().await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn an_end_without_any_listener_is_not_reported_later() {
    let mut scene = Scene::new().await;
    let tcp = &scene.world.app.tcp;
    let listener = scene.world.listener.clone();
    let added = tcp.on_receive.add_listener(listener.recipient());
    added.await.expect("it runs");
    scene.peer.send("a");
    scene.peer.end();
    scene.hears("a").await;
    scene.listen().await;
    scene.world.nothing().await;
}

/// The end of a connection has been told to a listener that died of it, and the
/// app has resumed the socket since.
async fn resumed_after_its_end() -> Scene {
    let scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.end();
    assert_eq!(patient.dies().await, []);
    let ended = scene.client.get_info().await.expect("it is open");
    assert!(!ended.connected && ended.paused);
    scene.client.set_paused(false).await.expect("it is open");
    scene
}

#[actix_rt::test]
async fn an_end_that_is_reported_late_does_not_pause_a_socket_that_was_resumed_since() {
    let mut scene = resumed_after_its_end().await;
    scene.listen().await;
    scene.ends(NetError::CONNECTION_CLOSED).await;
    let info = scene.client.get_info().await.expect("it is open");
    assert!(!info.paused, "the app has resumed it");
    // So it receives at once when it is connected again.
    scene.peer = reconnect(&scene.client, &scene.network).await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn the_end_of_an_earlier_connection_is_not_reported_after_the_next_one_ended() {
    let mut scene = resumed_after_its_end().await;
    scene.peer = reconnect(&scene.client, &scene.network).await;
    scene.client.set_paused(true).await.expect("it is open");
    // Paused: its end is told to nobody.
    scene.client.disconnect().await.expect("it is open");
    scene.listen().await;
    scene.world.nothing().await;
    let info = scene.client.get_info().await.expect("it is open");
    assert!(info.paused);
}
