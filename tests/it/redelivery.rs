//! What a dead listener has not handled goes to the next one: data in order and once, and the
//! end after it.
#![expect(clippy::panic, reason = "listeners of these tests panic")]

mod batches;
mod data;
mod event_pages;
mod other_threads;
mod random_panics;
mod receive_errors;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{App, NetError, tcp};
use support::{ListenerEvent, TestApp, within};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a listener does with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reaction {
    Handle,
    /// Before reading the event.
    Panic,
    /// After taking the data out.
    TakeAndPanic,
    /// After sending the data back.
    ForwardAndPanic,
    /// After making a clone, which it keeps.
    CloneAndPanic,
    /// It handles the event, and keeps a clone.
    KeepClone,
    /// It reads the data and keeps the event.
    Keep,
    /// It handles the event, and stops.
    Stop,
}
use Reaction::*;

/// Reacts to one event after the other as scripted, and then only handles.
struct ScriptedListener {
    reactions: Arc<Mutex<VecDeque<Reaction>>>,
    handled: UnboundedSender<HandledEvent>,
    kept: Vec<ReceiveInfo>,
}

/// What a scripted listener has handled.
#[derive(Clone, PartialEq, Eq, Debug)]
enum HandledEvent {
    Data(Bytes),
    End(NetError),
}

impl Actor for ScriptedListener {
    type Context = Context<Self>;
}

impl ScriptedListener {
    fn next(&self) -> Reaction {
        let mut reactions = self.reactions.lock().expect("no panic while locked");
        reactions.pop_front().unwrap_or(Handle)
    }

    fn record(&self, reported: HandledEvent) {
        // The receiver is gone when the test has ended.
        let _ = self.handled.send(reported);
    }
}

impl Handler<ReceiveInfo> for ScriptedListener {
    type Result = ();

    fn handle(&mut self, mut info: ReceiveInfo, ctx: &mut Self::Context) {
        match self.next() {
            Panic => panic!("injected panic of the listener"),
            TakeAndPanic => {
                let data = std::mem::take(&mut info.data);
                self.record(HandledEvent::Data(data));
                panic!("after the data was taken");
            }
            ForwardAndPanic => {
                let client = info.client().clone();
                client.forward(info).expect("it is open");
                panic!("after the data was sent");
            }
            CloneAndPanic => {
                self.kept.push(info.clone());
                panic!("panic after cloning");
            }
            KeepClone => {
                self.kept.push(info.clone());
                self.record(HandledEvent::Data(info.into_data()));
            }
            Keep => {
                self.record(HandledEvent::Data(info.data.clone()));
                self.kept.push(info);
            }
            Handle => self.record(HandledEvent::Data(info.data.clone())),
            Stop => {
                self.record(HandledEvent::Data(info.data.clone()));
                ctx.stop();
            }
        }
    }
}

impl Handler<ReceiveErrorInfo> for ScriptedListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, ctx: &mut Self::Context) {
        match self.next() {
            Handle => {}
            Stop => ctx.stop(),
            _ => panic!("injected panic of the listener"),
        }
        self.record(HandledEvent::End(info.result_code));
    }
}

/// A scripted listener of an app, and what it has handled.
struct ScriptedListenerHandle {
    actor: Addr<ScriptedListener>,
    handled: UnboundedReceiver<HandledEvent>,
}

impl ScriptedListenerHandle {
    async fn new(app: &App, reactions: &[Reaction]) -> Self {
        let listener = Self::of_ends(app, reactions);
        let data = listener.actor.clone().recipient();
        let added = app.tcp.on_receive.add_listener(data).await;
        added.expect("the registry runs");
        listener
    }

    /// Of batches.
    async fn of_batches(app: &App, reactions: &[Reaction]) -> Self {
        let listener = Self::of_ends(app, reactions);
        let data = listener.actor.clone().recipient();
        let added = app.tcp.on_receive_batch.add_listener(data).await;
        added.expect("the registry runs");
        listener
    }

