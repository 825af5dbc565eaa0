//! Connections that end while they are not read: without an `onReceive` listener, or paused.

use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType, ReceiveInfo, WINDOW};
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::{NetError, ServerSocketId};
use support::{LIMIT, Listener, ListenerEvent, TestApp, code, descriptors, within};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::arbiters::recording_network::RecordingNetwork;
use crate::tcp_server::dial;

/// How a peer ends its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Fin,
    Reset,
    /// First the end of its side, then a reset.
    FinThenReset,
}

impl End {
    async fn of(self, mut peer: TcpStream) -> Option<TcpStream> {
        if self != End::Reset {
            peer.shutdown().await.expect("the end of its side");
        }
        if self == End::Fin {
            return Some(peer);
        }
        peer.set_zero_linger().expect("the option is set");
        None
    }
}

/// A test app without an `onReceive` listener, and the recipient for it.
async fn without_receive() -> (TestApp, Recipient<chrome_sockets::tcp::ReceiveInfo>) {
    let test = TestApp::new().await;
    let listener: Addr<Listener> = test.listener.clone();
    let receiver = listener.recipient();
    let on_receive = &test.app.tcp.on_receive;
    let removed = on_receive.remove_listener(receiver.clone()).await;
    removed.expect("it was there");
    (test, receiver)
}

/// A client of a server socket, and its peer.
async fn accepted(test: &mut TestApp) -> (ClientSocket, TcpStream) {
    let (_, at) = test.listen().await;
    let peer = dial(at).await;
    (test.accepted().await, peer)
}

async fn connected(test: &mut TestApp) -> (ClientSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let id = test.create().await;
    let tcp = &test.app.tcp;
    let connected = tcp.connect(id, "127.0.0.1", port.into(), DnsQueryType::Any);
    within("connect", connected).await.expect("it listens");
    let (peer, _) = listener.accept().await.expect("it has come");
    (tcp.socket(id).await.expect("it is open"), peer)
}

/// Expects the end of this socket, and its state after it.
async fn expect_end(test: &mut TestApp, client: &ClientSocket) {
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    let info = client.get_info().await.expect("it is open");
    assert!(!info.connected && info.paused, "{info:?}");
}

/// Checks that the app still works, including `onReceive`.
async fn proof_of_life(test: &mut TestApp) {
    let listener = test.listener.clone().recipient();
    let added = test.app.tcp.on_receive.add_listener(listener).await;
    added.expect("it is added");
    let (client, mut peer) = accepted(test).await;
    client.set_paused(false).await.expect("resume");
    peer.write_all(b"alive").await.expect("write");
    assert_eq!(test.received(client.id(), 5).await, b"alive");
}

#[actix_rt::test]
async fn an_end_is_reported_without_an_on_receive_listener() {
    let (mut test, _) = without_receive().await;
    for end in [End::Fin, End::Reset, End::FinThenReset] {
        let (client, peer) = connected(&mut test).await;
        let peer = end.of(peer).await;
        expect_end(&mut test, &client).await;
        drop(peer);

        // Resumed before the end, and after it.
        let (client, peer) = accepted(&mut test).await;
        client.set_paused(false).await.expect("resume");
        let peer = end.of(peer).await;
        expect_end(&mut test, &client).await;
        drop(peer);
        let (client, peer) = accepted(&mut test).await;
        let peer = end.of(peer).await;
        test.expect_no_event().await;
        client.set_paused(false).await.expect("resume");
        expect_end(&mut test, &client).await;
        drop(peer);
    }
    proof_of_life(&mut test).await;
}

#[actix_rt::test]
async fn data_without_an_on_receive_listener_is_kept_and_the_end_follows_it() {
    let (mut test, receiver) = without_receive().await;
    for end in [End::Fin, End::Reset, End::FinThenReset] {
        let (client, mut peer) = connected(&mut test).await;
        peer.write_all(b"last words").await.expect("write");
        let peer = end.of(peer).await;
        test.expect_no_event().await;
        let on_receive = test.app.tcp.on_receive.clone();
        let added = on_receive.add_listener(receiver.clone()).await;
        added.expect("it is added");
        assert_eq!(test.received(client.id(), 10).await, b"last words");
        expect_end(&mut test, &client).await;
        let removed = on_receive.remove_listener(receiver.clone()).await;
        removed.expect("it was there");
        drop(peer);
    }
    proof_of_life(&mut test).await;
}

