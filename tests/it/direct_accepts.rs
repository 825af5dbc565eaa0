//! On a shared port, arbiters raise `onAccept` in their own threads, as long as the server socket
//! has nothing to decide. What it decides holds for the next connection.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;

use actix::prelude::*;
use chrome_sockets::proxy_protocol::ProxyProtocol;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptInfo, AtLimit, Limit, Limits, UNHANDLED_ACCEPTS};
use chrome_sockets::{AppLimits, ClientSocketId, NetError, Registry, ServerSocketId};
use support::{LIMIT, ListenerEvent, TestApp, until, within};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::arbiters::recording_network::RecordingNetwork;
use crate::arbiters::shared_port::listen_at;

/// So many that each of two arbiters gets some.
const MANY: usize = 40;

/// A server socket that listens in two arbiters, and has had a turn.
async fn listening() -> (TestApp, ServerSocketId, SocketAddr) {
    listening_at(Registry::new(), "127.0.0.1").await
}

async fn listening_at(registry: Registry, address: &str) -> (TestApp, ServerSocketId, SocketAddr) {
    let test = TestApp::on(registry.arbiters(2)).await;
    let (id, at) = listen_at(&test, address).await;
    (test, id, at)
}

/// Connections that the kernel has made; this thread had nothing else to do meanwhile.
fn dial_many(at: SocketAddr) -> Vec<TcpStream> {
    let dial = |_| TcpStream::connect(at).expect("it listens");
    (0..MANY).map(dial).collect()
}

/// The next clients, which were raised once each.
async fn accepted(test: &mut TestApp, count: usize) -> HashSet<ClientSocketId> {
    let mut clients = HashSet::new();
    for _ in 0..count {
        assert!(clients.insert(test.accepted().await.id()), "raised once");
    }
    test.expect_no_event().await;
    clients
}

/// Echoes one client.
struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        info.send_back().expect("it is open");
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, _: ReceiveErrorInfo, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[actix_rt::test]
async fn clients_are_served_while_the_thread_of_their_server_socket_is_busy() {
    let (test, id, at) = listening().await;
    let server = &test.app.tcp_server;
    let serving = server.serve(id, |_, _| Echo);
    serving.await.expect("it serves");
    let (sender, answers) = channel();
    let peers: Vec<_> = (0..MANY)
        .map(|_| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut peer = TcpStream::connect(at).expect("it listens");
                peer.set_read_timeout(Some(LIMIT)).expect("it is set");
                peer.write_all(b"ping").expect("write");
                let mut answer = [0; 4];
                peer.read_exact(&mut answer).expect("an answer");
                let _ = sender.send(answer);
            })
        })
        .collect();
    // This is the thread of the registry and of the server socket. It waits, and nothing in it
    // has a turn before a client in the other arbiter was served.
    let first = answers.recv_timeout(LIMIT / 2).expect("an answer");
    assert_eq!(&first, b"ping");
    // The others are served as well.
    until("every answer", || peers.iter().all(|it| it.is_finished())).await;
    peers.into_iter().for_each(|it| it.join().expect("served"));
    let info = server.get_info(id).await.expect("it exists");
    assert_eq!(info.counts.accepted, MANY as u64);
    assert_eq!(info.counts.delivered, MANY as u64);
}

#[actix_rt::test]
async fn a_listener_hears_of_each_client_once_and_in_order() {
    let (mut test, id, at) = listening().await;
    let mut last = 0;
    for round in 1..=10 {
        let peers = dial_many(at);
        for _ in 0..MANY {
            let client = test.accepted().await.id().get();
            assert!(client > last, "{client} after {last}");
            last = client;
        }
        test.expect_no_event().await;
        let info = test.app.tcp_server.get_info(id).await.expect("it exists");
        assert_eq!(info.counts.accepted, round * MANY as u64);
        drop(peers);
    }
}

