//! Nothing in memory grows with a slow listener, a fast peer or a long line.
//!
//! Each scenario runs in a process of its own, whose resident memory is the
//! app's alone: the peers live here, in the parent. A test starts its own
//! binary again, naming itself and, in an environment variable, the part that
//! the child is to play; the two talk in lines.
#![expect(clippy::panic, reason = "this is how a test fails")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{self, ClientSocket, ReceiveInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, Error, Registry, ServerSocketId};
use futures::FutureExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{LIMIT, within};

/// Names the part that a child plays.
const PART: &str = "CHROME_SOCKETS_MEMORY_PART";

/// What begins a line that is meant for the other process.
const MARK: &str = "memory: ";

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The bytes from `start` on of what a peer sends: none is like the one beside
/// it, nor a whole chunk like another.
fn pattern(start: usize, length: usize) -> Vec<u8> {
    let bytes = (start..start + length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8);
    bytes.collect()
}

// The parent: starts a child, plays its peers, and ends with its verdict.

/// The process whose memory is measured.
struct Measured {
    part: String,
    child: Child,
    lines: mpsc::Receiver<String>,
    heard: Vec<String>,
    at: SocketAddr,
}

impl Measured {
    /// Starts a child that plays `part` of the test `name`, and waits until it
    /// listens.
    fn start(name: &str, part: &str) -> Self {
        let program = std::env::current_exe().expect("a test has a binary");
        let mut child = Command::new(program)
            .args([&format!("memory::{name}"), "--exact", "--nocapture"])
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts again");
        let (sender, lines) = mpsc::channel();
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it is piped")),
            Box::new(child.stderr.take().expect("it is piped")),
        ];
        for pipe in pipes {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        let mut measured = Measured {
            part: part.to_owned(),
            child,
            lines,
            heard: Vec::new(),
            at: SocketAddr::from(([0; 4], 0)),
        };
        let address = measured.hear("listening on ");
        measured.at = address.parse().expect("an address");
        measured
    }

    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        if writeln!(stdin, "{MARK}{line}").is_err() {
            panic!("the child is gone:\n{}", self.all_heard());
        }
    }

    /// Waits for a line that begins so, and returns the rest of it.
    fn hear(&mut self, start: &str) -> String {
        // The child has limits of its own, and says what did not come.
        let until = Instant::now() + LIMIT + SLEEP;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    // The harness may have begun the line.
                    let said = line.split_once(MARK).map(|(_, said)| said);
                    if let Some(rest) = said.and_then(|said| said.strip_prefix(start)) {
                        return rest.to_owned();
                    }
                }
                Err(error) => panic!("no {start:?} ({error}) from:\n{}", self.all_heard()),
            }
        }
    }

    /// The child's own verdict.
    fn finish(mut self) {
        self.say("finish");
        drop(self.child.stdin.take());
        let grown = self.hear("done");
        let status = self.child.wait().expect("it is a child");
        assert!(status.success(), "{status}:\n{}", self.all_heard());
        println!("{}: grown by{grown}", self.part);
    }

    fn all_heard(&mut self) -> String {
        self.heard.extend(self.lines.try_iter());
        self.heard.join("\n")
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // It is over already, unless this test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A peer of the child's, that is not put off by small packets.
fn connect(at: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect_timeout(&at, LIMIT).expect("connect");
    peer.set_nodelay(true).expect("an option");
    peer.set_read_timeout(Some(LIMIT)).expect("an option");
    peer
}

/// Writes as fast as it is let until the end of the connection, or until
/// there is nothing more; says how many writes there were.
fn write_fast(peer: &TcpStream, piece: &[u8], most: usize) -> usize {
    let mut writes = 0;
    while writes < most && (&mut &*peer).write_all(piece).is_ok() {
        writes += 1;
    }
    writes
}

// The child: the app, and what its memory does.

/// The part to play, of a process that was started to play one.
fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// What is resident now.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib.and_then(|kib| kib.parse().ok()).expect("a number");
    kib * KIB
}

/// The app of a child, and the lines of its parent.
struct Stage {
    app: App,
    server: ServerSocketId,
    lines: UnboundedReceiver<String>,
}

