//! Calls are carried out in their order, and events are raised in theirs: without awaiting, with
//! full mailboxes, and across threads.

mod one_thread;
mod several_threads;
mod sync_arbiter;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::mpsc;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{self, ClientSocket, ReceiveErrorInfo, ReceiveInfo, SendInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{Answer, App, ClientSocketId, Error, NetError, Registry};
use futures::future::join_all;
use support::{ListenerEvent, TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Number of sends that are called before any is awaited.
const SENDS: u32 = 10_000;

/// The message with this number: 8 to 307 bytes, which show their position.
fn message(number: u32) -> Bytes {
    let length = 4 + number * 7919 % 300;
    let mut message = Vec::new();
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&length.to_be_bytes());
    message.extend((4..length).map(|i| (number ^ i ^ (i >> 4)) as u8));
    message.into()
}

/// Reads the messages as a peer, and compares each byte.
async fn assert_all_arrive(peer: &mut TcpStream) {
    for number in 0..SENDS {
        let expected = message(number);
        let mut received = vec![0; expected.len()];
        within("the next message", peer.read_exact(&mut received))
            .await
            .expect("read");
        assert_eq!(received, expected, "in the place of message {number}");
    }
}

/// The same while the sends are pending, and then checks their answers.
async fn assert_all_sent<F>(peer: &mut TcpStream, answers: Vec<F>)
where
    F: Future<Output = Result<SendInfo, Error>>,
{
    let answers = within("the answers", join_all(answers));
    let ((), answers) = tokio::join!(assert_all_arrive(peer), answers);
    for (number, answer) in (0..SENDS).zip(answers) {
        let bytes_sent = message(number).len();
        assert_eq!(answer, Ok(SendInfo { bytes_sent }), "message {number}");
    }
    peer.write_all(b"alive").await.expect("write");
}

async fn dial(at: SocketAddr) -> TcpStream {
    let peer = within("the connection", TcpStream::connect(at)).await;
    peer.expect("connect")
}

/// An accepted client and its peer.
async fn pair(test: &mut TestApp) -> (ClientSocket, TcpStream) {
    let (_, at) = test.listen().await;
    let peer = dial(at).await;
    (test.accepted().await, peer)
}

/// Checks that the connection still works.
async fn assert_alive(test: &mut TestApp, client: &ClientSocket) {
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 5).await, b"alive");
}

/// A message to the registry, as another actor may send it.
fn send_request(
    registry: &Addr<Registry>,
    app: &App,
    socket_id: ClientSocketId,
    data: Bytes,
) -> impl Future<Output = Result<SendInfo, Error>> + use<> {
    let app = app.id().clone();
    let request = registry.send(tcp::Send {
        app,
        socket_id,
        data,
    });
    async { request.await.expect("the registry lives") }
}
