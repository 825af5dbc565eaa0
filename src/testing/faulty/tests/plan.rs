//! Which calls fail, when they wait, and what follows.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::os::{Listener, Network, Stream};
use crate::testing::faulty::{FaultyNetwork, Rule, RuleId, STRIKES_KEPT};
use crate::testing::scripted::{Peer, ScriptedNetwork};

fn rule(text: &str) -> Rule {
    text.parse().expect("a rule")
}

/// How often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A faulty network with a listener.
struct Scene {
    scripted: ScriptedNetwork,
    net: FaultyNetwork,
    listener: Box<dyn Listener>,
    at: SocketAddr,
    woken: Arc<Woken>,
}

type Accepted = Poll<io::Result<(Box<dyn Stream>, SocketAddr)>>;

impl Scene {
    fn new(seed: u64) -> Self {
        let scripted = ScriptedNetwork::new();
        let net = FaultyNetwork::new(scripted.clone(), seed);
        let listener = net.listen(([127, 0, 0, 1], 0).into(), 8).expect("listen");
        Scene {
            at: listener.local_addr().expect("it listens"),
            scripted,
            net,
            listener,
            woken: Arc::default(),
        }
    }

    fn inject(&self, text: &str) -> RuleId {
        self.net.inject(rule(text))
    }

    fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        poll(&mut Context::from_waker(&Waker::from(self.woken.clone())))
    }

    fn woken(&self) -> usize {
        self.woken.0.swap(0, Ordering::Relaxed)
    }

    fn accept(&mut self) -> Accepted {
        let waker = Waker::from(self.woken.clone());
        self.listener.poll_accept(&mut Context::from_waker(&waker))
    }

    fn connection(&mut self) -> (Box<dyn Stream>, Peer) {
        let peer = self.scripted.client(self.at).expect("it listens");
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
    error.raw_os_error().expect("the OS's")
}

fn code(accepted: Accepted) -> i32 {
    match accepted {
        Poll::Ready(Err(error)) => errno(error),
        Poll::Ready(Ok(_)) => panic!("nobody should be accepted"),
        Poll::Pending => 0,
    }
}

/// Which of so many listens fail.
fn listens(seed: u64, text: &str, calls: u64) -> Vec<u64> {
    let net = FaultyNetwork::new(ScriptedNetwork::new(), seed);
    net.inject(rule(text));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    (1..=calls)
        .filter(|_| net.listen(address, 1).is_err())
        .collect()
}

