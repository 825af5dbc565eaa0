//! The same for every other way in which a connection ends.

use std::io::{Read, Write};
use std::net::{Shutdown as Side, SocketAddr, TcpStream};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use chrome_sockets::tcp::{ClientSocket, ReceiveInfo, Timeouts};
use chrome_sockets::{Registry, Shutdown};
use support::{TestApp, within};

use super::foreign_peers::content;

const LENGTH: usize = 1_000_000;

/// A connection with an unread request, and its peer.
async fn client_with_request(test: &mut TestApp, at: SocketAddr) -> (ClientSocket, TcpStream) {
    let mut peer = TcpStream::connect(at).expect("it listens");
    peer.write_all(&[b'?'; 60_000]).expect("it is accepted");
    let client = test.accepted().await;
    (client, peer)
}

/// What the peer receives until the end, which must be clean.
async fn read_to_clean_end(mut peer: TcpStream) -> Vec<u8> {
    let read = tokio::task::spawn_blocking(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).map(|_| got)
    });
    let read = within("the end", read).await.expect("no panic");
    read.expect("no reset")
}

/// Sends an answer, of which the kernel has taken a part at once.
async fn send_answer(
    client: &ClientSocket,
) -> chrome_sockets::Answer<chrome_sockets::tcp::SendInfo> {
    client.send(content(LENGTH))
}

async fn proof_of_life(test: &mut TestApp, at: SocketAddr) {
    let (client, peer) = client_with_request(test, at).await;
    client.send(&b"yes"[..]).await.expect("it is sent");
    client.close().await.expect("it is open");
    assert_eq!(read_to_clean_end(peer).await, b"yes");
}

#[actix_rt::test]
async fn a_shutdown_of_the_registry_delivers_what_was_sent() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (client, peer) = client_with_request(&mut test, at).await;
    let (closed, other) = client_with_request(&mut test, at).await;
    let sent = [send_answer(&client).await, send_answer(&closed).await];
    closed.close().await.expect("it is open");
    let ended = test.registry.send(Shutdown);
    let (ended, one, two) = tokio::join!(ended, read_to_clean_end(peer), read_to_clean_end(other));
    ended.expect("it runs").expect("it ends");
    assert!(one == content(LENGTH) && two == content(LENGTH));
    for sent in sent {
        assert_eq!(
            within("the answer", sent).await.map(|it| it.bytes_sent),
            Ok(LENGTH)
        );
    }
}

#[actix_rt::test]
async fn a_shutdown_of_several_arbiters_delivers_what_was_sent() {
    let mut test = TestApp::on(Registry::new().arbiters(3)).await;
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..6 {
        let (client, peer) = client_with_request(&mut test, at).await;
        let _sent = send_answer(&client).await;
        peers.push(peer);
    }
    let ended = test.registry.send(Shutdown);
    let reads = futures::future::join_all(peers.into_iter().map(read_to_clean_end));
    let (ended, reads) = tokio::join!(ended, reads);
    ended.expect("it runs").expect("it ends");
    assert!(reads.iter().all(|got| *got == content(LENGTH)));
}

#[actix_rt::test]
async fn a_shutdown_does_not_wait_longer_than_its_timeout_for_a_peer_that_does_not_read() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (client, mut peer) = client_with_request(&mut test, at).await;
    let sent = client.send(content(16_000_000));
    let from = std::time::Instant::now();
    within("the end", test.registry.send(Shutdown))
        .await
        .expect("it runs")
        .expect("it ends");
    assert!(from.elapsed() >= chrome_sockets::tcp::SHUTDOWN_TIMEOUT);
    sent.await.expect_err("it does not arrive");
    let cut = tokio::task::spawn_blocking(move || peer.read_to_end(&mut Vec::new()));
    let cut = within("the reset", cut).await.expect("no panic");
    cut.expect_err("a clean end would hide missing data");
}

#[actix_rt::test]
async fn a_suspension_delivers_what_was_sent() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (client, peer) = client_with_request(&mut test, at).await;
    let sent = send_answer(&client).await;
    let suspended = test.app.suspend();
    let (suspended, got) = tokio::join!(suspended, read_to_clean_end(peer));
    suspended.expect("it is loaded");
    assert!(got == content(LENGTH));
    assert_eq!(sent.await.map(|it| it.bytes_sent), Ok(LENGTH));
}

#[actix_rt::test]
async fn a_drain_waits_until_the_peer_has_what_was_sent() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (client, peer) = client_with_request(&mut test, at).await;
    let sent = send_answer(&client).await;
    client.close().await.expect("it is open");
    let drained = test.app.drain(Duration::from_secs(20));
    let (drained, got) = tokio::join!(drained, read_to_clean_end(peer));
    assert!(got == content(LENGTH));
    assert_eq!(drained.expect("it is loaded").forced, []);
    assert_eq!(sent.await.map(|it| it.bytes_sent), Ok(LENGTH));
}

