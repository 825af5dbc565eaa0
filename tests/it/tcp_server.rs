//! `chrome.sockets.tcpServer`: a test for each promise of the documentation.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod accepting;
mod addresses;
mod backlog;
mod ending;
mod events;
mod listening;
mod messages;
mod ownership;
mod pausing;
mod properties;
pub mod recording_listener;

use std::net::SocketAddr;

use chrome_sockets::{App, ClientSocketId, ServerSocketId};
use support::{TestApp, within};
use tokio::net::TcpStream;

/// A server socket that does not listen yet.
async fn create(app: &App) -> ServerSocketId {
    let created = app.tcp_server.create(Default::default()).await;
    created.expect("create").socket_id
}

/// The address of a server socket.
async fn address(app: &App, id: ServerSocketId) -> SocketAddr {
    let info = app.tcp_server.get_info(id).await.expect("it exists");
    info.local_addr().expect("it listens")
}

/// Whether it listens, according to `getInfo`.
async fn listens(app: &App, id: ServerSocketId) -> bool {
    let info = app.tcp_server.get_info(id).await.expect("it exists");
    assert_eq!(info.local_address.is_some(), info.local_port.is_some());
    info.local_address.is_some()
}

/// A server socket that listens at `ip`. A test that needs its port a second time uses an
/// address of its own, so that no other test gets the port in between.
async fn listen_at(app: &App, ip: &str) -> (ServerSocketId, SocketAddr) {
    let id = create(app).await;
    let answer = app.tcp_server.listen(id, ip, 0, None);
    answer.await.expect("listen");
    (id, address(app, id).await)
}

/// A connection to a server socket.
pub async fn dial(address: SocketAddr) -> TcpStream {
    within("the connection", TcpStream::connect(address))
        .await
        .expect("connect")
}

/// The peer's port of a client socket, which identifies the peer.
async fn peer_port(test: &TestApp, client: ClientSocketId) -> u16 {
    let info = test.app.tcp.get_info(client).await.expect("it exists");
    info.peer_port.expect("it is connected")
}

/// Expects `onAccept` of the connection of `peer`.
pub async fn expect_accept(test: &mut TestApp, peer: &TcpStream) -> ClientSocketId {
    let client = test.accepted().await.id();
    let port = peer.local_addr().expect("its address").port();
    assert_eq!(peer_port(test, client).await, port, "another connection");
    client
}
