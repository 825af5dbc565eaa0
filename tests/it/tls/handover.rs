//! Handover of encrypted sockets to another process.

use actix::Actor;
use chrome_sockets::handover::{AnySocketId, Inheritance};
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::{ServerSocketId, tcp, tcp_server, tls};
use support::{TestApp, subscribe, within};
use tokio::net::TcpStream;

use super::{TlsFixture, assert_talks, connect, connect_as, expect_any_end};
use crate::handover::{begin_handover, expect_handover, socket_pair};
use crate::tcp_server::dial;

impl TlsFixture {
    fn server(&self) -> tls::Server {
        self.authority.issue("localhost").server()
    }

    /// A persistent encrypted server socket.
    async fn serve_persistent(&self) -> (ServerSocketId, std::net::SocketAddr) {
        let (id, at) = self.serve(self.server()).await;
        let persistent = tcp_server::SocketProperties {
            persistent: Some(true),
            ..Default::default()
        };
        let updated = self.test.app.tcp_server.update(id, persistent);
        updated.await.expect("it exists");
        (id, at)
    }

    async fn handshake(&self, stream: TcpStream) -> super::client::TlsStream<TcpStream> {
        let config = self
            .authority
            .config(&[&chrome_sockets::rustls::version::TLS13]);
        connect_as(stream, config).await.expect("the handshake")
    }
}

#[actix_rt::test]
async fn a_server_socket_accepts_nothing_in_the_clear_before_its_app_has_set_tls_again() {
    let old = TlsFixture::new().await;
    let mut new = TestApp::new().await;
    let (id, at) = old.serve_persistent().await;
    let receipt = expect_handover(&old.test, &new).await;
    assert_eq!(
        (receipt.servers.len(), receipt.not_transferred),
        (1, Vec::new())
    );

    let waiting = dial(at).await;
    new.expect_no_event().await;
    let set = new.app.tcp_server.set_tls(id, Some(old.server()));
    set.await.expect("it exists");
    let mut peer = old.handshake(waiting).await;
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
    let mut peer = connect(at, &old.authority).await.expect("the handshake");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn an_app_can_switch_encryption_off_in_the_successor() {
    let old = TlsFixture::new().await;
    let mut new = TestApp::new().await;
    let (id, at) = old.serve_persistent().await;
    expect_handover(&old.test, &new).await;
    let mut peer = dial(at).await;
    new.expect_no_event().await;
    new.app
        .tcp_server
        .set_tls(id, None)
        .await
        .expect("it exists");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_pending_handshake_finishes_in_the_old_process() {
    let mut old = TlsFixture::new().await;
    let mut new = TestApp::new().await;
    let (id, at) = old.serve_persistent().await;
    let begun = dial(at).await;
    // It was accepted once a complete handshake after it was reported.
    let _first = connect(at, &old.authority).await.expect("the handshake");
    old.test.accepted().await;

    let (here, there) = socket_pair();
    let outgoing = begin_handover(&old.test, here);
    let registry = new.registry.clone();
    let incoming = actix_rt::spawn(async move {
        let left = Inheritance::from_socket(there);
        left.adopt(&registry).await
    });
    // By then the handover waits for the handshake.
    old.test.expect_no_event().await;
    assert!(!outgoing.is_finished());
    let mut peer = old.handshake(begun).await;
    let client = old.test.accepted().await;
    let outgoing = within("the handover", outgoing).await.expect("it runs");
    within("the takeover", incoming)
        .await
        .expect("it runs")
        .expect("the incoming side succeeds");
    assert_eq!(
        outgoing.expect("the outgoing side succeeds").servers,
        [("test".into(), id)]
    );
    assert_talks(&mut old.test, &client, &mut peer).await;

    let set = new.app.tcp_server.set_tls(id, Some(old.server()));
    set.await.expect("it exists");
    let mut peer = connect(at, &old.authority).await.expect("the handshake");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_stalled_handshake_times_out_and_does_not_block_the_handover() {
    let mut old = TlsFixture::new().await;
    let mut new = TestApp::new().await;
    let (id, at) = old.serve_persistent().await;
    let mut silent = dial(at).await;
    let _first = connect(at, &old.authority).await.expect("the handshake");
    old.test.accepted().await;
    expect_handover(&old.test, &new).await;
    expect_any_end(&mut silent).await;
    let set = new.app.tcp_server.set_tls(id, Some(old.server()));
    set.await.expect("it exists");
    let mut peer = connect(at, &old.authority).await.expect("the handshake");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_suspended_app_is_loaded_to_set_tls_again() {
    let old = TlsFixture::new().await;
    let mut new = TestApp::new().await;
    let (id, at) = old.serve_persistent().await;
    old.test.app.suspend().await.expect("suspend");
    let (listener, server) = (new.another_listener(), old.server());
    let page = EventPage::new(move |app| {
        drop(app.tcp_server.set_tls(id, Some(server.clone())));
        subscribe(&app, &listener().start())
    });
    new.app.suspend().await.expect("suspend");
    new.app.set_event_page(Some(page)).await.expect("it runs");
    expect_handover(&old.test, &new).await;
    let mut peer = connect(at, &old.authority).await.expect("the handshake");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn an_encrypted_connection_stays_and_is_reported() {
    let mut old = TlsFixture::new().await;
    let new = TestApp::new().await;
    let (client, mut peer) = old.secured().await;
    let persistent = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");
    let receipt = expect_handover(&old.test, &new).await;
    assert_eq!(receipt.clients, []);
    let left: Vec<_> = receipt
        .not_transferred
        .into_iter()
        .map(|left| left.socket)
        .collect();
    assert_eq!(left, [AnySocketId::Client("test".into(), client.id())]);
    assert_talks(&mut old.test, &client, &mut peer).await;
}
