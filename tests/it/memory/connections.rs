//! Many connections, and peers that do not read.

use super::*;

/// Counts clients, and greets them or echoes their data.
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
        info.client().do_set_paused(false);
        if self.greets {
            drop(info.client().send(&b"!"[..]));
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
    async fn start_on(child_app: &ChildApp, greets: bool) -> Arc<AtomicUsize> {
        let clients = Arc::<AtomicUsize>::default();
        let count = clients.clone();
        let greeter = Greeter {
            clients: count,
            greets,
        };
        let greeter = greeter.start();
        child_app.add_accept_listener(greeter.clone()).await;
        child_app.add_receive_listener(greeter).await;
        clients
    }
}

/// Number of waiting or idle connections.
const MANY: usize = 4_000;

/// Memory that an idle connection may take.
const IDLE: usize = 4 * KIB;

/// Connects this many peers, from several threads.
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
    if role().is_some() {
        return run_child(async {
            let mut child_app = ChildApp::start(Registry::new()).await;
            let clients = Greeter::start_on(&child_app, true).await;
            child_app.pause(true).await;
            let before = resident();
            child_app.listen(4096).await;
            child_app.wait_for("all connected").await;
            child_app.pause(true).await;
            let waiting = resident().saturating_sub(before);
            assert_eq!(clients.load(SeqCst), 0, "it is paused");
            assert_eq!(child_app.app.tcp.get_sockets().await, Ok(vec![]));
            assert!(waiting <= 8 * MIB, "grown by {}", format_kib(waiting));

            child_app.pause(false).await;
            let all = || clients.load(SeqCst) == MANY;
            let accepted = growth_until("all of them", before, all).await;
            let most = 8 * MIB + MANY * IDLE;
            assert!(accepted <= most, "grown by {}", format_kib(accepted));
            child_app
                .report_success(&format!(
                    "{} waiting, {} accepted",
                    format_kib(waiting),
                    format_kib(accepted)
                ))
                .await;
        });
    }
    let mut process = MeasuredProcess::start(
        "connections::four_thousand_connections_that_wait_for_a_paused_server_do_not_grow_the_process",
        "the paused server",
    );
    let mut peers = connect_many(process.at, MANY);
    process.send_line("all connected");
    for peer in &mut peers {
        let mut greeting = [0];
        peer.read_exact(&mut greeting).expect("each is accepted");
        assert_eq!(&greeting, b"!");
    }
    process.finish();
}

#[test]
fn an_idle_connection_costs_at_most_four_kibibytes() {
    const WARM: usize = 800;
    if role().is_some() {
        return run_child(async {
            let mut child_app = ChildApp::start(Registry::new()).await;
            let clients = Greeter::start_on(&child_app, false).await;
            child_app.listen(4096).await;
            child_app.wait_for("warm").await;
            growth_until("the first", 0, || clients.load(SeqCst) == WARM).await;
            child_app.all_resumed(WARM).await;
            let before = resident();
            child_app.send_line("go on");
            child_app.wait_for("all connected").await;
            let all = || clients.load(SeqCst) == WARM + MANY;
            growth_until("all of them", before, all).await;
            child_app.all_resumed(WARM + MANY).await;
            let each = resident().saturating_sub(before) / MANY;
            assert!(each <= IDLE, "{each} bytes each");
            child_app.send_line("idle");
            child_app
                .report_success(&format!("{each} bytes each"))
                .await;
        });
    }
    let mut process = MeasuredProcess::start(
        "connections::an_idle_connection_costs_at_most_four_kibibytes",
        "the server",
    );
    let mut peers = connect_many(process.at, WARM);
    process.send_line("warm");
    process.wait_for("go on");
    peers.extend(connect_many(process.at, MANY));
    process.send_line("all connected");
    process.wait_for("idle");
    // Each connection works.
    for peer in &mut peers {
        peer.write_all(b"echo").expect("write");
    }
    for peer in &mut peers {
        let mut echo = [0; 4];
        peer.read_exact(&mut echo).expect("read");
        assert_eq!(&echo, b"echo");
    }
    process.finish();
}

