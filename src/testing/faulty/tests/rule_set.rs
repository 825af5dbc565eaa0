//! Which calls fail, which stall, and what follows on a connection.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::os::{Accepted, Listener, Network, Stream};
use crate::sync::tests::WakeCounter;
use crate::testing::faulty::{FaultyNetwork, MAX_INJECTED_FAULTS, Rule, RuleId};
use crate::testing::scripted::{Peer, ScriptedNetwork};

fn rule(text: &str) -> Rule {
    text.parse().expect("a rule")
}

/// A faulty network with a listener.
struct Fixture {
    scripted: ScriptedNetwork,
    net: FaultyNetwork,
    listener: Box<dyn Listener>,
    at: SocketAddr,
    wakes: Arc<WakeCounter>,
    /// The wakes that [`take_wakes`](Self::take_wakes) has returned.
    seen_wakes: Cell<usize>,
}

impl Fixture {
    fn new(seed: u64) -> Self {
        let scripted = ScriptedNetwork::new();
        let net = FaultyNetwork::new(scripted.clone(), seed);
        let listener = net
            .listen(([127, 0, 0, 1], 0).into(), 8)
            .expect("a listener");
        let at = listener.local_addr().expect("a listener");
        Fixture {
            at: at.socket_addr().expect("an IP address"),
            scripted,
            net,
            listener,
            wakes: WakeCounter::new(),
            seen_wakes: Cell::new(0),
        }
    }

    fn inject(&self, text: &str) -> RuleId {
        self.net.inject(rule(text))
    }

    fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.wakes.with(poll)
    }

    /// The wakes since the last call.
    fn take_wakes(&self) -> usize {
        let count = self.wakes.count();
        count - self.seen_wakes.replace(count)
    }

    fn accept(&mut self) -> Poll<io::Result<Accepted>> {
        self.wakes.with(|cx| self.listener.poll_accept(cx))
    }

    fn connection(&mut self) -> (Box<dyn Stream>, Peer) {
        let peer = self.scripted.client(self.at).expect("a listener");
        match self.accept() {
            Poll::Ready(Ok((stream, _))) => (stream, peer),
            _ => panic!("a client waits"),
        }
    }

    fn read(&self, stream: &mut dyn Stream) -> Result<Vec<u8>, i32> {
        let mut buffer = [0; 16];
        match self.poll(|cx| stream.poll_read(cx, &mut buffer)) {
            Poll::Ready(answer) => answer.map(|n| buffer[..n].to_vec()).map_err(errno),
            Poll::Pending => Err(0),
        }
    }

    fn write(&self, stream: &mut dyn Stream, data: &[u8]) -> Result<usize, i32> {
        // In two slices, the first of which is short.
        let (first, rest) = data.split_at(data.len().min(2));
        let slices = [io::IoSlice::new(first), io::IoSlice::new(rest)];
        match self.poll(|cx| stream.poll_write(cx, &slices)) {
            Poll::Ready(answer) => answer.map_err(errno),
            Poll::Pending => Err(0),
        }
    }
}

fn errno(error: io::Error) -> i32 {
    error.raw_os_error().expect("an OS error")
}

fn code(accepted: Poll<io::Result<Accepted>>) -> i32 {
    match accepted {
        Poll::Ready(Err(error)) => errno(error),
        Poll::Ready(Ok(_)) => panic!("a client was accepted"),
        Poll::Pending => 0,
    }
}

/// The numbers of the listens that fail, of `calls`.
fn listens(seed: u64, text: &str, calls: u64) -> Vec<u64> {
    let net = FaultyNetwork::new(ScriptedNetwork::new(), seed);
    net.inject(rule(text));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    (1..=calls)
        .filter(|_| net.listen(address, 1).is_err())
        .collect()
}

