//! `secure_as_server`: an accepted connection begins unencrypted and becomes encrypted (STARTTLS).

use std::time::Duration;

use chrome_sockets::rustls::version::{TLS12, TLS13};
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::{Error, InvalidArgument};
use support::{code, within};
use tokio::net::TcpStream;

use super::certificates::Issued;
use super::{TlsFixture, assert_talks, connect_as, expect_any_end, expect_clean_end, read, write};
use crate::tcp_server::dial;

/// An accepted, paused socket, and its peer.
async fn accepted(fixture: &mut TlsFixture) -> (ClientSocket, TcpStream) {
    let (_, at) = fixture.test.listen().await;
    let peer = dial(at).await;
    (fixture.test.accepted().await, peer)
}

fn issued(fixture: &TlsFixture) -> Issued {
    fixture.authority.issue("localhost")
}

/// Fails unless a new connection can still be encrypted.
async fn assert_alive(fixture: &mut TlsFixture) {
    let (client, peer) = accepted(fixture).await;
    let securing = client.secure_as_server(issued(fixture).server());
    let config = fixture.authority.config(&[&TLS13]);
    let mut peer = connect_as(peer, config).await.expect("the handshake");
    within("the answer", securing).await.expect("secured");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_connection_is_encrypted_after_plain_lines() {
    let mut fixture = TlsFixture::new().await;
    for version in [&TLS12, &TLS13] {
        let (client, mut peer) = accepted(&mut fixture).await;
        client.set_paused(false).await.expect("resume");
        write(&mut peer, b"STARTTLS\r\n").await;
        assert_eq!(fixture.test.received(client.id(), 10).await.len(), 10);
        client.set_paused(true).await.expect("pause");
        client.try_send("220 go ahead\r\n").expect("it is open");
        let securing = client.secure_as_server(issued(&fixture).server());
        let after = client.send("secret");
        assert_eq!(read(&mut peer, 14).await, b"220 go ahead\r\n");
        let config = fixture.authority.config(&[version]);
        let mut peer = connect_as(peer, config).await.expect("the handshake");
        within("the answer", securing).await.expect("secured");
        assert_eq!(after.await.expect("send").bytes_sent, 6);
        assert_eq!(read(&mut peer, 6).await, b"secret");
        assert_talks(&mut fixture.test, &client, &mut peer).await;
        client.close().await.expect("close");
        expect_clean_end(&mut peer).await;
    }
}

#[actix_rt::test]
async fn a_call_by_id_encrypts_and_a_connected_socket_may_be_the_server() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    let tls = issued(&fixture).server();
    let securing = fixture.test.app.tcp.secure_as_server(client.id(), tls);
    let config = fixture.authority.config(&[&TLS13]);
    let mut peer = connect_as(peer, config).await.expect("the handshake");
    within("the answer", securing).await.expect("secured");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn an_encrypted_connection_is_not_encrypted_again() {
    let mut fixture = TlsFixture::new().await;
    let tls = issued(&fixture).server();
    let again = Err(InvalidArgument::AlreadySecured.into());

    // Encrypted by this call.
    let (client, peer) = accepted(&mut fixture).await;
    let securing = client.secure_as_server(tls.clone());
    assert_eq!(client.secure_as_server(tls.clone()).await, again);
    let config = fixture.authority.config(&[&TLS13]);
    let mut peer = connect_as(peer, config).await.expect("the handshake");
    within("the answer", securing).await.expect("secured");
    assert_eq!(client.secure_as_server(tls.clone()).await, again);
    assert_talks(&mut fixture.test, &client, &mut peer).await;

    // Encrypted from its start.
    let (_, at) = fixture.serve(tls.clone()).await;
    let mut peer = super::connect(at, &fixture.authority).await.expect("TLS");
    let client = fixture.test.accepted().await;
    assert_eq!(client.secure_as_server(tls.clone()).await, again);
    assert_talks(&mut fixture.test, &client, &mut peer).await;

    // Encrypted as a client.
    let (client, mut peer) = fixture.secured().await;
    assert_eq!(client.secure_as_server(tls).await, again);
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_socket_that_is_not_paused_is_closed() {
    let mut fixture = TlsFixture::new().await;
    let tls = issued(&fixture).server();
    let (client, mut peer) = accepted(&mut fixture).await;
    client.set_paused(false).await.expect("resume");
    client.try_send("sent before").expect("it is open");
    assert_eq!(code("it", client.secure_as_server(tls)).await, -2);
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    assert_eq!(read(&mut peer, 11).await, b"sent before");
    expect_clean_end(&mut peer).await;
    assert_alive(&mut fixture).await;
}

#[actix_rt::test]
async fn an_unconnected_socket_cannot_become_a_server_and_stays() {
    let fixture = TlsFixture::new().await;
    let id = fixture.test.create().await;
    let tcp = &fixture.test.app.tcp;
    tcp.set_paused(id, true).await.expect("pause");
    let tls = issued(&fixture).server();
    let refused = tcp.secure_as_server(id, tls.clone()).await;
    assert_eq!(refused, Err(Error::SocketNotConnected));
    tcp.get_info(id).await.expect("it stays");
    let unknown = tcp.secure_as_server(99.into(), tls).await;
    assert_eq!(unknown, Err(Error::SocketNotFound));
}

/// What an attacker inserts behind the command must never be taken for encrypted data.
#[actix_rt::test]
async fn unencrypted_input_behind_the_command_never_reaches_the_app() {
    let mut fixture = TlsFixture::new().await;
    let tls = issued(&fixture).server();
    let (client, mut peer) = accepted(&mut fixture).await;
    write(&mut peer, b"MAIL FROM:<inserted@example.com>\r\n").await;
    assert_eq!(code("it", client.secure_as_server(tls)).await, -107);
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    expect_any_end(&mut peer).await;
    assert!(fixture.test.try_next().is_none());
    assert_alive(&mut fixture).await;
}

#[actix_rt::test]
async fn a_silent_peer_is_given_up_at_the_timeout_of_the_server() {
    let mut fixture = TlsFixture::new().await;
    let tls = issued(&fixture).server().timeout(Duration::from_millis(50));
    let (client, mut peer) = accepted(&mut fixture).await;
    let securing = client.secure_as_server(tls);
    let waiting = client.send("secret");
    assert_eq!(code("it", securing).await, -7);
    assert_eq!(code("send", waiting).await, -7);
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    expect_any_end(&mut peer).await;
    assert_alive(&mut fixture).await;
}