impl Stage {
    async fn set(registry: Registry) -> Self {
        let app = App::new("measured", &registry.start());
        let server = &app.tcp_server;
        let created = server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        let (sender, lines) = unbounded_channel();
        thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(MARK) {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Stage {
            server: id,
            app,
            lines,
        }
    }

    async fn listen(&self, backlog: i32) {
        let server = &self.app.tcp_server;
        let listening = server.listen(self.server, "127.0.0.1", 0, Some(backlog));
        listening.await.expect("listen");
        let info = server.get_info(self.server).await.expect("it exists");
        let address = info.local_addr().expect("it listens");
        self.say(&format!("listening on {address}"));
    }

    fn say(&self, line: &str) {
        println!("{MARK}{line}");
    }

    async fn hear(&mut self, line: &str) {
        let heard = within("a line of the parent", self.lines.recv()).await;
        assert_eq!(heard.as_deref(), Some(line));
    }

    async fn hears_accept(&self, listener: impl Into<Recipient<AcceptInfo>>) {
        let adding = &self.app.tcp_server.on_accept;
        adding.add_listener(listener.into()).await.expect("added");
    }

    async fn hears_receive(&self, listener: impl Into<Recipient<ReceiveInfo>>) {
        let adding = &self.app.tcp.on_receive;
        adding.add_listener(listener.into()).await.expect("added");
    }

    async fn pause(&self, paused: bool) {
        let answer = self.app.tcp_server.set_paused(self.server, paused).await;
        answer.expect("alive");
    }

    /// Waits until so many clients have been resumed.
    async fn all_resumed(&self, clients: usize) {
        let sockets = self.app.tcp.get_sockets().await.expect("alive");
        assert_eq!(sockets.len(), clients);
        assert!(sockets.iter().all(|socket| !socket.paused));
    }

    /// The end of a part that was played well.
    async fn done(mut self, grown: &str) {
        self.hear("finish").await;
        self.say(&format!("done {grown}"));
    }
}

/// The largest growth beyond `before` until `over`. What is looked at is
/// memory, so looking often is all that can be done.
async fn growth_until(what: &str, before: usize, mut over: impl FnMut() -> bool) -> usize {
    let mut ticks = actix_rt::time::interval(Duration::from_millis(5));
    let mut peak = before;
    within(what, async {
        while !over() {
            ticks.tick().await;
            peak = peak.max(resident());
        }
    })
    .await;
    peak - before
}

fn play(part: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(part);
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes / KIB)
}

/// How long the slow listener sleeps in its handler.
const SLEEP: Duration = Duration::from_secs(10);

/// Resumes every client, and counts their bytes; once told to, it sleeps in a
/// handler.
struct Sleeper {
    clients: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    tired: Arc<AtomicBool>,
    asleep: Arc<AtomicBool>,
    buffer_size: Option<i32>,
}

impl Actor for Sleeper {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Sleeper {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.clients.fetch_add(1, SeqCst);
        info.client().update(tcp::SocketProperties {
            buffer_size: self.buffer_size,
            ..Default::default()
        });
        info.client().set_paused(false);
    }
}

impl Handler<ReceiveInfo> for Sleeper {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        if self.tired.swap(false, SeqCst) {
            self.asleep.store(true, SeqCst);
            thread::sleep(SLEEP);
            self.asleep.store(false, SeqCst);
        }
        self.received.fetch_add(info.data.len(), SeqCst);
    }
}

