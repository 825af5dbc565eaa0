use std::fmt::Debug;
use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn with<R>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }
}

/// The answer of a poll that must not be pending.
#[track_caller]
fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> T {
    match Bell::new().with(poll) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("pending"),
    }
}

#[track_caller]
fn errno<T: Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn read(stream: &mut dyn Stream, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut buffer = [0; 64];
    let size = stream.poll_read(cx, &mut buffer);
    size.map_ok(|size| buffer[..size].to_vec())
}

fn write(stream: &mut dyn Stream, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
    stream.poll_write(cx, &[IoSlice::new(data)])
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn listener(net: &ScriptedNetwork) -> (Box<dyn Listener>, SocketAddr) {
    let listener = net.listen(address("127.0.0.1:0"), 8).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &mut dyn Listener) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
    now(|cx| listener.poll_accept(cx))
}

#[track_caller]
fn accept_errno(listener: &mut dyn Listener) -> i32 {
    errno(accept(listener).map(|(_, from)| from))
}

#[track_caller]
fn connect_errno(net: &ScriptedNetwork, to: SocketAddr) -> i32 {
    errno(now(|cx| net.connect(to).poll_unpin(cx)).map(drop))
}

/// A connection of the app to a server that the test plays.
fn connection() -> (Box<dyn Stream>, Peer) {
    let net = ScriptedNetwork::new();
    let to = address("192.0.2.1:80");
    let server = net.server(to);
    let stream = now(|cx| net.connect(to).poll_unpin(cx)).unwrap();
    (stream, server)
}

#[test]
fn listening_on_port_0_gives_a_port_of_its_own_each_time() {
    let net = ScriptedNetwork::new();
    let (_first, first) = listener(&net);
    let (_second, second) = listener(&net);
    assert_eq!(first, address("127.0.0.1:49152"));
    assert_eq!(second, address("127.0.0.1:49153"));
    assert_eq!(net.listening(), [first, second]);
}

#[test]
fn port_0_skips_ports_in_use() {
    let net = ScriptedNetwork::new();
    let _used = net.listen(address("0.0.0.0:49152"), 1).unwrap();
    assert_eq!(listener(&net).1.port(), 49153);
}

#[test]
fn made_up_ports_start_again_after_the_last() {
    let mut given = 0;
    let ports: Vec<_> = (0..=Ports::COUNT)
        .map(|_| LISTENING_PORTS.next(&mut given))
        .collect();
    assert_eq!(ports[ports.len() - 2..], [65535, 49152]);
    given = Ports::COUNT - 1;
    assert_eq!(CLIENT_PORTS.next(&mut given), 49151);
}

#[test]
fn an_address_in_use_cannot_be_listened_on() {
    let net = ScriptedNetwork::new();
    let _listener = net.listen(address("127.0.0.1:80"), 1).unwrap();
    for taken in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80"] {
        let result = net.listen(address(taken), 1).map(drop);
        assert_eq!(errno(result), libc::EADDRINUSE, "{taken}");
    }
    for free in ["127.0.0.2:80", "[::1]:80", "127.0.0.1:81"] {
        assert!(net.listen(address(free), 1).is_ok(), "{free}");
    }
}

#[test]
fn dropping_a_listener_frees_its_address_and_resets_who_waits() {
    let net = ScriptedNetwork::new();
    let (listener, at) = listener(&net);
    let client = net.client(at).unwrap();
    let mut stream = now(|cx| net.connect(at).poll_unpin(cx)).unwrap();
    let bell = Bell::new();
    assert!(bell.with(|cx| read(&mut *stream, cx)).is_pending());

    drop(listener);
    assert!(client.is_closed());
    assert_eq!(bell.rings(), 1);
    assert_eq!(errno(now(|cx| read(&mut *stream, cx))), libc::ECONNRESET);
    assert_eq!(errno(net.client(at)), libc::ECONNREFUSED);
    assert_eq!(errno(net.accept_error(at, 1)), libc::ECONNREFUSED);
    assert!(net.listening().is_empty());
    assert!(net.listen(at, 1).is_ok());
}

#[test]
fn a_listen_error_is_answered_once() {
    let net = ScriptedNetwork::new();
    net.listen_error(libc::EACCES);
    let at = address("127.0.0.1:80");
    assert_eq!(errno(net.listen(at, 5).map(drop)), libc::EACCES);
    assert!(net.listen(at, 6).is_ok());
    let call = |backlog| Call::Listen {
        address: at,
        backlog,
    };
    assert_eq!(net.calls(), [call(5), call(6)]);
}