#[actix_rt::test]
async fn connections_that_a_drain_ends_at_its_deadline_deliver_what_was_sent() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (client, peer) = client_with_request(&mut test, at).await;
    client.send(content(50_000)).await.expect("it is sent");
    let drained = test.app.drain(Duration::from_millis(50)).await;
    assert_eq!(drained.expect("it is loaded").forced, [client.id()]);
    assert!(read_to_clean_end(peer).await == content(50_000));
}

#[actix_rt::test]
async fn connections_that_have_not_delivered_at_the_deadline_of_a_drain_are_reset() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (client, mut peer) = client_with_request(&mut test, at).await;
    let sent = client.send(content(16_000_000));
    let drained = test.app.drain(Duration::from_millis(50)).await;
    assert_eq!(drained.expect("it is loaded").forced, [client.id()]);
    sent.await.expect_err("it does not arrive");
    peer.read_to_end(&mut Vec::new())
        .expect_err("a clean end would hide missing data");
}

#[actix_rt::test]
async fn a_timeout_of_an_idle_or_unclaimed_connection_delivers_what_was_sent() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let soon = Some(Duration::from_millis(200));
    for timeouts in [
        Timeouts {
            claim: soon,
            ..Default::default()
        },
        Timeouts {
            idle: soon,
            ..Default::default()
        },
    ] {
        let set = test.app.tcp_server.set_timeouts(id, timeouts);
        set.await.expect("it is open");
        let mut peer = TcpStream::connect(at).expect("it listens");
        let client = test.accepted().await;
        if timeouts.idle.is_some() {
            client.set_paused(false).await.expect("it is open");
        }
        client.send(content(50_000)).await.expect("it is sent");
        test.ended(client.id()).await;
        // Late input does no harm.
        peer.write_all(b"?").expect("it is open");
        assert!(
            read_to_clean_end(peer).await == content(50_000),
            "{timeouts:?}"
        );
        let _ = client.close().await;
    }
    let set = test.app.tcp_server.set_timeouts(id, Timeouts::default());
    set.await.expect("it is open");
    proof_of_life(&mut test, at).await;
}

#[actix_rt::test]
async fn an_unreported_client_sees_a_clean_end() {
    let test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let server = &test.app.tcp_server;
    let listener = test.listener.clone().recipient();
    server
        .on_accept
        .remove_listener(listener)
        .await
        .expect("it listens");
    let mut peer = TcpStream::connect(at).expect("it listens");
    peer.write_all(&[b'?'; 1000]).expect("it is accepted");
    server.close(id).await.expect("it is open");
    // It waits in the backlog, which the kernel resets, or was accepted.
    let _ = within(
        "the end",
        tokio::task::spawn_blocking(move || peer.read_to_end(&mut Vec::new())),
    )
    .await
    .expect("no panic");
}

#[actix_rt::test]
async fn a_peer_may_reset_after_any_byte() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    for bytes in [0, 1, 17, 4096, 70_000] {
        let (client, mut peer) = client_with_request(&mut test, at).await;
        let sent = send_answer(&client).await;
        client.close().await.expect("it is open");
        peer.read_exact(&mut vec![0; bytes]).expect("it comes");
        let socket = socket2::SockRef::from(&peer);
        socket.set_linger(Some(Duration::ZERO)).expect("it is set");
        drop(peer);
        // The send succeeds or fails; the connection ends either way.
        let _ = within("the answer", sent).await;
    }
    let (client, peer) = client_with_request(&mut test, at).await;
    peer.shutdown(Side::Write).expect("it is open");
    client.send(&b"yes"[..]).await.expect("it is sent");
    client.disconnect().await.expect("it is open");
    assert_eq!(read_to_clean_end(peer).await, b"yes");
    proof_of_life(&mut test, at).await;
}

/// Panics at all data.
struct PanickingListener;

impl Actor for PanickingListener {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, _: ReceiveInfo, _: &mut Self::Context) {
        panic!("at its data");
    }
}

/// Three listeners, each added after the previous one has died.
async fn panic_three_times(test: &TestApp) {
    for _ in 0..3 {
        let listener = PanickingListener.start();
        let on_receive = &test.app.tcp.on_receive;
        let added = on_receive.add_listener(listener.clone().recipient());
        added.await.expect("the registry runs");
        let dead = async {
            while listener.connected() {
                actix_rt::task::yield_now().await;
            }
        };
        within("the panic", dead).await;
    }
}

#[actix_rt::test]
async fn a_connection_that_ends_because_its_listeners_panicked_delivers_what_was_sent() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let (client, mut peer) = client_with_request(&mut test, at).await;
    // More data than is raised before it is handled, so some stays unread.
    peer.write_all(&[b'?'; 200_000]).expect("it is accepted");
    test.remove_listener().await;
    let sent = within("the answer", client.send(content(200_000))).await;
    assert_eq!(sent.map(|it| it.bytes_sent), Ok(200_000));
    client.set_paused(false).await.expect("it is open");
    panic_three_times(&test).await;
    assert!(read_to_clean_end(peer).await == content(200_000));
}
