//! `serve`: each accepted client has a handler of its own, which ends with it.
#![expect(
    clippy::panic,
    reason = "handlers of these tests panic, and tests fail by panics"
)]

mod arbiters;
mod ends;
mod settings;

use std::net::SocketAddr;
use std::thread::ThreadId;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{
    ClientSocket, ReceiveErrorInfo, ReceiveInfo, SendMarks, SendQueueInfo, SendQueueLevel,
    SocketListeners, SocketProperties,
};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{ClientSocketId, NetError, ServerSocketId};
use support::{TestApp, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::tcp_server::dial;

/// More than the kernel buffers for a peer that does not read.
const LARGE: usize = 8 * 1024 * 1024;

/// What a handler does besides echoing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    Echo,
    /// The factory panics.
    PanicInFactory,
    PanicInStarted,
    PanicAtEnd,
    /// Pauses its client in the factory.
    PauseInFactory,
    PauseInStarted,
    /// Stops in `started`, after it has sent [`LARGE`] bytes.
    AnswerAndStop,
    /// The connection may be half-open.
    HalfOpen,
    /// Gets the events of its client's send queue too, and sends [`LARGE`] bytes.
    WatchQueue,
}

/// What happened to a handler.
#[derive(PartialEq, Eq, Debug)]
enum Step {
    Started,
    Data(Bytes),
    End(NetError),
    Queue(SendQueueLevel),
    Dropped,
}

#[derive(Debug)]
struct Logged {
    client: ClientSocket,
    thread: ThreadId,
    step: Step,
}

/// Echoes. Data that is `PANIC` makes it panic, `STOP` makes it stop.
struct Session {
    client: ClientSocket,
    kind: Kind,
    log: UnboundedSender<Logged>,
}

impl Session {
    fn new(info: &AcceptInfo, kind: Kind, log: &UnboundedSender<Logged>) -> Self {
        let client = info.client().clone();
        match kind {
            Kind::PanicInFactory => panic!("injected panic of the factory"),
            Kind::PauseInFactory => client.do_set_paused(true),
            Kind::HalfOpen => client.do_update(SocketProperties {
                allow_half_open: Some(true),
                ..Default::default()
            }),
            _ => {}
        }
        Session {
            client,
            kind,
            log: log.clone(),
        }
    }

    fn log(&self, step: Step) {
        // The receiver is gone when the test has ended.
        let _ = self.log.send(Logged {
            client: self.client.clone(),
            thread: std::thread::current().id(),
            step,
        });
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.log(Step::Started);
        match self.kind {
            Kind::PanicInStarted => panic!("injected panic in `started`"),
            Kind::PauseInStarted => self.client.do_set_paused(true),
            Kind::WatchQueue => {
                let all =
                    SocketListeners::of(&ctx.address()).on_send_queue(ctx.address().recipient());
                self.client.do_set_listeners(all);
                self.client.do_update(SocketProperties {
                    send_marks: Some(SendMarks { high: 1000, low: 0 }),
                    ..Default::default()
                });
                self.client.try_send(pattern(LARGE)).expect("it is open");
            }
            Kind::AnswerAndStop => {
                self.client.try_send(pattern(LARGE)).expect("it is open");
                ctx.stop();
            }
            _ => {}
        }
    }
}

impl Handler<ReceiveInfo> for Session {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        assert_eq!(info.client(), &self.client, "another client's event");
        match &*info.data {
            b"PANIC" => panic!("injected panic of the handler"),
            b"STOP" => ctx.stop(),
            _ => {}
        }
        self.log(Step::Data(info.data.clone()));
        // The peer may be gone.
        let _ = self.client.forward(info);
    }
}

impl Handler<ReceiveErrorInfo> for Session {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        assert_eq!(info.client(), &self.client, "another client's event");
        if self.kind == Kind::PanicAtEnd {
            panic!("injected panic at the end");
        }
        self.log(Step::End(info.result_code));
    }
}

impl Handler<SendQueueInfo> for Session {
    type Result = ();

    fn handle(&mut self, info: SendQueueInfo, _: &mut Self::Context) {
        assert_eq!(info.client(), &self.client, "another client's event");
        self.log(Step::Queue(info.level));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.log(Step::Dropped);
    }
}

support::stoppable!(Session);

/// The log of all handlers of a test.
struct Log {
    sender: UnboundedSender<Logged>,
    logged: UnboundedReceiver<Logged>,
}

impl Log {
    fn new() -> Self {
        let (sender, logged) = unbounded_channel();
        Log { sender, logged }
    }

