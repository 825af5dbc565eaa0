//! What a dead listener leaves is told to the next one: its data in order and
//! once, and the end after it.
#![expect(clippy::panic, reason = "this is what listeners do here")]

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
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use support::{Heard, World, within};

/// What a listener does with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Handle,
    /// Before it has looked at it.
    Panic,
    /// After it has taken the data out.
    TakeAndPanic,
    /// After it has sent the data back.
    ForwardAndPanic,
    /// After it has made a clone, which it keeps.
    CloneAndPanic,
    /// It handles it, and keeps a clone.
    KeepClone,
    /// It looks at the data and keeps the event.
    Keep,
    /// It handles it, and is the last one.
    Stop,
}
use Deed::*;

/// Does what it is told with one event after the other, and then only handles.
struct Frail {
    deeds: Arc<Mutex<VecDeque<Deed>>>,
    heard: UnboundedSender<Told>,
    kept: Vec<ReceiveInfo>,
}

/// What a frail listener has handled.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Data(Bytes),
    End(NetError),
}

impl Actor for Frail {
    type Context = Context<Self>;
}

impl Frail {
    fn next(&self) -> Deed {
        let mut deeds = self.deeds.lock().expect("nobody panics with it");
        deeds.pop_front().unwrap_or(Handle)
    }

    fn tell(&self, told: Told) {
        // A test that is over hears no more.
        let _ = self.heard.send(told);
    }
}

impl Handler<ReceiveInfo> for Frail {
    type Result = ();

    fn handle(&mut self, mut info: ReceiveInfo, ctx: &mut Self::Context) {
        match self.next() {
            Panic => panic!("a listener that is not well"),
            TakeAndPanic => {
                let data = std::mem::take(&mut info.data);
                self.tell(Told::Data(data));
                panic!("after the data was taken");
            }
            ForwardAndPanic => {
                let client = info.client().clone();
                client.forward(info).expect("it is open");
                panic!("after the data was sent");
            }
            CloneAndPanic => {
                self.kept.push(info.clone());
                panic!("the clone is no other's");
            }
            KeepClone => {
                self.kept.push(info.clone());
                self.tell(Told::Data(info.into_data()));
            }
            Keep => {
                self.tell(Told::Data(info.data.clone()));
                self.kept.push(info);
            }
            Handle => self.tell(Told::Data(info.data.clone())),
            Stop => {
                self.tell(Told::Data(info.data.clone()));
                ctx.stop();
            }
        }
    }
}

impl Handler<ReceiveErrorInfo> for Frail {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, ctx: &mut Self::Context) {
        match self.next() {
            Handle => {}
            Stop => ctx.stop(),
            _ => panic!("a listener that is not well"),
        }
        self.tell(Told::End(info.result_code));
    }
}

/// A frail listener of an app, and what it says.
struct Patient {
    actor: Addr<Frail>,
    heard: UnboundedReceiver<Told>,
}

impl Patient {
    async fn new(app: &App, deeds: &[Deed]) -> Self {
        let (heard, told) = unbounded_channel();
        let actor = Frail {
            deeds: Arc::new(Mutex::new(deeds.iter().copied().collect())),
            heard,
            kept: Vec::new(),
        }
        .start();
        let (data, ends) = (actor.clone().recipient(), actor.clone().recipient());
        app.tcp.on_receive_error.add_listener(ends);
        let added = app.tcp.on_receive.add_listener(data).await;
        added.expect("the registry runs");
        Patient { actor, heard: told }
    }

    /// Waits for its death, and says what it has handled.
    async fn dies(mut self) -> Vec<Told> {
        within("its death", async {
            while self.actor.connected() {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
        drop(self.actor);
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

/// One event a byte.
fn data(bytes: &str) -> Vec<Told> {
    let bytes = bytes.as_bytes().chunks(1);
    bytes
        .map(|byte| Told::Data(Bytes::copy_from_slice(byte)))
        .collect()
}

/// A connection on a scripted network whose every byte is an event, and that
/// nobody hears yet.
struct Scene {
    world: World,
    network: ScriptedNetwork,
    client: ClientSocket,
    peer: Peer,
}

impl Scene {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let world = World::with_network(network.clone()).await;
        deafen(&world).await;
        let (client, peer) = connected(&world, &network, 1).await;
        Scene {
            world,
            network,
            client,
            peer,
        }
    }

    async fn patient(&self, deeds: &[Deed]) -> Patient {
        Patient::new(&self.world.app, deeds).await
    }

    /// The next listener comes.
    async fn listen(&self) {
        let tcp = &self.world.app.tcp;
        let listener = &self.world.listener;
        tcp.on_receive_error
            .add_listener(listener.clone().recipient());
        let added = tcp.on_receive.add_listener(listener.clone().recipient());
        added.await.expect("the registry runs");
    }

    /// The next events of the connection are of this data, and no more.
    async fn hears(&mut self, bytes: &str) {
        let data = self.world.received(self.client.id(), bytes.len()).await;
        assert_eq!(String::from_utf8_lossy(&data), bytes);
    }

    async fn ends(&mut self, code: NetError) {
        assert_eq!(self.world.ended(self.client.id()).await, code);
    }

    /// Both directions work, and nothing else is heard.
    async fn is_alive(&mut self) {
        self.peer.send("!");
        self.hears("!").await;
        self.client.send("yes").await.expect("it is open");
        assert!(self.peer.received().ends_with(b"yes"));
        self.world.nothing().await;
    }
}

/// The world's own listener hears nothing of client sockets.
async fn deafen(world: &World) {
    let (tcp, listener) = (&world.app.tcp, &world.listener);
    let ends = &tcp.on_receive_error;
    ends.remove_listener(listener.clone().recipient());
    let removed = tcp.on_receive.remove_listener(listener.clone().recipient());
    removed.await.expect("the registry runs");
}

/// A connected client socket with events of at most so many bytes.
async fn connected(
    world: &World,
    network: &ScriptedNetwork,
    buffer_size: i32,
) -> (ClientSocket, Peer) {
    let tcp = &world.app.tcp;
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