/// Plays the app whose listener sleeps. `warm` bytes are received before and
/// after.
async fn listener_sleeps(peers: usize, buffer_size: Option<i32>, most: usize, warm: usize) {
    let stage = Stage::set(Registry::new()).await;
    let (clients, received) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (tired, asleep) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let sleeper = Sleeper {
        clients: clients.clone(),
        received: received.clone(),
        tired: tired.clone(),
        asleep: asleep.clone(),
        buffer_size,
    };
    let arbiter = Arbiter::new();
    let sleeper = Sleeper::start_in_arbiter(&arbiter.handle(), |_| sleeper);
    stage.hears_accept(sleeper.clone()).await;
    stage.hears_receive(sleeper).await;
    stage.listen(4096).await;
    growth_until("the peers", 0, || clients.load(SeqCst) == peers).await;
    let before = resident();
    stage.say("go on");

    // Every peer is at it, and the listener keeps up.
    growth_until("the first bytes", 0, || received.load(SeqCst) >= warm).await;
    tired.store(true, SeqCst);
    growth_until("its sleep", before, || asleep.load(SeqCst)).await;
    let slept = received.load(SeqCst);
    let grown = growth_until("its end", before, || !asleep.load(SeqCst)).await;
    assert!(grown <= most, "grown by {} while it slept", kib(grown));

    // And on it goes, with more than what was on its way.
    let enough = || received.load(SeqCst) >= slept + warm;
    let awake = growth_until("what else is sent", before, enough).await;
    assert!(awake <= most, "grown by {} when it woke", kib(awake));
    let grown = format!("{} asleep, {} awake", kib(grown), kib(awake));
    stage.done(&grown).await;
    arbiter.stop();
}

#[test]
fn fast_peers_of_a_listener_that_sleeps_for_ten_seconds_do_not_grow_the_process() {
    const NAME: &str =
        "fast_peers_of_a_listener_that_sleeps_for_ten_seconds_do_not_grow_the_process";
    if let Some(part) = part() {
        return play(async {
            match part.as_str() {
                "one fast peer" => listener_sleeps(1, None, 8 * MIB, 64 * MIB).await,
                "400 fast peers" => listener_sleeps(400, None, 16 * MIB, 64 * MIB).await,
                // One event a byte.
                _ => listener_sleeps(200, Some(1), 16 * MIB, 100_000).await,
            }
        });
    }
    // At once, since each of them sleeps. A process that does grow is not let
    // grow for ever.
    let parts = [
        ("one fast peer", 1, 64 * KIB, 16_384),
        ("400 fast peers", 400, 64 * KIB, 41),
        ("200 peers that send single bytes", 200, 1, 5_000),
    ];
    let parts = parts.map(|(part, peers, piece, most)| {
        thread::spawn(move || {
            let mut measured = Measured::start(NAME, part);
            let peers: Vec<_> = (0..peers).map(|_| connect(measured.at)).collect();
            measured.hear("go on");
            let writers: Vec<_> = peers
                .into_iter()
                .map(|peer| thread::spawn(move || write_fast(&peer, &vec![7; piece], most)))
                .collect();
            measured.finish();
            for writer in writers {
                let writes = writer.join().expect("no panic");
                assert!(writes > 0, "a peer of {part} could not write at all");
            }
        })
    });
    for part in parts {
        part.join().expect("this part");
    }
}

/// Counts the clients; greets them, or echoes what they say.
struct Greeter {
    clients: Arc<AtomicUsize>,
    greets: bool,
}

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Greeter {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.clients.fetch_add(1, SeqCst);
        info.client().set_paused(false);
        if self.greets {
            info.client().send(&b"!"[..]);
        }
    }
}

impl Handler<ReceiveInfo> for Greeter {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        client.forward(info).expect("its quota");
    }
}

impl Greeter {
    /// Starts it as the app's only listener.
    async fn on(stage: &Stage, greets: bool) -> Arc<AtomicUsize> {
        let clients = Arc::<AtomicUsize>::default();
        let count = clients.clone();
        let greeter = Greeter {
            clients: count,
            greets,
        };
        let greeter = greeter.start();
        stage.hears_accept(greeter.clone()).await;
        stage.hears_receive(greeter).await;
        clients
    }
}

/// How many connections wait, or are idle.
const MANY: usize = 4_000;

/// What an idle connection may cost.
const IDLE: usize = 4 * KIB;

/// Connects as many peers, from several threads.
fn connect_many(at: SocketAddr, many: usize) -> Vec<TcpStream> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..many / 8).map(|_| connect(at)).collect::<Vec<_>>()))
            .collect();
        let peers = threads.into_iter().map(|thread| thread.join());
        peers.flat_map(|peers| peers.expect("connect")).collect()
    })
}

