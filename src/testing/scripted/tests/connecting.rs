//! Connecting and resolving.

use crate::testing::scripted::tests::*;

#[test]
fn a_connect_to_a_listener_joins_the_two() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let mut near = now(|cx| net.connect(at).poll_unpin(cx)).expect("it connects");
    let (mut far, from) = accept(&mut *listener).expect("a connection waits");
    assert_eq!(near.local_addr().expect("it has an address"), from);

    let bell = Bell::new();
    assert!(bell.with(|cx| read(&mut *far, cx)).is_pending());
    assert_eq!(
        now(|cx| write(&mut *near, cx, b"ping")).expect("it is written"),
        4
    );
    assert_eq!(bell.rings(), 1);
    assert_eq!(now(|cx| read(&mut *far, cx)).expect("it is read"), b"ping");
    assert_eq!(
        now(|cx| write(&mut *far, cx, b"pong")).expect("it is written"),
        4
    );

    assert!(bell.with(|cx| read(&mut *far, cx)).is_pending());
    assert_eq!(now(|cx| read(&mut *near, cx)).expect("it is read"), b"pong");
    drop(near);
    assert_eq!(bell.rings(), 2);
    assert_eq!(now(|cx| read(&mut *far, cx)).expect("it is read"), b"");
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
    let mut stream = now(|cx| net.connect(to).poll_unpin(cx)).expect("it connects");
    assert_eq!(server.addr(), to);
    assert_eq!(
        stream.local_addr().expect("it has an address"),
        server.stream_addr()
    );
    assert_eq!(
        now(|cx| read(&mut *stream, cx)).expect("it is read"),
        b"early"
    );
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
    let timed_out = resolve("example.com").expect_err("the script says so");
    assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut);
    assert_eq!(resolve("example.com").expect("it is resolved"), found);
    let unknown = resolve("example.com").expect_err("the script says so");
    assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
    assert_eq!(
        resolve("localhost").expect("it is resolved"),
        [Ipv4Addr::LOCALHOST]
    );
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