/// A server socket that allows one connection at a time: its paused client, the client's peer,
/// and another peer that waits.
async fn one_at_a_time(test: &mut TestApp) -> (ServerSocketId, ClientSocket, TcpStream, TcpStream) {
    let (id, at) = test.listen().await;
    let limits = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Default::default()
    };
    let set = test.app.tcp_server.set_limits(id, limits).await;
    set.expect("valid limits");
    let peer = dial(at).await;
    let client = test.accepted().await;
    let waiting_peer = dial(at).await;
    (id, client, peer, waiting_peer)
}

/// The inode of the socket of this end of a connection.
fn socket_of(at: SocketAddr, peer: &TcpStream) -> u64 {
    let peer = peer.local_addr().expect("its address");
    descriptors::inode(&descriptors::find(at, peer))
}

/// Waits until this process has no descriptor of the socket.
async fn is_closed(socket: u64) {
    within("the end of the descriptor", async {
        while descriptors::is_open(socket) {
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[actix_rt::test]
async fn a_paused_socket_whose_peer_reset_frees_its_place_and_descriptor() {
    let mut test = TestApp::new().await;
    for end in [End::Reset, End::FinThenReset] {
        let (_, client, peer, waiting_peer) = one_at_a_time(&mut test).await;
        let at = waiting_peer.peer_addr().expect("it is connected");
        let socket = socket_of(at, &peer);
        end.of(peer).await;
        let second = test.accepted().await;
        is_closed(socket).await;
        test.expect_no_event().await;

        client.set_paused(false).await.expect("resume");
        expect_end(&mut test, &client).await;
        second.close().await.expect("it was open");
    }
    proof_of_life(&mut test).await;
}

#[actix_rt::test]
async fn a_paused_socket_whose_peer_ended_only_its_side_keeps_its_place() {
    let mut test = TestApp::new().await;
    let (_, client, peer, mut waiting_peer) = one_at_a_time(&mut test).await;
    let peer = End::Fin.of(peer).await;
    test.expect_no_event().await;
    let sent = client.send(&b"half"[..]).await;
    assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(4));
    client.close().await.expect("it was open");
    test.accepted().await;
    waiting_peer.write_all(b"it counts").await.expect("write");
    drop(peer);
}

#[actix_rt::test]
async fn data_before_the_reset_of_a_paused_socket_is_received_after_a_resume() {
    let mut test = TestApp::new().await;
    for end in [End::Reset, End::FinThenReset] {
        let (_, client, mut peer, waiting_peer) = one_at_a_time(&mut test).await;
        let at = waiting_peer.peer_addr().expect("it is connected");
        let socket = socket_of(at, &peer);
        peer.write_all(b"last words").await.expect("write");
        end.of(peer).await;
        // Its place is free, and nothing is lost.
        let second = test.accepted().await;
        assert!(descriptors::is_open(socket), "there is input in it");
        client.set_paused(false).await.expect("resume");
        assert_eq!(test.received(client.id(), 10).await, b"last words");
        expect_end(&mut test, &client).await;
        is_closed(socket).await;
        second.close().await.expect("it was open");
    }
    proof_of_life(&mut test).await;
}

#[actix_rt::test]
async fn data_without_a_listener_keeps_no_place_after_a_reset() {
    let (mut test, receiver) = without_receive().await;
    let on_receive = test.app.tcp.on_receive.clone();
    for end in [End::Reset, End::FinThenReset] {
        let (_, client, mut peer, _waiting_peer) = one_at_a_time(&mut test).await;
        client.set_paused(false).await.expect("resume");
        peer.write_all(b"last words").await.expect("write");
        test.expect_no_event().await;
        end.of(peer).await;
        let second = test.accepted().await;
        let added = on_receive.add_listener(receiver.clone()).await;
        added.expect("it is added");
        assert_eq!(test.received(client.id(), 10).await, b"last words");
        expect_end(&mut test, &client).await;
        let removed = on_receive.remove_listener(receiver.clone()).await;
        removed.expect("it was there");
        second.close().await.expect("it was open");
    }
    proof_of_life(&mut test).await;
}

#[actix_rt::test]
async fn a_send_after_the_reset_of_a_paused_socket_answers_connection_reset() {
    let mut test = TestApp::new().await;
    for end in [End::Reset, End::FinThenReset] {
        let (_, client, peer, _waiting_peer) = one_at_a_time(&mut test).await;
        end.of(peer).await;
        let second = test.accepted().await;
        for _ in 0..2 {
            let sent = code("send", client.send(&b"anyone there?"[..])).await;
            assert_eq!(sent, NetError::CONNECTION_RESET.code(), "{end:?}");
        }
        client.set_paused(false).await.expect("resume");
        expect_end(&mut test, &client).await;
        second.close().await.expect("it was open");
    }
}

#[actix_rt::test]
async fn a_send_to_a_peer_that_reset_frees_the_place_of_a_paused_socket() {
    let mut test = TestApp::new().await;
    let (_, client, peer, _waiting_peer) = one_at_a_time(&mut test).await;
    End::FinThenReset.of(peer).await;
    // Whichever call sees the error first, it is reported only once.
    while client.send(&b"anyone there?"[..]).await.is_ok() {}
    test.accepted().await;
    test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    expect_end(&mut test, &client).await;
}

#[actix_rt::test]
async fn a_drain_does_not_wait_for_a_paused_socket_whose_peer_reset() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = accepted(&mut test).await;
    peer.write_all(b"unread").await.expect("write");
    let drained = test.app.drain(10 * LIMIT);
    End::Reset.of(peer).await;
    let drained = within("the end of the drain", drained)
        .await
        .expect("drained");
    assert!(drained.forced.is_empty(), "{drained:?}");
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 6).await, b"unread");
    expect_end(&mut test, &client).await;
    proof_of_life(&mut test).await;
}

