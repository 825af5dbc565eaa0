//! Metrics of what moves in an arbiter: bytes, events, windows, queues and lag.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveInfo, WINDOW};
use chrome_sockets::{NetError, Registry};
use support::{EventSender, QUIET, stoppable, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::unbounded_channel;

use super::Fixture;
use crate::tcp_server::dial;

/// Keeps every event until it is stopped.
#[derive(Default)]
struct StoppableKeeper(Vec<ReceiveInfo>);

impl Actor for StoppableKeeper {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for StoppableKeeper {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        self.0.push(info);
    }
}

stoppable!(StoppableKeeper);

/// More than the kernel buffers for a peer that does not read.
const LARGE: usize = 16 * 1024 * 1024;

#[actix_rt::test]
async fn bytes_are_counted_in_both_directions_by_whatever_path_they_go() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let mut peer = dial(at).await;
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    peer.write_all(b"hello").await.expect("it is open");
    assert_eq!(fixture.test.received(client.id(), 5).await, b"hello");
    // The fast path.
    client.send(&b"hi"[..]).await.expect("it is open");
    // The queue: the peer does not read yet.
    let sent = client.send(vec![7; LARGE]);
    let mut all = vec![0; LARGE + 2];
    within("everything", peer.read_exact(&mut all))
        .await
        .expect("it is sent");
    sent.await.expect("it is open");
    // A stream, which has a path of its own.
    let mut stream = client.into_stream().await.expect("it is open");
    peer.write_all(b"more").await.expect("it is open");
    let mut data = [0; 4];
    within("data", stream.read_exact(&mut data))
        .await
        .expect("data");
    stream.write_all(b"yes").await.expect("it is open");
    within("yes", peer.read_exact(&mut all[..3]))
        .await
        .expect("it is sent");
    assert_eq!(fixture.value("received_bytes_total{arbiter=\"0\"}"), 9.0);
    let sent = (LARGE + 5) as f64;
    assert_eq!(fixture.value("sent_bytes_total{arbiter=\"0\"}"), sent);
    assert_eq!(fixture.value("events_waiting{arbiter=\"0\"}"), 0.0);
    assert_eq!(fixture.value("send_queue_bytes"), 0.0);
}

#[actix_rt::test]
async fn connections_of_several_arbiters_are_counted_where_they_are() {
    let mut fixture = Fixture::on(Registry::new().arbiters(3)).await;
    let (_, at) = fixture.listen_as("web").await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = dial(at).await;
        let client = fixture.test.accepted().await;
        client.set_paused(false).await.expect("it is open");
        peer.write_all(b"hello").await.expect("it is open");
        assert_eq!(fixture.test.received(client.id(), 5).await, b"hello");
        peers.push(peer);
    }
    for arbiter in 0..3 {
        let series = format!("received_bytes_total{{arbiter=\"{arbiter}\"}}");
        assert_eq!(fixture.value(&series), 5.0, "{series}");
        let series = format!("client_sockets{{arbiter=\"{arbiter}\"}}");
        assert_eq!(fixture.value(&series), 1.0, "{series}");
    }
}

#[actix_rt::test]
async fn events_that_wait_and_windows_that_are_full_are_counted() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let on_receive = fixture.test.app.tcp.on_receive.clone();
    let own = fixture.test.listener.clone().recipient();
    on_receive.remove_listener(own).await.expect("it runs");
    let keeping = StoppableKeeper::default().start();
    let added = on_receive.add_listener(keeping.clone().recipient()).await;
    added.expect("it runs");
    let mut peer = dial(at).await;
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    peer.write_all(b"a").await.expect("it is open");
    fixture.wait_for("events_waiting{arbiter=\"0\"}", 1.0).await;
    assert_eq!(fixture.value("events_waiting_bytes{arbiter=\"0\"}"), 256.0);
    let full = "credits_exhausted_total{arbiter=\"0\",window=\"socket\"}";
    assert_eq!(fixture.value(full), 0.0);
    let writing = actix_rt::spawn(async move {
        peer.write_all(&[0; 4 * WINDOW]).await.expect("it is open");
        peer
    });
    within("a full window", async {
        while fixture.value(full) == 0.0 {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    assert!(fixture.value("events_waiting_bytes{arbiter=\"0\"}") >= WINDOW as f64);
    assert!(fixture.value("events_waiting{arbiter=\"0\"}") >= 16.0);
    // The events end with their listener, which is stopped.
    let own = keeping.clone().recipient();
    keeping.do_send(support::Stop);
    on_receive.remove_listener(own).await.expect("it runs");
    client.close().await.expect("it is open");
    fixture.wait_for("events_waiting{arbiter=\"0\"}", 0.0).await;
    fixture
        .wait_for("events_waiting_bytes{arbiter=\"0\"}", 0.0)
        .await;
    let _peer = within("all is written", writing).await;
}

#[actix_rt::test]
async fn an_app_whose_window_is_full_is_counted_too() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let on_receive = fixture.test.app.tcp.on_receive.clone();
    let own = fixture.test.listener.clone().recipient();
    on_receive.remove_listener(own).await.expect("it runs");
    let (sender, _held) = unbounded_channel::<ReceiveInfo>();
    let keeping = EventSender(sender).start();
    let added = on_receive.add_listener(keeping.recipient()).await;
    added.expect("it runs");
    let full = "credits_exhausted_total{arbiter=\"0\",window=\"app\"}";
    let mut peers = Vec::new();
    within("a full window", async {
        while fixture.value(full) == 0.0 {
            let mut peer = dial(at).await;
            let client = fixture.test.accepted().await;
            client.set_paused(false).await.expect("it is open");
            peer.write_all(&[0; WINDOW]).await.expect("it is open");
            peers.push(peer);
        }
    })
    .await;
}

#[actix_rt::test]
async fn what_waits_to_be_sent_is_counted() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let _peer = dial(at).await;
    let client = fixture.test.accepted().await;
    let sent = client.send(vec![0; LARGE]);
    assert!(fixture.value("send_queue_bytes") > 0.0);
    client.reset().await.expect("it is open");
    assert_eq!(sent.await, Err(NetError::ABORTED.into()));
    fixture.wait_for("send_queue_bytes", 0.0).await;
}

