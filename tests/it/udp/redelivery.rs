//! Events whose listener dies are raised again, and poison is dropped.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use actix::prelude::*;
use chrome_sockets::udp::{ReceiveErrorInfo, ReceiveInfo, SocketProperties};
use chrome_sockets::{MAX_PANICS, NetError, UdpSocketId};
use support::{KeepingListener, TestApp, subscribe, until};

use super::{Peer, bound, expect_alive, failed, received};

/// Panics at a datagram with this text, and at every error.
struct PanickingListener(&'static [u8], Arc<AtomicUsize>);

impl Actor for PanickingListener {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        if &*info.data == self.0 {
            self.1.fetch_add(1, SeqCst);
            panic!("injected panic of the listener");
        }
    }
}

impl Handler<ReceiveErrorInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, _: ReceiveErrorInfo, _: &mut Self::Context) {
        self.1.fetch_add(1, SeqCst);
        panic!("injected panic of the listener");
    }
}

/// Adds a listener that panics. Returns how often it has.
async fn add_panicking(test: &TestApp, at: &'static [u8]) -> Arc<AtomicUsize> {
    let panics = Arc::<AtomicUsize>::default();
    let listener = PanickingListener(at, panics.clone()).start();
    let udp = &test.app.udp;
    let errors = &udp.on_receive_error;
    errors.do_add_listener(listener.clone().recipient());
    let added = udp.on_receive.add_listener(listener.recipient());
    added.await.expect("it runs");
    panics
}

async fn dropped_events(test: &TestApp, id: UdpSocketId) -> u64 {
    let info = test.app.udp.get_info(id).await.expect("it exists");
    info.dropped_events
}

#[actix_rt::test]
async fn datagrams_that_a_dead_listener_left_are_raised_again_in_order_before_later_ones() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.remove_listener().await;
    let panics = add_panicking(&test, b"3").await;
    let peer = Peer::new().await;
    // The listener handles 1 and 2, panics at 3, and dies with the others in its mailbox.
    for data in ["1", "2", "3", "4", "", "5"] {
        peer.send(data.as_bytes(), at).await;
    }
    until("the panic", || panics.load(SeqCst) == 1).await;
    peer.send(b"6", at).await;
    subscribe(&test.app, &test.listener).await.expect("it runs");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(String::from_utf8(received(&mut test, id).await.0).expect("text"));
    }
    // The one at fault comes behind those that waited; what was read at once depends on the turn.
    let at_fault = all
        .iter()
        .position(|it| it == "3")
        .expect("it is raised again");
    all.remove(at_fault);
    assert_eq!(all, ["4", "", "5", "6"]);
    assert_eq!(dropped_events(&test, id).await, 0);
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn a_datagram_at_which_three_listeners_panic_is_dropped_and_counted() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.remove_listener().await;
    let peer = Peer::new().await;
    peer.send(b"poison", at).await;
    for _ in 0..MAX_PANICS {
        let panics = add_panicking(&test, b"poison").await;
        until("the panic", || panics.load(SeqCst) == 1).await;
    }
    subscribe(&test.app, &test.listener).await.expect("it runs");
    expect_alive(&mut test, id).await;
    assert_eq!(dropped_events(&test, id).await, 1);
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_error_that_a_dead_listener_left_is_raised_again_and_poison_is_dropped() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let properties = SocketProperties {
        buffer_size: Some(16),
        ..Default::default()
    };
    test.app.udp.update(id, properties).await.expect("update");
    let peer = Peer::new().await;
    test.remove_listener().await;
    let panics = add_panicking(&test, b"").await;
    peer.send(&[0; 17], at).await;
    until("the panic", || panics.load(SeqCst) == 1).await;
    subscribe(&test.app, &test.listener).await.expect("it runs");
    assert_eq!(failed(&mut test, id).await, NetError::MSG_TOO_BIG);
    test.app.udp.set_paused(id, false).await.expect("resumed");
    expect_alive(&mut test, id).await;

    test.remove_listener().await;
    for time in 0..MAX_PANICS {
        let panics = add_panicking(&test, b"").await;
        if time == 0 {
            peer.send(&[0; 17], at).await;
        }
        until("the panic", || panics.load(SeqCst) == 1).await;
    }
    subscribe(&test.app, &test.listener).await.expect("it runs");
    assert_eq!(dropped_events(&test, id).await, 1);
    test.expect_no_event().await;
    test.app.udp.set_paused(id, false).await.expect("resumed");
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn returned_datagrams_wait_while_the_socket_is_paused() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.remove_listener().await;
    let panics = add_panicking(&test, b"again").await;
    Peer::new().await.send(b"again", at).await;
    until("the panic", || panics.load(SeqCst) == 1).await;
    test.app.udp.set_paused(id, true).await.expect("paused");
    subscribe(&test.app, &test.listener).await.expect("it runs");
    tokio::time::sleep(support::QUIET).await;
    test.expect_no_event().await;
    test.app.udp.set_paused(id, false).await.expect("resumed");
    assert_eq!(received(&mut test, id).await.0, b"again");
}

#[actix_rt::test]
async fn an_event_that_one_of_two_listeners_handles_is_not_raised_again() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let panics = add_panicking(&test, b"once").await;
    Peer::new().await.send(b"once", at).await;
    assert_eq!(received(&mut test, id).await.0, b"once");
    until("the panic", || panics.load(SeqCst) == 1).await;
    expect_alive(&mut test, id).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_clone_never_returns() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.remove_listener().await;
    let keeping = KeepingListener::<ReceiveInfo>::default().start();
    let added = test
        .app
        .udp
        .on_receive
        .add_listener(keeping.clone().recipient());
    added.await.expect("it runs");
    Peer::new().await.send(b"kept", at).await;
    // A dead listener's events return, whatever it has kept.
    let removed = test.app.udp.on_receive.remove_listener(keeping.recipient());
    removed.await.expect("it runs");
    subscribe(&test.app, &test.listener).await.expect("it runs");
    assert_eq!(received(&mut test, id).await.0, b"kept");
    expect_alive(&mut test, id).await;
}
