//! A slow listener of `chrome.sockets.udp` with a fast peer.

use std::cell::Cell;
use std::net::UdpSocket;
use std::sync::atomic::AtomicU64;

use chrome_sockets::udp;

use super::*;

const DATAGRAMS: u64 = 1_000_000;

/// Counts the datagrams, whose numbers must rise, and rests after each thousandth.
struct RestingListener {
    last: u64,
    received: Arc<AtomicU64>,
}

impl Actor for RestingListener {
    type Context = Context<Self>;
}

impl Handler<udp::ReceiveInfo> for RestingListener {
    type Result = ();

    fn handle(&mut self, info: udp::ReceiveInfo, _: &mut Self::Context) {
        let number = info.data[..8].try_into().map(u64::from_be_bytes);
        let number = number.expect("a number");
        assert!(number > self.last, "{number} after {}", self.last);
        self.last = number;
        let received = self.received.fetch_add(1, SeqCst) + 1;
        if received.is_multiple_of(1000) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn run_resting_listener() {
    let mut child_app = ChildApp::start(Registry::new()).await;
    let udp = child_app.app.udp.clone();
    let received = Arc::<AtomicU64>::default();
    let arbiter = Arbiter::new();
    let listener = RestingListener {
        last: 0,
        received: received.clone(),
    };
    let listener = RestingListener::start_in_arbiter(&arbiter.handle(), |_| listener);
    let added = udp.on_receive.add_listener(listener.recipient()).await;
    added.expect("added");
    let created = udp.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    let info = udp.get_info(id).await.expect("it exists");
    let address = info.local_addr().expect("it is bound");
    child_app.send_line(&format!("listening on {address}"));
    growth_until("the first datagrams", 0, || received.load(SeqCst) > 2000).await;
    let before = resident();
    let is_sent = Cell::new(false);
    let sent = async {
        child_app.wait_for("sent").await;
        is_sent.set(true);
    };
    let grown = growth_until("all datagrams", before, || is_sent.get());
    let (grown, ()) = futures::future::join(grown, sent).await;
    assert!(grown <= 8 * MIB, "grown by {}", format_kib(grown));
    // No more come, so what the OS has not dropped is handled soon.
    let dropped = async || {
        let info = udp.get_info(id).await.expect("it exists");
        info.dropped_datagrams
    };
    if let Some(dropped) = dropped().await {
        assert!(dropped > 0, "the listener was slower than its peer");
        let handled = || received.load(SeqCst) + dropped == DATAGRAMS;
        growth_until("the last datagrams", 0, handled).await;
    }
    let grown = format!("{}, {} received", format_kib(grown), received.load(SeqCst));
    child_app.report_success(&grown).await;
    arbiter.stop();
}

#[test]
fn a_million_datagrams_for_a_slow_listener_do_not_grow_the_process_and_each_is_counted() {
    const NAME: &str = "datagrams::a_million_datagrams_for_a_slow_listener_do_not_grow_the_process_and_each_is_counted";
    if role().is_some() {
        return run_child(run_resting_listener());
    }
    let mut process = MeasuredProcess::start(NAME, "a slow listener of datagrams");
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut data = [7; 64];
    for number in 1..=DATAGRAMS {
        data[..8].copy_from_slice(&number.to_be_bytes());
        peer.send_to(&data, process.at).expect("sent");
    }
    process.send_line("sent");
    process.finish();
}