#[actix_rt::test]
async fn a_new_limit_of_the_app_holds_at_once() {
    let (mut test, id, at) = listening().await;
    let _before = dial_many(at);
    let first = accepted(&mut test, MANY).await;
    // The registry sets it, without a turn of the server socket.
    let connections = Some(Limit {
        most: MANY + 3,
        then: AtLimit::Queue,
    });
    let limited = Limits {
        connections,
        ..Limits::default()
    };
    let limits = AppLimits {
        accepted: limited,
        ..AppLimits::default()
    };
    test.app.set_limits(limits).await.expect("valid limits");
    let _after = dial_many(at);
    accepted(&mut test, 3).await;
    for client in first.iter().take(2) {
        test.app.tcp.close(*client).await.expect("it is open");
    }
    accepted(&mut test, 2).await;
    let limits = AppLimits::default();
    test.app.set_limits(limits).await.expect("valid limits");
    accepted(&mut test, MANY - 5).await;
    let info = test.app.tcp_server.get_info(id).await.expect("it exists");
    assert_eq!(info.counts.accepted, 2 * MANY as u64);
    // It accepts in both arbiters as before.
    let _last = dial_many(at);
    accepted(&mut test, MANY).await;
}

#[actix_rt::test]
async fn proxy_headers_are_expected_from_the_answer_on() {
    let (mut test, id, at) = listening().await;
    let server = test.app.tcp_server.clone();
    for _ in 0..5 {
        let settings = ProxyProtocol {
            networks: vec!["127.0.0.0/8".parse().expect("a network")],
            ..ProxyProtocol::default()
        };
        let set = server.set_proxy_protocol(id, Some(settings)).await;
        set.expect("valid settings");
        let mut proxies = dial_many(at);
        test.expect_no_event().await;
        for proxy in &mut proxies {
            let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n";
            proxy.write_all(header).expect("write");
        }
        accepted(&mut test, MANY).await;
        let set = server.set_proxy_protocol(id, None).await;
        set.expect("it exists");
        let _peers = dial_many(at);
        accepted(&mut test, MANY).await;
    }
}

#[actix_rt::test]
async fn nothing_is_raised_after_the_answer_to_close_or_disconnect() {
    for closes in [true, false] {
        let (mut test, id, at) = listening().await;
        let dials = std::thread::spawn(move || {
            let dial = |_| TcpStream::connect(at).ok();
            (0..10 * MANY).map(dial).collect::<Vec<_>>()
        });
        test.accepted().await;
        let server = &test.app.tcp_server;
        let ended = match closes {
            true => server.close(id),
            false => server.disconnect(id),
        };
        ended.await.expect("it is open");
        let open = test.app.tcp.get_sockets().await.expect("it runs").len();
        until("the last dial", || dials.is_finished()).await;
        // Each of these clients was raised; events may still have been on their way.
        let mut heard = 1;
        until("an event of each client", || {
            while let Some(event) = test.try_next() {
                assert!(matches!(event, ListenerEvent::Accept(..)), "{event:?}");
                heard += 1;
            }
            heard == open
        })
        .await;
        test.expect_no_event().await;
        let sockets = test.app.tcp.get_sockets().await.expect("it runs");
        assert_eq!(sockets.len(), open, "no client without an event");
    }
}

#[actix_rt::test]
async fn a_panic_in_another_arbiter_loses_one_connection_and_is_reported() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone());
    // Listening on all addresses, it asks each connection for its own.
    let (mut test, id, at) = listening_at(registry, "0.0.0.0").await;
    network_log.panic_elsewhere();
    let _peers = dial_many(at);
    let (mut clients, mut lost) = (0, 0);
    for _ in 0..MANY {
        match test.next().await {
            ListenerEvent::Accept(..) => clients += 1,
            ListenerEvent::AcceptError(from, code) => {
                assert_eq!((from, code), (id, NetError::FAILED));
                lost += 1;
            }
            other => panic!("expected no {other:?}"),
        }
    }
    assert_eq!((clients, lost), (MANY - 1, 1));
    let info = test.app.tcp_server.get_info(id).await.expect("it exists");
    assert_eq!((info.counts.accepted, info.counts.failed), (MANY as u64, 1));
    assert!(!info.paused);
    let _later = dial_many(at);
    accepted(&mut test, MANY).await;
}

/// Keeps the events that it gets.
struct Keeper(UnboundedSender<AcceptInfo>);

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Keeper {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let _ = self.0.send(info);
    }
}

