//! `onReceive`: who has not had it hears it again, in order, and nobody else.

use super::*;

#[actix_rt::test]
async fn unhandled_data_of_a_listener_that_panics_goes_to_the_next_one_in_order() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Handle, Handle, Panic]).await;
    scene.peer.send("abcdef");
    assert_eq!(patient.dies().await, data("ab"));
    scene.peer.send("ghi");
    scene.world.nothing().await;
    scene.listen().await;
    scene.hears("cdefghi").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_in_the_mailbox_of_a_stopped_listener_goes_to_the_next_one() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Handle, Stop]).await;
    scene.peer.send("abcdef");
    assert_eq!(patient.dies().await, data("ab"));
    scene.listen().await;
    scene.hears("cdef").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn listeners_that_die_one_after_the_other_lose_no_data() {
    let mut scene = Scene::new().await;
    scene.peer.send("abcdefgh");
    for handled in ["a", "b", "c", "d"] {
        let patient = scene.patient(&[Handle, Panic]).await;
        assert_eq!(patient.dies().await, data(handled));
    }
    scene.listen().await;
    scene.hears("efgh").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_taken_out_before_a_panic_is_not_raised_again() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Handle, TakeAndPanic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, data("ab"));
    scene.listen().await;
    scene.hears("c").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_forwarded_before_a_panic_is_not_raised_again() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Handle, ForwardAndPanic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, data("a"));
    scene.listen().await;
    scene.hears("c").await;
    assert_eq!(scene.peer.received(), b"b");
    scene.is_alive().await;
}

