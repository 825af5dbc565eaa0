//! Reliable pauses, also while many connections come in.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::ReceiveInfo;
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{
    AddListener, Answer, Error, Event, OnEvent, PAUSE_GRACE, Registry, RemoveListener,
    ServerSocketId,
};
use support::{Listener, TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

/// Counts handled events on an arbiter of its own, more slowly than they come.
struct Counter {
    handled: Arc<AtomicUsize>,
    seen: HashSet<u64>,
    slow: Duration,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Counter {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        // Counted first, because the promise is that no handler begins after the answer.
        self.handled.fetch_add(1, SeqCst);
        std::thread::sleep(self.slow);
        assert!(
            self.seen.insert(info.client_socket_id.get()),
            "client {} was delivered twice",
            info.client_socket_id
        );
        drop(info.client().send(&b"!"[..]));
        info.client().do_close();
    }
}

impl Handler<ReceiveInfo> for Counter {
    type Result = ();

    fn handle(&mut self, _: ReceiveInfo, _: &mut Self::Context) {
        self.handled.fetch_add(1, SeqCst);
        std::thread::sleep(self.slow);
    }
}

/// Starts a counter in another thread, so that its events are really in flight.
async fn counter(arbiter: &Arbiter, slow: Duration) -> (Addr<Counter>, Arc<AtomicUsize>) {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let counter = Counter::start_in_arbiter(&arbiter.handle(), move |_| Counter {
        handled: count,
        seen: HashSet::new(),
        slow,
    });
    (counter, handled)
}

#[actix_rt::test]
async fn a_thousand_pauses_in_a_connect_storm_let_no_event_through_and_lose_no_client() {
    const CYCLES: usize = 1000;
    const CLIENTS: usize = 4000;
    let test = TestApp::new().await;
    let (server, address) = test.listen().await;
    let on_accept = &test.app.tcp_server.on_accept;
    let arbiter = Arbiter::new();
    let (listener, handled) = counter(&arbiter, Duration::from_micros(20)).await;
    on_accept.do_remove_listener(test.listener.clone().recipient());
    on_accept
        .add_listener(listener.recipient())
        .await
        .expect("added");

    // Every client waits for its byte, so none may be lost.
    let storm = std::thread::spawn(move || {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    for _ in 0..CLIENTS / 8 {
                        let mut client =
                            std::net::TcpStream::connect(address).expect("the backlog has room");
                        let mut byte = [0];
                        std::io::Read::read_exact(&mut client, &mut byte).expect("its byte");
                        assert_eq!(&byte, b"!");
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().expect("every client is served");
        }
    });

    let mut moved = 0;
    for _ in 0..CYCLES {
        let before = handled.load(SeqCst);
        test.app
            .tcp_server
            .set_paused(server, false)
            .await
            .expect("resume");
        tokio::task::yield_now().await;
        test.app
            .tcp_server
            .set_paused(server, true)
            .await
            .expect("pause");
        let paused = handled.load(SeqCst);
        moved += usize::from(paused > before);
        // Time for a late event.
        tokio::time::sleep(Duration::from_micros(300)).await;
        assert_eq!(handled.load(SeqCst), paused, "an event after the answer");
    }
    assert!(moved > CYCLES / 20, "the storm missed the pauses: {moved}");
    test.app
        .tcp_server
        .set_paused(server, false)
        .await
        .expect("resume");
    let done = tokio::task::spawn_blocking(move || storm.join());
    within("the last client", done)
        .await
        .expect("joined")
        .expect("storm");
    assert_eq!(handled.load(SeqCst), CLIENTS);
    arbiter.stop();
}

#[actix_rt::test]
async fn a_paused_client_socket_raises_no_event_after_the_answer() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    let arbiter = Arbiter::new();
    let (listener, handled) = counter(&arbiter, Duration::from_millis(2)).await;
    let on_receive = &test.app.tcp.on_receive;
    on_receive.do_remove_listener(test.listener.clone().recipient());
    on_receive
        .add_listener(listener.recipient())
        .await
        .expect("added");

    let mut peer = TcpStream::connect(address).await.expect("connect");
    let client = test.accepted().await;
    let talk = actix_rt::spawn(async move { while peer.write_all(&[0; 4096]).await.is_ok() {} });
    for _ in 0..50 {
        client.set_paused(false).await.expect("resume");
        let before = handled.load(SeqCst);
        while handled.load(SeqCst) == before {
            tokio::task::yield_now().await;
        }
        client.set_paused(true).await.expect("pause");
        let paused = handled.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(handled.load(SeqCst), paused, "an event after the answer");
    }
    talk.abort();
    arbiter.stop();
}

