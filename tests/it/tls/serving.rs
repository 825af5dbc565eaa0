//! Encrypted server sockets.

use std::time::Duration;

use chrome_sockets::rustls::version::{TLS12, TLS13};
use chrome_sockets::tcp::SecureOptions;
use chrome_sockets::tcp_server::HandshakeErrorInfo;
use chrome_sockets::{Error, tls};
use support::{EventSender, QUIET, TestApp, code, within};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::certificates::{Authority, Issued};
use super::{TlsFixture, assert_talks, connect, connect_as, expect_clean_end, read, write};
use crate::tcp_server::dial;

/// Events of `onHandshakeError`.
pub struct HandshakeErrors(UnboundedReceiver<HandshakeErrorInfo>);

impl HandshakeErrors {
    pub async fn of(test: &TestApp) -> Self {
        let (sender, received) = unbounded_channel();
        let listener = actix::Actor::start(EventSender(sender));
        let event = &test.app.tcp_server.on_handshake_error;
        event
            .add_listener(listener.recipient())
            .await
            .expect("added");
        HandshakeErrors(received)
    }

    pub async fn next(&mut self) -> HandshakeErrorInfo {
        within("onHandshakeError", self.0.recv())
            .await
            .expect("the listener runs")
    }

    pub fn expect_none(&mut self) {
        if let Ok(info) = self.0.try_recv() {
            panic!("expected no failure, not {info:?}");
        }
    }
}

#[actix_rt::test]
async fn an_accepted_client_is_encrypted_and_paused() {
    let mut fixture = TlsFixture::new().await;
    let issued = fixture.authority.issue("localhost");
    let (_, at) = fixture.serve(issued.server()).await;
    let mut peer = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    let info = client.get_info().await.expect("it exists");
    assert!(info.paused && info.connected, "{info:?}");
    assert_eq!(info.local_address, None, "as every accepted one");
    assert_eq!(info.local_addr(), Some(at));
    let from = peer.get_ref().0.local_addr().expect("its address");
    assert_eq!(info.peer_addr(), Some(from));
    write(&mut peer, b"early").await;
    fixture.test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(fixture.test.received(client.id(), 5).await, b"early");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    client.close().await.expect("close");
    expect_clean_end(&mut peer).await;
}

#[actix_rt::test]
async fn an_accepted_client_cannot_be_secured_again() {
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let mut peer = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    let again = client.secure(SecureOptions::default());
    assert_eq!(code("secure", again).await, -2);
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    expect_clean_end(&mut peer).await;
}

