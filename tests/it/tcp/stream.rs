//! `into_stream`: a client socket as tokio's `AsyncRead` and `AsyncWrite`.

mod ending;
mod programs;
mod reading;
mod suspending;
mod threads;
mod writing;

use std::io;

use chrome_sockets::tcp::{ClientSocket, ClientStream, SocketProperties};
use chrome_sockets::{Error, NetError};
use support::{TestApp, code, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LARGE, connected, pair, pattern, read, read_to_end, reset, write};

/// The stream of an accepted client, and its peer.
async fn stream(test: &mut TestApp) -> (ClientStream, TcpStream) {
    let (client, peer) = pair(test).await;
    (into_stream(client).await, peer)
}

async fn into_stream(client: ClientSocket) -> ClientStream {
    let stream = within("the stream", client.into_stream()).await;
    stream.expect("it is connected")
}

/// The next bytes of a stream.
async fn get(stream: &mut ClientStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    within("the stream's data", stream.read_exact(&mut data))
        .await
        .expect("read");
    data
}

/// All bytes of a stream until the peer's orderly end.
async fn get_all(stream: &mut ClientStream) -> Vec<u8> {
    let mut data = Vec::new();
    within("the stream's end", stream.read_to_end(&mut data))
        .await
        .expect("read");
    data
}

async fn put(stream: &mut ClientStream, data: &[u8]) {
    within("the stream's write", stream.write_all(data))
        .await
        .expect("write");
}

/// The error of the next read.
async fn read_error(stream: &mut ClientStream) -> io::Error {
    let read = within("the stream's end", stream.read(&mut [0; 16])).await;
    read.expect_err("it has ended with an error")
}

/// The network error inside.
fn net_error(error: &io::Error) -> Option<NetError> {
    let inner = error.get_ref()?.downcast_ref::<Error>()?;
    inner.net_error()
}

fn persistent() -> SocketProperties {
    SocketProperties {
        persistent: Some(true),
        ..Default::default()
    }
}

/// A new connection works.
async fn expect_service(test: &mut TestApp) {
    let (mut stream, mut peer) = stream(test).await;
    write(&mut peer, b"alive").await;
    assert_eq!(get(&mut stream, 5).await, b"alive");
    put(&mut stream, b"yes").await;
    assert_eq!(read(&mut peer, 3).await, b"yes");
}

#[actix_rt::test]
async fn an_accepted_client_becomes_a_stream_that_reads_and_writes_without_listeners() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let info = stream.socket().get_info().await.expect("it is open");
    assert!(info.connected && !info.paused && info.allow_half_open);
    for turn in 0..100_u8 {
        write(&mut peer, &[turn; 64]).await;
        assert_eq!(get(&mut stream, 64).await, [turn; 64]);
        put(&mut stream, &[turn; 64]).await;
        assert_eq!(read(&mut peer, 64).await, [turn; 64]);
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_client_that_connect_connected_becomes_a_stream() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    write(&mut peer, b"first").await;
    assert_eq!(test.received(client.id(), 5).await, b"first");
    let mut stream = into_stream(client).await;
    write(&mut peer, b"second").await;
    assert_eq!(get(&mut stream, 6).await, b"second");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn what_cannot_be_a_stream_answers_why_and_stays_as_it_is() {
    let mut test = TestApp::new().await;
    let id = test.create().await;
    let unconnected = test.app.tcp.socket(id).await.expect("it exists");
    assert_eq!(
        code("into_stream", unconnected.clone().into_stream()).await,
        -15
    );
    let peer = super::connect(&test.app, id).await;

    let mut stream = into_stream(unconnected).await;
    let again = stream.socket().clone().into_stream().await;
    assert_eq!(again.err(), Some(Error::AlreadyStream));
    drop(peer);
    assert_eq!(get_all(&mut stream).await, b"");

    let (client, _peer) = pair(&mut test).await;
    client.update(persistent()).await.expect("update");
    test.app.suspend().await.expect("suspend");
    let suspended = client.clone().into_stream().await;
    assert_eq!(suspended.err(), Some(Error::Suspended));
    test.app.resume().await.expect("resume");

    client.close().await.expect("close");
    let closed = client.into_stream().await;
    assert_eq!(closed.err(), Some(Error::SocketNotFound));
}

#[actix_rt::test]
async fn a_dropped_answer_closes_the_socket() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    drop(client.into_stream());
    assert_eq!(read_to_end(&mut peer).await, b"");
    test.expect_no_event().await;
}

#[test]
fn a_stream_is_send_and_unpin() {
    fn check<T: Send + Unpin + tokio::io::AsyncRead + tokio::io::AsyncWrite + 'static>() {}
    check::<ClientStream>();
}