#[test]
fn after_every_and_times_apply_in_this_order() {
    for (text, expected) in [
        ("listen=EACCES", vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("listen=EACCES,every=3", vec![3, 6, 9]),
        ("listen=EACCES,after=8", vec![9, 10]),
        ("listen=EACCES,times=2", vec![1, 2]),
        ("listen=EACCES,after=2,every=3,times=2", vec![5, 8]),
        ("listen=EACCES,times=0", vec![]),
        ("listen=EACCES,p=0", vec![]),
        ("listen=EACCES,p=1,every=5", vec![5, 10]),
        ("listen=EACCES,listener=127.0.0.2", vec![]),
        ("listen=EACCES,listener=127.0.0.1,every=9", vec![9]),
        ("accept=EACCES", vec![]),
    ] {
        assert_eq!(listens(7, text, 10), expected, "{text}");
    }
}

#[test]
fn a_seed_fails_the_same_calls_whatever_other_rules_exist() {
    let text = "listen=EACCES,p=0.01";
    let failed = listens(7, text, 10_000);
    // Pinned, so that a seed that found a bug still finds it after a change of the code.
    assert_eq!(failed.len(), 93);
    assert_eq!(failed[..5], [169, 252, 295, 406, 480]);
    assert_eq!(listens(7, text, 10_000), failed);
    assert_ne!(listens(8, text, 10_000), failed);

    let net = FaultyNetwork::new(ScriptedNetwork::new(), 7);
    let id = net.inject(rule(text));
    for other in ["listen=stall", "connect=EACCES,p=0.5"] {
        if let Ok(other) = other.parse() {
            net.inject(other);
        }
    }
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..10_000 {
        let _ = net.listen(address, 1);
        drop(net.connect(address));
    }
    assert_eq!(net.evaluated(id), 10_000);
    assert_eq!(net.triggered(id), failed.len() as u64);
    let faults = net.injected_faults();
    let numbers: Vec<u64> = faults.iter().map(|fault| fault.number).collect();
    assert_eq!(numbers, failed);
}

#[test]
fn no_rule_is_evaluated_after_the_first_one_that_triggers() {
    let fixture = Fixture::new(1);
    let first = fixture.inject("listen=EACCES,every=2");
    let second = fixture.inject("listen=EMFILE,every=2");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = || fixture.net.listen(address, 1).map(drop).map_err(errno);
    let answers: Vec<_> = (0..4).map(|_| listen()).collect();
    let (acces, mfile) = (Err(libc::EACCES), Err(libc::EMFILE));
    assert_eq!(answers, [Ok(()), acces, mfile, acces]);
    assert_eq!(
        (fixture.net.evaluated(first), fixture.net.evaluated(second)),
        (4, 2)
    );
    assert_eq!(
        fixture.net.remove(first).map(|report| report.triggered),
        Some(2)
    );
    assert_eq!(fixture.net.remove(first), None);
    let report: Vec<_> = fixture
        .net
        .clear()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(report, ["listen=EMFILE,every=2: triggered 1 of 2"]);
    assert_eq!(listen(), Ok(()));
    assert_eq!(
        fixture.net.injected_faults().len(),
        3,
        "faults of removed rules are remembered"
    );
}

#[test]
fn at_most_max_injected_faults_are_remembered() {
    let calls = MAX_INJECTED_FAULTS as u64 + 10;
    let net = FaultyNetwork::new(ScriptedNetwork::new(), 7);
    let id = net.inject(rule("listen=EACCES"));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..calls {
        let _ = net.listen(address, 1);
    }
    let faults = net.injected_faults();
    assert_eq!(faults.len(), MAX_INJECTED_FAULTS);
    assert_eq!(faults.last().map(|fault| fault.number), Some(calls));
    assert_eq!(net.triggered(id), calls);
}

#[test]
fn a_rule_is_evaluated_once_for_an_accept_however_often_it_is_polled() {
    let mut fixture = Fixture::new(1);
    let id = fixture.inject("accept=EMFILE,every=2");
    for _ in 0..10 {
        assert_eq!(code(fixture.accept()), 0);
    }
    assert_eq!(fixture.net.evaluated(id), 1);
    let (_stream, _peer) = fixture.connection();
    let waits = fixture.scripted.client(fixture.at).expect("a listener");
    assert_eq!(code(fixture.accept()), libc::EMFILE);
    assert_eq!(
        fixture.scripted.waiting(fixture.at),
        1,
        "the OS was not asked"
    );
    assert!(matches!(fixture.accept(), Poll::Ready(Ok((_, peer))) if peer == waits.addr()));
}

#[test]
fn a_rule_that_is_injected_while_an_accept_waits_fails_the_next_one() {
    let mut fixture = Fixture::new(1);
    assert_eq!(code(fixture.accept()), 0);
    let id = fixture.inject("accept=EMFILE,times=1");
    assert_eq!(fixture.take_wakes(), 0);
    let _peer = fixture.scripted.client(fixture.at).expect("a listener");
    assert_eq!(fixture.take_wakes(), 1);
    assert_eq!(code(fixture.accept()), libc::EMFILE);
    assert_eq!(fixture.net.triggered(id), 1);
    assert!(matches!(fixture.accept(), Poll::Ready(Ok(_))));
}

#[test]
fn an_aborted_client_is_reset_and_the_next_one_is_accepted() {
    let mut fixture = Fixture::new(1);
    fixture.inject("accept=ECONNABORTED,times=1");
    assert_eq!(code(fixture.accept()), 0, "there is no client to abort");
    let mut aborted = fixture.scripted.connect(fixture.at);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(aborted)) = aborted.as_mut().poll(&mut cx) else {
        panic!("a listener");
    };
    let mut aborted = aborted;
    assert_eq!(code(fixture.accept()), libc::ECONNABORTED);
    assert_eq!(fixture.read(&mut *aborted), Err(libc::ECONNRESET));
    let (_stream, _peer) = fixture.connection();
}

