//! A listener besides the test's own, which records its events.

use actix::prelude::*;
use chrome_sockets::{App, ClientSocketId};
use support::{Flush, Listener, ListenerEvent, Stop, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Records the events to which it is added.
pub struct RecordingListener {
    pub addr: Addr<Listener>,
    received: UnboundedReceiver<ListenerEvent>,
}

impl RecordingListener {
    /// Without events yet.
    pub fn new() -> Self {
        let (sender, received) = unbounded_channel();
        let addr = Listener::new(sender).start();
        RecordingListener { addr, received }
    }

    /// Added to every event of this app.
    pub async fn of(app: &App) -> Self {
        let recorder = RecordingListener::new();
        let accept = app.tcp_server.on_accept.add_listener(recorder.recipient());
        let receive = app.tcp.on_receive.add_listener(recorder.recipient());
        let error = app.tcp.on_receive_error.add_listener(recorder.recipient());
        for added in [accept, receive, error] {
            added.await.expect("the registry runs");
        }
        recorder
    }

    /// The argument of `addListener` and `removeListener`.
    pub fn recipient<E>(&self) -> Recipient<E>
    where
        Listener: Handler<E>,
        E: Message<Result = ()> + Send + 'static,
    {
        self.addr.clone().recipient()
    }

    /// The next event.
    pub async fn next(&mut self) -> ListenerEvent {
        within("an event for the second listener", self.received.recv())
            .await
            .expect("the listener runs")
    }

    /// The next event, which must be `onAccept`.
    pub async fn accepted(&mut self) -> ClientSocketId {
        match self.next().await {
            ListenerEvent::Accept(_, client) => client.id(),
            other => panic!("expected onAccept, not {other:?}"),
        }
    }

    /// All events raised before this call and not returned before. Its mailbox is in order, so
    /// earlier events have been handled.
    pub async fn so_far(&mut self) -> Vec<ListenerEvent> {
        self.addr.send(Flush).await.expect("the listener runs");
        let mut received = Vec::new();
        while let Ok(event) = self.received.try_recv() {
            received.push(event);
        }
        received
    }

    /// Stops the actor, and waits until it is dead.
    pub async fn stop(self) {
        self.addr.do_send(Stop);
        within("the end of the listener", async {
            while self.addr.connected() {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    }
}