#[test]
fn four_thousand_connections_that_wait_for_a_paused_server_do_not_grow_the_process() {
    if part().is_some() {
        return play(async {
            let mut stage = Stage::set(Registry::new()).await;
            let clients = Greeter::on(&stage, true).await;
            stage.pause(true).await;
            let before = resident();
            stage.listen(4096).await;
            stage.hear("all connected").await;
            stage.pause(true).await;
            let waiting = resident().saturating_sub(before);
            assert_eq!(clients.load(SeqCst), 0, "it is paused");
            assert_eq!(stage.app.tcp.get_sockets().await, Ok(vec![]));
            assert!(waiting <= 8 * MIB, "grown by {}", kib(waiting));

            stage.pause(false).await;
            let all = || clients.load(SeqCst) == MANY;
            let accepted = growth_until("all of them", before, all).await;
            let most = 8 * MIB + MANY * IDLE;
            assert!(accepted <= most, "grown by {}", kib(accepted));
            stage
                .done(&format!(
                    "{} waiting, {} accepted",
                    kib(waiting),
                    kib(accepted)
                ))
                .await;
        });
    }
    let mut measured = Measured::start(
        "four_thousand_connections_that_wait_for_a_paused_server_do_not_grow_the_process",
        "the paused server",
    );
    let mut peers = connect_many(measured.at, MANY);
    measured.say("all connected");
    for peer in &mut peers {
        let mut greeting = [0];
        peer.read_exact(&mut greeting).expect("each is accepted");
        assert_eq!(&greeting, b"!");
    }
    measured.finish();
}

#[test]
fn an_idle_connection_costs_at_most_four_kibibytes() {
    const WARM: usize = 800;
    if part().is_some() {
        return play(async {
            let mut stage = Stage::set(Registry::new()).await;
            let clients = Greeter::on(&stage, false).await;
            stage.listen(4096).await;
            stage.hear("warm").await;
            growth_until("the first", 0, || clients.load(SeqCst) == WARM).await;
            stage.all_resumed(WARM).await;
            let before = resident();
            stage.say("go on");
            stage.hear("all connected").await;
            let all = || clients.load(SeqCst) == WARM + MANY;
            growth_until("all of them", before, all).await;
            stage.all_resumed(WARM + MANY).await;
            let each = resident().saturating_sub(before) / MANY;
            assert!(each <= IDLE, "{each} bytes each");
            stage.say("idle");
            stage.done(&format!("{each} bytes each")).await;
        });
    }
    let mut measured = Measured::start(
        "an_idle_connection_costs_at_most_four_kibibytes",
        "the server",
    );
    let mut peers = connect_many(measured.at, WARM);
    measured.say("warm");
    measured.hear("go on");
    peers.extend(connect_many(measured.at, MANY));
    measured.say("all connected");
    measured.hear("idle");
    // Each is a connection that works.
    for peer in &mut peers {
        peer.write_all(b"echo").expect("write");
    }
    for peer in &mut peers {
        let mut echo = [0; 4];
        peer.read_exact(&mut echo).expect("read");
        assert_eq!(&echo, b"echo");
    }
    measured.finish();
}

#[test]
fn the_echo_of_a_peer_that_never_reads_does_not_grow_the_process() {
    const WARM: usize = 4 * MIB;
    const ALL: usize = 64 * MIB;
    if part().is_some() {
        return play(async {
            let mut stage = Stage::set(Registry::new()).await;
            Greeter::on(&stage, false).await;
            stage.listen(16).await;
            stage.hear("warm").await;
            let before = resident();
            stage.say("go on");
            stage.hear("stalled").await;
            let stalled = resident().saturating_sub(before);
            assert!(stalled <= 8 * MIB, "grown by {}", kib(stalled));
            stage.say("read");
            stage.hear("all read").await;
            let after = resident().saturating_sub(before);
            assert!(after <= 8 * MIB, "grown by {} then", kib(after));
            stage
                .done(&format!("{} stalled, {} after", kib(stalled), kib(after)))
                .await;
        });
    }
    let mut measured = Measured::start(
        "the_echo_of_a_peer_that_never_reads_does_not_grow_the_process",
        "the echo server",
    );
    let peer = connect(measured.at);
    let read = |start: usize, length: usize| {
        let mut echo = vec![0; 64 * KIB];
        for at in (start..start + length).step_by(echo.len()) {
            (&peer).read_exact(&mut echo).expect("the echo");
            assert!(echo == pattern(at, echo.len()), "not the echo at {at}");
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| (&peer).write_all(&pattern(0, WARM)).expect("write"));
        read(0, WARM);
    });
    measured.say("warm");
    measured.hear("go on");
    let all = pattern(WARM, ALL);
    let mut written = 0;
    // Nothing moves any more when nothing has for as long as this.
    let stall = Some(Duration::from_millis(500));
    peer.set_write_timeout(stall).expect("an option");
    loop {
        match (&peer).write(&all[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error} after {written} bytes"),
        }
        assert!(written < ALL, "a peer that does not read is not slowed");
    }
    measured.say("stalled");
    measured.hear("read");
    peer.set_write_timeout(None).expect("an option");
    thread::scope(|scope| {
        scope.spawn(|| (&peer).write_all(&all[written..]).expect("write"));
        read(WARM, ALL);
    });
    measured.say("all read");
    measured.finish();
}