/// Waits for the answer to its pause inside the handler, which blocks its mailbox.
struct PausingHandler {
    app: chrome_sockets::App,
    answers: tokio::sync::mpsc::UnboundedSender<Result<(), Error>>,
}

impl Actor for PausingHandler {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for PausingHandler {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, ctx: &mut Self::Context) {
        let answer = self.app.tcp_server.set_paused(info.socket_id, true);
        ctx.wait(
            async move {
                let answer = answer.await;
                drop(info);
                answer
            }
            .into_actor(self)
            .map(|answer, this, _| {
                let _ = this.answers.send(answer);
            }),
        );
    }
}

#[actix_rt::test]
async fn awaiting_a_pause_in_the_handler_of_its_event_is_an_error_and_blocks_nothing() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let (server, address) = test.listen().await;
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let app = test.app.clone();
    let on_accept = &test.app.tcp_server.on_accept;
    on_accept.do_remove_listener(test.listener.clone().recipient());
    let blocked = PausingHandler { app, answers }.start();
    on_accept
        .add_listener(blocked.recipient())
        .await
        .expect("added");

    // There is no real socket, so the clock may advance.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let _peer = network.client(address).expect("it listens");
    let answer = answered.recv().await.expect("an answer");
    assert_eq!(answer, Err(Error::EventsInFlight));
    assert!(begin.elapsed() >= PAUSE_GRACE);
    let info = test.app.tcp_server.get_info(server).await.expect("alive");
    assert!(info.paused, "paused all the same");
    assert_eq!(
        test.app.tcp_server.set_paused(server, true).await,
        Ok(()),
        "the event has been handled since"
    );
}

#[actix_rt::test]
async fn a_stalled_read_of_a_paused_socket_continues_where_it_was() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    let mut peer = TcpStream::connect(address).await.expect("connect");
    let client = test.accepted().await;
    for round in 0..100u8 {
        client.set_paused(round % 2 == 0).await.expect("alive");
        peer.write_all(&[round; 100]).await.expect("write");
    }
    client.set_paused(false).await.expect("resume");
    let data = test.received(client.id(), 100 * 100).await;
    let expected: Vec<u8> = (0..100).flat_map(|round| [round; 100]).collect();
    assert_eq!(data, expected);
    client.send(&b"alive"[..]).await.expect("send");
    let mut alive = [0; 5];
    within("proof of life", peer.read_exact(&mut alive))
        .await
        .expect("read");
}

/// Keeps every event.
struct KeepingListener {
    held: Vec<Box<dyn std::any::Any>>,
    received: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Actor for KeepingListener {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for KeepingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.held.push(Box::new(info));
        let _ = self.received.send(());
    }
}

impl Handler<ReceiveInfo> for KeepingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        self.held.push(Box::new(info));
        let _ = self.received.send(());
    }
}

/// Replaces the test's listener by one that keeps its events.
async fn keep_events<E: Event>(test: &TestApp, event: &OnEvent<E>) -> UnboundedReceiver<()>
where
    KeepingListener: Handler<E>,
    Listener: Handler<E>,
    Registry: Handler<AddListener<E>> + Handler<RemoveListener<E>>,
{
    let (received, hears) = tokio::sync::mpsc::unbounded_channel();
    let held = Vec::new();
    let keeping_listener = KeepingListener { held, received }.start();
    event.do_remove_listener(test.listener.clone().recipient());
    let added = event.add_listener(keeping_listener.recipient());
    added.await.expect("the registry runs");
    hears
}