/// Ends a [`Keeper`].
#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Handler<Die> for Keeper {
    type Result = ();

    fn handle(&mut self, _: Die, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Replaces the test's own listener of `onAccept`.
async fn keep_events(test: &TestApp) -> (Addr<Keeper>, UnboundedReceiver<AcceptInfo>) {
    let (sender, events) = unbounded_channel();
    let keeper = Keeper(sender).start();
    let on_accept = &test.app.tcp_server.on_accept;
    let own = test.listener.clone().recipient();
    on_accept.remove_listener(own).await.expect("it runs");
    let kept = on_accept.add_listener(keeper.clone().recipient()).await;
    kept.expect("it runs");
    (keeper, events)
}

#[actix_rt::test]
async fn no_more_events_are_in_flight_than_their_bound() {
    let (test, id, at) = listening().await;
    let (_keeper, mut events) = keep_events(&test).await;
    let _peers = (dial_many(at), dial_many(at), dial_many(at));
    let mut kept = Vec::new();
    for _ in 0..UNHANDLED_ACCEPTS {
        kept.push(within("an event", events.recv()).await.expect("it lives"));
    }
    for handled in 0..(3 * MANY - UNHANDLED_ACCEPTS) {
        actix_rt::time::sleep(std::time::Duration::from_millis(2)).await;
        assert!(events.try_recv().is_err(), "after {handled}");
        kept.remove(0);
        kept.push(within("an event", events.recv()).await.expect("it lives"));
    }
    let info = test.app.tcp_server.get_info(id).await.expect("it exists");
    assert_eq!(info.counts.accepted, 3 * MANY as u64);
}

#[actix_rt::test]
async fn events_that_a_dead_listener_left_come_before_later_ones() {
    let (test, _, at) = listening().await;
    let (keeper, mut events) = keep_events(&test).await;
    let _before = dial_many(at);
    let mut kept = Vec::new();
    while kept.len() < MANY {
        kept.push(within("an event", events.recv()).await.expect("it lives"));
    }
    for info in kept.drain(..MANY / 2) {
        info.client().do_set_paused(false);
    }
    let expected: Vec<_> = kept.iter().map(|info| info.client_socket_id).collect();
    let (sender, mut events) = unbounded_channel();
    let next = Keeper(sender).start();
    let on_accept = &test.app.tcp_server.on_accept;
    let added = on_accept.add_listener(next.recipient()).await;
    added.expect("it runs");
    keeper.do_send(Die);
    until("its end", || !keeper.connected()).await;
    // The server socket has no turn before the events return. Acceptors could raise these.
    let _later = dial_many(at);
    drop(kept);
    let mut clients = Vec::new();
    for _ in 0..MANY / 2 + MANY {
        let info = within("an event", events.recv()).await.expect("it lives");
        clients.push(info.client_socket_id);
    }
    assert_eq!(clients[..MANY / 2], expected);
    assert!(clients.is_sorted());
}

#[actix_rt::test]
async fn a_suspension_raises_nothing_after_its_answer() {
    let (mut test, id, at) = listening().await;
    let server = test.app.tcp_server.clone();
    let persistent = chrome_sockets::tcp_server::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    server.update(id, persistent).await.expect("it exists");
    let mut come = HashSet::new();
    for round in 1..=20 {
        let dials = std::thread::spawn(move || dial_many(at));
        let suspended = test.app.suspend();
        within("the answer", suspended).await.expect("suspended");
        while let Some(event) = test.try_next() {
            match event {
                ListenerEvent::Accept(_, client) => assert!(come.insert(client.id())),
                other => panic!("expected onAccept, not {other:?}"),
            }
        }
        until("the dials", || dials.is_finished()).await;
        test.expect_no_event().await;
        let peers = dials.join().expect("they connect");
        let listener = test.listener.clone();
        server.on_accept.do_add_listener(listener.recipient());
        test.app.resume().await.expect("it runs");
        until("every client", || {
            while let Some(event) = test.try_next() {
                match event {
                    ListenerEvent::Accept(_, client) => assert!(come.insert(client.id())),
                    other => panic!("expected onAccept, not {other:?}"),
                }
            }
            come.len() == round * MANY
        })
        .await;
        drop(peers);
    }
    let info = server.get_info(id).await.expect("it exists");
    assert_eq!(info.counts.accepted, 20 * MANY as u64);
}
