//! Client sockets in several arbiters: placement, threads, and the same behaviour as with one.

mod accepted_ahead;
mod all_arbiters;
mod bounds;
mod connection_storm;
mod half_close;
mod local_listeners;
mod placement;
pub mod recording_network;
mod recovery;
pub mod shared_port;
mod suite_rerun;
mod thread_shutdown;

use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::tcp::{ClientSocket, ReceiveInfo};
use chrome_sockets::{LocalArbiter, Registry};
use support::{self, TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

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
    within("the sent data", all).await.expect("read");
    data
}

/// An accepted, paused client and its peer.
async fn accept(test: &mut TestApp, address: SocketAddr) -> (ClientSocket, TcpStream) {
    let peer = dial(address).await;
    loop {
        match test.next().await {
            support::ListenerEvent::Accept(_, client) => return (client, peer),
            // Ends of earlier clients of the test.
            support::ListenerEvent::ReceiveError(..) => {}
            other => panic!("expected onAccept, not {other:?}"),
        }
    }
}

/// Echoes the data of its arbiter's sockets, and reports the thread it runs in.
struct Echo(UnboundedSender<HandlerRun>);

/// Where a handler ran, and for which socket.
#[derive(Debug)]
struct HandlerRun {
    arbiter: usize,
    thread: std::thread::ThreadId,
    from: ClientSocket,
}

struct LocalEcho {
    arbiter: usize,
    sender: UnboundedSender<HandlerRun>,
}

impl Actor for LocalEcho {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for LocalEcho {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        // The receiver is gone when the test has ended.
        let _ = self.sender.send(HandlerRun {
            arbiter: self.arbiter,
            thread: std::thread::current().id(),
            from: client.clone(),
        });
        client.forward(info).expect("the client is open");
    }
}

impl Echo {
    fn pair() -> (Self, UnboundedReceiver<HandlerRun>) {
        let (sender, received) = unbounded_channel();
        (Echo(sender), received)
    }

    fn start(&self, local: &LocalArbiter) {
        let (arbiter, sender) = (local.index(), self.0.clone());
        let echo = LocalEcho { arbiter, sender }.start();
        local.do_add_listener::<ReceiveInfo>(echo.recipient());
    }
}

/// A test app on these arbiters. Local listeners echo data; the app's own listener has no
/// `onReceive`.
async fn with_local_echo(registry: Registry) -> (TestApp, UnboundedReceiver<HandlerRun>) {
    with_local_echo_in(TestApp::on(registry).await).await
}

async fn with_local_echo_in(test: TestApp) -> (TestApp, UnboundedReceiver<HandlerRun>) {
    let tcp = &test.app.tcp;
    let removed = tcp
        .on_receive
        .remove_listener(test.listener.clone().recipient());
    removed.await.expect("it runs");
    let (echo, received) = Echo::pair();
    let set_up = test.app.on_each_arbiter(move |local| echo.start(&local));
    within("the listeners", set_up).await.expect("it runs");
    (test, received)
}
