//! Listening and accepting.

use crate::testing::scripted::state::{CLIENT_PORTS, LISTENING_PORTS, Ports};
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
    let _used = net.listen(address("0.0.0.0:49152"), 1).expect("a listener");
    assert_eq!(listener(&net).1.port(), 49153);
}

#[test]
fn ports_start_again_after_the_last() {
    let mut used = 0;
    let ports: Vec<_> = (0..=Ports::COUNT)
        .map(|_| LISTENING_PORTS.next(&mut used))
        .collect();
    assert_eq!(ports[ports.len() - 2..], [65535, 49152]);
    used = Ports::COUNT - 1;
    assert_eq!(CLIENT_PORTS.next(&mut used), 49151);
}

#[test]
fn an_address_in_use_cannot_be_listened_on() {
    let net = ScriptedNetwork::new();
    let _listener = net.listen(address("127.0.0.1:80"), 1).expect("a listener");
    for taken in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80"] {
        let result = net.listen(address(taken), 1).map(drop);
        assert_eq!(errno(result), libc::EADDRINUSE, "{taken}");
    }
    for free in ["127.0.0.2:80", "[::1]:80", "127.0.0.1:81"] {
        assert!(net.listen(address(free), 1).is_ok(), "{free}");
    }
}

#[test]
fn dropping_a_listener_frees_its_address_and_resets_waiting_clients() {
    let net = ScriptedNetwork::new();
    let (listener, at) = listener(&net);
    let client = net.client(at).expect("a listener");
    let mut stream = connect(&net, at);
    let wakes = WakeCounter::new();
    assert!(wakes.with(|cx| read(&mut *stream, cx)).is_pending());

    drop(listener);
    assert!(client.is_closed());
    assert_eq!(wakes.count(), 1);
    assert_eq!(read_errno(&mut *stream), libc::ECONNRESET);
    assert_eq!(errno(net.client(at)), libc::ECONNREFUSED);
    assert_eq!(errno(net.accept_error(at, 1)), libc::ECONNREFUSED);
    assert!(net.listening().is_empty());
    assert!(net.listen(at, 1).is_ok());
}

#[test]
fn a_listen_error_fails_one_listen() {
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
        .map(|_| net.client(at).expect("a listener"))
        .collect();
    assert_eq!(net.waiting(at), 3);
    for client in &clients {
        let (stream, from) = accept(&mut *listener);
        assert_eq!(from, client.addr());
        assert_eq!(stream.local_addr().ok(), Some(at.into()));
        assert_eq!(client.stream_addr(), at);
        drop(stream);
        assert!(client.is_closed());
    }
    assert_eq!(net.waiting(at), 0);
}

#[test]
fn an_accept_error_keeps_its_position_in_the_backlog() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let before = net.client(at).expect("a listener");
    push_error(&net, at, libc::EMFILE);
    push_error(&net, at, libc::ENFILE);
    let after = net.client(at).expect("a listener");

    assert_eq!(accept(&mut *listener).1, before.addr());
    assert_eq!(accept_errno(&mut *listener), libc::EMFILE);
    assert_eq!(accept_errno(&mut *listener), libc::ENFILE);
    assert_eq!(accept(&mut *listener).1, after.addr());
}

#[test]
fn a_pending_accept_is_woken_by_a_client_and_by_an_error() {
    let net = ScriptedNetwork::new();
    let (mut listener, at) = listener(&net);
    let wakes = WakeCounter::new();
    assert!(wakes.with(|cx| listener.poll_accept(cx)).is_pending());
    let _client = net.client(at).expect("a listener");
    assert_eq!(wakes.count(), 1);
    accept(&mut *listener);

    assert!(wakes.with(|cx| listener.poll_accept(cx)).is_pending());
    push_error(&net, at, libc::EMFILE);
    assert_eq!(wakes.count(), 2);
}

#[test]
fn a_full_backlog_refuses_until_one_is_accepted() {
    let net = ScriptedNetwork::new();
    let at = address("127.0.0.1:80");
    let mut listener = net.listen(at, 1).expect("a listener");
    let _first = net.client(at).expect("a listener");
    // An error takes no room in the backlog.
    push_error(&net, at, libc::EMFILE);
    assert_eq!(errno(net.client(at)), libc::ECONNREFUSED);
    assert_eq!(connect_errno(&net, at), libc::ECONNREFUSED);

    accept(&mut *listener);
    assert!(net.client(at).is_ok());
}

