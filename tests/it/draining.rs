//! Draining: connections finish, or are ended at the deadline, and the receipt counts both.

mod concurrent_calls;
mod progress;

use std::any::Any;
use std::net::SocketAddr;
use std::time::Duration;

use chrome_sockets::draining::{DrainAll, Drained};
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::{App, Error, NetError, ServerSocketId};
use support::{LIMIT, TestApp, subscribe, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::tcp_server::dial;

/// Short enough for a test, and long enough for what precedes it.
const SOON: Duration = Duration::from_millis(200);

/// More than the kernel buffers for a peer that does not read.
const LARGE: usize = 16 * 1024 * 1024;

/// A client that receives, and its peer.
async fn open(test: &mut TestApp, at: SocketAddr) -> (ClientSocket, TcpStream) {
    let peer = dial(at).await;
    let client = test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    (client, peer)
}

/// The peer sees an end: a close or a reset.
async fn expect_end(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = within("the peer's end", peer.read_to_end(&mut rest)).await;
}

/// Returns how many connections were made before.
async fn expect_refused(at: SocketAddr) -> usize {
    within("the port's end", async {
        let mut before = 0;
        while TcpStream::connect(at).await.is_ok() {
            before += 1;
            tokio::task::yield_now().await;
        }
        before
    })
    .await
}

/// The server socket listens and serves as before the drain.
async fn expect_service(test: &mut TestApp, server: ServerSocketId) {
    let tcp_server = &test.app.tcp_server;
    let listening = tcp_server.listen(server, "127.0.0.1", 0, None).await;
    listening.expect("listen");
    let info = tcp_server.get_info(server).await.expect("it is open");
    let at = info.local_addr().expect("it listens");
    let (client, mut peer) = open(test, at).await;
    peer.write_all(b"alive").await.expect("write");
    assert_eq!(test.received(client.id(), 5).await, b"alive");
}

#[actix_rt::test]
async fn clients_that_end_by_themselves_are_counted_as_finished_and_no_new_client_is_accepted() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let (by_peer, mut first) = open(&mut test, at).await;
    let (by_app, mut second) = open(&mut test, at).await;
    let drained = test.app.tcp_server.drain(server, LIMIT);
    let before = expect_refused(at).await;
    first.write_all(b"still").await.expect("it is served");
    assert_eq!(test.received(by_peer.id(), 5).await, b"still");
    by_peer.send(&b"yes"[..]).await.expect("it is served");
    drop(first);
    test.ended(by_peer.id()).await;
    by_app.close().await.expect("it is open");
    expect_end(&mut second).await;
    test.ended(by_app.id()).await;
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!((drained.finished, drained.never_accepted), (2, before));
    assert_eq!(drained.forced, []);
    expect_service(&mut test, server).await;
}

#[actix_rt::test]
async fn the_deadline_ends_the_other_clients_and_the_receipt_names_them() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let (open_one, mut first) = open(&mut test, at).await;
    let mut second = dial(at).await;
    let paused = test.accepted().await;
    let waiting = open_one.send(vec![0; LARGE]);
    let drained = test.app.tcp_server.drain(server, SOON).await;
    let drained = drained.expect("drained");
    assert_eq!((drained.finished, drained.never_accepted), (0, 0));
    assert_eq!(drained.forced, [open_one.id(), paused.id()]);
    assert_eq!(waiting.await, Err(NetError::ABORTED.into()));
    assert_eq!(test.ended(open_one.id()).await, NetError::ABORTED);
    test.expect_no_event().await;
    paused.set_paused(false).await.expect("the id is valid");
    assert_eq!(test.ended(paused.id()).await, NetError::ABORTED);
    expect_end(&mut first).await;
    expect_end(&mut second).await;
    for client in [&open_one, &paused] {
        client.close().await.expect("the id is valid until close");
    }
    expect_service(&mut test, server).await;
}

#[actix_rt::test]
async fn last_sends_of_a_closed_socket_may_take_until_the_deadline() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    for reads in [true, false] {
        let (client, mut peer) = open(&mut test, at).await;
        let sent = client.send(vec![0; LARGE]);
        client.close().await.expect("it is open");
        test.ended(client.id()).await;
        let deadline = if reads { LIMIT } else { SOON };
        let drained = test.app.tcp_server.drain(server, deadline);
        if reads {
            let mut all = vec![0; LARGE];
            within("everything", peer.read_exact(&mut all))
                .await
                .expect("read");
            assert!(sent.await.is_ok());
            let drained = drained.await.expect("drained");
            assert_eq!((drained.finished, drained.forced), (1, vec![]));
            let again = test
                .app
                .tcp_server
                .listen(server, "127.0.0.1", at.port().into(), None);
            again.await.expect("listen");
        } else {
            let drained = drained.await.expect("drained");
            assert_eq!(drained.forced, [client.id()]);
            assert_eq!(sent.await, Err(NetError::ABORTED.into()));
        }
    }
}

