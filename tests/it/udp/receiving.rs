//! `onReceive`: sizes, order, credits and what the OS drops.

use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::NetError;
use chrome_sockets::udp::{ReceiveInfo, SocketProperties};
use support::{EventSender, TestApp, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Peer, bind_to, bound, expect_alive, failed, received};

async fn set_buffer_size(test: &TestApp, id: chrome_sockets::UdpSocketId, size: i32) {
    let properties = SocketProperties {
        buffer_size: Some(size),
        ..Default::default()
    };
    test.app.udp.update(id, properties).await.expect("update");
}

#[actix_rt::test]
async fn a_datagram_of_any_size_is_delivered_whole() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    set_buffer_size(&test, id, i32::MAX).await;
    let peer = Peer::new().await;
    for length in [0, 1, 255, 256, 4096, 4097, 65_507] {
        let data: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
        peer.send(&data, at).await;
        let expected = (data, peer.address());
        assert!(received(&mut test, id).await == expected, "{length} bytes");
    }
    if let Ok(peer) = tokio::net::UdpSocket::bind("[::1]:0").await {
        let (id, at) = bind_to(&test, "::1").await;
        set_buffer_size(&test, id, 65_527).await;
        let sent = peer.send_to(&[9; 65_527], at).await.expect("sent");
        assert_eq!(received(&mut test, id).await.0, vec![9; sent]);
    }
}

#[actix_rt::test]
async fn a_datagram_longer_than_the_buffer_size_pauses_the_socket_and_is_lost() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let peer = Peer::new().await;
    for (size, length) in [(-1, 4097), (4, 5), (65_506, 65_507)] {
        set_buffer_size(&test, id, size).await;
        let longest = if size < 1 { 4096 } else { size as usize };
        peer.send(&vec![1; longest], at).await;
        assert_eq!(received(&mut test, id).await.0.len(), longest);
        peer.send(&vec![2; length], at).await;
        peer.send(b"next", at).await;
        assert_eq!(failed(&mut test, id).await, NetError::MSG_TOO_BIG);
        let info = test.app.udp.get_info(id).await.expect("it exists");
        assert!(info.paused);
        test.expect_no_event().await;
        test.app.udp.set_paused(id, false).await.expect("resumed");
        assert_eq!(received(&mut test, id).await.0, b"next");
    }
}

/// A listener that keeps its events until the test takes them.
async fn slow_listener(test: &TestApp) -> UnboundedReceiver<ReceiveInfo> {
    test.remove_listener().await;
    let (sender, events) = unbounded_channel();
    let listener = EventSender(sender).start();
    let added = test.app.udp.on_receive.add_listener(listener.recipient());
    added.await.expect("the registry runs");
    events
}

async fn next(events: &mut UnboundedReceiver<ReceiveInfo>) -> ReceiveInfo {
    within("a datagram", events.recv()).await.expect("it runs")
}

/// Sends numbered datagrams of this length.
async fn send_numbered(peer: &Peer, at: SocketAddr, numbers: std::ops::Range<u32>, length: usize) {
    for number in numbers {
        let mut data = vec![0; length];
        data[..4].copy_from_slice(&number.to_be_bytes());
        peer.send(&data, at).await;
    }
}

fn number(data: &[u8]) -> u32 {
    u32::from_be_bytes(data[..4].try_into().expect("a number"))
}