#[test]
fn clients_are_accepted_in_the_order_they_came() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let clients: Vec<_> = (0..3).map(|_| net.client(at).unwrap()).collect();
    assert_eq!(net.waiting(at), 3);
    for client in &clients {
        let (stream, from) = accept(&mut *listener).unwrap();
        assert_eq!(from, client.addr());
        assert_eq!(stream.local_addr().unwrap(), at);
        assert_eq!(client.stream_addr(), at);
        drop(stream);
        assert!(client.is_closed());
    }
    assert_eq!(net.waiting(at), 0);
}

#[test]
fn an_accept_error_has_its_place_in_line() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let before = net.client(at).unwrap();
    net.accept_error(at, libc::EMFILE).unwrap();
    net.accept_error(at, libc::ENFILE).unwrap();
    let after = net.client(at).unwrap();

    assert_eq!(accept(&mut *listener).unwrap().1, before.addr());
    assert_eq!(accept_errno(&mut *listener), libc::EMFILE);
    assert_eq!(accept_errno(&mut *listener), libc::ENFILE);
    assert_eq!(accept(&mut *listener).unwrap().1, after.addr());
}

#[test]
fn a_pending_accept_is_woken_by_a_client_and_by_an_error() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let bell = Bell::new();
    assert!(bell.with(|cx| listener.poll_accept(cx)).is_pending());
    let _client = net.client(at).unwrap();
    assert_eq!(bell.rings(), 1);
    accept(&mut *listener).unwrap();

    assert!(bell.with(|cx| listener.poll_accept(cx)).is_pending());
    net.accept_error(at, libc::EMFILE).unwrap();
    assert_eq!(bell.rings(), 2);
}

#[test]
fn a_full_backlog_refuses_until_one_is_accepted() {
    let net = ScriptedNetwork::new();
    let at = address("127.0.0.1:80");
    let mut listener = net.listen(at, 1).unwrap();
    let _first = net.client(at).unwrap();
    // A fault in line is nobody's place.
    net.accept_error(at, libc::EMFILE).unwrap();
    assert_eq!(errno(net.client(at)), libc::ECONNREFUSED);
    assert_eq!(connect_errno(&net, at), libc::ECONNREFUSED);

    accept(&mut *listener).unwrap();
    assert!(net.client(at).is_ok());
}

#[test]
fn who_listens_on_all_addresses_is_reached_at_each() {
    let net = ScriptedNetwork::new();
    let mut listener = net.listen(address("[::]:80"), 8).unwrap();
    for (to, reached) in [
        ("[::]:80", "[::1]:80"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("127.0.0.1:80", "127.0.0.1:80"),
    ] {
        let _client = net.client(address(to)).unwrap();
        let (stream, _) = accept(&mut *listener).unwrap();
        assert_eq!(stream.local_addr().unwrap(), address(reached));
    }
    assert_eq!(
        errno(net.client(address("127.0.0.1:81"))),
        libc::ECONNREFUSED
    );
}

#[test]
fn a_connect_to_a_listener_joins_the_two() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let mut near = now(|cx| net.connect(at).poll_unpin(cx)).unwrap();
    let (mut far, from) = accept(&mut *listener).unwrap();
    assert_eq!(near.local_addr().unwrap(), from);

    let bell = Bell::new();
    assert!(bell.with(|cx| read(&mut *far, cx)).is_pending());
    assert_eq!(now(|cx| write(&mut *near, cx, b"ping")).unwrap(), 4);
    assert_eq!(bell.rings(), 1);
    assert_eq!(now(|cx| read(&mut *far, cx)).unwrap(), b"ping");
    assert_eq!(now(|cx| write(&mut *far, cx, b"pong")).unwrap(), 4);

    assert!(bell.with(|cx| read(&mut *far, cx)).is_pending());
    assert_eq!(now(|cx| read(&mut *near, cx)).unwrap(), b"pong");
    drop(near);
    assert_eq!(bell.rings(), 2);
    assert_eq!(now(|cx| read(&mut *far, cx)).unwrap(), b"");
    assert_eq!(errno(now(|cx| write(&mut *far, cx, b"?"))), libc::EPIPE);
}

