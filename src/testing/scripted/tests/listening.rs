//! Listening and accepting.

use crate::testing::scripted::tests::*;

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
    let _used = net.listen(address("0.0.0.0:49152"), 1).expect("it listens");
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
    let _listener = net.listen(address("127.0.0.1:80"), 1).expect("it listens");
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
    let client = net.client(at).expect("somebody listens");
    let mut stream = now(|cx| net.connect(at).poll_unpin(cx)).expect("it connects");
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
    let clients: Vec<_> = (0..3)
        .map(|_| net.client(at).expect("somebody listens"))
        .collect();
    assert_eq!(net.waiting(at), 3);
    for client in &clients {
        let (stream, from) = accept(&mut *listener).expect("a connection waits");
        assert_eq!(from, client.addr());
        assert_eq!(stream.local_addr().expect("it has an address"), at);
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
    let before = net.client(at).expect("somebody listens");
    net.accept_error(at, libc::EMFILE)
        .expect("somebody listens");
    net.accept_error(at, libc::ENFILE)
        .expect("somebody listens");
    let after = net.client(at).expect("somebody listens");

    assert_eq!(
        accept(&mut *listener).expect("a connection waits").1,
        before.addr()
    );
    assert_eq!(accept_errno(&mut *listener), libc::EMFILE);
    assert_eq!(accept_errno(&mut *listener), libc::ENFILE);
    assert_eq!(
        accept(&mut *listener).expect("a connection waits").1,
        after.addr()
    );
}

#[test]
fn a_pending_accept_is_woken_by_a_client_and_by_an_error() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let bell = Bell::new();
    assert!(bell.with(|cx| listener.poll_accept(cx)).is_pending());
    let _client = net.client(at).expect("somebody listens");
    assert_eq!(bell.rings(), 1);
    accept(&mut *listener).expect("a connection waits");

    assert!(bell.with(|cx| listener.poll_accept(cx)).is_pending());
    net.accept_error(at, libc::EMFILE)
        .expect("somebody listens");
    assert_eq!(bell.rings(), 2);
}

#[test]
fn a_full_backlog_refuses_until_one_is_accepted() {
    let net = ScriptedNetwork::new();
    let at = address("127.0.0.1:80");
    let mut listener = net.listen(at, 1).expect("it listens");
    let _first = net.client(at).expect("somebody listens");
    // A fault in line is nobody's place.
    net.accept_error(at, libc::EMFILE)
        .expect("somebody listens");
    assert_eq!(errno(net.client(at)), libc::ECONNREFUSED);
    assert_eq!(connect_errno(&net, at), libc::ECONNREFUSED);

    accept(&mut *listener).expect("a connection waits");
    assert!(net.client(at).is_ok());
}

#[test]
fn who_listens_on_all_addresses_is_reached_at_each() {
    let net = ScriptedNetwork::new();
    let mut listener = net.listen(address("[::]:80"), 8).expect("it listens");
    for (to, reached) in [
        ("[::]:80", "[::1]:80"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("127.0.0.1:80", "127.0.0.1:80"),
    ] {
        let _client = net.client(address(to)).expect("somebody listens");
        let (stream, _) = accept(&mut *listener).expect("a connection waits");
        assert_eq!(
            stream.local_addr().expect("it has an address"),
            address(reached)
        );
    }
    assert_eq!(
        errno(net.client(address("127.0.0.1:81"))),
        libc::ECONNREFUSED
    );
}

#[test]
fn listeners_that_share_an_address_get_its_connections_in_turn() {
    let net = ScriptedNetwork::new();
    let at = address("127.0.0.1:80");
    let mut first = net.listen_shared(at, 1).expect("it listens");
    let mut second = net.listen_shared(at, 2).expect("it shares");
    assert_eq!(errno(net.listen(at, 1).map(drop)), libc::EADDRINUSE);
    assert_eq!(net.listening(), [at]);

    let bells = [Bell::new(), Bell::new()];
    assert!(bells[0].with(|cx| first.poll_accept(cx)).is_pending());
    assert!(bells[1].with(|cx| second.poll_accept(cx)).is_pending());
    let clients: Vec<_> = (0..3)
        .map(|_| net.client(at).expect("one has room"))
        .collect();
    assert_eq!(errno(net.client(at)), libc::ECONNREFUSED);
    assert_eq!((bells[0].rings(), bells[1].rings()), (1, 1));
    assert_eq!((first.backlog(), second.backlog()), (Some(1), Some(2)));
    assert_eq!(net.waiting(at), 3);

    let (_stream, from) = accept(&mut *first).expect("a connection waits");
    assert_eq!(from, clients[0].addr());
    let (_stream, from) = accept(&mut *second).expect("a connection waits");
    assert_eq!(from, clients[1].addr());
}

#[test]
fn a_listener_that_is_dropped_resets_its_own_backlog_alone() {
    let net = ScriptedNetwork::new();
    let at = address("127.0.0.1:80");
    let first = net.listen_shared(at, 8).expect("it listens");
    let mut second = net.listen_shared(at, 8).expect("it shares");
    let clients = [(); 2].map(|()| net.client(at).expect("somebody listens"));
    drop(first);
    assert!(clients[0].is_closed());
    assert!(!clients[1].is_closed());
    let late = net.client(at).expect("the other one listens");
    for client in [&clients[1], &late] {
        let (_stream, from) = accept(&mut *second).expect("a connection waits");
        assert_eq!(from, client.addr());
    }
    net.accept_error(at, libc::EMFILE)
        .expect("the other one listens");
    assert_eq!(accept_errno(&mut *second), libc::EMFILE);
    drop(second);
    assert!(net.listening().is_empty());
    assert!(net.listen(at, 1).is_ok());
}

#[test]
fn an_address_that_is_not_shared_stays_taken_for_those_that_share() {
    let net = ScriptedNetwork::new();
    let (_listener, at) = listener(&net);
    let shared = net.listen_shared(at, 1).map(drop);
    assert_eq!(errno(shared), libc::EADDRINUSE);
}
