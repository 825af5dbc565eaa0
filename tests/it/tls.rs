//! TLS: `tcp.secure`, and encrypted server sockets.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod arbiters;
pub mod certificates;
mod details;
mod draining;
mod failing;
mod foreign_clients;
mod foreign_servers;
mod half_close;
mod handover;
mod limits;
mod scripted_network;
mod secure;
mod secure_as_server;
mod serving;
mod states;
mod streams;
mod suspended;
mod unread_connections;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType, SecureOptions};
use chrome_sockets::{Registry, ServerSocketId, rustls, tls};
use support::{TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use self::certificates::{Authority, Issued};

/// Bytes without equal neighbours or repeated records.
fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

/// A test app that trusts only an authority of its own.
struct TlsFixture {
    test: TestApp,
    authority: Authority,
}

impl TlsFixture {
    async fn new() -> Self {
        let authority = Authority::new();
        let registry = Registry::new().tls_client(authority.client());
        TlsFixture {
            test: TestApp::on(registry).await,
            authority,
        }
    }

    /// An encrypted server socket.
    async fn serve(&self, server: tls::Server) -> (ServerSocketId, SocketAddr) {
        let (id, at) = self.test.listen().await;
        let set = self.test.app.tcp_server.set_tls(id, Some(server));
        set.await.expect("it exists");
        (id, at)
    }

    /// A paused socket that is connected by this name, and its peer before the handshake.
    async fn dial(&self, host: &str) -> (ClientSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let at = listener.local_addr().expect("its address");
        let client = dialled(&self.test, host, at.port()).await;
        let (peer, _) = within("the connection", listener.accept())
            .await
            .expect("accept");
        (client, peer)
    }

    /// A secured, paused socket, and its peer.
    async fn secured(&self) -> (ClientSocket, server::TlsStream<TcpStream>) {
        let (client, peer) = self.dial("localhost").await;
        let issued = self.authority.issue("localhost");
        let answer = client.secure(SecureOptions::default());
        let peer = accept(peer, &issued).await.expect("the peer's handshake");
        within("the handshake", answer).await.expect("secure");
        (client, peer)
    }
}

/// A paused socket that is connected.
async fn dialled(test: &TestApp, host: &str, port: u16) -> ClientSocket {
    let id = test.create().await;
    let tcp = &test.app.tcp;
    tcp.set_paused(id, true).await.expect("pause");
    tcp.connect(id, host, port.into(), DnsQueryType::Ipv4)
        .await
        .expect("connect");
    tcp.socket(id).await.expect("it exists")
}

/// The peer's side of a handshake.
async fn accept(peer: TcpStream, issued: &Issued) -> std::io::Result<server::TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(issued.config());
    within("the peer's handshake", acceptor.accept(peer)).await
}

/// A client's handshake with a server socket.
pub async fn connect(
    at: SocketAddr,
    authority: &Authority,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    let stream = crate::tcp_server::dial(at).await;
    connect_as(stream, authority.config(&[&rustls::version::TLS13])).await
}

async fn connect_as(
    stream: TcpStream,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    let name = "localhost".try_into().expect("a name");
    let connecting = TlsConnector::from(config).connect(name, stream);
    within("the client's handshake", connecting).await
}

async fn write(peer: &mut (impl tokio::io::AsyncWrite + Unpin), data: &[u8]) {
    within("the end of the peer's write", async {
        peer.write_all(data).await?;
        peer.flush().await
    })
    .await
    .expect("write");
}

/// The next bytes that the peer reads.
async fn read(peer: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    within("the peer's data", peer.read_exact(&mut data))
        .await
        .expect("read");
    data
}

/// Fails unless the peer reads a clean end (`close_notify`) next.
async fn expect_clean_end(peer: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let end = within("the end", peer.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0)), "no close_notify: {end:?}");
}

/// Waits until the peer reads an end, clean or not.
async fn expect_any_end(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = within("the end", peer.read_to_end(&mut rest)).await;
}

/// Checks both directions of a connection, and leaves the socket paused.
async fn assert_talks(
    test: &mut TestApp,
    client: &ClientSocket,
    peer: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
) {
    client.set_paused(false).await.expect("resume");
    write(peer, b"there").await;
    assert_eq!(test.received(client.id(), 5).await, b"there");
    let sent = client.send(&b"back"[..]).await.expect("send");
    assert_eq!(sent.bytes_sent, 4);
    assert_eq!(read(peer, 4).await, b"back");
    client.set_paused(true).await.expect("pause");
}