#[test]
fn connects_are_answered_in_the_order_of_the_script() {
    let net = ScriptedNetwork::new();
    let to = address("192.0.2.1:80");
    net.connect_error(to, libc::ETIMEDOUT);
    let server = net.server(to);
    server.send("early");
    server.option_error(libc::EINVAL);

    assert_eq!(connect_errno(&net, to), libc::ETIMEDOUT);
    let mut stream = now(|cx| net.connect(to).poll_unpin(cx)).unwrap();
    assert_eq!(server.addr(), to);
    assert_eq!(stream.local_addr().unwrap(), server.stream_addr());
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"early");
    assert_eq!(errno(stream.set_nodelay(true)), libc::EINVAL);

    assert_eq!(connect_errno(&net, to), libc::ECONNREFUSED);
    assert_eq!(net.calls(), [(); 3].map(|()| Call::Connect { address: to }));
}

#[test]
fn a_held_connect_takes_its_answer_when_it_is_let_go() {
    let net = ScriptedNetwork::new();
    let to = address("192.0.2.1:80");
    let hold = net.hold_connect(to);
    assert_eq!(hold.waiting(), 0);

    let bells = [Bell::new(), Bell::new()];
    let mut first = net.connect(to);
    let mut second = net.connect(to);
    let given_up = net.connect(to);
    assert!(bells[0].with(|cx| first.poll_unpin(cx)).is_pending());
    assert!(bells[1].with(|cx| second.poll_unpin(cx)).is_pending());
    assert_eq!(hold.waiting(), 3);
    drop(given_up);
    assert_eq!(hold.waiting(), 2);

    let _server = net.server(to);
    hold.release();
    assert_eq!(bells.map(|bell| bell.rings()), [1, 1]);
    assert!(now(|cx| first.poll_unpin(cx)).is_ok());
    let refused = now(|cx| second.poll_unpin(cx)).map(drop);
    assert_eq!(errno(refused), libc::ECONNREFUSED);
    // Nothing is held any longer.
    assert_eq!(connect_errno(&net, to), libc::ECONNREFUSED);
}

#[test]
fn resolves_are_answered_in_the_order_of_the_script() {
    let net = ScriptedNetwork::new();
    let found = vec![address("192.0.2.1:0").ip(), address("[2001:db8::1]:0").ip()];
    net.next_resolve("example.com", Err(io::ErrorKind::TimedOut.into()));
    net.next_resolve("example.com", Ok(found.clone()));

    let resolve = |host: &str| now(|cx| net.resolve(host).poll_unpin(cx));
    let timed_out = resolve("example.com").unwrap_err();
    assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut);
    assert_eq!(resolve("example.com").unwrap(), found);
    let unknown = resolve("example.com").unwrap_err();
    assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
    assert_eq!(resolve("localhost").unwrap(), [Ipv4Addr::LOCALHOST]);
    assert_eq!(net.calls().len(), 4);
}

#[test]
fn a_held_resolve_is_woken_when_the_hold_is_dropped() {
    let net = ScriptedNetwork::new();
    let hold = net.hold_resolve("localhost");
    let bell = Bell::new();
    let mut held = net.resolve("localhost");
    assert!(bell.with(|cx| held.poll_unpin(cx)).is_pending());
    net.next_resolve("other", Ok(vec![]));
    assert!(now(|cx| net.resolve("other").poll_unpin(cx)).is_ok());

    drop(hold);
    assert_eq!(bell.rings(), 1);
    assert!(now(|cx| held.poll_unpin(cx)).is_ok());
}

#[test]
fn a_pending_read_is_woken_by_what_is_sent() {
    let (mut stream, peer) = connection();
    let bell = Bell::new();
    assert!(bell.with(|cx| read(&mut *stream, cx)).is_pending());
    peer.send("one ");
    peer.send("two");
    assert_eq!(bell.rings(), 1);
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"one two");
    assert!(bell.with(|cx| read(&mut *stream, cx)).is_pending());
}

#[test]
fn the_end_comes_after_the_data_and_stays() {
    let (mut stream, peer) = connection();
    peer.send("last");
    peer.end();
    peer.send("ignored");
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"last");
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"");
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"");
    assert_eq!(now(|cx| write(&mut *stream, cx, b"heard")).unwrap(), 5);
    assert_eq!(peer.received(), b"heard");
}

#[test]
fn a_reset_fails_writes_at_once_and_reads_after_the_data() {
    let (mut stream, peer) = connection();
    peer.send("before");
    peer.reset();
    assert_eq!(
        errno(now(|cx| write(&mut *stream, cx, b"?"))),
        libc::ECONNRESET
    );
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"before");
    assert_eq!(errno(now(|cx| read(&mut *stream, cx))), libc::ECONNRESET);
    drop(peer);
    assert_eq!(errno(now(|cx| read(&mut *stream, cx))), libc::ECONNRESET);
}

