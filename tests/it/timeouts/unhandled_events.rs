//! Timeouts while listeners hold events.

use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo, WINDOW};
use chrome_sockets::tcp_server::AcceptInfo;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

/// Passes all events on, and so handles none.
struct KeepingListener {
    accepted: UnboundedSender<AcceptInfo>,
    received: UnboundedSender<ReceiveInfo>,
    ended: UnboundedSender<ReceiveErrorInfo>,
}

impl Actor for KeepingListener {
    type Context = Context<Self>;
}

macro_rules! gives_away {
    ($($event:ident by $field:ident),*) => {$(
        impl Handler<$event> for KeepingListener {
            type Result = ();

            fn handle(&mut self, info: $event, _: &mut Self::Context) {
                let _ = self.$field.send(info);
            }
        }
    )*};
}

gives_away!(AcceptInfo by accepted, ReceiveInfo by received, ReceiveErrorInfo by ended);

struct KeptEvents {
    client: ClientSocket,
    peer: Peer,
    received: UnboundedReceiver<ReceiveInfo>,
    ended: UnboundedReceiver<ReceiveErrorInfo>,
    _network: ScriptedNetwork,
    _app: App,
}

impl KeptEvents {
    async fn new(timeouts: Timeouts) -> Self {
        tokio::time::pause();
        let network = ScriptedNetwork::new();
        let registry = chrome_sockets::Registry::with_network(network.clone()).start();
        let app = App::new("slow", &registry);
        let (accepted, mut accepts) = unbounded_channel();
        let (received, receives) = unbounded_channel();
        let (ended, ends) = unbounded_channel();
        let keeping_listener = KeepingListener {
            accepted,
            received,
            ended,
        };
        let keeping_listener = keeping_listener.start();
        app.tcp_server
            .on_accept
            .do_add_listener(keeping_listener.clone().recipient());
        app.tcp
            .on_receive
            .do_add_listener(keeping_listener.clone().recipient());
        app.tcp
            .on_receive_error
            .do_add_listener(keeping_listener.recipient());
        let created = app.tcp_server.create(Default::default()).await;
        let server = created.expect("create").socket_id;
        let listening = app.tcp_server.listen(server, "127.0.0.1", 0, None);
        listening.await.expect("listen");
        let set = app.tcp_server.set_timeouts(server, timeouts);
        set.await.expect("it is open");
        let info = app.tcp_server.get_info(server).await.expect("it is open");
        let peer = network.client(info.local_addr().expect("it listens"));
        let accept = within_paused("onAccept", accepts.recv())
            .await
            .expect("it runs");
        let client = accept.client().clone();
        client.set_paused(false).await.expect("it is open");
        KeptEvents {
            client,
            peer: peer.expect("it listens"),
            received: receives,
            ended: ends,
            _network: network,
            _app: app,
        }
    }
}

#[actix_rt::test]
async fn the_end_of_an_idle_connection_follows_unhandled_events() {
    let mut held = KeptEvents::new(IDLE).await;
    held.peer.send("last words");
    let words = within_paused("onReceive", held.received.recv()).await;
    sleep(2 * LIMIT).await;
    assert!(held.peer.is_closed(), "its time is over");
    assert!(held.ended.try_recv().is_err(), "it was not handled yet");
    drop(words);
    let end = within_paused("the end", held.ended.recv())
        .await
        .expect("it runs");
    assert_eq!(end.result_code, NetError::TIMED_OUT);
    held.client
        .close()
        .await
        .expect("the id is valid until close");
}

#[actix_rt::test]
async fn a_peer_that_sends_faster_than_the_app_reads_is_not_idle() {
    let mut held = KeptEvents::new(IDLE).await;
    held.peer.send(vec![0; 2 * WINDOW]);
    let mut events = Vec::new();
    let mut bytes = 0;
    while bytes < WINDOW {
        let info = within_paused("onReceive", held.received.recv()).await;
        let info = info.expect("it runs");
        bytes += info.data.len();
        events.push(info);
    }
    sleep(DAY).await;
    assert!(!held.peer.is_closed(), "it has not been silent");
    drop(events);
    while bytes < 2 * WINDOW {
        let info = within_paused("onReceive", held.received.recv()).await;
        bytes += info.expect("it runs").data.len();
    }
    sleep(LIMIT + SLACK).await;
    let end = within_paused("the end", held.ended.recv())
        .await
        .expect("it runs");
    assert_eq!(end.result_code, NetError::TIMED_OUT);
}