#[actix_rt::test]
async fn the_depth_of_the_command_queue_is_the_peak_since_the_last_publication() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let _peer = dial(at).await;
    let client = fixture.test.accepted().await;
    fixture.metrics.publish();
    let calls = "command_queue_calls{arbiter=\"0\"}";
    for _ in 0..10 {
        client.do_set_paused(true);
    }
    client.get_info().await.expect("it is open");
    assert_eq!(fixture.value(calls), 11.0);
    assert_eq!(fixture.value(calls), 0.0, "nothing has happened since");
    client.set_paused(false).await.expect("it is open");
    assert_eq!(fixture.value(calls), 1.0);
}

#[actix_rt::test]
async fn ready_sockets_are_counted() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let mut peer = dial(at).await;
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    fixture.metrics.publish();
    peer.write_all(b"hello").await.expect("it is open");
    assert_eq!(fixture.test.received(client.id(), 5).await, b"hello");
    assert!(fixture.value("command_queue_ready{arbiter=\"0\"}") >= 1.0);
}

/// Blocks its arbiter.
#[derive(Message)]
#[rtype(result = "()")]
struct Block(Duration);

struct Blocking;

impl Actor for Blocking {
    type Context = Context<Self>;
}

impl Handler<Block> for Blocking {
    type Result = ();

    fn handle(&mut self, Block(time): Block, _: &mut Self::Context) {
        std::thread::sleep(time);
    }
}

#[actix_rt::test]
async fn a_blocked_arbiter_shows_as_lag_of_its_loop() {
    const BLOCKED: Duration = Duration::from_millis(900);
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let mut peer = dial(at).await;
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    let blocking = Blocking.start();
    // The clock ticks while data moves.
    within("the lag", async {
        loop {
            peer.write_all(b"a").await.expect("it is open");
            fixture.test.received(client.id(), 1).await;
            blocking.send(Block(BLOCKED)).await.expect("it runs");
            let lags = fixture.recorder.recorded("loop_lag_seconds{arbiter=\"0\"}");
            if lags.iter().any(|lag| *lag > 0.3) {
                return;
            }
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_rt::test]
async fn an_idle_arbiter_is_not_woken() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let mut peer = dial(at).await;
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    peer.write_all(b"a").await.expect("it is open");
    fixture.test.received(client.id(), 1).await;
    let ticks = || {
        fixture
            .recorder
            .recorded("loop_lag_seconds{arbiter=\"0\"}")
            .len()
    };
    // The clock stops with the first tick in whose period nothing moved.
    until("a tick", || ticks() >= 1).await;
    let stopped = ticks();
    // Several periods of the clock.
    actix_rt::time::sleep(15 * QUIET).await;
    assert_eq!(ticks(), stopped, "the clock ticks without data");
}

#[actix_rt::test]
async fn attempts_to_connect_are_counted_by_their_outcome() {
    let fixture = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("it listens");
    let tcp = &fixture.test.app.tcp;
    let connect = async |id, port: u16| {
        let any = Default::default();
        within("the answer", tcp.connect(id, "127.0.0.1", port.into(), any)).await
    };
    let id = fixture.test.create().await;
    connect(id, at.port()).await.expect("it listens");
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = closed.local_addr().expect("it listens").port();
    drop(closed);
    let another = fixture.test.create().await;
    connect(another, port).await.expect_err("nothing listens");
    assert_eq!(fixture.value("connects_total{outcome=\"success\"}"), 1.0);
    assert_eq!(fixture.value("connects_total{outcome=\"failure\"}"), 1.0);
    assert_eq!(fixture.value("connections_open"), 1.0);
}

#[actix_rt::test]
async fn datagrams_are_counted() {
    let mut fixture = Fixture::new().await;
    let udp = fixture.test.app.udp.clone();
    let id = udp
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    let at = udp.get_info(id).await.expect("it exists").local_addr();
    let at = at.expect("it is bound");
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    peer.send_to(b"hello", at).await.expect("sent");
    within("onReceive", fixture.test.next()).await;
    let to = peer.local_addr().expect("it is bound");
    let socket = udp.socket(id).await.expect("it exists");
    socket.send_to("yes", to).await.expect("sent");
    // By name, which the actor sends.
    let named = udp.send(
        id,
        "to you",
        "localhost",
        to.port().into(),
        Default::default(),
    );
    within("the answer", named).await.expect("sent");
    for (series, value) in [
        ("udp_sockets", 1.0),
        ("datagrams_received_total{arbiter=\"0\"}", 1.0),
        ("datagram_received_bytes_total{arbiter=\"0\"}", 5.0),
        ("datagrams_sent_total{arbiter=\"0\"}", 2.0),
        ("datagram_sent_bytes_total{arbiter=\"0\"}", 9.0),
    ] {
        assert_eq!(fixture.value(series), value, "{series}");
    }
    let info = udp.get_info(id).await.expect("it exists");
    let traffic = info.traffic.expect("it is bound");
    assert_eq!((traffic.bytes_received, traffic.bytes_sent), (5, 9));
    udp.close(id).await.expect("it is open");
    fixture.wait_for("udp_sockets", 0.0).await;
}