#[test]
fn a_reset_wakes_who_reads_and_who_writes() {
    let (mut stream, peer) = connection();
    let (reads, writes) = (Bell::new(), Bell::new());
    peer.limit_writes(0);
    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    assert!(writes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.send("for the reader");
    assert_eq!((reads.rings(), writes.rings()), (1, 0));
    now(|cx| read(&mut *stream, cx)).unwrap();

    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    peer.reset();
    assert_eq!((reads.rings(), writes.rings()), (2, 1));
}

#[test]
fn a_dropped_peer_ends_reads_and_breaks_writes() {
    let (mut stream, peer) = connection();
    let (reads, writes) = (Bell::new(), Bell::new());
    peer.limit_writes(0);
    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    assert!(writes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    drop(peer);
    assert_eq!((reads.rings(), writes.rings()), (1, 1));
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"");
    assert_eq!(errno(now(|cx| write(&mut *stream, cx, b"?"))), libc::EPIPE);
}

#[test]
fn a_read_error_comes_once_between_the_data() {
    let (mut stream, peer) = connection();
    peer.send("before");
    peer.read_error(libc::ETIMEDOUT);
    peer.send("after");
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"before");
    assert_eq!(errno(now(|cx| read(&mut *stream, cx))), libc::ETIMEDOUT);
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"after");
}

#[test]
fn a_write_error_comes_once_even_to_a_pending_write() {
    let (mut stream, peer) = connection();
    let bell = Bell::new();
    peer.limit_writes(0);
    assert!(bell.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.write_error(libc::ENOBUFS);
    assert_eq!(bell.rings(), 1);
    assert_eq!(
        errno(now(|cx| write(&mut *stream, cx, b"?"))),
        libc::ENOBUFS
    );
    assert!(bell.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.unlimit_writes();
    assert_eq!(bell.rings(), 2);
    assert_eq!(now(|cx| write(&mut *stream, cx, b"!")).unwrap(), 1);
    assert_eq!(peer.received(), b"!");
}

#[test]
fn writes_over_the_limit_wait_until_more_is_taken() {
    let (mut stream, peer) = connection();
    peer.limit_writes(3);
    assert_eq!(now(|cx| write(&mut *stream, cx, b"ab")).unwrap(), 2);
    assert_eq!(now(|cx| write(&mut *stream, cx, b"cd")).unwrap(), 1);
    let bell = Bell::new();
    assert!(bell.with(|cx| write(&mut *stream, cx, b"d")).is_pending());
    assert_eq!(now(|cx| write(&mut *stream, cx, b"")).unwrap(), 0);
    assert_eq!(peer.received(), b"abc");

    peer.limit_writes(1);
    assert_eq!(bell.rings(), 1);
    assert_eq!(now(|cx| write(&mut *stream, cx, b"de")).unwrap(), 1);
    assert_eq!(peer.received(), b"abcd");
}

#[test]
fn short_reads_and_writes_take_a_part_of_each_call() {
    let (mut stream, peer) = connection();
    peer.short_reads(2);
    peer.send("abc");
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"ab");
    assert_eq!(now(|cx| read(&mut *stream, cx)).unwrap(), b"c");

    peer.short_writes(3);
    let slices = [IoSlice::new(b"de"), IoSlice::new(b"fg")];
    assert_eq!(now(|cx| stream.poll_write(cx, &slices)).unwrap(), 3);
    assert_eq!(peer.received(), b"def");
}

#[test]
fn a_peer_knows_which_options_were_set() {
    let (stream, peer) = connection();
    assert_eq!((peer.nodelay(), peer.keepalive()), (None, None));
    let minute = Some(Duration::from_secs(60));
    peer.option_error(libc::EINVAL);
    assert_eq!(errno(stream.set_keepalive(minute)), libc::EINVAL);
    assert_eq!(peer.keepalive(), None);
    stream.set_nodelay(true).unwrap();
    stream.set_keepalive(minute).unwrap();
    assert_eq!(
        (peer.nodelay(), peer.keepalive()),
        (Some(true), Some(minute))
    );
}

#[test]
fn a_network_and_its_peers_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<ScriptedNetwork>();
    check::<Peer>();
    check::<Hold>();
}