/// Passes the first client on.
struct First(UnboundedSender<ClientSocket>);

impl Actor for First {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for First {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let _ = self.0.send(info.client().clone());
    }
}

/// Plays the app that sends more than anybody reads.
async fn floods() {
    let mut stage = Stage::set(Registry::new().write_quota(MIB)).await;
    let (sender, mut accepted) = unbounded_channel();
    stage.hears_accept(First(sender).start()).await;
    stage.listen(16).await;
    let client = within("a client", accepted.recv()).await;
    let client = client.expect("it lives");
    let mut sent = 0;

    // Until the kernel takes no more: a call that is answered means that the
    // send before it was tried.
    let before = resident();
    loop {
        let answer = client.send(pattern(sent, 64 * KIB));
        sent += 64 * KIB;
        client.get_info().await.expect("it is connected");
        match answer.now_or_never() {
            Some(taken) => assert!(taken.is_ok(), "{taken:?}"),
            None => break,
        }
    }
    // From here on everything waits, and the smallest sends are the most.
    let exceeded = Err(Error::WriteQuotaExceeded);
    let mut refused = 0;
    while refused < 1000 {
        match client.try_send(pattern(sent, 1)) {
            Ok(()) => {
                sent += 1;
                refused = 0;
            }
            answer => {
                assert_eq!(answer, exceeded);
                refused += 1;
                client.get_info().await.expect("it is connected");
            }
        }
    }
    let data = Bytes::from(vec![0; MIB]);
    for length in [0, 1, KIB, MIB] {
        for _ in 0..10_000 {
            let answer = client.try_send(data.slice(..length));
            assert_eq!(answer, exceeded, "{length} bytes");
        }
    }
    for _ in 0..10_000 {
        let by_id = stage.app.tcp.send(client.id(), &b"refused"[..]).await;
        assert_eq!(by_id.map(drop), exceeded);
    }
    let flooded = resident().saturating_sub(before);
    assert!(flooded <= 8 * MIB, "grown by {}", kib(flooded));

    stage.say(&format!("sent {sent}"));
    stage.hear("all read").await;
    let later = within("a later send", client.send(&b"later"[..])).await;
    assert_eq!(later.map(|sent| sent.bytes_sent), Ok(5));
    let after = resident().saturating_sub(before);
    assert!(after <= 8 * MIB, "grown by {} then", kib(after));
    stage
        .done(&format!("{} flooded, {} after", kib(flooded), kib(after)))
        .await;
}

#[test]
fn a_flood_of_sends_to_a_peer_that_does_not_read_stops_at_the_quota() {
    if part().is_some() {
        return play(floods());
    }
    let mut measured = Measured::start(
        "a_flood_of_sends_to_a_peer_that_does_not_read_stops_at_the_quota",
        "the sender",
    );
    let mut peer = connect(measured.at);
    let sent: usize = measured.hear("sent ").parse().expect("a number");
    assert!(sent > MIB, "the quota and what the kernel has");
    // All that was not refused, and nothing else.
    let mut heard = vec![0; sent];
    peer.read_exact(&mut heard).expect("read");
    assert!(heard == pattern(0, sent), "not what was sent");
    measured.say("all read");
    let mut later = [0; 5];
    peer.read_exact(&mut later).expect("read");
    assert_eq!(&later, b"later");
    measured.finish();
}