#[actix_rt::test]
async fn closing_a_client_socket_answers_a_waiting_pause_with_events_in_flight() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    let mut hears = keep_events(&test, &test.app.tcp.on_receive).await;

    let mut peer = TcpStream::connect(address).await.expect("connect");
    let client = test.accepted().await;
    peer.write_all(b"kept").await.expect("write");
    client.set_paused(false).await.expect("resume");
    within("the event", hears.recv())
        .await
        .expect("it is received");
    let paused = client.set_paused(true);
    client.close().await.expect("closed");
    let answer = within("the answer to the pause", paused).await;
    assert_eq!(answer, Err(Error::EventsInFlight));
    // Proof of life.
    let _peer = TcpStream::connect(address).await.expect("connect");
    let client = test.accepted().await;
    assert_eq!(client.set_paused(true).await, Ok(()));
}

#[actix_rt::test]
async fn closing_a_server_socket_answers_a_waiting_pause_with_events_in_flight() {
    let test = TestApp::new().await;
    let (server, address) = test.listen().await;
    let mut hears = keep_events(&test, &test.app.tcp_server.on_accept).await;

    let _peer = TcpStream::connect(address).await.expect("connect");
    within("the event", hears.recv())
        .await
        .expect("it is received");
    let paused = test.app.tcp_server.set_paused(server, true);
    test.app.tcp_server.close(server).await.expect("closed");
    let answer = within("the answer to the pause", paused).await;
    assert_eq!(answer, Err(Error::EventsInFlight));
}

/// A server socket on the scripted network whose listener keeps an `onAccept`.
async fn with_kept_event(network: &ScriptedNetwork) -> (TestApp, ServerSocketId, Peer) {
    let test = TestApp::with_network(network.clone()).await;
    let (server, address) = test.listen().await;
    let mut hears = keep_events(&test, &test.app.tcp_server.on_accept).await;
    let peer = network.client(address).expect("it listens");
    let event = within("the event", hears.recv());
    event.await.expect("it is received");
    (test, server, peer)
}

#[actix_rt::test]
async fn each_pause_of_a_server_socket_has_its_own_time_limit() {
    let network = ScriptedNetwork::new();
    let (test, server, _peer) = with_kept_event(&network).await;
    let tcp_server = &test.app.tcp_server;
    // There is no real socket, so the clock may advance.
    tokio::time::pause();
    check_time_limits(|paused| tcp_server.set_paused(server, paused)).await;
}

#[actix_rt::test]
async fn each_pause_of_a_client_socket_has_its_own_time_limit() {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let (_, address) = test.listen().await;
    let mut hears = keep_events(&test, &test.app.tcp.on_receive).await;
    let peer = network.client(address).expect("it listens");
    let client = test.accepted().await;
    peer.send(b"kept");
    client.set_paused(false).await.expect("it is open");
    let event = within("the event", hears.recv());
    event.await.expect("it is received");
    tokio::time::pause();
    check_time_limits(|paused| client.set_paused(paused)).await;
}

/// An event is kept throughout.
async fn check_time_limits(set_paused: impl Fn(bool) -> Answer<()>) {
    let begin = tokio::time::Instant::now();
    let answered = async |pause: Answer<()>| (pause.await, begin.elapsed().as_secs());
    let pause_after = |seconds| {
        let set_paused = &set_paused;
        async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            answered(set_paused(true)).await
        }
    };
    let grace = PAUSE_GRACE.as_secs();
    let late = Err(Error::EventsInFlight);
    // A pause that a resume answers leaves a timer, which must not affect later pauses.
    let resumed = set_paused(true);
    set_paused(false).await.expect("it is open");
    assert_eq!(resumed.await, Ok(()));
    let answers = tokio::join!(pause_after(1), pause_after(3));
    assert_eq!(answers, ((late, 1 + grace), (late, 3 + grace)));
}
