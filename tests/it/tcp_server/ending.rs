//! `disconnect` and `close` of a server socket.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use chrome_sockets::tcp_server::SocketProperties;
use chrome_sockets::{App, ClientSocketId, Error, ServerSocketId};
use support::{TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{address, create, dial, expect_accept, listen_at, listens};

/// Asserts that an accepted client and its peer still exchange data.
async fn assert_talks(test: &mut TestApp, peer: &mut TcpStream, id: ClientSocketId) {
    let tcp = test.app.tcp.clone();
    tcp.set_paused(id, false).await.expect("resume");
    peer.write_all(b"ping").await.expect("write");
    assert_eq!(test.received(id, 4).await, b"ping");
    tcp.send(id, &b"pong"[..]).await.expect("send");
    let mut answer = [0; 4];
    within("the answer", peer.read_exact(&mut answer))
        .await
        .expect("read");
    assert_eq!(&answer, b"pong");
}

async fn assert_refused(at: SocketAddr) {
    let refused = within("the refusal", TcpStream::connect(at)).await;
    let error = refused.expect_err("no listener");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

async fn listen_on(app: &App, id: ServerSocketId, at: SocketAddr) -> Result<(), Error> {
    let listening = app
        .tcp_server
        .listen(id, at.ip().to_string(), at.port().into(), None);
    listening.await
}

#[actix_rt::test]
async fn disconnect_stops_listening() {
    let mut test = TestApp::new().await;
    let (id, at) = listen_at(&test.app, "127.0.72.1").await;
    let disconnected = test.app.tcp_server.disconnect(id);
    disconnected.await.expect("disconnect");
    assert!(!listens(&test.app, id).await);
    assert_refused(at).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn the_answer_to_disconnect_means_that_the_port_is_free() {
    let mut test = TestApp::new().await;
    let (id, at) = listen_at(&test.app, "127.0.72.2").await;
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
    let disconnected = test.app.tcp_server.disconnect(id);
    disconnected.await.expect("disconnect");

    // Any program can use it, and so can another socket of the app.
    drop(TcpListener::bind(at).expect("the port is free"));
    let other = create(&test.app).await;
    assert_eq!(listen_on(&test.app, other, at).await, Ok(()));
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn disconnect_keeps_id_name_persistent_and_paused() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let created = server.create(SocketProperties {
        persistent: Some(true),
        name: Some("web".into()),
    });
    let id = created.await.expect("create").socket_id;
    server.set_paused(id, true).await.expect("pause");
    let before = server.get_info(id).await;
    server
        .listen(id, "127.0.0.1", 0, None)
        .await
        .expect("listen");
    server.disconnect(id).await.expect("disconnect");
    assert_eq!(server.get_info(id).await, before);
}

#[actix_rt::test]
async fn disconnect_does_not_pause_the_socket() {
    let test = TestApp::new().await;
    let (id, _) = test.listen().await;
    let server = &test.app.tcp_server;
    server.disconnect(id).await.expect("disconnect");
    assert!(!server.get_info(id).await.expect("it exists").paused);
}

#[actix_rt::test]
async fn disconnect_succeeds_on_a_socket_that_never_listened_and_twice() {
    let mut test = TestApp::new().await;
    let server = test.app.tcp_server.clone();
    let id = create(&test.app).await;
    for _ in 0..2 {
        assert_eq!(server.disconnect(id).await, Ok(()));
    }
    let (listening, _) = test.listen().await;
    for _ in 0..2 {
        assert_eq!(server.disconnect(listening).await, Ok(()));
    }
    let listened = server.listen(id, "127.0.0.1", 0, None);
    listened.await.expect("it can listen");
    let peer = dial(address(&test.app, id).await).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn accepted_clients_stay_open_after_disconnect() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = expect_accept(&mut test, &peer).await;
    let disconnected = test.app.tcp_server.disconnect(id);
    disconnected.await.expect("disconnect");
    assert_talks(&mut test, &mut peer, client).await;
}

#[actix_rt::test]
async fn disconnect_and_close_reset_connections_in_the_backlog() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    for close in [false, true] {
        let (id, at) = test.listen().await;
        server.set_paused(id, true).await.expect("pause");
        let mut waiting = dial(at).await;
        let ended = if close {
            server.close(id)
        } else {
            server.disconnect(id)
        };
        ended.await.expect("it ends");
        let read = within("the reset", waiting.read(&mut [0; 1])).await;
        let error = read.expect_err("it was not accepted");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[actix_rt::test]
async fn close_stops_listening_and_its_answer_means_that_the_port_is_free() {
    let mut test = TestApp::new().await;
    let (id, at) = listen_at(&test.app, "127.0.72.3").await;
    test.app.tcp_server.close(id).await.expect("close");
    assert_refused(at).await;
    drop(TcpListener::bind(at).expect("the port is free"));
    let other = create(&test.app).await;
    assert_eq!(listen_on(&test.app, other, at).await, Ok(()));
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn the_socket_is_not_found_as_soon_as_close_is_called() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let (id, _) = test.listen().await;
    let closed = server.close(id);
    let info = server.get_info(id);
    let again = server.close(id);
    let sockets = server.get_sockets();
    assert_eq!(info.await, Err(Error::SocketNotFound));
    assert_eq!(again.await, Err(Error::SocketNotFound));
    assert_eq!(sockets.await, Ok(Vec::new()));
    assert_eq!(closed.await, Ok(()));
}

#[actix_rt::test]
async fn close_succeeds_on_a_socket_that_does_not_listen() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let never = create(&test.app).await;
    assert_eq!(server.close(never).await, Ok(()));
    let (no_more, _) = test.listen().await;
    server.disconnect(no_more).await.expect("disconnect");
    assert_eq!(server.close(no_more).await, Ok(()));
}

#[actix_rt::test]
async fn accepted_clients_stay_open_after_close() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = expect_accept(&mut test, &peer).await;
    test.app.tcp_server.close(id).await.expect("close");
    assert_talks(&mut test, &mut peer, client).await;
}

#[actix_rt::test]
async fn closing_one_socket_leaves_the_others_listening() {
    let mut test = TestApp::new().await;
    let (closed, _) = test.listen().await;
    let (disconnected, _) = test.listen().await;
    let (_, at) = test.listen().await;
    let server = test.app.tcp_server.clone();
    server.close(closed).await.expect("close");
    server.disconnect(disconnected).await.expect("disconnect");
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn pausing_and_closing_at_once_answers_both() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
    let server = &test.app.tcp_server;
    let paused = server.set_paused(id, true);
    let closed = server.close(id);
    assert_eq!(within("setPaused", paused).await, Ok(()));
    assert_eq!(within("close", closed).await, Ok(()));
}
