//! Apps that are suspended and loaded again.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::NetError;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::udp::{ReceiveInfo, SocketProperties};
use support::{EventSender, TestApp, subscribe, until, within};
use tokio::sync::mpsc::unbounded_channel;

use super::{Peer, bound, create, expect_alive, failed, received};

/// Gives the app an event page that adds the test's listener. Returns how often it was started.
async fn with_page(test: &TestApp, idle_timeout: Option<Duration>) -> Arc<AtomicUsize> {
    let starts = Arc::<AtomicUsize>::default();
    let (listener, count) = (test.another_listener(), starts.clone());
    let page = EventPage::new(move |app| {
        count.fetch_add(1, SeqCst);
        subscribe(&app, &listener().start())
    });
    let page = match idle_timeout {
        Some(after) => page.idle_timeout(after),
        None => page,
    };
    let set = test.app.set_event_page(Some(page)).await;
    set.expect("the registry runs");
    starts
}

fn persistent() -> SocketProperties {
    SocketProperties {
        persistent: Some(true),
        ..Default::default()
    }
}

async fn suspend(test: &TestApp) {
    let suspended = within("the answer to suspend", test.app.suspend()).await;
    suspended.expect("suspend");
}

#[actix_rt::test]
async fn a_suspension_closes_what_is_not_persistent_and_a_datagram_loads_the_app() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.app.udp.update(id, persistent()).await.expect("update");
    let (_, transient) = bound(&test).await;
    let starts = with_page(&test, None).await;
    for time in 1..=3 {
        suspend(&test).await;
        let sockets = test.app.udp.get_sockets().await.expect("it runs");
        assert_eq!(sockets.len(), 1);
        assert_eq!(sockets[0].socket_id, id);
        assert_eq!(test.app.is_suspended().await, Ok(true));
        let peer = Peer::new().await;
        peer.send(b"one", at).await;
        peer.send(b"two", at).await;
        assert_eq!(received(&mut test, id).await.0, b"one");
        assert_eq!(received(&mut test, id).await.0, b"two");
        assert_eq!(starts.load(SeqCst), time);
    }
    // The other port is free.
    let again = create(&test, SocketProperties::default()).await;
    let port = transient.port().into();
    let bound = test.app.udp.bind(again, "127.0.0.1", port).await;
    bound.expect("it is free");
    expect_alive(&mut test, again).await;
}

#[actix_rt::test]
async fn a_suspended_app_without_datagrams_stays_so_and_pauses_are_kept() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let udp = test.app.udp.clone();
    udp.update(id, persistent()).await.expect("update");
    udp.set_paused(id, true).await.expect("paused");
    let starts = with_page(&test, None).await;
    suspend(&test).await;
    Peer::new().await.send(b"waits", at).await;
    test.expect_no_event().await;
    assert_eq!(starts.load(SeqCst), 0);
    let resumed = within("the answer to resume", test.app.resume()).await;
    resumed.expect("resume");
    assert_eq!(starts.load(SeqCst), 1);
    test.expect_no_event().await;
    udp.set_paused(id, false).await.expect("resumed");
    assert_eq!(received(&mut test, id).await.0, b"waits");
}

#[actix_rt::test]
async fn an_error_loads_the_app_too() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let properties = SocketProperties {
        buffer_size: Some(4),
        ..persistent()
    };
    test.app.udp.update(id, properties).await.expect("update");
    let starts = with_page(&test, None).await;
    suspend(&test).await;
    Peer::new().await.send(b"too long", at).await;
    assert_eq!(failed(&mut test, id).await, NetError::MSG_TOO_BIG);
    assert_eq!(starts.load(SeqCst), 1);
}

#[actix_rt::test]
async fn a_suspension_waits_for_datagrams_in_flight() {
    let test = TestApp::new().await;
    let (_, at) = bound(&test).await;
    test.remove_listener().await;
    let (sender, mut events) = unbounded_channel::<ReceiveInfo>();
    let listener = EventSender(sender).start();
    let added = test.app.udp.on_receive.add_listener(listener.recipient());
    added.await.expect("it runs");
    Peer::new().await.send(b"held", at).await;
    let event = within("the event", events.recv()).await;
    let mut suspending = test.app.suspend();
    tokio::time::sleep(support::QUIET).await;
    assert!(futures::FutureExt::now_or_never(&mut suspending).is_none());
    drop(event);
    within("the answer", suspending).await.expect("suspended");
}

#[actix_rt::test]
async fn an_app_whose_listeners_have_died_is_loaded_by_a_datagram() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let starts = with_page(&test, None).await;
    test.listener.do_send(support::Stop);
    until("its end", || !test.listener.connected()).await;
    Peer::new().await.send(b"anyone?", at).await;
    assert_eq!(received(&mut test, id).await.0, b"anyone?");
    assert_eq!(starts.load(SeqCst), 1);
    // It was not suspended: the socket is not persistent, and open.
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn an_app_that_receives_is_not_idle() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.app.udp.update(id, persistent()).await.expect("update");
    let starts = with_page(&test, Some(Duration::from_millis(400))).await;
    let peer = Peer::new().await;
    for _ in 0..20 {
        peer.send(b"busy", at).await;
        assert_eq!(received(&mut test, id).await.0, b"busy");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(starts.load(SeqCst), 0, "it was never suspended");
    within("the suspension", async {
        while test.app.is_suspended().await != Ok(true) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    peer.send(b"wake up", at).await;
    assert_eq!(received(&mut test, id).await.0, b"wake up");
    assert_eq!(starts.load(SeqCst), 1);
}
