//! Connecting and resolving.

use crate::testing::scripted::tests::*;

#[test]
fn a_connect_to_a_listener_connects_both_ends() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let mut near = connect(&net, at);
    let (mut far, from) = accept(&mut *listener);
    assert_eq!(near.local_addr().expect("a local address"), from);

    let wakes = WakeCounter::new();
    assert!(wakes.with(|cx| read(&mut *far, cx)).is_pending());
    assert_eq!(write_now(&mut *near, b"ping"), 4);
    assert_eq!(wakes.count(), 1);
    assert_eq!(read_now(&mut *far), b"ping");
    assert_eq!(write_now(&mut *far, b"pong"), 4);

    assert!(wakes.with(|cx| read(&mut *far, cx)).is_pending());
    assert_eq!(read_now(&mut *near), b"pong");
    drop(near);
    assert_eq!(wakes.count(), 2);
    assert_eq!(read_now(&mut *far), b"");
    assert_eq!(write_errno(&mut *far, b"?"), libc::EPIPE);
}

#[test]
fn connects_have_the_scripted_results_in_order() {
    let net = ScriptedNetwork::new();
    let to = address("192.0.2.1:80");
    net.connect_error(to, libc::ETIMEDOUT);
    let server = net.server(to);
    server.send("early");
    server.option_error(libc::EINVAL);

    assert_eq!(connect_errno(&net, to), libc::ETIMEDOUT);
    let mut stream = connect(&net, to);
    assert_eq!(server.addr(), to);
    assert_eq!(stream.local_addr().ok(), Some(server.stream_addr().into()));
    assert_eq!(read_now(&mut *stream), b"early");
    assert_eq!(errno(stream.set_nodelay(true)), libc::EINVAL);

    assert_eq!(connect_errno(&net, to), libc::ECONNREFUSED);
    assert_eq!(net.calls(), [(); 3].map(|()| Call::Connect { address: to }));
}

#[test]
fn a_connection_comes_from_the_local_address_of_its_call() {
    let net = ScriptedNetwork::new();
    let connect_from = |local: &str, to| {
        let mut connecting = net.connect_from(address(local), to);
        ready(|cx| connecting.poll_unpin(cx)).expect("a connection")
    };
    let to = address("192.0.2.1:80");
    let server = net.server(to);
    let chosen = server.stream_addr();
    let stream = connect_from("127.0.0.9:0", to);
    let local = stream.local_addr().expect("a local address");
    let expected = SocketAddr::new(address("127.0.0.9:0").ip(), chosen.port());
    assert_eq!(local, expected);
    assert_eq!(server.stream_addr(), expected);

    let (mut listener, at) = listener(&net);
    let _stream = connect_from("127.0.0.9:5000", at);
    assert_eq!(accept(&mut *listener).1, address("127.0.0.9:5000"));
    assert_eq!(net.calls().last(), Some(&Call::Connect { address: at }));
}

#[test]
fn the_result_of_a_blocked_connect_is_decided_at_its_release() {
    let net = ScriptedNetwork::new();
    let to = address("192.0.2.1:80");
    let block = net.block_connect(to);
    assert_eq!(block.waiting(), 0);

    let wakes = [WakeCounter::new(), WakeCounter::new()];
    let mut first = net.connect(to);
    let mut second = net.connect(to);
    let given_up = net.connect(to);
    assert!(wakes[0].with(|cx| first.poll_unpin(cx)).is_pending());
    assert!(wakes[1].with(|cx| second.poll_unpin(cx)).is_pending());
    assert_eq!(block.waiting(), 3);
    drop(given_up);
    assert_eq!(block.waiting(), 2);

    let _server = net.server(to);
    block.release();
    assert_eq!(wakes.map(|wakes| wakes.count()), [1, 1]);
    assert!(ready(|cx| first.poll_unpin(cx)).is_ok());
    let refused = ready(|cx| second.poll_unpin(cx)).map(drop);
    assert_eq!(errno(refused), libc::ECONNREFUSED);
    // Nothing is blocked any more.
    assert_eq!(connect_errno(&net, to), libc::ECONNREFUSED);
}

#[test]
fn resolves_have_the_scripted_results_in_order() {
    let net = ScriptedNetwork::new();
    let found = vec![address("192.0.2.1:0").ip(), address("[2001:db8::1]:0").ip()];
    net.next_resolve("example.com", Err(io::ErrorKind::TimedOut.into()));
    net.next_resolve("example.com", Ok(found.clone()));

    let resolve = |host: &str| ready(|cx| net.resolve(host).poll_unpin(cx));
    let timed_out = resolve("example.com").expect_err("the scripted error");
    assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut);
    assert_eq!(resolve("example.com").expect("addresses"), found);
    let unknown = resolve("example.com").expect_err("the scripted error");
    assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
    assert_eq!(
        resolve("localhost").expect("addresses"),
        [Ipv4Addr::LOCALHOST]
    );
    assert_eq!(net.calls().len(), 4);
}

#[test]
fn a_blocked_resolve_is_woken_when_the_guard_is_dropped() {
    let net = ScriptedNetwork::new();
    let block = net.block_resolve("localhost");
    let wakes = WakeCounter::new();
    let mut blocked = net.resolve("localhost");
    assert!(wakes.with(|cx| blocked.poll_unpin(cx)).is_pending());
    net.next_resolve("other", Ok(vec![]));
    assert!(ready(|cx| net.resolve("other").poll_unpin(cx)).is_ok());

    drop(block);
    assert_eq!(wakes.count(), 1);
    assert!(ready(|cx| blocked.poll_unpin(cx)).is_ok());
}