#[test]
fn a_stall_ends_when_its_rule_is_released_or_removed() {
    let mut fixture = Fixture::new(1);
    let id = fixture.inject("read=stall");
    let (mut stream, peer) = fixture.connection();
    peer.send("there");
    for (n, end) in ["release", "remove"].into_iter().enumerate() {
        fixture.take_wakes();
        assert_eq!(fixture.read(&mut *stream), Err(0));
        assert_eq!(fixture.read(&mut *stream), Err(0));
        assert_eq!((fixture.net.stalled(id), fixture.take_wakes()), (1, 0));
        match end {
            "release" => assert!(fixture.net.release(id)),
            _ => assert!(fixture.net.remove(id).is_some()),
        }
        assert_eq!(fixture.take_wakes(), 1, "{end}");
        assert_eq!(fixture.net.stalled(id), 0);
        assert_eq!(fixture.read(&mut *stream), Ok(b"there".to_vec()), "{end}");
        assert_eq!(fixture.net.injected_faults().len(), n + 1);
        peer.send("there");
    }
    assert!(!fixture.net.release(id));
    assert_eq!(fixture.read(&mut *stream), Ok(b"there".to_vec()));

    // A call whose future was dropped does not count.
    let id = fixture.inject("write=stall");
    assert_eq!(fixture.write(&mut *stream, b"data"), Err(0));
    assert_eq!(fixture.net.stalled(id), 1);
    drop(stream);
    assert_eq!(fixture.net.stalled(id), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stall_with_a_time_ends_by_itself() {
    let scripted = ScriptedNetwork::new();
    let net = FaultyNetwork::new(scripted.clone(), 1);
    let id = net.inject(rule("connect=stall,for=2s,times=1"));
    let to = SocketAddr::from(([192, 0, 2, 1], 80));
    let _peer = scripted.server(to);
    let began = tokio::time::Instant::now();
    assert!(net.connect(to).await.is_ok());
    let took = began.elapsed();
    assert_eq!(took.as_secs(), 2, "{took:?}");
    assert_eq!(net.triggered(id), 1);
}

#[test]
fn short_reads_and_writes_transfer_what_the_rule_says_and_lose_no_byte() {
    let mut fixture = Fixture::new(1);
    fixture.inject("read=short,bytes=3,times=2");
    fixture.inject("write=short,bytes=3,times=2");
    let (mut stream, peer) = fixture.connection();
    // A short read that has to wait first is short too.
    assert_eq!(fixture.read(&mut *stream), Err(0));
    peer.send("0123456789");
    for part in ["012", "345", "6789"] {
        assert_eq!(fixture.read(&mut *stream), Ok(part.as_bytes().to_vec()));
    }
    let mut left = &b"0123456789"[..];
    for size in [3, 3, 4] {
        assert_eq!(fixture.write(&mut *stream, left), Ok(size));
        left = &left[size..];
    }
    assert_eq!(peer.received(), b"0123456789");
}

#[test]
fn a_fault_that_breaks_the_connection_stays_and_wakes_the_other_direction() {
    for (text, errno, peer_sees_reset) in [
        ("write=ECONNRESET,times=1", libc::ECONNRESET, false),
        ("write=ETIMEDOUT,times=1", libc::ETIMEDOUT, false),
        ("write=reset,times=1", libc::ECONNRESET, true),
    ] {
        let mut fixture = Fixture::new(1);
        let (mut stream, peer) = fixture.connection();
        assert_eq!(fixture.read(&mut *stream), Err(0), "it waits");
        fixture.inject(text);
        assert_eq!(fixture.write(&mut *stream, b"data"), Err(errno), "{text}");
        assert_eq!(fixture.take_wakes(), 1, "{text}: the reader is woken");
        for _ in 0..3 {
            assert_eq!(fixture.read(&mut *stream), Err(errno), "{text}");
            assert_eq!(fixture.write(&mut *stream, b"data"), Err(errno), "{text}");
        }
        assert!(fixture.poll(|cx| stream.poll_peek(cx)).is_ready());
        assert_eq!(peer.is_closed(), peer_sees_reset, "{text}");
        assert_eq!(stream.local_addr().ok(), Some(fixture.at.into()), "{text}");
        assert_eq!(fixture.net.injected_faults().len(), 1, "{text}");
    }
}

#[test]
fn an_error_of_one_call_leaves_the_connection_as_it_was() {
    for errno in ["EINTR", "EAGAIN", "ENOBUFS", "EIO"] {
        let mut fixture = Fixture::new(1);
        let read = fixture.inject(&format!("read={errno},times=2"));
        let write = fixture.inject(&format!("write={errno},times=2"));
        let (mut stream, peer) = fixture.connection();
        peer.send("there");
        let failed = |code: i32| code > 0;
        for _ in 0..2 {
            assert!(fixture.read(&mut *stream).is_err_and(failed), "{errno}");
            assert!(fixture.write(&mut *stream, b"back").is_err_and(failed));
        }
        assert_eq!(fixture.read(&mut *stream), Ok(b"there".to_vec()), "{errno}");
        assert_eq!(fixture.write(&mut *stream, b"back"), Ok(4), "{errno}");
        assert_eq!(peer.received(), b"back");
        assert_eq!(
            (fixture.net.triggered(read), fixture.net.triggered(write)),
            (2, 2)
        );
    }
}

#[test]
fn after_an_end_or_a_broken_pipe_the_other_direction_goes_on() {
    let mut fixture = Fixture::new(1);
    fixture.inject("read=end,times=1");
    fixture.inject("write=EPIPE,times=1,after=1");
    let (mut stream, peer) = fixture.connection();
    peer.send("never read");
    for _ in 0..2 {
        assert_eq!(fixture.read(&mut *stream), Ok(vec![]));
    }
    assert_eq!(fixture.write(&mut *stream, b"out"), Ok(3));
    assert_eq!(peer.received(), b"out");

    let (mut stream, peer) = fixture.connection();
    for _ in 0..2 {
        assert_eq!(fixture.write(&mut *stream, b"out"), Err(libc::EPIPE));
    }
    peer.send("in");
    assert_eq!(fixture.read(&mut *stream), Ok(b"in".to_vec()));
}

#[test]
fn a_rule_with_an_address_fails_only_calls_at_that_address() {
    let mut fixture = Fixture::new(1);
    let (mut here, _peer) = fixture.connection();
    let (mut other, other_peer) = fixture.connection();
    fixture.inject(&format!("read=ECONNRESET,peer={}", other_peer.addr()));
    assert_eq!(fixture.read(&mut *here), Err(0));
    assert_eq!(fixture.read(&mut *other), Err(libc::ECONNRESET));
    fixture.inject("write=EPIPE,listener=127.0.0.1:1");
    assert_eq!(fixture.write(&mut *here, b"x"), Ok(1));
    fixture.inject(&format!("write=EPIPE,listener={}", fixture.at));
    assert_eq!(fixture.write(&mut *here, b"x"), Err(libc::EPIPE));
}