    fn of_ends(app: &App, reactions: &[Reaction]) -> Self {
        let (handled, reported) = unbounded_channel();
        let actor = ScriptedListener {
            reactions: Arc::new(Mutex::new(reactions.iter().copied().collect())),
            handled,
            kept: Vec::new(),
        }
        .start();
        let ends = actor.clone().recipient();
        app.tcp.on_receive_error.do_add_listener(ends);
        ScriptedListenerHandle {
            actor,
            handled: reported,
        }
    }

    /// Waits for its death, and returns what it has handled.
    async fn wait_for_death(mut self) -> Vec<HandledEvent> {
        within("the death of the listener", async {
            while self.actor.connected() {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
        drop(self.actor);
        std::iter::from_fn(|| self.handled.try_recv().ok()).collect()
    }
}

/// One event per byte.
fn data(bytes: &str) -> Vec<HandledEvent> {
    let bytes = bytes.as_bytes().chunks(1);
    bytes
        .map(|byte| HandledEvent::Data(Bytes::copy_from_slice(byte)))
        .collect()
}

/// A connection on a scripted network whose every byte is an event, without listeners.
struct Fixture {
    test: TestApp,
    network: ScriptedNetwork,
    client: ClientSocket,
    peer: Peer,
}

impl Fixture {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        remove_listener(&test).await;
        let (client, peer) = connected(&test, &network, 1).await;
        Fixture {
            test,
            network,
            client,
            peer,
        }
    }

    async fn start_listener(&self, reactions: &[Reaction]) -> ScriptedListenerHandle {
        ScriptedListenerHandle::new(&self.test.app, reactions).await
    }

    /// Adds the test's listener as the next one.
    async fn listen(&self) {
        let tcp = &self.test.app.tcp;
        let listener = &self.test.listener;
        tcp.on_receive_error
            .do_add_listener(listener.clone().recipient());
        let added = tcp.on_receive.add_listener(listener.clone().recipient());
        added.await.expect("the registry runs");
    }

    /// Expects events with exactly this data.
    async fn expect_data(&mut self, bytes: &str) {
        let data = self.test.received(self.client.id(), bytes.len()).await;
        assert_eq!(String::from_utf8_lossy(&data), bytes);
    }

    async fn expect_end(&mut self, code: NetError) {
        assert_eq!(self.test.ended(self.client.id()).await, code);
    }

    /// Checks that both directions work, and that no other event comes.
    async fn assert_alive(&mut self) {
        self.peer.send("!");
        self.expect_data("!").await;
        self.client.send("yes").await.expect("it is open");
        assert!(self.peer.received().ends_with(b"yes"));
        self.test.expect_no_event().await;
    }
}

/// Removes the test's own listener from the events of client sockets.
async fn remove_listener(test: &TestApp) {
    let (tcp, listener) = (&test.app.tcp, &test.listener);
    let ends = &tcp.on_receive_error;
    ends.do_remove_listener(listener.clone().recipient());
    let removed = tcp.on_receive.remove_listener(listener.clone().recipient());
    removed.await.expect("the registry runs");
}

/// A connected client socket with events of at most this many bytes.
async fn connected(
    test: &TestApp,
    network: &ScriptedNetwork,
    buffer_size: i32,
) -> (ClientSocket, Peer) {
    let tcp = &test.app.tcp;
    let properties = tcp::SocketProperties {
        buffer_size: Some(buffer_size),
        ..Default::default()
    };
    let id = tcp.create(properties).await.expect("create").socket_id;
    let client = tcp.socket(id).await.expect("it exists");
    let peer = reconnect(&client, network).await;
    (client, peer)
}

async fn reconnect(client: &ClientSocket, network: &ScriptedNetwork) -> Peer {
    let at = "192.0.2.1:7".parse().expect("an address");
    let peer = network.server(at);
    let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
    connected.await.expect("it answers");
    peer
}
