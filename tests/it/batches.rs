//! `onReceive` in batches: one message has what a turn received, and everything else is as with
//! single events. What a listener's death does to a batch is in `redelivery/batches.rs`.

mod arbiters;
mod credits;
mod datagrams;
mod delivery;
mod lifecycle;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{self, ClientSocket, DnsQueryType, ReceiveBatch};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{App, ClientSocketId};
use support::{EventSender, TestApp, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Connected client sockets on a scripted network, and a listener that passes batches to the test
/// unhandled. The app's other events go to the test's own listener.
struct Fixture {
    test: TestApp,
    clients: Vec<(ClientSocket, Peer)>,
    batches: UnboundedReceiver<ReceiveBatch>,
    listener: Addr<EventSender<ReceiveBatch>>,
}

impl Fixture {
    async fn new(clients: usize, buffer_size: i32) -> Self {
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        let (listener, batches) = listen_for_batches(&test).await;
        let mut connected = Vec::new();
        for _ in 0..clients {
            connected.push(connect(&test.app, &network, buffer_size).await);
        }
        Fixture {
            test,
            clients: connected,
            batches,
            listener,
        }
    }

    async fn next(&mut self) -> ReceiveBatch {
        let batch = within("a batch", self.batches.recv()).await;
        batch.expect("the listener runs")
    }

    /// Takes batches, handles them, and returns the data of each socket until it is so many bytes
    /// in all.
    async fn take(&mut self, bytes: usize) -> Vec<Vec<u8>> {
        let mut received = vec![Vec::new(); self.clients.len()];
        while received.iter().map(Vec::len).sum::<usize>() < bytes {
            for info in self.next().await {
                let of = self.index_of(info.socket_id);
                received[of].extend_from_slice(&info.data);
            }
        }
        received
    }

    fn index_of(&self, id: ClientSocketId) -> usize {
        let clients = self.clients.iter();
        let mut clients = clients.map(|(client, _)| client.id());
        clients.position(|it| it == id).expect("one of the clients")
    }

    /// Waits until what peers have sent is raised, as far as the sockets may read: their actor had
    /// two turns.
    async fn until_raised(&self) {
        for _ in 0..2 {
            let info = self.clients[0].0.get_info().await;
            info.expect("it is open");
        }
    }

    /// Checks that every connection works in both directions.
    async fn assert_alive(&mut self) {
        let mut bytes = 0;
        for (client, peer) in &self.clients {
            peer.send("alive");
            client.send("yes").await.expect("it is open");
            assert!(peer.received().ends_with(b"yes"));
            bytes += 5;
        }
        for data in self.take(bytes).await {
            assert_eq!(data, b"alive");
        }
        assert!(self.batches.try_recv().is_err(), "nothing else is raised");
    }
}

/// Replaces the test's own listener of single events.
pub async fn listen_for_batches(
    test: &TestApp,
) -> (
    Addr<EventSender<ReceiveBatch>>,
    UnboundedReceiver<ReceiveBatch>,
) {
    let tcp = &test.app.tcp;
    let own = test.listener.clone().recipient();
    let removed = tcp.on_receive.remove_listener(own).await;
    removed.expect("the registry runs");
    let (sender, batches) = unbounded_channel();
    let listener = EventSender(sender).start();
    let recipient = listener.clone().recipient();
    let added = tcp.on_receive_batch.add_listener(recipient).await;
    added.expect("the registry runs");
    (listener, batches)
}

async fn connect(app: &App, network: &ScriptedNetwork, buffer_size: i32) -> (ClientSocket, Peer) {
    let properties = tcp::SocketProperties {
        buffer_size: Some(buffer_size),
        ..Default::default()
    };
    let created = app.tcp.create(properties).await.expect("create");
    let client = app.tcp.socket(created.socket_id).await;
    let client = client.expect("it exists");
    let peer = network.server("192.0.2.1:7".parse().expect("an address"));
    let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
    connected.await.expect("it answers");
    (client, peer)
}

/// The data of the events, which stay in the batch.
fn data_of(batch: &ReceiveBatch) -> Vec<Bytes> {
    batch.iter().map(|info| info.data.clone()).collect()
}