#[test]
fn after_every_and_times_are_looked_at_in_this_order() {
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
fn a_seed_strikes_the_same_calls_whatever_the_other_rules_do() {
    let text = "listen=EACCES,p=0.01";
    let struck = listens(7, text, 10_000);
    // Known for good, so that a seed that found something stays of use.
    assert_eq!(struck.len(), 93);
    assert_eq!(struck[..5], [169, 252, 295, 406, 480]);
    assert_eq!(listens(7, text, 10_000), struck);
    assert_ne!(listens(8, text, 10_000), struck);

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
    assert_eq!(net.asked(id), 10_000);
    assert_eq!(net.struck(id), struck.len() as u64);
    let strikes = net.strikes();
    let asked: Vec<u64> = strikes.iter().map(|strike| strike.asked).collect();
    assert_eq!(asked, struck);
}

#[test]
fn the_first_rule_that_strikes_is_the_last_one_asked() {
    let scene = Scene::new(1);
    let first = scene.inject("listen=EACCES,every=2");
    let second = scene.inject("listen=EMFILE,every=2");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = || scene.net.listen(address, 1).map(drop).map_err(errno);
    let answers: Vec<_> = (0..4).map(|_| listen()).collect();
    let (acces, mfile) = (Err(libc::EACCES), Err(libc::EMFILE));
    assert_eq!(answers, [Ok(()), acces, mfile, acces]);
    assert_eq!((scene.net.asked(first), scene.net.asked(second)), (4, 2));
    assert_eq!(scene.net.remove(first).map(|report| report.struck), Some(2));
    assert_eq!(scene.net.remove(first), None);
    let report: Vec<_> = scene.net.clear().iter().map(ToString::to_string).collect();
    assert_eq!(report, ["listen=EMFILE,every=2: struck 1 of 2"]);
    assert_eq!(listen(), Ok(()));
    assert_eq!(
        scene.net.strikes().len(),
        3,
        "what was struck is remembered"
    );
}

#[test]
fn no_more_strikes_are_kept_than_promised() {
    let calls = STRIKES_KEPT as u64 + 10;
    let net = FaultyNetwork::new(ScriptedNetwork::new(), 7);
    let id = net.inject(rule("listen=EACCES"));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..calls {
        let _ = net.listen(address, 1);
    }
    let strikes = net.strikes();
    assert_eq!(strikes.len(), STRIKES_KEPT);
    assert_eq!(strikes.last().map(|strike| strike.asked), Some(calls));
    assert_eq!(net.struck(id), calls);
}

#[test]
fn a_rule_is_asked_once_about_an_accept_that_is_polled_ever_so_often() {
    let mut scene = Scene::new(1);
    let id = scene.inject("accept=EMFILE,every=2");
    for _ in 0..10 {
        assert_eq!(code(scene.accept()), 0);
    }
    assert_eq!(scene.net.asked(id), 1);
    let (_stream, _peer) = scene.connection();
    let waits = scene.scripted.client(scene.at).expect("it listens");
    assert_eq!(code(scene.accept()), libc::EMFILE);
    assert_eq!(scene.scripted.waiting(scene.at), 1, "the OS was not asked");
    assert!(matches!(scene.accept(), Poll::Ready(Ok((_, peer))) if peer == waits.addr()));
}

#[test]
fn a_rule_that_comes_while_an_accept_waits_strikes_with_the_next_client() {
    let mut scene = Scene::new(1);
    assert_eq!(code(scene.accept()), 0);
    let id = scene.inject("accept=EMFILE,times=1");
    assert_eq!(scene.woken(), 0);
    let _peer = scene.scripted.client(scene.at).expect("it listens");
    assert_eq!(scene.woken(), 1);
    assert_eq!(code(scene.accept()), libc::EMFILE);
    assert_eq!(scene.net.struck(id), 1);
    assert!(matches!(scene.accept(), Poll::Ready(Ok(_))));
}

#[test]
fn an_aborted_client_finds_its_connection_reset_and_the_next_one_is_accepted() {
    let mut scene = Scene::new(1);
    scene.inject("accept=ECONNABORTED,times=1");
    assert_eq!(code(scene.accept()), 0, "nobody is there to be aborted");
    let mut aborted = scene.scripted.connect(scene.at);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(aborted)) = aborted.as_mut().poll(&mut cx) else {
        panic!("it is reachable");
    };
    let mut aborted = aborted;
    assert_eq!(code(scene.accept()), libc::ECONNABORTED);
    assert_eq!(scene.read(&mut *aborted), Err(libc::ECONNRESET));
    let (_stream, _peer) = scene.connection();
}

#[test]
fn a_stall_ends_when_it_is_released_or_its_rule_is_gone() {
    let mut scene = Scene::new(1);
    let id = scene.inject("read=stall");
    let (mut stream, peer) = scene.connection();
    peer.send("there");
    for (n, end) in ["release", "remove"].into_iter().enumerate() {
        scene.woken();
        assert_eq!(scene.read(&mut *stream), Err(0));
        assert_eq!(scene.read(&mut *stream), Err(0));
        assert_eq!((scene.net.stalled(id), scene.woken()), (1, 0));
        match end {
            "release" => assert!(scene.net.release(id)),
            _ => assert!(scene.net.remove(id).is_some()),
        }
        assert_eq!(scene.woken(), 1, "{end}");
        assert_eq!(scene.net.stalled(id), 0);
        assert_eq!(scene.read(&mut *stream), Ok(b"there".to_vec()), "{end}");
        assert_eq!(scene.net.strikes().len(), n + 1);
        peer.send("there");
    }
    assert!(!scene.net.release(id));
    assert_eq!(scene.read(&mut *stream), Ok(b"there".to_vec()));

    // One that is given up does not count.
    let id = scene.inject("write=stall");
    assert_eq!(scene.write(&mut *stream, b"data"), Err(0));
    assert_eq!(scene.net.stalled(id), 1);
    drop(stream);
    assert_eq!(scene.net.stalled(id), 0);
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
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(net.struck(id), 1);
}

#[test]
fn short_reads_and_writes_move_what_the_rule_says_and_no_byte_is_lost() {
    let mut scene = Scene::new(1);
    scene.inject("read=short,bytes=3,times=2");
    scene.inject("write=short,bytes=3,times=2");
    let (mut stream, peer) = scene.connection();
    // A short read that has to wait first is short all the same.
    assert_eq!(scene.read(&mut *stream), Err(0));
    peer.send("0123456789");
    for part in ["012", "345", "6789"] {
        assert_eq!(scene.read(&mut *stream), Ok(part.as_bytes().to_vec()));
    }
    let mut left = &b"0123456789"[..];
    for size in [3, 3, 4] {
        assert_eq!(scene.write(&mut *stream, left), Ok(size));
        left = &left[size..];
    }
    assert_eq!(peer.received(), b"0123456789");
}