#[actix_rt::test]
async fn a_paused_socket_that_received_before_frees_its_place_too() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let (client, mut peer) = {
        let peer = dial(at).await;
        (test.accepted().await, peer)
    };
    client.set_paused(false).await.expect("resume");
    peer.write_all(b"first").await.expect("write");
    assert_eq!(test.received(client.id(), 5).await, b"first");
    client.set_paused(true).await.expect("pause");
    let limits = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Default::default()
    };
    let set = test.app.tcp_server.set_limits(id, limits).await;
    set.expect("valid limits");
    let _waiting_peer = dial(at).await;
    End::Reset.of(peer).await;
    test.accepted().await;
    client.set_paused(false).await.expect("resume");
    expect_end(&mut test, &client).await;
    match test.try_next() {
        None => {}
        Some(events @ ListenerEvent::Accept(..)) => panic!("{events:?}"),
        Some(_) => panic!("more than the end"),
    }
}

/// Handles no event before it gets a `Release`.
struct HoldingListener {
    held: Vec<ReceiveInfo>,
    sender: UnboundedSender<Vec<u8>>,
}

impl Actor for HoldingListener {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for HoldingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        // The receiver is gone when the test has ended.
        let _ = self.sender.send(info.data.to_vec());
        self.held.push(info);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Release;

impl Handler<Release> for HoldingListener {
    type Result = ();

