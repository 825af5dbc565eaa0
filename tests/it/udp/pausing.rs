//! `setPaused`.

use actix::prelude::*;
use chrome_sockets::Error;
use chrome_sockets::udp::{ReceiveInfo, SocketProperties};
use support::{KeepingListener, TestApp, within};

use super::{Peer, bound, create, expect_alive, received};

#[actix_rt::test]
async fn a_paused_socket_receives_nothing_and_then_everything_in_order() {
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let udp = test.app.udp.clone();
    let peer = Peer::new().await;
    udp.set_paused(id, true).await.expect("paused");
    for number in 0..10 {
        peer.send(&[number], at).await;
    }
    test.expect_no_event().await;
    udp.set_paused(id, true).await.expect("it is idempotent");
    udp.set_paused(id, false).await.expect("resumed");
    for number in 0..10 {
        assert_eq!(received(&mut test, id).await.0, [number]);
    }
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn a_pause_before_bind_holds_after_it() {
    let mut test = TestApp::new().await;
    let udp = test.app.udp.clone();
    let id = create(&test, SocketProperties::default()).await;
    udp.set_paused(id, true).await.expect("paused");
    udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    let at = super::address_of(&test, id).await;
    Peer::new().await.send(b"early", at).await;
    test.expect_no_event().await;
    udp.set_paused(id, false).await.expect("resumed");
    assert_eq!(received(&mut test, id).await.0, b"early");
}

#[actix_rt::test]
async fn a_paused_socket_sends() {
    let test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    socket.set_paused(true).await.expect("paused");
    let peer = Peer::new().await;
    socket.send_to("out", peer.address()).await.expect("sent");
    assert_eq!(peer.receive().await, (b"out".to_vec(), at));
}

#[actix_rt::test]
async fn the_answer_to_a_pause_waits_until_listeners_have_handled_earlier_events() {
    let test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.remove_listener().await;
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel::<ReceiveInfo>();
    let listener = support::EventSender(sender).start();
    let added = test.app.udp.on_receive.add_listener(listener.recipient());
    added.await.expect("it runs");
    Peer::new().await.send(b"held", at).await;
    let event = within("the event", events.recv()).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    let mut pausing = socket.set_paused(true);
    assert!(socket.get_info().await.is_ok_and(|info| info.paused));
    assert!(futures::FutureExt::now_or_never(&mut pausing).is_none());
    drop(event);
    within("the answer", pausing).await.expect("paused");
}

#[actix_rt::test]
async fn a_listener_that_keeps_an_event_is_reported_after_the_grace() {
    let test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    test.remove_listener().await;
    let keeping = KeepingListener::<ReceiveInfo>::default().start();
    let added = test.app.udp.on_receive.add_listener(keeping.recipient());
    added.await.expect("it runs");
    let udp = &test.app.udp;
    let peer = Peer::new().await;
    peer.send(b"kept", at).await;
    // Until the event has been raised, a pause is answered at once.
    let error = within("the report", async {
        loop {
            udp.set_paused(id, false).await.expect("resumed");
            if let Err(error) = udp.set_paused(id, true).await {
                return error;
            }
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(error, Error::EventsInFlight);
    assert!(udp.get_info(id).await.is_ok_and(|info| info.paused));
}
