//! `send`.

use bytes::Bytes;
use chrome_sockets::tcp::SendInfo;
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{Error, NetError};
use futures::FutureExt;
use support::{TestApp, code, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    LARGE, assert_ended, connect, connected, pair, pattern, read, read_to_end, reset, write,
};

fn sent(bytes_sent: usize) -> Result<SendInfo, Error> {
    Ok(SendInfo { bytes_sent })
}

#[actix_rt::test]
async fn send_answers_how_many_bytes_were_sent() {
    let mut test = TestApp::new().await;
    let (accepted, mut accepted_peer) = pair(&mut test).await;
    let (connected, mut connected_peer) = connected(&test).await;
    for (client, peer) in [
        (accepted, &mut accepted_peer),
        (connected, &mut connected_peer),
    ] {
        let answer = test.app.tcp.send(client.id(), &b"hello"[..]);
        assert_eq!(answer.await, sent(5));
        assert_eq!(read(peer, 5).await, b"hello");
    }
}

#[actix_rt::test]
async fn an_empty_send_succeeds_with_no_bytes() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    assert_eq!(client.send(Bytes::new()).await, sent(0));
    let tcp = &test.app.tcp;
    assert_eq!(tcp.send(client.id(), Bytes::new()).await, sent(0));
    assert_eq!(client.send(&b"after"[..]).await, sent(5));
    assert_eq!(read(&mut peer, 5).await, b"after");
}

#[actix_rt::test]
async fn an_empty_send_between_others_is_answered_in_order() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let first = client.send(pattern(LARGE));
    let mut empty = client.send(Bytes::new());
    // The peer does not read, so the first send is pending, and so are the others.
    test.expect_no_event().await;
    assert!((&mut empty).now_or_never().is_none());
    assert!(read(&mut peer, LARGE).await == pattern(LARGE));
    assert_eq!(within("the first send", first).await, sent(LARGE));
    assert_eq!(within("the empty send", empty).await, sent(0));
}

#[actix_rt::test]
async fn send_on_a_socket_that_is_not_connected_fails() {
    let mut test = TestApp::new().await;
    let tcp = test.app.tcp.clone();
    let never = test.create().await;
    let (client, _peer) = pair(&mut test).await;
    client.disconnect().await.expect("disconnect");
    for id in [never, client.id()] {
        for data in [&b"lost"[..], b""] {
            assert_eq!(code("send", tcp.send(id, data)).await, -15);
        }
    }
}

#[actix_rt::test]
async fn sends_are_delivered_in_the_order_of_the_calls_when_none_is_awaited() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let mut expected = Vec::new();
    for i in 0..1000 {
        let line = format!("line {i}\n");
        expected.extend_from_slice(line.as_bytes());
        match i % 2 {
            0 => drop(client.send(line)),
            _ => client.try_send(line).expect("it is connected"),
        }
    }
    assert_eq!(read(&mut peer, expected.len()).await, expected);
    client.close().await.expect("close");
    assert_eq!(read_to_end(&mut peer).await, b"", "more than was sent");
}

#[actix_rt::test]
async fn sends_by_id_are_delivered_in_the_order_of_the_calls() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let mut expected = Vec::new();
    for i in 0..1000 {
        let line = format!("line {i}\n");
        expected.extend_from_slice(line.as_bytes());
        drop(test.app.tcp.send(client.id(), line));
    }
    assert_eq!(read(&mut peer, expected.len()).await, expected);
}

#[actix_rt::test]
async fn a_send_by_handle_follows_one_by_id_that_was_answered() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let mut expected = Vec::new();
    for i in 0..1000 {
        let line = format!("line {i}\n");
        expected.extend_from_slice(line.as_bytes());
        match i % 2 {
            0 => assert_eq!(
                test.app.tcp.send(client.id(), line.clone()).await,
                sent(line.len())
            ),
            _ => drop(client.send(line)),
        }
    }
    let read = read(&mut peer, expected.len()).await;
    assert_eq!(
        String::from_utf8_lossy(&read[..40]),
        String::from_utf8_lossy(&expected[..40])
    );
    assert_eq!(read, expected);
}

#[actix_rt::test]
async fn large_sends_are_delivered_complete_and_in_order() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let data = pattern(LARGE);
    let first = client.send(data.clone());
    let second = client.send(vec![0xAA; LARGE]);
    let third = client.send(&b"end"[..]);
    assert!(read(&mut peer, LARGE).await == data);
    assert!(read(&mut peer, LARGE).await == vec![0xAA; LARGE]);
    assert_eq!(read(&mut peer, 3).await, b"end");
    assert_eq!(first.await, sent(LARGE));
    assert_eq!(second.await, sent(LARGE));
    assert_eq!(third.await, sent(3));
}

#[actix_rt::test]
async fn pausing_does_not_stop_sends() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let sending = client.send(pattern(LARGE));
    client.set_paused(false).await.expect("resume");
    client.set_paused(true).await.expect("pause");
    assert!(read(&mut peer, LARGE).await == pattern(LARGE));
    assert_eq!(sending.await, sent(LARGE));
}

