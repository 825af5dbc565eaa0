//! Encrypted sockets of suspended apps.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use actix::Actor;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::{tcp, tcp_server};
use support::{subscribe, within};
use tokio::io::AsyncWriteExt;

use super::{TlsFixture, assert_talks, connect, write};
use crate::tcp_server::dial;

impl TlsFixture {
    /// Suspends the app, whose event page adds the test's listener from now on.
    async fn suspend(&self) -> Arc<AtomicUsize> {
        let starts = Arc::new(AtomicUsize::new(0));
        let (listener, count) = (self.test.another_listener(), starts.clone());
        let page = EventPage::new(move |app| {
            count.fetch_add(1, SeqCst);
            subscribe(&app, &listener().start())
        });
        let app = &self.test.app;
        app.set_event_page(Some(page)).await.expect("it runs");
        within("suspend", app.suspend()).await.expect("suspend");
        starts
    }
}

#[actix_rt::test]
async fn a_completed_handshake_loads_the_app_and_a_stalled_or_failed_one_does_not() {
    let mut fixture = TlsFixture::new().await;
    let (id, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let persistent = tcp_server::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = fixture.test.app.tcp_server.update(id, persistent);
    updated.await.expect("it exists");
    let starts = fixture.suspend().await;
    let _silent = dial(at).await;
    let mut bad = dial(at).await;
    write(&mut bad, &[b'x'; 2048]).await;
    super::expect_any_end(&mut bad).await;
    fixture.test.expect_no_event().await;
    assert_eq!(starts.load(SeqCst), 0);
    let mut peer = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    assert_eq!(starts.load(SeqCst), 1);
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    let mut peer = connect(at, &fixture.authority)
        .await
        .expect("the handshake");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn data_of_a_secured_client_loads_the_app_and_a_key_update_does_not() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    let persistent = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");
    client.set_paused(false).await.expect("resume");
    let starts = fixture.suspend().await;
    let (_, tls) = peer.get_mut();
    tls.refresh_traffic_keys().expect("TLS 1.3");
    peer.flush().await.expect("flush");
    fixture.test.expect_no_event().await;
    assert_eq!(starts.load(SeqCst), 0);
    write(&mut peer, b"wake up").await;
    assert_eq!(fixture.test.received(client.id(), 7).await, b"wake up");
    assert_eq!(starts.load(SeqCst), 1);
    let starts = fixture.suspend().await;
    peer.shutdown().await.expect("close_notify");
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    assert_eq!(starts.load(SeqCst), 1);
}
