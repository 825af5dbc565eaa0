//! A `SyncArbiter` as a listener of `onReceive`.

use super::*;

/// Passes its events on, in the thread of a `SyncArbiter`.
struct SyncListener(mpsc::Sender<Option<Bytes>>);

impl Actor for SyncListener {
    type Context = SyncContext<Self>;
}

impl Handler<ReceiveInfo> for SyncListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        // The receiver is gone when the test has ended.
        let _ = self.0.send(Some(info.into_data()));
    }
}

impl Handler<ReceiveErrorInfo> for SyncListener {
    type Result = ();

    fn handle(&mut self, _: ReceiveErrorInfo, _: &mut Self::Context) {
        let _ = self.0.send(None);
    }
}

#[actix_rt::test]
async fn a_sync_arbiter_with_one_thread_keeps_the_order() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    let (sender, events) = mpsc::channel();
    let listener = SyncArbiter::start(1, move || SyncListener(sender.clone()));
    test.remove_listener().await;
    let app = &test.app;
    let own = test.listener.clone();
    app.tcp_server.on_accept.do_add_listener(own.recipient());
    app.tcp
        .on_receive
        .do_add_listener(listener.clone().recipient());
    app.tcp
        .on_receive_error
        .do_add_listener(listener.recipient());

    let mut peer = TcpStream::connect(address).await.expect("connect");
    test.accepted().await.do_set_paused(false);
    let mut sent = Vec::new();
    for number in 0..1000 {
        sent.extend_from_slice(&message(number));
    }
    peer.write_all(&sent).await.expect("write");
    drop(peer);
    let received = tokio::task::spawn_blocking(move || {
        let mut received = Vec::new();
        while let Some(data) = events.recv_timeout(support::LIMIT).expect("an event") {
            received.extend_from_slice(&data);
        }
        received
    });
    let received = received.await.expect("it has not panicked");
    assert!(received == sent, "{} bytes in another order", sent.len());
}
