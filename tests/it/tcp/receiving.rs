//! `onReceive`: what arrives, when, and in which chunks.

use actix::prelude::*;
use actix_rt::time::timeout;
use bytes::Bytes;
use chrome_sockets::ClientSocketId;
use chrome_sockets::tcp::{DEFAULT_BUFFER_SIZE, SocketProperties};
use support::{EventSender, ListenerEvent, QUIET, TestApp, within};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::unbounded_channel;

use super::{LARGE, connect, connected, pair, pattern, read, write};

/// The data of the next events, one entry each.
async fn event_data(test: &mut TestApp, id: ClientSocketId, length: usize) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut received = 0;
    while received < length {
        match test.next().await {
            ListenerEvent::Receive(from, data) if from == id => {
                received += data.len();
                pieces.push(data);
            }
            other => panic!("expected onReceive of {id}, not {other:?}"),
        }
    }
    pieces
}

/// The largest event in which this much waiting data arrives.
async fn largest_event(buffer_size: Option<i32>, length: usize) -> usize {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let sized = SocketProperties {
        buffer_size,
        ..Default::default()
    };
    client.update(sized).await.expect("update");
    let data = pattern(length);
    write(&mut peer, &data).await;
    client.set_paused(false).await.expect("resume");
    let pieces = event_data(&mut test, client.id(), length).await;
    assert_eq!(pieces.concat(), data);
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    pieces.iter().map(Bytes::len).max().unwrap_or(0)
}

#[actix_rt::test]
async fn without_a_buffer_size_an_event_has_at_most_4096_bytes() {
    assert_eq!(DEFAULT_BUFFER_SIZE, 4096);
    for unset in [None, Some(0), Some(-1), Some(i32::MIN)] {
        assert_eq!(largest_event(unset, 20_000).await, 4096, "{unset:?}");
    }
}

#[actix_rt::test]
async fn the_buffer_size_is_the_most_bytes_of_one_event() {
    for size in [1, 10, 4095, 4097, 10_000] {
        let expected = usize::try_from(size).expect("positive");
        assert_eq!(largest_event(Some(size), 20_000).await, expected, "{size}");
    }
    // A size that is never reached makes no event larger than the data.
    assert!(largest_event(Some(i32::MAX), 20_000).await <= 20_000);
}

#[actix_rt::test]
async fn the_buffer_size_of_create_holds_after_connect_and_update_changes_it() {
    let mut test = TestApp::new().await;
    let created = test.app.tcp.create(SocketProperties {
        buffer_size: Some(3),
        ..Default::default()
    });
    let id = created.await.expect("create").socket_id;
    let mut peer = connect(&test.app, id).await;
    write(&mut peer, b"0123456789").await;
    let small = event_data(&mut test, id, 10).await;
    assert_eq!(small.concat(), b"0123456789");
    assert!(small.iter().all(|piece| piece.len() <= 3), "{small:?}");

    let larger = SocketProperties {
        buffer_size: Some(5),
        ..Default::default()
    };
    let tcp = test.app.tcp.clone();
    tcp.update(id, larger).await.expect("update");
    tcp.set_paused(id, true).await.expect("pause");
    write(&mut peer, b"0123456789").await;
    tcp.set_paused(id, false).await.expect("resume");
    let larger = event_data(&mut test, id, 10).await;
    assert_eq!(larger.concat(), b"0123456789");
    let most = larger.iter().map(Bytes::len).max();
    assert_eq!(most, Some(5));
}

#[actix_rt::test]
async fn all_of_a_large_transfer_arrives_in_order() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    let data = pattern(LARGE);
    let sent = data.clone();
    let writing = actix_rt::spawn(async move {
        peer.write_all(&sent).await.expect("write");
        peer
    });
    assert!(test.received(client.id(), LARGE).await == data);
    within("the end of the write", writing)
        .await
        .expect("it is written");
}

#[actix_rt::test]
async fn a_paused_socket_receives_nothing_and_waiting_data_comes_when_resumed() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"before").await;
    assert_eq!(test.received(client.id(), 6).await, b"before");
    for round in 0..3 {
        client.set_paused(true).await.expect("pause");
        let data = format!("during pause {round}");
        write(&mut peer, data.as_bytes()).await;
        test.expect_no_event().await;
        client.set_paused(false).await.expect("resume");
        let received = test.received(client.id(), data.len()).await;
        assert_eq!(received, data.as_bytes());
    }
}