#[actix_rt::test]
async fn a_listener_that_keeps_its_events_stops_the_reading_and_the_os_drops_the_rest() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let mut events = slow_listener(&test).await;
    let peer = Peer::new().await;
    const SENT: u32 = 5000;
    send_numbered(&peer, at, 0..SENT, 1000).await;
    // A window is 65,536 bytes: 65 of these and one more.
    let mut kept = Vec::new();
    for _ in 0..66 {
        kept.push(next(&mut events).await);
    }
    tokio::time::sleep(support::QUIET).await;
    assert!(
        events.try_recv().is_err(),
        "the socket is not read any more"
    );
    let dropped = test.app.udp.get_info(id).await.expect("it exists");
    let dropped = dropped.dropped_datagrams;
    // What is handled from now on is read from the OS, in order.
    let mut last = None;
    let mut count = 0;
    for info in kept.drain(..) {
        assert!(last < Some(number(&info.data)));
        last = Some(number(&info.data));
        count += 1;
    }
    if let Some(dropped) = dropped {
        assert!(dropped > 0, "the buffer of the OS is smaller");
        while count + dropped < u64::from(SENT) {
            let info = next(&mut events).await;
            assert!(last < Some(number(&info.data)), "the order is kept");
            last = Some(number(&info.data));
            count += 1;
        }
        assert_eq!(count + dropped, u64::from(SENT), "each is counted once");
    } else {
        support::programs::left_out("there is no sock_diag");
    }
    // It is alive.
    send_numbered(&peer, at, SENT..SENT + 1, 4).await;
    while number(&next(&mut events).await.data) != SENT {}
    assert_eq!(
        test.app.udp.get_info(id).await.map(|it| it.paused),
        Ok(false)
    );
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn tiny_and_empty_datagrams_are_bounded_too() {
    let test = TestApp::new().await;
    let (_, at) = bound(&test).await;
    let mut events = slow_listener(&test).await;
    let peer = Peer::new().await;
    for _ in 0..300 {
        peer.send(b"", at).await;
    }
    // Each counts 256 bytes: a window is 256 of them.
    let mut kept = Vec::new();
    for _ in 0..256 {
        kept.push(next(&mut events).await);
    }
    tokio::time::sleep(support::QUIET).await;
    assert!(events.try_recv().is_err(), "the window is full");
    // A clone has a credit of its own.
    let clones = kept.clone();
    drop(kept);
    tokio::time::sleep(support::QUIET).await;
    assert!(events.try_recv().is_err(), "the clones are kept");
    drop(clones);
    for _ in 256..300 {
        assert!(next(&mut events).await.data.is_empty());
    }
}

#[actix_rt::test]
async fn the_sockets_of_an_app_share_a_bound_and_another_app_does_not() {
    let test = TestApp::new().await;
    let mut events = slow_listener(&test).await;
    let peer = Peer::new().await;
    let mut kept = Vec::new();
    // 64 windows; each socket's peer sends more than that.
    let mut sockets = Vec::new();
    for _ in 0..80 {
        let (_, at) = bound(&test).await;
        sockets.push(at);
        send_numbered(&peer, at, 0..20, 4096).await;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            match events.try_recv() {
                Ok(event) => kept.push(event),
                Err(_) => break,
            }
        }
    }
    tokio::time::sleep(support::QUIET).await;
    while let Ok(event) = events.try_recv() {
        kept.push(event);
    }
    let bytes: usize = kept.iter().map(|event| event.data.len()).sum();
    let bound_of_app = 4 * 1024 * 1024;
    assert!(bytes <= bound_of_app + 16 * 4096, "{bytes} bytes are kept");
    assert!(bytes >= bound_of_app / 2, "{bytes} bytes are kept");
    // When they are handled, everything else comes.
    let mut left = 80 * 20 - kept.len();
    drop(kept);
    while left > 0 {
        next(&mut events).await;
        left -= 1;
    }
}

#[actix_rt::test]
async fn without_a_listener_datagrams_wait_in_the_os() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.remove_listener().await;
    let peer = Peer::new().await;
    for data in [&b"one"[..], b"two"] {
        peer.send(data, at).await;
    }
    test.expect_no_event().await;
    support::subscribe(&test.app, &test.listener)
        .await
        .expect("it runs");
    assert_eq!(received(&mut test, id).await.0, b"one");
    assert_eq!(received(&mut test, id).await.0, b"two");
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn every_listener_gets_a_copy() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let second = test.another_listener()().start();
    let added = test.app.udp.on_receive.add_listener(second.recipient());
    added.await.expect("it runs");
    Peer::new().await.send(b"both", at).await;
    assert_eq!(received(&mut test, id).await.0, b"both");
    assert_eq!(received(&mut test, id).await.0, b"both");
    test.expect_no_event().await;
}
