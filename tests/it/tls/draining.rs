//! Draining a server socket while clients shake hands.

use std::time::Duration;

use chrome_sockets::rustls;
use support::within;
use tokio::io::AsyncReadExt;

use super::serving::HandshakeErrors;
use super::{TlsFixture, connect, connect_as};
use crate::tcp_server::dial;

#[actix_rt::test]
async fn unfinished_handshakes_are_counted_separately_and_reported() {
    let mut fixture = TlsFixture::new().await;
    let mut failures = HandshakeErrors::of(&fixture.test).await;
    let (server, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    // Two clients send nothing; the server socket has accepted them.
    let mut silent = [dial(at).await, dial(at).await];
    let mut served = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    let drain = fixture
        .test
        .app
        .tcp_server
        .drain(server, Duration::from_millis(300));
    let drained = within("the receipt", drain).await.expect("drained");
    assert_eq!(drained.never_accepted, 0);
    assert_eq!(drained.unfinished_handshakes, 2);
    assert_eq!(drained.undelivered, 0);
    assert_eq!(drained.forced, [client.id()]);
    for _ in 0..2 {
        let info = failures.next().await;
        assert_eq!(info.result_code.code(), -3, "ABORTED");
    }
    for peer in &mut silent {
        let mut rest = Vec::new();
        let _ = within("the client's end", peer.read_to_end(&mut rest)).await;
    }
    let mut rest = Vec::new();
    let _ = within("the end", served.read_to_end(&mut rest)).await;
}

#[actix_rt::test]
async fn unreported_encrypted_clients_are_counted_separately() {
    let fixture = TlsFixture::new().await;
    let (server, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let tcp_server = &fixture.test.app.tcp_server;
    let stream = dial(at).await;
    within("the accept", async {
        loop {
            let info = tcp_server.get_info(server).await.expect("it is open");
            if info.counts.accepted == 1 {
                return;
            }
        }
    })
    .await;
    // The handshake continues while the server socket is paused.
    let paused = tcp_server.set_paused(server, true).await;
    paused.expect("it is open");
    let config = fixture.authority.config(&[&rustls::version::TLS13]);
    let mut peer = connect_as(stream, config).await.expect("the handshake");
    let drained = tcp_server.drain(server, Duration::from_millis(300));
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!(drained.never_accepted, 0);
    assert_eq!(drained.unfinished_handshakes, 0);
    assert_eq!(drained.undelivered, 1);
    let mut rest = Vec::new();
    let _ = within("the end", peer.read_to_end(&mut rest)).await;
}
