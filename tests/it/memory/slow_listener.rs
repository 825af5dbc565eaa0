//! A sleeping listener with fast peers.

use super::*;

/// Resumes every client and counts its bytes; on request, sleeps in a handler.
struct SleepingListener {
    clients: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    may_sleep: Arc<AtomicBool>,
    asleep: Arc<AtomicBool>,
    buffer_size: Option<i32>,
}

impl Actor for SleepingListener {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for SleepingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.clients.fetch_add(1, SeqCst);
        info.client().do_update(tcp::SocketProperties {
            buffer_size: self.buffer_size,
            ..Default::default()
        });
        info.client().do_set_paused(false);
    }
}

impl Handler<ReceiveInfo> for SleepingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        if self.may_sleep.swap(false, SeqCst) {
            self.asleep.store(true, SeqCst);
            thread::sleep(SLEEP);
            self.asleep.store(false, SeqCst);
        }
        self.received.fetch_add(info.data.len(), SeqCst);
    }
}

/// The role of an app whose listener sleeps. `warm` bytes are received before and after.
async fn run_sleeping_listener(peers: usize, buffer_size: Option<i32>, most: usize, warm: usize) {
    let child_app = ChildApp::start(Registry::new()).await;
    let (clients, received) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (may_sleep, asleep) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let sleeping_listener = SleepingListener {
        clients: clients.clone(),
        received: received.clone(),
        may_sleep: may_sleep.clone(),
        asleep: asleep.clone(),
        buffer_size,
    };
    let arbiter = Arbiter::new();
    let sleeping_listener =
        SleepingListener::start_in_arbiter(&arbiter.handle(), |_| sleeping_listener);
    child_app
        .add_accept_listener(sleeping_listener.clone())
        .await;
    child_app.add_receive_listener(sleeping_listener).await;
    child_app.listen(4096).await;
    growth_until("the peers", 0, || clients.load(SeqCst) == peers).await;
    let before = resident();
    child_app.send_line("go on");

    // Every peer is sending, and the listener keeps up.
    growth_until("the first bytes", 0, || received.load(SeqCst) >= warm).await;
    may_sleep.store(true, SeqCst);
    growth_until("its sleep", before, || asleep.load(SeqCst)).await;
    let slept = received.load(SeqCst);
    let grown = growth_until("its end", before, || !asleep.load(SeqCst)).await;
    assert!(
        grown <= most,
        "grown by {} while it slept",
        format_kib(grown)
    );

    // Afterwards more arrives than was in flight.
    let enough = || received.load(SeqCst) >= slept + warm;
    let awake = growth_until("what else is sent", before, enough).await;
    assert!(awake <= most, "grown by {} when it woke", format_kib(awake));
    let grown = format!("{} asleep, {} awake", format_kib(grown), format_kib(awake));
    child_app.report_success(&grown).await;
    arbiter.stop();
}

#[test]
fn fast_peers_of_a_listener_that_sleeps_for_ten_seconds_do_not_grow_the_process() {
    const NAME: &str = "slow_listener::fast_peers_of_a_listener_that_sleeps_for_ten_seconds_do_not_grow_the_process";
    if let Some(role) = role() {
        return run_child(async {
            match role.as_str() {
                "one fast peer" => run_sleeping_listener(1, None, 8 * MIB, 64 * MIB).await,
                "400 fast peers" => run_sleeping_listener(400, None, 16 * MIB, 64 * MIB).await,
                // Events of one byte.
                _ => run_sleeping_listener(200, Some(1), 16 * MIB, 100_000).await,
            }
        });
    }
    // All at once, since each of them sleeps. A process that does grow is stopped.
    let parts = [
        ("one fast peer", 1, 64 * KIB, 16_384),
        ("400 fast peers", 400, 64 * KIB, 41),
        ("200 peers that send single bytes", 200, 1, 5_000),
    ];
    let parts = parts.map(|(role, peers, piece, most)| {
        thread::spawn(move || {
            let mut process = MeasuredProcess::start(NAME, role);
            let peers: Vec<_> = (0..peers).map(|_| connect(process.at)).collect();
            process.wait_for("go on");
            let writers: Vec<_> = peers
                .into_iter()
                .map(|peer| thread::spawn(move || write_fast(&peer, &vec![7; piece], most)))
                .collect();
            process.finish();
            for writer in writers {
                let writes = writer.join().expect("no panic");
                assert!(writes > 0, "a peer of {role} could not write at all");
            }
        })
    });
    for role in parts {
        role.join().expect("this part");
    }
}