#[actix_rt::test]
async fn a_stalled_handshake_delays_no_other_client() {
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let silent = dial(at).await;
    let mut slow = dial(at).await;
    write(&mut slow, &[22, 3, 1, 1]).await;
    for _ in 0..3 {
        let mut peer = connect(at, &fixture.authority)
            .await
            .expect("the handshake");
        let client = fixture.test.accepted().await;
        assert_talks(&mut fixture.test, &client, &mut peer).await;
    }
    // The client that was silent at first sends at last.
    let config = fixture.authority.config(&[&TLS13]);
    let mut peer = connect_as(silent, config).await.expect("the handshake");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn each_handshake_failure_is_reported_with_its_code_and_the_socket_continues() {
    let mut fixture = TlsFixture::new().await;
    let mut failures = HandshakeErrors::of(&fixture.test).await;
    let issued = fixture.authority.issue("localhost");
    let server = tls::Server::new(issued.config_of(&[&TLS13]));
    let (id, at) = fixture.serve(server).await;
    let stranger = Authority::new();
    for (what, number) in [
        ("garbage", -107),
        ("the end", -100),
        ("TLS 1.2 alone", -113),
        ("one that trusts another authority", -117),
    ] {
        let mut peer = dial(at).await;
        let from = peer.local_addr().expect("its address");
        let kept = match what {
            "garbage" => {
                write(&mut peer, &[b'x'; 2048]).await;
                Some(peer)
            }
            "the end" => {
                drop(peer);
                None
            }
            "TLS 1.2 alone" => {
                let config = fixture.authority.config(&[&TLS12]);
                connect_as(peer, config).await.expect_err(what);
                None
            }
            _ => {
                let config = stranger.config(&[&TLS13]);
                connect_as(peer, config).await.expect_err(what);
                None
            }
        };
        let info = failures.next().await;
        assert_eq!(info.socket_id, id, "{what}");
        assert_eq!(info.result_code.code(), number, "{what}");
        assert_eq!((info.peer_addr(), info.missed), (Some(from), 0), "{what}");
        drop(kept);
    }
    fixture.test.expect_no_event().await;
    failures.expect_none();
    let mut peer = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_handshake_that_takes_too_long_is_dropped_and_reported() {
    let mut fixture = TlsFixture::new().await;
    let mut failures = HandshakeErrors::of(&fixture.test).await;
    let issued = fixture.authority.issue("localhost");
    let server = issued.server().timeout(Duration::from_millis(50));
    let (_, at) = fixture.serve(server).await;
    let mut silent = dial(at).await;
    assert_eq!(failures.next().await.result_code.code(), -7);
    expect_clean_end(&mut silent).await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_paused_server_socket_raises_no_event_and_loses_no_client() {
    let mut fixture = TlsFixture::new().await;
    let mut failures = HandshakeErrors::of(&fixture.test).await;
    let (id, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let silent = dial(at).await;
    let mut bad = dial(at).await;
    // Both have been accepted, since a later client is served.
    let _third = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    fixture.test.accepted().await;
    let server = fixture.test.app.tcp_server.clone();
    server.set_paused(id, true).await.expect("pause");

    write(&mut bad, &[b'x'; 2048]).await;
    let config = fixture.authority.config(&[&TLS13]);
    let mut peer = connect_as(silent, config).await.expect("it continues");
    fixture.test.expect_no_event().await;
    failures.expect_none();
    server.set_paused(id, false).await.expect("resume");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    assert_eq!(failures.next().await.result_code.code(), -107);
}

#[actix_rt::test]
async fn disconnect_keeps_pending_handshakes_and_close_ends_them() {
    let mut fixture = TlsFixture::new().await;
    let mut failures = HandshakeErrors::of(&fixture.test).await;
    let (id, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let completes = dial(at).await;
    let mut ends = dial(at).await;
    let _third = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    fixture.test.accepted().await;
    let server = fixture.test.app.tcp_server.clone();
    server.disconnect(id).await.expect("disconnect");
    let config = fixture.authority.config(&[&TLS13]);
    let mut peer = connect_as(completes, config).await.expect("it continues");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    server.close(id).await.expect("close");
    expect_clean_end(&mut ends).await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    failures.expect_none();
}

#[actix_rt::test]
async fn tls_can_be_switched_on_and_off_and_survives_disconnect() {
    let mut fixture = TlsFixture::new().await;
    let (id, at) = fixture.test.listen().await;
    let server = fixture.test.app.tcp_server.clone();
    let issued = fixture.authority.issue("localhost");
    let tls = issued.server();
    for _ in 0..2 {
        let mut plain = dial(at).await;
        let client = fixture.test.accepted().await;
        assert_talks(&mut fixture.test, &client, &mut plain).await;
        server.set_tls(id, Some(tls.clone())).await.expect("TLS on");
        let mut peer = connect(at, &fixture.authority)
            .await
            .expect("the handshake");
        let client = fixture.test.accepted().await;
        assert_talks(&mut fixture.test, &client, &mut peer).await;
        server.set_tls(id, None).await.expect("TLS off");
    }
    server.set_tls(id, Some(tls)).await.expect("TLS on");
    server.disconnect(id).await.expect("disconnect");
    let again = server.listen(id, "127.0.0.1", 0, None);
    again.await.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    let at = info.local_addr().expect("it listens");
    connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let unknown = server.set_tls(99.into(), None).await;
    assert_eq!(unknown, Err(Error::SocketNotFound));
}

#[actix_rt::test]
async fn encrypted_clients_wait_for_a_listener() {
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let silent = dial(at).await;
    let _second = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    fixture.test.accepted().await;
    let on_accept = &fixture.test.app.tcp_server.on_accept;
    let listener = fixture.test.listener.clone();
    let removed = on_accept.remove_listener(listener.clone().recipient());
    removed.await.expect("removed");
    let config = fixture.authority.config(&[&TLS13]);
    let mut peer = connect_as(silent, config).await.expect("it continues");
    actix_rt::time::sleep(QUIET).await;
    let added = on_accept.add_listener(listener.recipient());
    added.await.expect("added");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_client_that_ends_only_its_own_side_still_receives() {
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let mut peer = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    write(&mut peer, b"the last").await;
    peer.shutdown().await.expect("close_notify");
    client.try_send(&b"answer"[..]).expect("it is open");
    assert_eq!(read(&mut peer, 6).await, b"answer");
    client.set_paused(false).await.expect("resume");
    assert_eq!(fixture.test.received(client.id(), 8).await, b"the last");
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
}

#[test]
fn an_invalid_certificate_or_key_is_an_error_with_advice() {
    let authority = Authority::new();
    let Issued { certificate, key } = authority.issue("localhost");
    let other = authority.issue("localhost").key;
    let broken = certificate.replace("MII", "!!!");
    for (certificate, key, words) in [
        ("", &*key, "no certificate"),
        (&*key, &key, "no certificate"),
        ("not PEM", &key, "no certificate"),
        (&broken, &key, "certificates cannot be read"),
        (&certificate, "", "no private key"),
        (&certificate, &certificate, "no private key"),
        (&certificate, &other, "cannot be used"),
    ] {
        let made = tls::Server::from_pem(certificate.as_bytes(), key.as_bytes());
        let error = made.expect_err(words).to_string();
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    }
    // A key whose line breaks are missing is one long line, which must not get into a log.
    let secret = &key.lines().nth(1).expect("a line")[..12];
    let bytes = secret.bytes().map(|byte| byte.to_string());
    let bytes = bytes.collect::<Vec<_>>().join(", ");
    for key in [key.replace('\n', ""), key.replace("-----END", "-----EMD")] {
        let made = tls::Server::from_pem(certificate.as_bytes(), key.as_bytes());
        let error = made.expect_err("not PEM");
        for text in [format!("{error}"), format!("{error:?}")] {
            assert!(!text.contains(secret) && !text.contains(&bytes), "{text}");
        }
    }
    let nobody = chrome_sockets::rustls::RootCertStore::empty();
    tls::Client::with_roots(nobody).expect_err("no authority to trust");
}
