//! Client sockets that live in several arbiters: where each goes, that its data
//! stays there, and that everything else is as with one.

mod again;
mod ahead;
mod bounds;
mod ends;
mod falls;
mod half_close;
mod local;
mod placing;
mod shared_port;
pub mod spy;
mod storm;
mod whole;

use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::tcp::{ClientSocket, ReceiveInfo};
use chrome_sockets::{LocalArbiter, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use support::{self, World, within};

async fn dial(address: SocketAddr) -> TcpStream {
    let dialled = TcpStream::connect(address);
    within("a connection", dialled).await.expect("it listens")
}

async fn write(peer: &mut TcpStream, data: &[u8]) {
    within("the write", peer.write_all(data))
        .await
        .expect("write");
}

async fn read(peer: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let all = peer.read_exact(&mut data);
    within("what was sent", all).await.expect("read");
    data
}

/// A client that was accepted, paused, and its peer.
async fn accept(world: &mut World, address: SocketAddr) -> (ClientSocket, TcpStream) {
    let peer = dial(address).await;
    loop {
        match world.next().await {
            support::Heard::Accept(_, client) => return (client, peer),
            // Of others, which the test is done with.
            support::Heard::ReceiveError(..) => {}
            other => panic!("expected onAccept, not {other:?}"),
        }
    }
}

/// Echoes what the sockets of its arbiter receive, and tells in which thread.
struct Echo(UnboundedSender<Heard>);

/// Where a handler was, and what it heard.
#[derive(Debug)]
struct Heard {
    arbiter: usize,
    thread: std::thread::ThreadId,
    from: ClientSocket,
}

struct LocalEcho {
    arbiter: usize,
    tell: UnboundedSender<Heard>,
}

impl Actor for LocalEcho {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for LocalEcho {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        // A test that is over hears no more.
        let _ = self.tell.send(Heard {
            arbiter: self.arbiter,
            thread: std::thread::current().id(),
            from: client.clone(),
        });
        client.forward(info).expect("the client is open");
    }
}

impl Echo {
    fn pair() -> (Self, UnboundedReceiver<Heard>) {
        let (tell, heard) = unbounded_channel();
        (Echo(tell), heard)
    }

    fn start(&self, local: &LocalArbiter) {
        let (arbiter, tell) = (local.index(), self.0.clone());
        let echo = LocalEcho { arbiter, tell }.start();
        local.add_listener::<ReceiveInfo>(echo.recipient());
    }
}

/// A world on so many arbiters whose own listener hears no data: those in the
/// arbiters echo it.
async fn echoing(registry: Registry) -> (World, UnboundedReceiver<Heard>) {
    echoing_in(World::on(registry).await).await
}

async fn echoing_in(world: World) -> (World, UnboundedReceiver<Heard>) {
    let tcp = &world.app.tcp;
    let deaf = tcp
        .on_receive
        .remove_listener(world.listener.clone().recipient());
    deaf.await.expect("it runs");
    let (echo, heard) = Echo::pair();
    let set_up = world.app.on_each_arbiter(move |local| echo.start(&local));
    within("the listeners", set_up).await.expect("it runs");
    (world, heard)
}