#[actix_rt::test]
async fn the_backlog_is_closed_and_counted() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let paused = test.app.tcp_server.set_paused(server, true);
    paused.await.expect("it is open");
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(dial(at).await);
    }
    let drained = test.app.tcp_server.drain(server, LIMIT).await;
    let drained = drained.expect("drained");
    assert_eq!((drained.finished, drained.never_accepted), (0, 3));
    for peer in &mut peers {
        expect_end(peer).await;
    }
    test.expect_no_event().await;
    let info = test.app.tcp_server.get_info(server).await;
    assert!(info.expect("it is open").paused, "as it was");
}

#[actix_rt::test]
async fn a_drain_counts_clients_of_which_the_event_loop_has_not_heard() {
    let test = TestApp::new().await;
    let tcp_server = &test.app.tcp_server;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("socket");
    let unix = tcp_server.create(Default::default()).await.expect("create");
    let listening = tcp_server
        .listen_unix(unix.socket_id, path.as_path(), None, None)
        .await;
    listening.expect("listen");
    let (tcp, at) = test.listen().await;
    for (server, is_unix) in [(tcp, false), (unix.socket_id, true)] {
        let paused = tcp_server.set_paused(server, true).await;
        paused.expect("it is open");
        // This thread, which has the event loop, does nothing else meanwhile.
        let mut peers: Vec<Box<dyn Any>> = Vec::new();
        for _ in 0..20 {
            peers.push(match is_unix {
                true => Box::new(std::os::unix::net::UnixStream::connect(&path).expect("connect")),
                false => Box::new(std::net::TcpStream::connect(at).expect("connect")),
            });
        }
        let drained = tcp_server.drain(server, LIMIT).await.expect("drained");
        assert_eq!(drained.never_accepted, 20, "unix: {is_unix}");
    }
}

#[actix_rt::test]
async fn a_server_sockets_drain_ends_only_its_own_clients() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let (_, elsewhere) = test.listen().await;
    let (own, _own) = open(&mut test, at).await;
    let (others, mut peer) = open(&mut test, elsewhere).await;
    let dialled = test.create().await;
    let remote = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    connect(&test.app, dialled, &remote).await;
    let drained = test.app.tcp_server.drain(server, Duration::ZERO).await;
    assert_eq!(drained.expect("drained").forced, [own.id()]);
    assert_eq!(test.ended(own.id()).await, NetError::ABORTED);
    peer.write_all(b"alive").await.expect("write");
    assert_eq!(test.received(others.id(), 5).await, b"alive");
    let info = test.app.tcp.get_info(dialled).await.expect("it is open");
    assert!(info.connected);
    drop(open(&mut test, elsewhere).await);
}

/// Connects a client, and keeps the other end open.
async fn connect(app: &App, id: chrome_sockets::ClientSocketId, remote: &TcpListener) {
    let at = remote.local_addr().expect("an address");
    let any = chrome_sockets::tcp::DnsQueryType::Any;
    let made = app.tcp.connect(id, "127.0.0.1", at.port().into(), any);
    made.await.expect("connect");
}

#[actix_rt::test]
async fn an_apps_drain_ends_all_its_connections_and_none_of_other_apps() {
    let mut test = TestApp::new().await;
    let (_, first) = test.listen().await;
    let (_, second) = test.listen().await;
    let (one, _one) = open(&mut test, first).await;
    let (two, _two) = open(&mut test, second).await;
    let dialled = test.create().await;
    let remote = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    connect(&test.app, dialled, &remote).await;
    let other = App::new("other", &test.registry);
    let kept = other.tcp.create(Default::default()).await;
    let kept = kept.expect("create").socket_id;
    connect(&other, kept, &remote).await;

    let drained = test.app.drain(SOON).await.expect("drained");
    assert_eq!(drained.forced, [one.id(), two.id(), dialled]);
    expect_refused(first).await;
    expect_refused(second).await;
    let info = other.tcp.get_info(kept).await.expect("it is open");
    assert!(info.connected);

    let all = test.registry.send(DrainAll { deadline: SOON }).await;
    let all = all.expect("it runs").expect("drained");
    assert_eq!((all.finished, all.forced), (0, vec![kept]));
    let none = App::new("nobody", &test.registry).drain(LIMIT).await;
    assert_eq!(none, Ok(Drained::default()));
    let unknown = test.app.tcp_server.drain(99.into(), LIMIT).await;
    assert_eq!(unknown, Err(Error::SocketNotFound));
}
