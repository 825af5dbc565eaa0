//! `onReceive`: unhandled data is raised again, in order, and only that.

use super::*;

#[actix_rt::test]
async fn unhandled_data_of_a_listener_that_panics_goes_to_the_next_one_in_order() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Handle, Handle, Panic]).await;
    fixture.peer.send("abcdef");
    assert_eq!(listener.wait_for_death().await, data("ab"));
    fixture.peer.send("ghi");
    fixture.test.expect_no_event().await;
    fixture.listen().await;
    fixture.expect_data("cdefghi").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_in_the_mailbox_of_a_stopped_listener_goes_to_the_next_one() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Handle, Stop]).await;
    fixture.peer.send("abcdef");
    assert_eq!(listener.wait_for_death().await, data("ab"));
    fixture.listen().await;
    fixture.expect_data("cdef").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn listeners_that_die_one_after_the_other_lose_no_data() {
    let mut fixture = Fixture::new().await;
    fixture.peer.send("abcdefgh");
    for handled in ["a", "b", "c", "d"] {
        let listener = fixture.start_listener(&[Handle, Panic]).await;
        assert_eq!(listener.wait_for_death().await, data(handled));
    }
    fixture.listen().await;
    fixture.expect_data("efgh").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_taken_out_before_a_panic_is_not_raised_again() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Handle, TakeAndPanic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, data("ab"));
    fixture.listen().await;
    fixture.expect_data("c").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_forwarded_before_a_panic_is_not_raised_again() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Handle, ForwardAndPanic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, data("a"));
    fixture.listen().await;
    fixture.expect_data("c").await;
    assert_eq!(fixture.peer.received(), b"b");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn a_clone_neither_causes_nor_prevents_redelivery() {
    let mut fixture = Fixture::new().await;
    // The clone of the handled event dies with its listener.
    let listener = fixture.start_listener(&[KeepClone, Panic]).await;
    fixture.peer.send("ab");
    assert_eq!(listener.wait_for_death().await, data("a"));
    let listener = fixture.start_listener(&[CloneAndPanic]).await;
    assert_eq!(listener.wait_for_death().await, []);
    fixture.listen().await;
    fixture.expect_data("b").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_that_one_of_several_listeners_handles_is_not_raised_again() {
    let mut fixture = Fixture::new().await;
    let first = fixture.start_listener(&[Handle, Panic]).await;
    let mut second = fixture.start_listener(&[]).await;
    fixture.peer.send("abc");
    assert_eq!(first.wait_for_death().await, data("a"));
    for reported in data("abc") {
        assert_eq!(within("data", second.handled.recv()).await, Some(reported));
    }
    fixture.listen().await;
    fixture.assert_alive().await;
    let handled = within("data", second.handled.recv()).await;
    assert_eq!(handled, Some(HandledEvent::Data("!".into())));
    assert!(
        second.handled.try_recv().is_err(),
        "nothing is raised twice"
    );
}

#[actix_rt::test]
async fn data_that_none_of_several_listeners_handled_is_raised_again_once() {
    let mut fixture = Fixture::new().await;
    let first = fixture.start_listener(&[Handle, Panic]).await;
    let second = fixture.start_listener(&[Handle, Handle, Panic]).await;
    fixture.peer.send("abcd");
    assert_eq!(first.wait_for_death().await, data("a"));
    assert_eq!(second.wait_for_death().await, data("ab"));
    fixture.listen().await;
    fixture.expect_data("cd").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_that_one_of_several_listeners_took_out_is_not_raised_again() {
    let mut fixture = Fixture::new().await;
    let first = fixture.start_listener(&[TakeAndPanic]).await;
    let second = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("ab");
    assert_eq!(first.wait_for_death().await, data("a"));
    assert_eq!(second.wait_for_death().await, []);
    fixture.listen().await;
    fixture.expect_data("b").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn events_that_a_listener_kept_are_raised_again_in_order_when_it_panics() {
    let mut fixture = Fixture::new().await;
    // The kept event is dropped after the current one.
    let listener = fixture.start_listener(&[Handle, Keep, Keep, Panic]).await;
    fixture.peer.send("abcdef");
    assert_eq!(listener.wait_for_death().await, data("abc"));
    fixture.listen().await;
    fixture.expect_data("bcdef").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn a_connection_whose_order_cannot_be_kept_ends_and_is_reported() {
    let mut fixture = Fixture::new().await;
    // It keeps one event, handles a later one, and drops the first when it panics.
    let listener = fixture.start_listener(&[Keep, Handle, Panic]).await;
    fixture.peer.send("abcd");
    assert_eq!(listener.wait_for_death().await, data("ab"));
    fixture.listen().await;
    fixture.expect_end(NetError::CONNECTION_ABORTED).await;
    assert!(fixture.peer.is_closed());
    let sent = fixture.client.send("x").await;
    assert_eq!(sent.map(drop), Err(NetError::SOCKET_NOT_CONNECTED.into()));
    fixture.test.expect_no_event().await;
    // The socket can connect again.
    fixture.peer = reconnect(&fixture.client, &fixture.network).await;
    fixture.client.set_paused(false).await.expect("it is open");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn a_kept_event_does_not_keep_its_listener_alive() {
    let fixture = Fixture::new().await;
    let mut listener = fixture.start_listener(&[Keep]).await;
    fixture.peer.send("a");
    let handled = within("data", listener.handled.recv()).await;
    assert_eq!(handled, Some(HandledEvent::Data("a".into())));
    let tcp = &fixture.test.app.tcp;
    let actor = listener.actor;
    let ends = &tcp.on_receive_error;
    ends.do_remove_listener(actor.clone().recipient());
    let removed = tcp.on_receive.remove_listener(actor.recipient()).await;
    removed.expect("the registry runs");
    // Its last address is gone: it ends, and with it its record.
    assert_eq!(within("its end", listener.handled.recv()).await, None);
}

#[actix_rt::test]
async fn data_for_redelivery_waits_while_the_socket_is_paused() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, []);
    let paused = within("the answer", fixture.client.set_paused(true)).await;
    assert_eq!(paused, Ok(()), "nothing is on its way");
    fixture.listen().await;
    fixture.test.expect_no_event().await;
    let info = fixture.client.get_info().await.expect("it is open");
    assert!(info.paused && info.connected);
    fixture.client.set_paused(false).await.expect("it is open");
    fixture.expect_data("abc").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_is_redelivered_in_events_of_the_current_buffer_size() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    let listener = fixture.start_listener(&[Panic]).await;
    peer.send("0123456789");
    assert_eq!(listener.wait_for_death().await, []);
    let smaller = tcp::SocketProperties {
        buffer_size: Some(3),
        ..Default::default()
    };
    client.update(smaller).await.expect("update");
    fixture.listen().await;
    for piece in ["012", "345", "678", "9"] {
        match fixture.test.next().await {
            ListenerEvent::Receive(id, data) if id == client.id() => assert_eq!(data, piece),
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_of_a_connection_that_the_app_ended_is_not_redelivered_on_the_next_one() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, []);
    fixture.client.disconnect().await.expect("it is open");
    fixture.peer = reconnect(&fixture.client, &fixture.network).await;
    fixture.client.set_paused(false).await.expect("it is open");
    fixture.listen().await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn a_socket_with_data_for_redelivery_closes_like_any_other() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, []);
    fixture.client.close().await.expect("it is open");
    assert!(fixture.peer.is_closed());
    fixture.listen().await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn secure_closes_a_socket_with_data_for_redelivery() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, []);
    fixture.client.set_paused(true).await.expect("it is open");
    let secured = fixture.client.secure(Default::default()).await;
    assert_eq!(secured, Err(NetError::FAILED.into()));
    // `secure` in a wrong state closes the socket.
    assert!(fixture.peer.is_closed());
    fixture.listen().await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_connection_is_not_idle_while_its_data_waits_for_a_listener() {
    use std::time::Duration;
    tokio::time::pause();
    let mut fixture = Fixture::new().await;
    let idle = tcp::Timeouts {
        idle: Some(Duration::from_secs(60)),
        ..Default::default()
    };
    fixture.client.set_timeouts(idle).await.expect("it is open");
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, []);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!fixture.peer.is_closed());
    fixture.listen().await;
    for byte in ["a", "b", "c"] {
        match fixture.test.next_before(Duration::from_secs(1)).await {
            ListenerEvent::Receive(_, data) => assert_eq!(data, byte),
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    let end = fixture.test.next_before(Duration::from_secs(121)).await;
    assert!(matches!(
        end,
        ListenerEvent::ReceiveError(_, NetError::TIMED_OUT)
    ));
}