#[actix_rt::test]
async fn a_peer_that_has_only_shut_its_writing_side_still_receives() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    write(&mut peer, b"that was all").await;
    peer.shutdown().await.expect("shutdown");
    let sending = client.send(pattern(LARGE));
    assert!(read(&mut peer, LARGE).await == pattern(LARGE));
    assert_eq!(sending.await, sent(LARGE));
    test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 12).await, b"that was all");
    assert_eq!(test.ended(client.id()).await.code(), -100);
    assert_eq!(read_to_end(&mut peer).await, b"");
}

#[actix_rt::test]
async fn sends_called_before_the_end_is_reported_are_delivered_completely() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    peer.shutdown().await.expect("shutdown");
    let large = client.send(pattern(LARGE));
    let small = client.send(&b"end"[..]);
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.ended(client.id()).await.code(), -100);
    assert_ended(&test.app, client.id()).await;
    let late = client.send(&b"late"[..]);
    assert_eq!(code("send", late).await, -15);

    let read = read_to_end(&mut peer).await;
    assert!(read == [&pattern(LARGE)[..], b"end"].concat());
    assert_eq!(within("the large send", large).await, sent(LARGE));
    assert_eq!(within("the small send", small).await, sent(3));
}

#[actix_rt::test]
async fn sends_called_before_disconnect_and_close_are_delivered() {
    let mut test = TestApp::new().await;
    for close in [false, true] {
        let (client, mut peer) = pair(&mut test).await;
        let large = client.send(pattern(LARGE));
        let ended = if close {
            client.close()
        } else {
            client.disconnect()
        };
        assert_eq!(within("the answer", ended).await, Ok(()));
        assert!(read_to_end(&mut peer).await == pattern(LARGE));
        assert_eq!(within("the send", large).await, sent(LARGE));
    }
}

#[actix_rt::test]
async fn a_pending_send_does_not_prevent_the_socket_from_connecting_again() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let large = client.send(pattern(LARGE));
    client.disconnect().await.expect("disconnect");
    let mut new_peer = connect(&test.app, client.id()).await;
    assert_eq!(client.send(&b"new"[..]).await, sent(3));
    assert_eq!(read(&mut new_peer, 3).await, b"new");
    assert!(read_to_end(&mut peer).await == pattern(LARGE));
    assert_eq!(within("the send", large).await, sent(LARGE));
}

#[actix_rt::test]
async fn sends_to_a_peer_that_reset_fail_with_all_waiting_ones() {
    let mut test = TestApp::new().await;
    let (client, peer) = pair(&mut test).await;
    // The peer does not read, so the second still waits.
    let first = client.send(pattern(LARGE));
    let second = client.send(&b"end"[..]);
    test.expect_no_event().await;
    reset(peer);
    assert_eq!(code("the first send", first).await, -101);
    assert_eq!(code("the second send", second).await, -101);
    let later = client.send(&b"later"[..]);
    assert_eq!(code("a later send", later).await, -101);
    // The app learns of the end when it receives, as usual.
    test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.ended(client.id()).await.code(), -100);
}

#[actix_rt::test]
async fn last_sends_that_the_peer_never_takes_time_out() {
    tokio::time::pause();
    let network = ScriptedNetwork::new();
    let peer = network.server(([127, 0, 0, 1], 9).into());
    peer.limit_writes(0);
    let test = TestApp::with_network(network).await;
    let (tcp, client) = (&test.app.tcp, test.create().await);
    let connected = tcp.connect(client, "127.0.0.1", 9, Default::default());
    connected.await.expect("connect");
    let send = tcp.send(client, &b"never"[..]);
    tcp.close(client).await.expect("it exists");
    let closed = tokio::time::Instant::now();
    assert_eq!(send.await, Err(NetError::TIMED_OUT.into()));
    assert_eq!(closed.elapsed().as_secs(), 30);
    assert!(peer.is_closed());
}

#[actix_rt::test]
async fn both_directions_carry_data_at_once() {
    let mut test = TestApp::new().await;
    let (client, peer) = connected(&test).await;
    let (mut from_app, mut to_app) = peer.into_split();
    let writing = actix_rt::spawn(async move {
        to_app.write_all(&pattern(LARGE)).await.expect("write");
        to_app
    });
    let reading = actix_rt::spawn(async move {
        let mut data = vec![0; LARGE];
        let read = from_app.read_exact(&mut data);
        within("the peer's data", read).await.expect("read");
        data
    });
    let sending = client.send(pattern(LARGE));
    assert!(test.received(client.id(), LARGE).await == pattern(LARGE));
    assert_eq!(within("the send", sending).await, sent(LARGE));
    within("the write", writing).await.expect("it is written");
    assert!(within("the read", reading).await.expect("read") == pattern(LARGE));
}
