//! The end of a connection: by the peer, by `disconnect` and by `close`.

use actix::prelude::*;
use chrome_sockets::tcp::SocketProperties;
use chrome_sockets::{ClientSocketId, Error, NetError};
use support::{EventSender, ListenerEvent, TestApp, code, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::unbounded_channel;

use super::{assert_ended, connected, pair, pattern, read_to_end, reset, write};
use crate::tcp_server::recording_listener::RecordingListener;

/// Asserts that one onReceiveError(-100) of this socket is the only event.
async fn assert_one_end(recorder: &mut RecordingListener, id: ClientSocketId) {
    match recorder.so_far().await.as_slice() {
        [ListenerEvent::ReceiveError(from, error)] => {
            assert_eq!((*from, error.code()), (id, -100));
        }
        other => panic!("expected onReceiveError of {id}, not {other:?}"),
    }
}

#[actix_rt::test]
async fn the_peers_close_is_reported_after_all_data_before_it() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    let data = pattern(1024 * 1024);
    let sent = data.clone();
    actix_rt::spawn(async move { peer.write_all(&sent).await.expect("write") });
    assert!(test.received(client.id(), data.len()).await == data);
    assert_eq!(test.ended(client.id()).await.code(), -100);
    assert_ended(&test.app, client.id()).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn the_peers_reset_is_reported_as_closed_after_all_data_before_it() {
    let mut test = TestApp::new().await;
    for paused in [true, false] {
        let (client, mut peer) = pair(&mut test).await;
        client.set_paused(paused).await.expect("setPaused");
        write(&mut peer, b"last words").await;
        if !paused {
            let received = test.received(client.id(), 10).await;
            assert_eq!(received, b"last words");
        }
        reset(peer);
        if paused {
            test.expect_no_event().await;
            client.set_paused(false).await.expect("resume");
            let received = test.received(client.id(), 10).await;
            assert_eq!(received, b"last words");
        }
        assert_eq!(test.ended(client.id()).await.code(), -100);
        assert_ended(&test.app, client.id()).await;
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn the_end_waits_until_all_data_is_handled_and_the_socket_is_resumed() {
    let mut test = TestApp::new().await;
    let (sender, mut held) = unbounded_channel();
    let holds = EventSender(sender).start().recipient();
    let added = test.app.tcp.on_receive.add_listener(holds);
    added.await.expect("the registry runs");
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"last words").await;
    drop(peer);
    assert_eq!(test.received(client.id(), 10).await, b"last words");
    let event = within("the held event", held.recv()).await;
    test.expect_no_event().await;
    assert!(client.get_info().await.expect("it exists").connected);

    // Paused in the meantime, so it still waits when the data was handled.
    let paused = client.set_paused(true);
    assert!(client.get_info().await.expect("it exists").paused);
    drop(event);
    assert_eq!(within("the answer", paused).await, Ok(()));
    test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.ended(client.id()).await.code(), -100);
}

#[actix_rt::test]
async fn the_end_is_reported_once_and_resuming_does_not_repeat_it() {
    let mut test = TestApp::new().await;
    let (client, peer) = connected(&test).await;
    drop(peer);
    assert_eq!(test.ended(client.id()).await.code(), -100);
    client.set_paused(false).await.expect("resume");
    client.disconnect().await.expect("disconnect");
    client.close().await.expect("close");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn disconnect_of_a_receiving_socket_raises_on_receive_error_before_its_answer() {
    let test = TestApp::new().await;
    let mut recorder = RecordingListener::of(&test.app).await;
    let (client, mut peer) = connected(&test).await;
    client.disconnect().await.expect("disconnect");
    assert_one_end(&mut recorder, client.id()).await;
    assert_ended(&test.app, client.id()).await;
    assert_eq!(read_to_end(&mut peer).await, b"");
}

#[actix_rt::test]
async fn close_of_a_receiving_socket_raises_on_receive_error_before_its_answer() {
    let mut test = TestApp::new().await;
    let mut recorder = RecordingListener::of(&test.app).await;
    let (client, mut peer) = connected(&test).await;
    client.close().await.expect("close");
    assert_one_end(&mut recorder, client.id()).await;
    test.ended(client.id()).await;
    assert_eq!(read_to_end(&mut peer).await, b"");

    // An accepted socket that was resumed does the same.
    let (client, mut peer) = pair(&mut test).await;
    client.set_paused(false).await.expect("resume");
    recorder.so_far().await;
    test.app.tcp.close(client.id()).await.expect("close");
    assert_one_end(&mut recorder, client.id()).await;
    assert_eq!(read_to_end(&mut peer).await, b"");
}

#[actix_rt::test]
async fn disconnect_and_close_of_a_paused_socket_raise_nothing() {
    let mut test = TestApp::new().await;
    for close in [false, true] {
        let (client, mut peer) = pair(&mut test).await;
        let ended = if close {
            client.close()
        } else {
            client.disconnect()
        };
        ended.await.expect("it ends");
        assert_eq!(read_to_end(&mut peer).await, b"");
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn disconnect_keeps_id_and_properties() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    let properties = SocketProperties {
        persistent: Some(true),
        name: Some("mail".into()),
        buffer_size: Some(7),
        allow_half_open: Some(true),
        ..Default::default()
    };
    client.update(properties).await.expect("update");
    let mut expected = client.get_info().await.expect("it exists");
    client.disconnect().await.expect("disconnect");
    expected.connected = false;
    expected.peer_address = None;
    expected.peer_port = None;
    (expected.local, expected.peer) = (None, None);
    assert_eq!(client.get_info().await, Ok(expected));
}

#[actix_rt::test]
async fn disconnect_of_an_unconnected_socket_succeeds_and_raises_nothing() {
    let mut test = TestApp::new().await;
    let tcp = test.app.tcp.clone();
    let id = test.create().await;
    let before = tcp.get_info(id).await;
    for _ in 0..2 {
        assert_eq!(tcp.disconnect(id).await, Ok(()));
    }
    assert_eq!(tcp.get_info(id).await, before, "it stays resumed");
    assert_eq!(tcp.close(id).await, Ok(()));
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn the_socket_is_not_found_as_soon_as_close_is_called() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    let tcp = &test.app.tcp;
    let id = client.id();
    let closed = tcp.close(id);
    let info = tcp.get_info(id);
    let again = tcp.close(id);
    assert_eq!(info.await, Err(Error::SocketNotFound));
    assert_eq!(again.await, Err(Error::SocketNotFound));
    assert_eq!(closed.await, Ok(()));
    assert_eq!(tcp.get_sockets().await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn data_that_was_not_received_is_not_reported_after_disconnect() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    write(&mut peer, b"never heard").await;
    client.disconnect().await.expect("disconnect");
    client.set_paused(false).await.expect("resume");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn the_end_of_one_connection_does_not_affect_others() {
    let mut test = TestApp::new().await;
    let (first, first_peer) = connected(&test).await;
    let (second, _second_peer) = connected(&test).await;
    let (third, mut third_peer) = connected(&test).await;
    drop(first_peer);
    assert_eq!(test.ended(first.id()).await.code(), -100);
    second.close().await.expect("close");
    assert_eq!(test.ended(second.id()).await.code(), -100);
    write(&mut third_peer, b"still here").await;
    assert_eq!(test.received(third.id(), 10).await, b"still here");
}

#[actix_rt::test]
async fn a_send_after_the_end_answers_socket_not_connected() {
    let mut test = TestApp::new().await;
    let (client, peer) = connected(&test).await;
    drop(peer);
    assert_eq!(test.ended(client.id()).await.code(), -100);
    let late = client.send(&b"late"[..]);
    assert_eq!(code("send", late).await, -15);
}

#[actix_rt::test]
async fn a_reset_reaches_the_peer_and_drops_what_waits_to_be_sent() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    // More than both kernels take.
    let waiting = client.send(vec![7; 64 * 1024 * 1024]);
    client.reset().await.expect("reset");
    assert_eq!(waiting.await, Err(Error::from(NetError::ABORTED)));
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    assert_ended(&test.app, client.id()).await;
    let mut rest = Vec::new();
    let read = within("the reset", peer.read_to_end(&mut rest)).await;
    let kind = read.map_err(|error| error.kind());
    assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset));
    // The socket can connect again, and resetting it twice changes nothing.
    client.reset().await.expect("nothing to reset");
    test.expect_no_event().await;
}
