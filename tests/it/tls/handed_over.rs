//! Encrypted sockets when a process leaves them to another.

use actix::Actor;
use chrome_sockets::handover::{AnySocketId, Inheritance};
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::{ServerSocketId, tcp, tcp_server, tls};
use tokio::net::TcpStream;

use super::{Trusting, assert_talks, connect, connect_as, reads_some_end};
use crate::handover::{begin, ends, succeeds};
use crate::tcp_server::dial;
use support::{World, subscribe, within};

impl Trusting {
    fn server(&self) -> tls::Server {
        self.authority.issue("localhost").server()
    }

    /// A server socket that encrypts, and goes along.
    async fn serve_persistent(&self) -> (ServerSocketId, std::net::SocketAddr) {
        let (id, at) = self.serve(self.server()).await;
        let persistent = tcp_server::SocketProperties {
            persistent: Some(true),
            ..Default::default()
        };
        let updated = self.world.app.tcp_server.update(id, persistent);
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
    let old = Trusting::new().await;
    let mut new = World::new().await;
    let (id, at) = old.serve_persistent().await;
    let receipt = succeeds(&old.world, &new).await;
    assert_eq!((receipt.servers.len(), receipt.left), (1, Vec::new()));

    let waiting = dial(at).await;
    new.nothing().await;
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
async fn an_app_may_decide_that_the_successor_does_not_encrypt() {
    let old = Trusting::new().await;
    let mut new = World::new().await;
    let (id, at) = old.serve_persistent().await;
    succeeds(&old.world, &new).await;
    let mut peer = dial(at).await;
    new.nothing().await;
    new.app
        .tcp_server
        .set_tls(id, None)
        .await
        .expect("it exists");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_handshake_under_way_comes_to_its_end_in_the_old_process() {
    let mut old = Trusting::new().await;
    let mut new = World::new().await;
    let (id, at) = old.serve_persistent().await;
    let begun = dial(at).await;
    // It has been accepted when a whole one after it has been heard of.
    let _first = connect(at, &old.authority).await.expect("the handshake");
    old.world.accepted().await;

    let (here, there) = ends();
    let given = begin(&old.world, here);
    let registry = new.registry.clone();
    let taken = actix_rt::spawn(async move {
        let left = Inheritance::from_socket(there);
        left.adopt(&registry).await
    });
    // By then the handover waits for this.
    old.world.nothing().await;
    assert!(!given.is_finished());
    let mut peer = old.handshake(begun).await;
    let client = old.world.accepted().await;
    let given = within("the handover", given).await.expect("it runs");
    within("the takeover", taken)
        .await
        .expect("it runs")
        .expect("taken");
    assert_eq!(given.expect("given").servers, [("test".into(), id)]);
    assert_talks(&mut old.world, &client, &mut peer).await;

    let set = new.app.tcp_server.set_tls(id, Some(old.server()));
    set.await.expect("it exists");
    let mut peer = connect(at, &old.authority).await.expect("the handshake");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_handshake_that_stalls_is_given_up_and_does_not_keep_the_rest() {
    let mut old = Trusting::new().await;
    let mut new = World::new().await;
    let (id, at) = old.serve_persistent().await;
    let mut silent = dial(at).await;
    let _first = connect(at, &old.authority).await.expect("the handshake");
    old.world.accepted().await;
    succeeds(&old.world, &new).await;
    reads_some_end(&mut silent).await;
    let set = new.app.tcp_server.set_tls(id, Some(old.server()));
    set.await.expect("it exists");
    let mut peer = connect(at, &old.authority).await.expect("the handshake");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_suspended_app_is_loaded_to_say_how_to_encrypt() {
    let old = Trusting::new().await;
    let mut new = World::new().await;
    let (id, at) = old.serve_persistent().await;
    old.world.app.suspend().await.expect("suspend");
    let (listener, server) = (new.another_listener(), old.server());
    let page = EventPage::new(move |app| {
        app.tcp_server.set_tls(id, Some(server.clone()));
        subscribe(&app, &listener().start())
    });
    new.app.suspend().await.expect("suspend");
    new.app.set_event_page(Some(page)).await.expect("it runs");
    succeeds(&old.world, &new).await;
    let mut peer = connect(at, &old.authority).await.expect("the handshake");
    let client = new.accepted().await;
    assert_talks(&mut new, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_connection_that_is_encrypted_stays_and_is_told() {
    let mut old = Trusting::new().await;
    let new = World::new().await;
    let (client, mut peer) = old.secured().await;
    let persistent = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");
    let receipt = succeeds(&old.world, &new).await;
    assert_eq!(receipt.clients, []);
    let left: Vec<_> = receipt.left.into_iter().map(|left| left.socket).collect();
    assert_eq!(left, [AnySocketId::Client("test".into(), client.id())]);
    assert_talks(&mut old.world, &client, &mut peer).await;
}
