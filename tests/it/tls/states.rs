//! When `secure` may be called, and other calls during a handshake.

use chrome_sockets::tcp::{SecureOptions, TlsVersion, TlsVersionConstraints};
use chrome_sockets::{Error, InvalidArgument, NetError};
use support::{TestApp, code, within};
use tokio::sync::mpsc::unbounded_channel;

use super::{TlsFixture, accept, assert_talks, read, write};
use crate::tcp::networks::{Attempt, SilentNetwork};
use crate::tcp_server::dial;

fn default() -> SecureOptions {
    SecureOptions::default()
}

#[actix_rt::test]
async fn a_socket_that_is_not_connected_cannot_be_secured_and_stays() {
    let test = TestApp::new().await;
    let id = test.create().await;
    let tcp = &test.app.tcp;
    tcp.set_paused(id, true).await.expect("pause");
    let unconnected = tcp.secure(id, default()).await;
    assert_eq!(unconnected, Err(Error::SocketNotConnected));
    tcp.get_info(id).await.expect("it stays");
    let unknown = tcp.secure(99.into(), default()).await;
    assert_eq!(unknown, Err(Error::SocketNotFound));
}

#[actix_rt::test]
async fn a_socket_that_is_connecting_cannot_be_secured_and_continues() {
    let (sender, mut attempts) = unbounded_channel();
    let test = TestApp::with_network(SilentNetwork(sender)).await;
    let id = test.create().await;
    let tcp = &test.app.tcp;
    tcp.set_paused(id, true).await.expect("pause");
    let connecting = tcp.connect(id, "127.0.0.1", 1, Default::default());
    within("the connect", attempts.recv()).await;
    assert_eq!(code("secure", tcp.secure(id, default())).await, -4);
    assert!(attempts.try_recv().is_err(), "it continues");
    tcp.disconnect(id).await.expect("disconnect");
    assert_eq!(code("connect", connecting).await, -3);
    assert_eq!(attempts.recv().await, Some(Attempt::Aborted));
}

#[actix_rt::test]
async fn secure_closes_a_socket_that_is_not_paused() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.dial("localhost").await;
    client.set_paused(false).await.expect("resume");
    client.try_send(&b"sent before"[..]).expect("it is open");
    assert_eq!(code("secure", client.secure(default())).await, -2);
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    let by_id = fixture.test.app.tcp.get_info(client.id()).await;
    assert_eq!(by_id, Err(Error::SocketNotFound));
    assert_eq!(read(&mut peer, 11).await, b"sent before");
    super::expect_clean_end(&mut peer).await;
}

#[actix_rt::test]
async fn secure_closes_an_accepted_socket() {
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture.test.listen().await;
    let mut peer = dial(at).await;
    let client = fixture.test.accepted().await;
    assert_eq!(code("secure", client.secure(default())).await, -2);
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    super::expect_clean_end(&mut peer).await;
}

#[actix_rt::test]
async fn a_minimum_version_above_the_maximum_is_refused_and_changes_nothing() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    for (min, max) in [
        (Some(TlsVersion::Tls1_3), Some(TlsVersion::Tls1_2)),
        // No peer speaks these versions, and no newer one was requested.
        (Some(TlsVersion::Tls1), Some(TlsVersion::Tls1_1)),
        (None, Some(TlsVersion::Tls1)),
    ] {
        let none = SecureOptions {
            tls_version: Some(TlsVersionConstraints { min, max }),
            ..default()
        };
        assert_eq!(code("secure", client.secure(none)).await, -112);
    }
    let answer = client.secure(default());
    let issued = fixture.authority.issue("localhost");
    let mut peer = accept(peer, &issued).await.expect("the handshake");
    answer.await.expect("secure");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_second_secure_is_refused_and_the_first_continues() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    let first = client.secure(default());
    let second = client.secure(default());
    let again = Err(InvalidArgument::AlreadySecured.into());
    assert_eq!(second.await, again);
    let issued = fixture.authority.issue("localhost");
    let mut peer = accept(peer, &issued).await.expect("the handshake");
    first.await.expect("secure");
    assert_eq!(client.secure(default()).await, again);
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    // Unlike an error on a resumed socket, it does not close the socket.
    assert_eq!(code("secure", client.secure(default())).await, -4);
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn disconnect_ends_a_handshake_and_the_socket_can_connect_again() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.dial("localhost").await;
    let securing = client.secure(default());
    let sending = client.send(&b"secret"[..]);
    // The ClientHello has arrived, so the handshake is in progress.
    assert_eq!(read(&mut peer, 1).await, [22]);
    client.disconnect().await.expect("disconnect");
    assert_eq!(code("secure", securing).await, -3);
    assert_eq!(code("send", sending).await, -3);
    let info = client.get_info().await.expect("it stays");
    assert!(!info.connected && info.paused, "{info:?}");
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut rest);
    within("the end", end).await.expect("read");
    assert!(
        !rest.windows(6).any(|six| six == b"secret"),
        "it left plain"
    );
    fixture.test.expect_no_event().await;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("bind");
    let port = listener.local_addr().expect("its address").port();
    let again = client.connect("127.0.0.1", port.into(), Default::default());
    again.await.expect("connect");
    let (mut peer, _) = listener.accept().await.expect("accept");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn close_ends_a_handshake() {
    let fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.dial("localhost").await;
    let securing = client.secure(default());
    assert_eq!(read(&mut peer, 1).await, [22]);
    client.close().await.expect("close");
    assert_eq!(code("secure", securing).await, -3);
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut rest);
    within("the end", end).await.expect("read");
}

#[actix_rt::test]
async fn a_socket_resumed_during_a_handshake_receives_after_it() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    let answer = client.secure(default());
    client.set_paused(false).await.expect("resume");
    let issued = fixture.authority.issue("localhost");
    let mut peer = accept(peer, &issued).await.expect("the handshake");
    answer.await.expect("secure");
    write(&mut peer, b"hello").await;
    assert_eq!(fixture.test.received(client.id(), 5).await, b"hello");
}

#[actix_rt::test]
async fn other_calls_during_a_handshake_do_as_documented() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    let answer = client.secure(default());
    assert_eq!(code("setNoDelay", client.set_no_delay(true)).await, -2);
    let keep_alive = client.set_keep_alive(true, None);
    assert_eq!(code("setKeepAlive", keep_alive).await, -2);
    let connect = client.connect("127.0.0.1", 1, Default::default());
    assert_eq!(code("connect", connect).await, -23);
    client.set_paused(true).await.expect("pause");
    let issued = fixture.authority.issue("localhost");
    let mut peer = accept(peer, &issued).await.expect("the handshake");
    answer.await.expect("secure");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn the_end_of_the_registry_answers_a_pending_secure() {
    let fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.dial("localhost").await;
    let securing = client.secure(default());
    assert_eq!(read(&mut peer, 1).await, [22]);
    let ended = fixture.test.registry.send(chrome_sockets::Shutdown).await;
    ended.expect("it runs").expect("shutdown");
    let answer = within("the answer", securing).await;
    assert_eq!(answer, Err(NetError::ABORTED.into()));
}