    fn factory(
        &self,
        kind: Kind,
    ) -> impl Fn(AcceptInfo, ClientSocket) -> Session + Send + Sync + 'static {
        let sender = self.sender.clone();
        move |info, client| {
            assert_eq!(info.client(), &client);
            Session::new(&info, kind, &sender)
        }
    }

    async fn next(&mut self) -> Logged {
        let next = within("a step of a handler", self.logged.recv()).await;
        next.expect("the test has a sender")
    }

    /// The next step, which must be this one.
    async fn expect(&mut self, step: Step) -> ClientSocket {
        let logged = self.next().await;
        assert_eq!(logged.step, step);
        logged.client
    }

    /// The data of the next steps, which must be of this client.
    async fn received(&mut self, id: ClientSocketId, length: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < length {
            match self.next().await {
                Logged {
                    client,
                    step: Step::Data(bytes),
                    ..
                } if client.id() == id => data.extend_from_slice(&bytes),
                other => panic!("expected data of {id}, not {other:?}"),
            }
        }
        data
    }

    fn expect_nothing(&mut self) {
        if let Ok(logged) = self.logged.try_recv() {
            panic!("expected no step, not {logged:?}");
        }
    }
}

/// A server socket that serves with handlers of this kind.
async fn serve(test: &TestApp, log: &Log, kind: Kind) -> (ServerSocketId, SocketAddr) {
    let (id, at) = test.listen().await;
    let serving = test.app.tcp_server.serve(id, log.factory(kind));
    serving.await.expect("it exists");
    (id, at)
}

fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

async fn write(peer: &mut (impl AsyncWrite + Unpin), data: &[u8]) {
    within("the end of the peer's write", async {
        peer.write_all(data).await?;
        peer.flush().await
    })
    .await
    .expect("write");
}

async fn read(peer: &mut (impl AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let all = peer.read_exact(&mut data);
    within("the peer's data", all).await.expect("read");
    data
}

async fn read_to_end(peer: &mut TcpStream) -> Vec<u8> {
    let mut data = Vec::new();
    let end = peer.read_to_end(&mut data);
    within("the end of the peer's data", end)
        .await
        .expect("read");
    data
}

/// Proof of life: a new client is served, to its end.
async fn assert_serves(log: &mut Log, at: SocketAddr) {
    let mut peer = dial(at).await;
    write(&mut peer, b"alive").await;
    assert_eq!(read(&mut peer, 5).await, b"alive");
    drop(peer);
    let client = log.expect(Step::Started).await;
    assert_eq!(log.received(client.id(), 5).await, b"alive");
    log.expect(Step::End(NetError::CONNECTION_CLOSED)).await;
    log.expect(Step::Dropped).await;
}

#[actix_rt::test]
async fn each_client_has_a_handler_that_gets_its_events_and_no_others() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    let mut peers = Vec::new();
    for i in 0..20u8 {
        // Half of them have sent before they are served.
        let mut peer = dial(at).await;
        write(&mut peer, &[i; 1000]).await;
        peers.push(peer);
    }
    for round in 0..5u8 {
        for (i, peer) in peers.iter_mut().enumerate() {
            if round > 0 {
                write(peer, &[i as u8; 1000]).await;
            }
            assert_eq!(read(peer, 1000).await, [i as u8; 1000]);
        }
    }
    drop(peers);
    let mut received = std::collections::HashMap::<_, Vec<u8>>::new();
    let mut dropped = 0;
    while dropped < 20 {
        let logged = log.next().await;
        let id = logged.client.id();
        match logged.step {
            Step::Started => assert!(received.insert(id, Vec::new()).is_none(), "once"),
            Step::Data(data) => received.get_mut(&id).expect("it started").extend(data),
            Step::End(code) => assert_eq!(code, NetError::CONNECTION_CLOSED),
            Step::Queue(level) => panic!("no marks are set: {level:?}"),
            Step::Dropped => dropped += 1,
        }
    }
    assert_eq!(received.len(), 20);
    for data in received.values() {
        assert_eq!(*data, [data[0]; 5000], "data of one peer");
    }
    test.expect_no_event().await;
    assert_serves(&mut log, at).await;
    let open = test.app.tcp.get_sockets().await.expect("it runs");
    assert_eq!(open, [], "ended clients are closed");
}

#[actix_rt::test]
async fn a_large_transfer_is_in_order_and_a_slow_peer_slows_its_handler() {
    let test = TestApp::new().await;
    let log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    let mut peer = dial(at).await;
    let data = pattern(LARGE);
    let (mut reader, mut writer) = peer.split();
    let mut echo = vec![0; LARGE];
    within("the echo", async {
        let (read, written) = tokio::join!(reader.read_exact(&mut echo), writer.write_all(&data));
        read.expect("read");
        written.expect("write");
    })
    .await;
    assert!(data == echo);
}