    fn handle(&mut self, _: Release, _: &mut Self::Context) {
        self.held.clear();
    }
}

/// A test app whose `onReceive` events are held: the holding listener, and the data.
async fn with_holding_listener() -> (TestApp, Addr<HoldingListener>, UnboundedReceiver<Vec<u8>>) {
    let (test, _) = without_receive().await;
    let (sender, received) = unbounded_channel();
    let held = Vec::new();
    let holder = HoldingListener { held, sender }.start();
    let on_receive = &test.app.tcp.on_receive;
    let added = on_receive.add_listener(holder.clone().recipient());
    added.await.expect("it is added");
    (test, holder, received)
}

async fn receive_until(
    received: &mut UnboundedReceiver<Vec<u8>>,
    data: &mut Vec<u8>,
    length: usize,
) {
    while data.len() < length {
        let next = within("data", received.recv()).await;
        data.extend(next.expect("the listener runs"));
    }
}

#[actix_rt::test]
async fn a_socket_with_a_full_window_frees_its_place_and_keeps_received_data() {
    for end in [End::Reset, End::FinThenReset] {
        let (mut test, holder, mut received) = with_holding_listener().await;
        let (_, client, mut peer, _waiting_peer) = one_at_a_time(&mut test).await;
        let all: Vec<u8> = (0..2 * WINDOW).map(|i| (i ^ (i >> 8)) as u8).collect();
        client.set_paused(false).await.expect("resume");
        within("the write", peer.write_all(&all))
            .await
            .expect("write");
        let mut data = Vec::new();
        receive_until(&mut received, &mut data, WINDOW).await;
        test.expect_no_event().await;
        // Everything has arrived, and only a window of it was read.
        assert!(received.try_recv().is_err() && data.len() < all.len());
        end.of(peer).await;
        let second = test.accepted().await;
        test.expect_no_event().await;

        while data.len() < all.len() {
            holder.send(Release).await.expect("it runs");
            let length = data.len() + 1;
            receive_until(&mut received, &mut data, length).await;
        }
        assert!(data == all, "other data was received than was sent");
        holder.send(Release).await.expect("it runs");
        expect_end(&mut test, &client).await;
        second.close().await.expect("it was open");
    }
}

#[actix_rt::test]
async fn a_socket_with_a_full_window_frees_its_descriptor_if_nothing_is_unread() {
    let (mut test, holder, mut received) = with_holding_listener().await;
    let (_, client, mut peer, waiting_peer) = one_at_a_time(&mut test).await;
    let at = waiting_peer.peer_addr().expect("it is connected");
    let socket = socket_of(at, &peer);
    client.set_paused(false).await.expect("resume");
    // Small events count more than their data, so they come one after the other.
    let mut data = Vec::new();
    while data.len() < WINDOW {
        peer.write_all(&[7; 4096]).await.expect("write");
        let length = data.len() + 4096;
        receive_until(&mut received, &mut data, length).await;
    }
    test.expect_no_event().await;
    End::Reset.of(peer).await;
    let second = test.accepted().await;
    is_closed(socket).await;
    holder.send(Release).await.expect("it runs");
    expect_end(&mut test, &client).await;
    second.close().await.expect("it was open");
}

#[actix_rt::test]
async fn a_socket_with_unhandled_events_frees_its_descriptor_before_its_end_is_reported() {
    for end in [End::Reset, End::FinThenReset] {
        let (mut test, holder, mut received) = with_holding_listener().await;
        let (_, client, mut peer, waiting_peer) = one_at_a_time(&mut test).await;
        let at = waiting_peer.peer_addr().expect("it is connected");
        let socket = socket_of(at, &peer);
        peer.write_all(b"last words").await.expect("write");
        end.of(peer).await;
        // Its place is freed while something is unread, its descriptor later.
        let second = test.accepted().await;
        assert!(descriptors::is_open(socket), "there is input in it");
        client.set_paused(false).await.expect("resume");
        let mut data = Vec::new();
        receive_until(&mut received, &mut data, 10).await;
        assert_eq!(data, b"last words");
        is_closed(socket).await;
        holder.send(Release).await.expect("it runs");
        expect_end(&mut test, &client).await;
        second.close().await.expect("it was open");
        proof_of_life(&mut test).await;
    }
}

#[actix_rt::test]
async fn a_paused_socket_is_woken_by_a_reset_but_not_by_data_or_an_end() {
    let spy = RecordingNetwork::default();
    let mut test = TestApp::with_network(spy.clone()).await;
    let (_, client, mut peer, _waiting_peer) = one_at_a_time(&mut test).await;
    let before = spy.waits();
    assert!(before > 0, "it waits");
    for _ in 0..100 {
        peer.write_all(b"more").await.expect("write");
        client.get_info().await.expect("it is open");
    }
    peer.shutdown().await.expect("the end of its side");
    test.expect_no_event().await;
    assert_eq!((spy.waits(), spy.reads()), (before, 0));
    End::Reset.of(peer).await;
    test.accepted().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 400).await, b"more".repeat(100));
    expect_end(&mut test, &client).await;
}

#[actix_rt::test]
async fn a_socket_of_a_suspended_app_whose_peer_reset_frees_its_place() {
    let mut test = TestApp::new().await;
    let (_, client, peer, _waiting_peer) = one_at_a_time(&mut test).await;
    let persistent = chrome_sockets::tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");
    client.set_paused(false).await.expect("resume");
    let at = peer.peer_addr().expect("it is connected");
    let socket = socket_of(at, &peer);
    // Nothing loads it again.
    within("the suspension", test.app.suspend())
        .await
        .expect("suspended");
    End::Reset.of(peer).await;
    is_closed(socket).await;
}