#[actix_rt::test]
async fn a_clone_neither_causes_nor_prevents_redelivery() {
    let mut scene = Scene::new().await;
    // The clone of what was handled dies with its listener.
    let patient = scene.patient(&[KeepClone, Panic]).await;
    scene.peer.send("ab");
    assert_eq!(patient.dies().await, data("a"));
    let patient = scene.patient(&[CloneAndPanic]).await;
    assert_eq!(patient.dies().await, []);
    scene.listen().await;
    scene.hears("b").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_that_one_of_several_listeners_handles_is_not_raised_again() {
    let mut scene = Scene::new().await;
    let first = scene.patient(&[Handle, Panic]).await;
    let mut second = scene.patient(&[]).await;
    scene.peer.send("abc");
    assert_eq!(first.dies().await, data("a"));
    for told in data("abc") {
        assert_eq!(within("data", second.heard.recv()).await, Some(told));
    }
    scene.listen().await;
    scene.is_alive().await;
    let heard = within("data", second.heard.recv()).await;
    assert_eq!(heard, Some(Told::Data("!".into())));
    assert!(second.heard.try_recv().is_err(), "nothing is raised twice");
}

#[actix_rt::test]
async fn data_that_none_of_several_listeners_handled_is_raised_again_once() {
    let mut scene = Scene::new().await;
    let first = scene.patient(&[Handle, Panic]).await;
    let second = scene.patient(&[Handle, Handle, Panic]).await;
    scene.peer.send("abcd");
    assert_eq!(first.dies().await, data("a"));
    assert_eq!(second.dies().await, data("ab"));
    scene.listen().await;
    scene.hears("cd").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_that_one_of_several_listeners_took_out_is_not_raised_again() {
    let mut scene = Scene::new().await;
    let first = scene.patient(&[TakeAndPanic]).await;
    let second = scene.patient(&[Panic]).await;
    scene.peer.send("ab");
    assert_eq!(first.dies().await, data("a"));
    assert_eq!(second.dies().await, []);
    scene.listen().await;
    scene.hears("b").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn events_that_a_listener_kept_are_raised_again_in_order_when_it_panics() {
    let mut scene = Scene::new().await;
    // What it has kept is dropped after what it was just handed.
    let patient = scene.patient(&[Handle, Keep, Keep, Panic]).await;
    scene.peer.send("abcdef");
    assert_eq!(patient.dies().await, data("abc"));
    scene.listen().await;
    scene.hears("bcdef").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn a_connection_whose_order_cannot_be_kept_ends_and_is_reported() {
    let mut scene = Scene::new().await;
    // It keeps one, handles a later one, and loses the first when it panics.
    let patient = scene.patient(&[Keep, Handle, Panic]).await;
    scene.peer.send("abcd");
    assert_eq!(patient.dies().await, data("ab"));
    scene.listen().await;
    scene.ends(NetError::CONNECTION_ABORTED).await;
    assert!(scene.peer.is_closed());
    let sent = scene.client.send("x").await;
    assert_eq!(sent.map(drop), Err(NetError::SOCKET_NOT_CONNECTED.into()));
    scene.world.nothing().await;
    // The socket is there for another connection.
    scene.peer = reconnect(&scene.client, &scene.network).await;
    scene.client.set_paused(false).await.expect("it is open");
    scene.is_alive().await;
}

#[actix_rt::test]
async fn a_kept_event_does_not_keep_its_listener_alive() {
    let scene = Scene::new().await;
    let mut patient = scene.patient(&[Keep]).await;
    scene.peer.send("a");
    let heard = within("data", patient.heard.recv()).await;
    assert_eq!(heard, Some(Told::Data("a".into())));
    let tcp = &scene.world.app.tcp;
    let actor = patient.actor;
    let ends = &tcp.on_receive_error;
    ends.remove_listener(actor.clone().recipient());
    let removed = tcp.on_receive.remove_listener(actor.recipient()).await;
    removed.expect("the registry runs");
    // Its last address is gone: it ends, and what it has said with it.
    assert_eq!(within("its end", patient.heard.recv()).await, None);
}

#[actix_rt::test]
async fn data_for_redelivery_waits_while_the_socket_is_paused() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, []);
    let paused = within("the answer", scene.client.set_paused(true)).await;
    assert_eq!(paused, Ok(()), "nothing is on its way");
    scene.listen().await;
    scene.world.nothing().await;
    let info = scene.client.get_info().await.expect("it is open");
    assert!(info.paused && info.connected);
    scene.client.set_paused(false).await.expect("it is open");
    scene.hears("abc").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_is_redelivered_in_events_of_the_current_buffer_size() {
    let mut scene = Scene::new().await;
    let (client, peer) = connected(&scene.world, &scene.network, 100).await;
    let patient = scene.patient(&[Panic]).await;
    peer.send("0123456789");
    assert_eq!(patient.dies().await, []);
    let smaller = tcp::SocketProperties {
        buffer_size: Some(3),
        ..Default::default()
    };
    client.update(smaller).await.expect("update");
    scene.listen().await;
    for piece in ["012", "345", "678", "9"] {
        match scene.world.next().await {
            Heard::Receive(id, data) if id == client.id() => assert_eq!(data, piece),
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_of_a_connection_that_the_app_ended_is_not_redelivered_on_the_next_one() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, []);
    scene.client.disconnect().await.expect("it is open");
    scene.peer = reconnect(&scene.client, &scene.network).await;
    scene.client.set_paused(false).await.expect("it is open");
    scene.listen().await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn a_socket_with_data_for_redelivery_closes_like_any_other() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, []);
    scene.client.close().await.expect("it is open");
    assert!(scene.peer.is_closed());
    scene.listen().await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn secure_closes_a_socket_with_data_for_redelivery() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, []);
    scene.client.set_paused(true).await.expect("it is open");
    let secured = scene.client.secure(Default::default()).await;
    assert_eq!(secured, Err(NetError::FAILED.into()));
    // As whenever it is called in the wrong state.
    assert!(scene.peer.is_closed());
    scene.listen().await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn a_connection_is_not_idle_while_its_data_waits_for_a_listener() {
    use std::time::Duration;
    tokio::time::pause();
    let mut scene = Scene::new().await;
    let idle = tcp::Timeouts {
        idle: Some(Duration::from_secs(60)),
        ..Default::default()
    };
    scene.client.set_timeouts(idle).await.expect("it is open");
    let patient = scene.patient(&[Panic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, []);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!scene.peer.is_closed());
    scene.listen().await;
    for byte in ["a", "b", "c"] {
        match scene.world.next_before(Duration::from_secs(1)).await {
            Heard::Receive(_, data) => assert_eq!(data, byte),
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    let end = scene.world.next_before(Duration::from_secs(121)).await;
    assert!(matches!(end, Heard::ReceiveError(_, NetError::TIMED_OUT)));
}
