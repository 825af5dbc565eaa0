//! Events while a suspension waits for listeners.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{App, ClientSocketId, Error, NetError, PAUSE_GRACE, tcp};
use support::{TestApp, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::slow_listener::SlowListener;
use super::{client_sockets, connect, page, resume, with_page};
use crate::tcp_server::dial;

/// A client socket with data that a listener holds, so that a suspension waits.
async fn client_with_held_data(
    test: &TestApp,
) -> (
    ClientSocketId,
    TcpStream,
    mpsc::UnboundedReceiver<()>,
    oneshot::Sender<()>,
) {
    let (slow_listener, mut began, release, _) = SlowListener::start();
    let received = &test.app.tcp.on_receive;
    received.do_remove_listener(test.listener.clone().recipient());
    received.do_add_listener(slow_listener.recipient());
    let client = test.create().await;
    let mut peer = connect(&test.app, client).await;
    peer.write_all(b"held").await.expect("it is open");
    within("the event", began.recv()).await.expect("it runs");
    (client, peer, began, release)
}

async fn make_persistent(app: &App, id: ClientSocketId) {
    let updated = app.tcp.update(
        id,
        tcp::SocketProperties {
            persistent: Some(true),
            ..Default::default()
        },
    );
    updated.await.expect("it exists");
}

#[actix_rt::test]
async fn an_end_that_was_read_before_a_suspension_is_reported_after_loading() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (client, peer, _began, release) = client_with_held_data(&test).await;
    make_persistent(&test.app, client).await;
    drop(peer);
    // It must not be reported before the data was handled.
    test.expect_no_event().await;
    let suspended = test.app.suspend();
    release.send(()).expect("it waits");
    assert_eq!(within("the answer to suspend", suspended).await, Ok(()));
    assert_eq!(test.ended(client).await, NetError::CONNECTION_CLOSED);
    assert_eq!(starts.load(SeqCst), 1);
}

#[actix_rt::test]
async fn a_client_made_persistent_during_a_suspension_is_kept_with_its_data() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (_, _peer, _began, release) = client_with_held_data(&test).await;
    let late = test.create().await;
    let mut late_peer = connect(&test.app, late).await;
    let suspended = test.app.suspend();
    late_peer.write_all(b"late").await.expect("it is open");
    // The socket has seen the data, and that it must not raise it.
    test.expect_no_event().await;
    make_persistent(&test.app, late).await;
    release.send(()).expect("it waits");
    assert_eq!(within("the answer to suspend", suspended).await, Ok(()));
    assert_eq!(test.received(late, 4).await, b"late");
    assert_eq!(starts.load(SeqCst), 1);
    assert_eq!(client_sockets(&test.app).await, [late]);
}

#[actix_rt::test]
async fn data_on_sockets_that_a_suspension_closes_loads_nothing() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (_, mut peer, _began, release) = client_with_held_data(&test).await;
    let (_, at) = test.listen().await;
    let suspended = test.app.suspend();
    let _dialed = dial(at).await;
    peer.write_all(b"more").await.expect("it is open");
    test.expect_no_event().await;
    release.send(()).expect("it waits");
    assert_eq!(within("the answer to suspend", suspended).await, Ok(()));
    test.expect_no_event().await;
    assert_eq!(starts.load(SeqCst), 0);
    assert_eq!(test.app.is_suspended().await, Ok(true));
}

#[actix_rt::test]
async fn the_pending_suspension_of_an_unloaded_app_does_not_affect_a_new_app_of_that_name() {
    tokio::time::pause();
    let test = TestApp::with_network(ScriptedNetwork::new()).await;
    let app = &test.app;
    let (slow_listener, mut began, release, _) = SlowListener::start();
    app.on_suspend.do_add_listener(slow_listener.recipient());
    let first = app.suspend();
    began.recv().await.expect("it runs");
    sleep(PAUSE_GRACE / 2).await;
    app.unload().await.expect("it runs");

    // A new app with the same id, which waits for its listener too.
    let (other, mut began, other_release, _) = SlowListener::start();
    app.on_suspend.do_add_listener(other.recipient());
    let client = test.create().await;
    let second = app.suspend();
    began.recv().await.expect("it runs");
    assert_eq!(first.await, Err(Error::Unloaded));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(
        client_sockets(app).await,
        [client],
        "its own suspension still waits"
    );
    assert_eq!(app.on_suspend.has_listeners().await, Ok(true));
    assert_eq!(second.await, Err(Error::EventsInFlight));
    assert_eq!(client_sockets(app).await, []);
    drop((release, other_release));
    let (page, _) = page(&test);
    app.set_event_page(Some(page)).await.expect("it runs");
    resume(app).await;
}
