//! Half-close of encrypted connections: each side ends by `close_notify` and FIN.

use chrome_sockets::NetError;
use chrome_sockets::tcp;
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{TlsFixture, pattern};

/// More than the kernel buffers for a peer that does not read.
const LARGE: usize = 8 * 1024 * 1024;

#[actix_rt::test]
async fn an_encrypted_answer_follows_the_peers_end() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    let half_open = tcp::SocketProperties {
        allow_half_open: Some(true),
        ..Default::default()
    };
    client.update(half_open).await.expect("update");
    client.set_paused(false).await.expect("resume");
    peer.write_all(b"a request").await.expect("write");
    peer.shutdown().await.expect("its side ends");
    assert_eq!(fixture.test.received(client.id(), 9).await, b"a request");
    let end = fixture.test.ended(client.id()).await;
    assert_eq!(end, NetError::CONNECTION_CLOSED);
    let sent = client.send(pattern(LARGE));
    let shut = client.shutdown_write();
    let mut answer = Vec::new();
    let read = within("the answer", peer.read_to_end(&mut answer)).await;
    read.expect("a clean end");
    assert!(answer == pattern(LARGE), "another answer came");
    assert!(within("the send", sent).await.is_ok());
    assert_eq!(within("the call", shut).await, Ok(()));
    assert!(!client.get_info().await.expect("it exists").connected);
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn shutdown_write_ends_the_encrypted_side_and_reading_goes_on() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    client.set_paused(false).await.expect("resume");
    client
        .try_send(&b"a question"[..])
        .expect("it is connected");
    client.shutdown_write().await.expect("it is connected");
    let mut question = Vec::new();
    let read = within("the question", peer.read_to_end(&mut question)).await;
    read.expect("a clean end");
    assert_eq!(question, b"a question");
    peer.write_all(b"an answer").await.expect("write");
    peer.shutdown().await.expect("its side ends");
    assert_eq!(fixture.test.received(client.id(), 9).await, b"an answer");
    let end = fixture.test.ended(client.id()).await;
    assert_eq!(end, NetError::CONNECTION_CLOSED);
}
