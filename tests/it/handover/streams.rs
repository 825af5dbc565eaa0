//! Sockets with a stream in a handover: no byte is lost or comes twice.

use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::Poll;

use chrome_sockets::tcp::ClientStream;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::concurrent_calls::wait_until_quiesced;
use super::*;

/// The stream of a persistent client, and its peer.
async fn persistent_stream(
    test: &mut TestApp,
    address: SocketAddr,
) -> (ClientStream, std::net::TcpStream) {
    let (client, peer) = accept_persistent(test, address).await;
    let stream = client.into_stream().await.expect("it is connected");
    (stream, peer)
}

async fn get(stream: &mut ClientStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    within("the stream's data", stream.read_exact(&mut data))
        .await
        .expect("read");
    data
}

/// Whether a write waits.
async fn is_write_pending(stream: &mut ClientStream) -> bool {
    poll_fn(|cx| {
        let written = Pin::new(&mut *stream).poll_write(cx, b"x");
        Poll::Ready(written.is_pending())
    })
    .await
}

async fn expect_handed_over(stream: &mut ClientStream) {
    for _ in 0..2 {
        let read = within("the stream's end", stream.read(&mut [0])).await;
        let error = read.expect_err("another process has it");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
        assert!(error.to_string().contains("handed over"), "{error}");
        let error = stream.write(b"late").await.expect_err("as above");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
        let error = stream.shutdown().await.expect_err("as above");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    }
}

#[actix_rt::test]
async fn a_stream_that_has_read_everything_hands_its_socket_over_with_what_waits() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (mut stream, mut peer) = persistent_stream(&mut old, address).await;
    peer.write_all(b"early").expect("it reads");
    assert_eq!(get(&mut stream, 5).await, b"early");
    // More than the kernel takes: the rest moves as unsent data.
    let mut written = 0;
    let chunk = (0..=250).cycle().take(251 * 1000).collect::<Vec<u8>>();
    let mut idle = 0;
    while idle < 50 {
        let at = written % 251;
        let write = poll_fn(|cx| {
            let write = Pin::new(&mut stream).poll_write(cx, &chunk[at..]);
            Poll::Ready(match write {
                Poll::Ready(bytes) => bytes.expect("it is open"),
                Poll::Pending => 0,
            })
        });
        match write.await {
            0 => idle += 1,
            bytes => (written, idle) = (written + bytes, 0),
        }
        stream.socket().get_info().await.expect("it is open");
    }
    let id = stream.socket().id();
    peer.write_all(b"later").expect("there is room");
    assert_eq!(get(&mut stream, 5).await, b"later");
    let receipt = expect_handover(&old, &new).await;
    assert_eq!(receipt.clients.len(), 1);
    expect_handed_over(&mut stream).await;
    drop(stream);

    let client = new.app.tcp.socket(id).await.expect("it is here");
    client.try_send("end").expect("it is open");
    let read = tokio::task::spawn_blocking(move || {
        let mut all = vec![0; written + 3];
        peer.read_exact(&mut all).expect("all of it");
        (all, peer)
    });
    let (all, mut peer) = within("the peer's data", read).await.expect("no panic");
    let (data, end) = all.split_at(written);
    assert!(
        data.iter()
            .enumerate()
            .all(|(at, byte)| usize::from(*byte) == at % 251)
    );
    assert_eq!(end, b"end");
    peer.write_all(b"to the new one").expect("it reads");
    assert_eq!(new.received(id, 14).await, b"to the new one");
    expect_service(&mut new, address).await;
}

#[actix_rt::test]
async fn a_handover_waits_for_a_stream_that_reads_late() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (mut stream, mut peer) = persistent_stream(&mut old, address).await;
    let id = stream.socket().id();
    peer.write_all(b"data").expect("it reads");
    assert_eq!(get(&mut stream, 1).await, b"d");
    let (here, there) = socket_pair();
    let outgoing = begin_handover(&old, here);
    let incoming = Inheritance::from_socket(there);
    let incoming = actix_rt::spawn({
        let registry = new.registry.clone();
        async move { incoming.adopt(&registry).await }
    });
    old.expect_no_event().await;
    assert!(!outgoing.is_finished(), "three bytes are unread");
    assert_eq!(get(&mut stream, 3).await, b"ata");
    // Its task may answer until the export.
    let _ = within("an answer", stream.write(b"answer")).await;
    within("the handover", outgoing)
        .await
        .expect("no panic")
        .expect("it succeeds");
    within("the handover", incoming)
        .await
        .expect("no panic")
        .expect("it succeeds");
    expect_handed_over(&mut stream).await;
    peer.write_all(b"more").expect("it reads");
    assert_eq!(new.received(id, 4).await, b"more");
}

#[actix_rt::test]
async fn a_stream_that_does_not_read_keeps_its_socket() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (mut stream, mut peer) = persistent_stream(&mut old, address).await;
    peer.write_all(b"data").expect("it reads");
    assert_eq!(get(&mut stream, 1).await, b"d");
    let (outgoing, incoming) = hand_over_to(&old, &new).await;
    let receipt = outgoing.expect("it succeeds without this socket");
    incoming.expect("as above");
    assert_eq!(receipt.clients.len(), 0);
    let reasons = format!("{:?}", receipt.not_transferred);
    assert!(reasons.contains("has not read"), "{reasons}");
    assert_eq!(get(&mut stream, 3).await, b"ata");
    peer.write_all(b"more").expect("it reads");
    assert_eq!(get(&mut stream, 4).await, b"more");
    stream.write_all(b"answer").await.expect("it is open");
    let mut answer = [0; 6];
    peer.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"answer");
    expect_service(&mut new, address).await;
}

#[actix_rt::test]
async fn a_stream_goes_on_after_a_handover_that_fails() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (mut stream, mut peer) = persistent_stream(&mut old, address).await;
    let (here, there) = UnixStream::pair().expect("a pair");
    let outgoing = begin_handover(&old, here);
    let there = wait_until_quiesced(there).await;
    within("the freeze", async {
        while !is_write_pending(&mut stream).await {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    peer.write_all(b"during").expect("there is room");
    let mut writing = actix_rt::spawn(async move {
        stream.write_all(b"after").await.expect("it stays");
        stream
    });
    let early = actix_rt::time::timeout(support::QUIET, &mut writing).await;
    assert!(early.is_err(), "the handover decides");
    drop(there);
    let failed = within("the handover", outgoing).await.expect("no panic");
    failed.expect_err("the other side is gone");
    let mut stream = within("the write", writing).await.expect("no panic");
    assert_eq!(get(&mut stream, 6).await, b"during");
    drop(stream);
    let read = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("its end");
        all
    });
    let all = within("the peer's end", read).await.expect("no panic");
    // What was written before the freeze, and then the rest.
    let before = all.strip_suffix(b"after").expect("it was written last");
    assert!(before.iter().all(|byte| *byte == b'x'), "{all:?}");
    expect_service(&mut old, address).await;
}
