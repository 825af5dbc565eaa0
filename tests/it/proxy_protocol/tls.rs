//! TLS behind a PROXY header.

use chrome_sockets::tcp_server::HandshakeErrorInfo;
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::unbounded_channel;

use super::{Fixture, dial, write};
use crate::tls::certificates::Authority;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n";

#[actix_rt::test]
async fn a_header_comes_before_the_handshake_and_is_not_encrypted() {
    let mut fixture = Fixture::new().await;
    let authority = Authority::new();
    let server = authority.issue("localhost").server();
    let set = fixture
        .test
        .app
        .tcp_server
        .set_tls(fixture.id, Some(server));
    set.await.expect("it exists");
    let config = authority.config(&[&chrome_sockets::rustls::version::TLS13]);
    let connector = tokio_rustls::TlsConnector::from(config);
    for split in [0, 1, 20, HEADER.len()] {
        let mut proxy = dial(fixture.at).await;
        let address = proxy.local_addr().expect("its address");
        write(&mut proxy, &HEADER[..split]).await;
        tokio::task::yield_now().await;
        write(&mut proxy, &HEADER[split..]).await;
        let name = "localhost".try_into().expect("a name");
        let handshake = connector.connect(name, proxy);
        let mut client = within("the handshake", handshake)
            .await
            .expect("it succeeds");
        client.write_all(b"hello").await.expect("write");
        client.flush().await.expect("flush");
        let info = fixture.accepted().await;
        assert_eq!(info.peer().to_string(), "192.0.2.1:56789");
        assert!(info.tls().is_some());
        let proxy_peer = info.proxy_peer().expect("it has one");
        assert_eq!(proxy_peer.address.socket_addr(), Some(address));
        fixture.assert_receives(&info, b"hello").await;
        info.client().send("back").await.expect("sent");
        let mut answer = [0; 4];
        let read = within("the answer", client.read_exact(&mut answer)).await;
        read.expect("read");
        assert_eq!(&answer, b"back");
    }
}

#[actix_rt::test]
async fn a_handshake_that_fails_is_reported_for_the_client() {
    let mut fixture = Fixture::new().await;
    let server = Authority::new().issue("localhost").server();
    let set = fixture
        .test
        .app
        .tcp_server
        .set_tls(fixture.id, Some(server));
    set.await.expect("it exists");
    let (sender, mut failures) = unbounded_channel::<HandshakeErrorInfo>();
    let listener = actix::Actor::start(support::EventSender(sender)).recipient();
    let event = &fixture.test.app.tcp_server.on_handshake_error;
    event.add_listener(listener).await.expect("it runs");
    let mut proxy = dial(fixture.at).await;
    write(
        &mut proxy,
        &[HEADER, b"not TLS, and longer than a record's head"].concat(),
    )
    .await;
    let info = within("onHandshakeError", failures.recv()).await;
    let info = info.expect("the listener runs");
    assert_eq!(info.peer.to_string(), "192.0.2.1:56789");
    // Without a header there is no handshake.
    let mut other = dial(fixture.at).await;
    write(&mut other, &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await;
    fixture.error().await;
    assert_eq!(fixture.info().await.counts.failed, 2);
}
