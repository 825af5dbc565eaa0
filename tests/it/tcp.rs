//! `chrome.sockets.tcp`: a test for each promise of the documentation.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod addresses;
mod connecting;
mod defaults;
mod ending;
mod events;
mod fast_path;
mod half_close;
mod handles;
mod happy_eyeballs;
mod lookups;
mod messages;
pub mod networks;
mod options;
mod ownership;
mod properties;
mod quota;
mod receiving;
mod resuming;
mod send_queue;
mod sending;
mod socket_listeners;
mod stream;
mod user_timeout;

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType};
use chrome_sockets::{App, ClientSocketId, Error};
use support::{TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::tcp_server::dial;

/// More than the kernel buffers for a peer that does not read.
const LARGE: usize = 8 * 1024 * 1024;

/// Bytes without equal neighbours or repeated chunks, so that lost or reordered data is noticed.
fn pattern(length: usize) -> Bytes {
    static LARGEST: LazyLock<Bytes> = LazyLock::new(|| {
        let bytes = (0..LARGE).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8);
        bytes.collect()
    });
    LARGEST.slice(..length)
}

/// An accepted, paused client, and its peer.
async fn pair(test: &mut TestApp) -> (ClientSocket, TcpStream) {
    let (_, at) = test.listen().await;
    let peer = dial(at).await;
    (test.accepted().await, peer)
}

/// A client that `connect` connected, which is not paused, and its peer.
async fn connected(test: &TestApp) -> (ClientSocket, TcpStream) {
    let id = test.create().await;
    let peer = connect(&test.app, id).await;
    let client = test.app.tcp.socket(id).await.expect("it exists");
    (client, peer)
}

/// Connects a client to a listener that is then dropped, and returns its peer.
async fn connect(app: &App, id: ClientSocketId) -> TcpStream {
    let (listener, at) = foreign_listener().await;
    let (answer, peer) = within("the connection", async {
        tokio::join!(connect_to(app, id, at), listener.accept())
    })
    .await;
    answer.expect("connect");
    peer.expect("accept").0
}

/// A server of another program.
async fn foreign_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let at = listener.local_addr().expect("its address");
    (listener, at)
}

async fn connect_to(app: &App, id: ClientSocketId, at: SocketAddr) -> Result<(), Error> {
    let connecting = app
        .tcp
        .connect(id, at.ip().to_string(), at.port().into(), DnsQueryType::Any);
    connecting.await
}

async fn write(peer: &mut TcpStream, data: &[u8]) {
    within("the end of the peer's write", peer.write_all(data))
        .await
        .expect("write");
}

/// The next bytes that the peer reads.
async fn read(peer: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    within("the peer's data", peer.read_exact(&mut data))
        .await
        .expect("read");
    data
}

/// All bytes that the peer reads until the end.
async fn read_to_end(peer: &mut TcpStream) -> Vec<u8> {
    let mut data = Vec::new();
    within("the end of the peer's data", peer.read_to_end(&mut data))
        .await
        .expect("read");
    data
}

/// Resets the peer's connection.
fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(peer);
}

/// Asserts that a socket is not connected and paused, as after the end of its connection.
async fn assert_ended(app: &App, id: ClientSocketId) {
    let info = app.tcp.get_info(id).await.expect("it exists");
    assert!(!info.connected, "{info:?}");
    assert!(info.paused, "{info:?}");
    assert_eq!((info.peer_addr(), info.local_addr()), (None, None));
}