#[test]
fn what_breaks_a_connection_breaks_it_for_good_and_tells_who_waits() {
    for (text, read, write, peer_sees_reset) in [
        (
            "write=ECONNRESET,times=1",
            libc::ECONNRESET,
            libc::ECONNRESET,
            false,
        ),
        (
            "write=ETIMEDOUT,times=1",
            libc::ETIMEDOUT,
            libc::ETIMEDOUT,
            false,
        ),
        (
            "write=reset,times=1",
            libc::ECONNRESET,
            libc::ECONNRESET,
            true,
        ),
    ] {
        let mut scene = Scene::new(1);
        let (mut stream, peer) = scene.connection();
        assert_eq!(scene.read(&mut *stream), Err(0), "it waits");
        scene.inject(text);
        assert_eq!(scene.write(&mut *stream, b"data"), Err(write), "{text}");
        assert_eq!(scene.woken(), 1, "{text}: the reader is told");
        for _ in 0..3 {
            assert_eq!(scene.read(&mut *stream), Err(read), "{text}");
            assert_eq!(scene.write(&mut *stream, b"data"), Err(write), "{text}");
        }
        assert!(scene.poll(|cx| stream.poll_peek(cx)).is_ready());
        assert_eq!(peer.is_closed(), peer_sees_reset, "{text}");
        assert_eq!(stream.local_addr().ok(), Some(scene.at), "{text}");
        assert_eq!(scene.net.strikes().len(), 1, "{text}");
    }
}

#[test]
fn what_is_one_calls_alone_leaves_the_connection_as_it_was() {
    for errno in ["EINTR", "EAGAIN", "ENOBUFS", "EIO"] {
        let mut scene = Scene::new(1);
        let read = scene.inject(&format!("read={errno},times=2"));
        let write = scene.inject(&format!("write={errno},times=2"));
        let (mut stream, peer) = scene.connection();
        peer.send("there");
        for _ in 0..2 {
            assert!(
                scene.read(&mut *stream).is_err_and(|code| code > 0),
                "{errno}"
            );
            assert!(
                scene
                    .write(&mut *stream, b"back")
                    .is_err_and(|code| code > 0)
            );
        }
        assert_eq!(scene.read(&mut *stream), Ok(b"there".to_vec()), "{errno}");
        assert_eq!(scene.write(&mut *stream, b"back"), Ok(4), "{errno}");
        assert_eq!(peer.received(), b"back");
        assert_eq!((scene.net.struck(read), scene.net.struck(write)), (2, 2));
    }
}

#[test]
fn after_an_end_or_a_broken_pipe_the_other_direction_goes_on() {
    let mut scene = Scene::new(1);
    scene.inject("read=end,times=1");
    scene.inject("write=EPIPE,times=1,after=1");
    let (mut stream, peer) = scene.connection();
    peer.send("never read");
    for _ in 0..2 {
        assert_eq!(scene.read(&mut *stream), Ok(vec![]));
    }
    assert_eq!(scene.write(&mut *stream, b"out"), Ok(3));
    assert_eq!(peer.received(), b"out");

    let (mut stream, peer) = scene.connection();
    for _ in 0..2 {
        assert_eq!(scene.write(&mut *stream, b"out"), Err(libc::EPIPE));
    }
    peer.send("in");
    assert_eq!(scene.read(&mut *stream), Ok(b"in".to_vec()));
}

#[test]
fn a_rule_for_a_place_strikes_there_alone() {
    let mut scene = Scene::new(1);
    let (mut here, _peer) = scene.connection();
    let (mut other, other_peer) = scene.connection();
    scene.inject(&format!("read=ECONNRESET,peer={}", other_peer.addr()));
    assert_eq!(scene.read(&mut *here), Err(0));
    assert_eq!(scene.read(&mut *other), Err(libc::ECONNRESET));
    scene.inject("write=EPIPE,listener=127.0.0.1:1");
    assert_eq!(scene.write(&mut *here, b"x"), Ok(1));
    scene.inject(&format!("write=EPIPE,listener={}", scene.at));
    assert_eq!(scene.write(&mut *here, b"x"), Err(libc::EPIPE));
}