#[actix_rt::test]
async fn a_paused_socket_does_not_block_the_others() {
    let mut test = TestApp::new().await;
    let (paused, mut paused_peer) = pair(&mut test).await;
    let (client, mut peer) = connected(&test).await;
    write(&mut paused_peer, b"waits").await;
    write(&mut peer, b"comes").await;
    assert_eq!(test.received(client.id(), 5).await, b"comes");
    test.expect_no_event().await;
    paused.set_paused(false).await.expect("resume");
    assert_eq!(test.received(paused.id(), 5).await, b"waits");
}

#[actix_rt::test]
async fn while_it_is_paused_neither_data_nor_end_is_reported() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    write(&mut peer, b"last words").await;
    drop(peer);
    test.expect_no_event().await;
    let info = client.get_info().await.expect("it exists");
    assert!(info.connected && info.paused);
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 10).await, b"last words");
    assert_eq!(test.ended(client.id()).await.code(), -100);
}

#[actix_rt::test]
async fn without_an_on_receive_listener_nothing_is_read_and_the_next_listener_receives_everything()
{
    let mut test = TestApp::new().await;
    let on_receive = test.app.tcp.on_receive.clone();
    let removed = on_receive.remove_listener(test.listener.clone().recipient());
    removed.await.expect("the registry runs");
    let (client, mut peer) = connected(&test).await;

    // More than the kernel buffers: the peer cannot finish while it waits.
    let data = pattern(LARGE);
    let sent = data.clone();
    let writing = actix_rt::spawn(async move {
        peer.write_all(&sent).await.expect("write");
        peer
    });
    test.expect_no_event().await;
    assert!(!writing.is_finished(), "data was read");
    let info = client.get_info().await.expect("it exists");
    assert!(info.connected && !info.paused);

    let added = on_receive.add_listener(test.listener.clone().recipient());
    added.await.expect("the registry runs");
    assert!(test.received(client.id(), data.len()).await == data);
    let mut peer = within("the end of the write", writing)
        .await
        .expect("it is written");
    client.send(&b"thanks"[..]).await.expect("send");
    assert_eq!(read(&mut peer, 6).await, b"thanks");
}

#[actix_rt::test]
async fn without_an_on_receive_listener_the_end_waits_behind_the_data() {
    let mut test = TestApp::new().await;
    let on_receive = test.app.tcp.on_receive.clone();
    let removed = on_receive.remove_listener(test.listener.clone().recipient());
    removed.await.expect("the registry runs");
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"unheard").await;
    drop(peer);
    test.expect_no_event().await;
    let added = on_receive.add_listener(test.listener.clone().recipient());
    added.await.expect("the registry runs");
    assert_eq!(test.received(client.id(), 7).await, b"unheard");
    assert_eq!(test.ended(client.id()).await.code(), -100);
}

#[actix_rt::test]
async fn a_kept_event_does_not_block_other_sockets() {
    let test = TestApp::new().await;
    test.remove_listener().await;
    let (sender, mut events) = unbounded_channel();
    let passes = EventSender(sender).start();
    let added = test.app.tcp.on_receive.add_listener(passes.recipient());
    added.await.expect("the registry runs");
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"k").await;
    let kept = within("the first event", events.recv()).await;
    let writing = actix_rt::spawn(async move {
        peer.write_all(&pattern(LARGE)).await.expect("write");
        peer
    });
    // Until the listener has a full window: then the socket is not read.
    let mut held = Vec::new();
    while let Ok(event) = timeout(QUIET, events.recv()).await {
        held.extend(event);
    }
    let mut received: usize = held.iter().map(|event| event.data.len()).sum();
    assert!(received < LARGE, "the window must limit it");
    drop(held);
    while received < LARGE {
        let event = within("the rest", events.recv()).await;
        received += event.expect("the listener lives").data.len();
    }
    within("the end of the write", writing)
        .await
        .expect("it is written");
    assert_eq!(kept.expect("it came").socket_id, client.id());
}