#[test]
fn a_listener_on_all_addresses_is_reached_at_each() {
    let net = ScriptedNetwork::new();
    let mut listener = net.listen(address("[::]:80"), 8).expect("a listener");
    for (to, reached) in [
        ("[::]:80", "[::1]:80"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("127.0.0.1:80", "127.0.0.1:80"),
    ] {
        let _client = net.client(address(to)).expect("a listener");
        let (stream, _) = accept(&mut *listener);
        assert_eq!(stream.local_addr().ok(), Some(address(reached).into()));
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
    let mut first = net.listen_shared(at, 1).expect("a listener");
    let mut second = net.listen_shared(at, 2).expect("a shared listener");
    assert_eq!(errno(net.listen(at, 1).map(drop)), libc::EADDRINUSE);
    assert_eq!(net.listening(), [at]);

    let wakes = [WakeCounter::new(), WakeCounter::new()];
    assert!(wakes[0].with(|cx| first.poll_accept(cx)).is_pending());
    assert!(wakes[1].with(|cx| second.poll_accept(cx)).is_pending());
    let clients: Vec<_> = (0..3)
        .map(|_| net.client(at).expect("room in a backlog"))
        .collect();
    assert_eq!(errno(net.client(at)), libc::ECONNREFUSED);
    assert_eq!((wakes[0].count(), wakes[1].count()), (1, 1));
    assert_eq!((first.backlog(), second.backlog()), (Some(1), Some(2)));
    assert_eq!(net.waiting(at), 3);

    let (_stream, from) = accept(&mut *first);
    assert_eq!(from, clients[0].addr());
    let (_stream, from) = accept(&mut *second);
    assert_eq!(from, clients[1].addr());
}

#[test]
fn a_dropped_listener_resets_only_its_own_backlog() {
    let net = ScriptedNetwork::new();
    let at = address("127.0.0.1:80");
    let first = net.listen_shared(at, 8).expect("a listener");
    let mut second = net.listen_shared(at, 8).expect("a shared listener");
    let clients = [(); 2].map(|()| net.client(at).expect("a listener"));
    drop(first);
    assert!(clients[0].is_closed());
    assert!(!clients[1].is_closed());
    let late = net.client(at).expect("the other listener");
    for client in [&clients[1], &late] {
        let (_stream, from) = accept(&mut *second);
        assert_eq!(from, client.addr());
    }
    push_error(&net, at, libc::EMFILE);
    assert_eq!(accept_errno(&mut *second), libc::EMFILE);
    drop(second);
    assert!(net.listening().is_empty());
    assert!(net.listen(at, 1).is_ok());
}

#[test]
fn a_shared_listener_cannot_use_an_address_that_is_not_shared() {
    let net = ScriptedNetwork::new();
    let (_listener, at) = listener(&net);
    let shared = net.listen_shared(at, 1).map(drop);
    assert_eq!(errno(shared), libc::EADDRINUSE);
}

#[test]
fn an_ipv6_only_listener_leaves_ipv4_to_another_one() {
    let net = ScriptedNetwork::new();
    let (all_v6, all_v4) = (address("[::]:80"), address("0.0.0.0:80"));
    let mut v6 = net
        .listen_ipv6_only(all_v6, 8, false)
        .expect("an IPv6 listener");
    let client_v4 = net.client(address("127.0.0.1:80"));
    assert_eq!(errno(client_v4), libc::ECONNREFUSED);
    for taken in ["[::]:80", "[::1]:80"] {
        let result = net.listen(address(taken), 1).map(drop);
        assert_eq!(errno(result), libc::EADDRINUSE, "{taken}");
    }

    let mut v4 = net.listen(all_v4, 8).expect("an IPv4 listener");
    assert_eq!(net.listening(), [all_v4, all_v6]);
    for (listener, to) in [(&mut v4, "127.0.0.1:80"), (&mut v6, "[::1]:80")] {
        let client = net.client(address(to)).expect("a listener");
        assert_eq!(accept(&mut **listener).1, client.addr());
    }
    drop(v6);
    let both = net.listen(all_v6, 1).map(drop);
    assert_eq!(errno(both), libc::EADDRINUSE);
}

#[test]
fn listeners_that_share_an_address_all_take_ipv4_or_none_does() {
    let net = ScriptedNetwork::new();
    let at = address("[::]:80");
    let _first = net.listen_ipv6_only(at, 1, true).expect("a listener");
    let _second = net.listen_ipv6_only(at, 1, true).expect("another one");
    assert_eq!(errno(net.listen_shared(at, 1).map(drop)), libc::EADDRINUSE);
    assert!(net.listen_shared(address("0.0.0.0:80"), 1).is_ok());
}