#[test]
fn the_echo_of_a_peer_that_never_reads_does_not_grow_the_process() {
    const WARM: usize = 4 * MIB;
    const ALL: usize = 64 * MIB;
    if role().is_some() {
        return run_child(async {
            let mut child_app = ChildApp::start(Registry::new()).await;
            Greeter::start_on(&child_app, false).await;
            child_app.listen(16).await;
            child_app.wait_for("warm").await;
            let before = resident();
            child_app.send_line("go on");
            child_app.wait_for("stalled").await;
            let stalled = resident().saturating_sub(before);
            assert!(stalled <= 8 * MIB, "grown by {}", format_kib(stalled));
            child_app.send_line("read");
            child_app.wait_for("all read").await;
            let after = resident().saturating_sub(before);
            assert!(after <= 8 * MIB, "grown by {} then", format_kib(after));
            child_app
                .report_success(&format!(
                    "{} stalled, {} after",
                    format_kib(stalled),
                    format_kib(after)
                ))
                .await;
        });
    }
    let mut process = MeasuredProcess::start(
        "connections::the_echo_of_a_peer_that_never_reads_does_not_grow_the_process",
        "the echo server",
    );
    let peer = connect(process.at);
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
    process.send_line("warm");
    process.wait_for("go on");
    let all = pattern(WARM, ALL);
    let mut written = 0;
    // Without progress for this long, everything has stalled.
    let stall = Some(Duration::from_millis(500));
    peer.set_write_timeout(stall).expect("the option is set");
    loop {
        match (&peer).write(&all[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error} after {written} bytes"),
        }
        assert!(written < ALL, "a peer that does not read is not slowed");
    }
    process.send_line("stalled");
    process.wait_for("read");
    peer.set_write_timeout(None).expect("the option is set");
    thread::scope(|scope| {
        scope.spawn(|| (&peer).write_all(&all[written..]).expect("write"));
        read(WARM, ALL);
    });
    process.send_line("all read");
    process.finish();
}

/// Passes the first client on.
struct FirstClientListener(UnboundedSender<ClientSocket>);

impl Actor for FirstClientListener {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for FirstClientListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let _ = self.0.send(info.client().clone());
    }
}

/// The role of an app that sends more than its peer reads.
async fn run_flood() {
    let mut child_app = ChildApp::start(Registry::new().write_quota(MIB)).await;
    let (sender, mut accepted) = unbounded_channel();
    child_app
        .add_accept_listener(FirstClientListener(sender).start())
        .await;
    child_app.listen(16).await;
    let client = within("a client", accepted.recv()).await;
    let client = client.expect("it is alive");
    let mut sent = 0;

    // Until the kernel takes no more: an answered call means that the send before it was tried.
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
    // From here on every send waits, and small sends have the largest overhead.
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
        let by_id = child_app.app.tcp.send(client.id(), &b"refused"[..]).await;
        assert_eq!(by_id.map(drop), exceeded);
    }
    let flooded = resident().saturating_sub(before);
    assert!(flooded <= 8 * MIB, "grown by {}", format_kib(flooded));

    child_app.send_line(&format!("sent {sent}"));
    child_app.wait_for("all read").await;
    let later = within("a later send", client.send(&b"later"[..])).await;
    assert_eq!(later.map(|sent| sent.bytes_sent), Ok(5));
    let after = resident().saturating_sub(before);
    assert!(after <= 8 * MIB, "grown by {} then", format_kib(after));
    child_app
        .report_success(&format!(
            "{} flooded, {} after",
            format_kib(flooded),
            format_kib(after)
        ))
        .await;
}

#[test]
fn a_flood_of_sends_to_a_peer_that_does_not_read_stops_at_the_quota() {
    if role().is_some() {
        return run_child(run_flood());
    }
    let mut process = MeasuredProcess::start(
        "connections::a_flood_of_sends_to_a_peer_that_does_not_read_stops_at_the_quota",
        "the sender",
    );
    let mut peer = connect(process.at);
    let sent: usize = process.wait_for("sent ").parse().expect("a number");
    assert!(sent > MIB, "the quota and the kernel's buffer");
    // Everything that was not refused, and nothing else.
    let mut received = vec![0; sent];
    peer.read_exact(&mut received).expect("read");
    assert!(received == pattern(0, sent), "other data than was sent");
    process.send_line("all read");
    let mut later = [0; 5];
    peer.read_exact(&mut later).expect("read");
    assert_eq!(&later, b"later");
    process.finish();
}
