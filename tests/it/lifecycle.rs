//! Apps that are suspended, loaded again, and unloaded.

mod connection_storm;
mod idle_timeout;
mod loading;
mod pending_suspension;
mod slow_listener;
mod suspending;
mod unloading;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use actix::prelude::*;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::{self, DnsQueryType};
use chrome_sockets::{App, ClientSocketId, ServerSocketId, tcp_server};
use support::{TestApp, subscribe, within};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// An event page that adds the test's listener, and how often it was started.
fn page(test: &TestApp) -> (EventPage, Arc<AtomicUsize>) {
    let starts = Arc::new(AtomicUsize::new(0));
    let (listener, count) = (test.another_listener(), starts.clone());
    let page = EventPage::new(move |app| {
        count.fetch_add(1, SeqCst);
        subscribe(&app, &listener().start())
    });
    (page, starts)
}

/// Gives the app an event page that adds the test's listener.
async fn with_page(test: &TestApp) -> Arc<AtomicUsize> {
    let (page, starts) = page(test);
    let set = test.app.set_event_page(Some(page));
    set.await.expect("the registry runs");
    starts
}

async fn suspend(app: &App) {
    within("the answer to suspend", app.suspend())
        .await
        .expect("suspend");
    assert_eq!(app.is_suspended().await, Ok(true));
}

async fn resume(app: &App) {
    within("the answer to resume", app.resume())
        .await
        .expect("resume");
    assert_eq!(app.is_suspended().await, Ok(false));
}

/// A listening persistent server socket.
async fn persistent_server(test: &TestApp) -> (ServerSocketId, SocketAddr) {
    let (id, at) = test.listen().await;
    let properties = tcp_server::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = test.app.tcp_server.update(id, properties);
    updated.await.expect("it exists");
    (id, at)
}

/// A persistent client socket, and its peer.
async fn persistent_client(test: &TestApp) -> (ClientSocketId, TcpStream) {
    let created = test.app.tcp.create(tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    });
    let id = created.await.expect("create").socket_id;
    (id, connect(&test.app, id).await)
}

async fn connect(app: &App, id: ClientSocketId) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("it is bound");
    let connected = app
        .tcp
        .connect(id, "127.0.0.1", at.port().into(), DnsQueryType::Any);
    connected.await.expect("connect");
    let accepted = within("the connection", listener.accept()).await;
    accepted.expect("accept").0
}

/// Waits until the peer's connection has ended.
async fn expect_end(mut peer: TcpStream) {
    let mut rest = Vec::new();
    // A reset ends it as well.
    let _ = within("the end of the connection", peer.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"", "nothing was sent");
}

async fn server_sockets(app: &App) -> Vec<ServerSocketId> {
    let sockets = app.tcp_server.get_sockets().await.expect("the registry");
    sockets.iter().map(|info| info.socket_id).collect()
}

async fn client_sockets(app: &App) -> Vec<ClientSocketId> {
    let sockets = app.tcp.get_sockets().await.expect("the registry");
    sockets.iter().map(|info| info.socket_id).collect()
}
