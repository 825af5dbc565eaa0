//! Metrics of TLS handshakes.

use chrome_sockets::Registry;
use chrome_sockets::tcp::SecureOptions;
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Fixture;
use crate::tcp_server::dial;
use crate::tls::certificates::{Authority, Issued};
use crate::tls::connect;

#[actix_rt::test]
async fn handshakes_of_server_sockets_are_counted_and_timed() {
    let authority = Authority::new();
    let mut fixture = Fixture::new().await;
    let (id, at) = fixture.listen_as("web").await;
    let server = authority.issue("localhost").server();
    let set = fixture.test.app.tcp_server.set_tls(id, Some(server)).await;
    set.expect("it exists");
    let _peer = connect(at, &authority).await.expect("a handshake");
    fixture.test.accepted().await;
    let mut other = dial(at).await;
    other
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .await
        .expect("sent");
    let failed = "connections_failed_total{server=\"web\",reason=\"handshake\"}";
    fixture.wait_for(failed, 1.0).await;
    for (outcome, count) in [("success", 1.0), ("failure", 1.0)] {
        let series = format!("tls_handshakes_total{{side=\"server\",outcome=\"{outcome}\"}}");
        assert_eq!(fixture.value(&series), count, "{series}");
    }
    let took = fixture
        .recorder
        .recorded("tls_handshake_seconds{side=\"server\"}");
    assert_eq!(took.len(), 2);
    assert!(
        took.iter().all(|took| (0.0..20.0).contains(took)),
        "{took:?}"
    );
    assert!(took[0] > 0.0);
    assert_eq!(
        fixture.value("connections_accepted_total{server=\"web\"}"),
        2.0
    );
    let _ = within("the end", other.read(&mut [0; 64])).await;
    let _another = connect(at, &authority).await.expect("a handshake");
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn handshakes_of_secure_are_counted_and_timed() {
    let authority = Authority::new();
    let registry = Registry::new().tls_client(authority.client());
    let fixture = Fixture::on(registry).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it listens").port();
    let own = authority.issue("localhost");
    let unknown = Issued::self_signed("localhost", false);
    let tcp = &fixture.test.app.tcp;
    for (issued, succeeds) in [(own, true), (unknown, false)] {
        let id = fixture.test.create().await;
        tcp.set_paused(id, true).await.expect("it exists");
        let ipv4 = chrome_sockets::tcp::DnsQueryType::Ipv4;
        let connected = tcp.connect(id, "localhost", port.into(), ipv4).await;
        connected.expect("it listens");
        let (peer, _) = listener.accept().await.expect("accept");
        let secured = tcp.secure(id, SecureOptions::default());
        // It fails if the client refuses the certificate.
        let _peer = within("the peer", TlsAcceptor::from(issued.config()).accept(peer)).await;
        let secured = within("the handshake", secured).await;
        assert_eq!(secured.is_ok(), succeeds);
    }
    for outcome in ["success", "failure"] {
        let series = format!("tls_handshakes_total{{side=\"client\",outcome=\"{outcome}\"}}");
        assert_eq!(fixture.value(&series), 1.0, "{series}");
    }
    let took = fixture
        .recorder
        .recorded("tls_handshake_seconds{side=\"client\"}");
    assert_eq!(took.len(), 2);
}
