//! Handshakes in one thread, connections in others.

use actix::prelude::*;
use chrome_sockets::Registry;
use support::{TestApp, within};

use super::certificates::Authority;
use super::{TlsFixture, assert_talks, connect};

#[actix_rt::test]
async fn a_connection_outlives_the_thread_of_its_handshake() {
    let authority = Authority::new();
    let registry = Registry::new().tls_client(authority.client()).arbiters(2);
    let arbiter = Arbiter::new();
    let (sender, started) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || drop(sender.send(registry.start())));
    let started = within("the registry", started).await;
    let test = TestApp::at(started.expect("it starts")).await;
    let mut fixture = TlsFixture { test, authority };
    let server = fixture.authority.issue("localhost").server();
    let (_, at) = fixture.serve(server).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut peer = connect(at, &fixture.authority)
            .await
            .expect("the handshake");
        let client = fixture.test.accepted().await;
        assert_talks(&mut fixture.test, &client, &mut peer).await;
        clients.push((client, peer));
    }
    arbiter.stop();
    arbiter.join().expect("a clean end");
    for (client, peer) in &mut clients {
        assert_talks(&mut fixture.test, client, peer).await;
    }
}
