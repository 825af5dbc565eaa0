//! What is in a batch, who gets it, and in which order.

use std::process::{Command, Stdio};

use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo, WINDOW};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::testing::FaultyNetwork;
use chrome_sockets::{Error, Event, MAX_BATCH, NetError, OnEvent, Registry};
use support::ListenerEvent;

use super::*;

#[actix_rt::test]
async fn what_a_turn_received_is_one_message() {
    let mut fixture = Fixture::new(20, 100).await;
    for (i, (_, peer)) in fixture.clients.iter().enumerate() {
        peer.send(format!("{i:03}"));
    }
    let batch = fixture.next().await;
    assert_eq!((batch.len(), batch.is_empty()), (20, false));
    let expected: Vec<_> = (0..20).map(|i| format!("{i:03}")).collect();
    assert_eq!(data_of(&batch), expected);
    let mut events = batch.into_iter();
    assert_eq!(events.len(), 20);
    for (info, (client, _)) in events.by_ref().zip(&fixture.clients) {
        assert_eq!(info.client(), client);
        assert_eq!(info.socket_id, client.id());
        client.forward(info).expect("it is open");
    }
    assert_eq!(events.len(), 0);
    for ((_, peer), sent) in fixture.clients.iter().zip(&expected) {
        assert_eq!(peer.received(), sent.as_bytes());
    }
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_batch_has_no_more_events_than_it_may() {
    // Every byte is an event, and a turn reads more of them than a batch has.
    let mut fixture = Fixture::new(16, 1).await;
    let sent = [b'a'..=b'z', b'A'..=b'Z'].into_iter().flatten();
    let sent: Vec<u8> = sent.collect();
    for (_, peer) in &fixture.clients {
        peer.send(&sent);
    }
    let mut received = vec![Vec::new(); fixture.clients.len()];
    let mut longest = 0;
    while received.iter().any(|it| it.len() < sent.len()) {
        let batch = fixture.next().await;
        longest = longest.max(batch.len());
        for info in batch {
            assert_eq!(info.data.len(), 1);
            let of = fixture.index_of(info.socket_id);
            received[of].extend_from_slice(&info.data);
        }
    }
    assert_eq!(longest, MAX_BATCH, "some are full, and none is longer");
    assert!(received.iter().all(|it| *it == sent));
    fixture.assert_alive().await;
}

/// Echoes batches.
struct BatchEcho;

impl Actor for BatchEcho {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for BatchEcho {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
    }
}

impl Handler<ReceiveBatch> for BatchEcho {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
        for info in batch {
            info.send_back().expect("it is open");
        }
    }
}

impl Handler<ReceiveErrorInfo> for BatchEcho {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().do_close();
    }
}

#[actix_rt::test]
async fn a_turn_that_has_received_much_leaves_the_rest_to_later_turns() {
    let window = i32::try_from(WINDOW).expect("a buffer's size");
    let mut fixture = Fixture::new(7, window).await;
    for (_, peer) in &fixture.clients {
        peer.send(vec![1; WINDOW]);
    }
    let mut ids = Vec::new();
    for expected in [2, 2, 2, 1] {
        let batch = fixture.next().await;
        assert_eq!(batch.len(), expected);
        assert!(batch.iter().all(|info| info.data.len() == WINDOW));
        ids.extend(batch.iter().map(|info| info.socket_id));
    }
    let all: Vec<_> = fixture.clients.iter().map(|(it, _)| it.id()).collect();
    assert_eq!(ids, all, "each socket has its turn");
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn an_echo_by_batches_returns_to_each_foreign_peer_what_it_has_sent() {
    const PEER: &str = "
import os, socket, sys, threading
data = os.urandom(3_000_000)
peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
def write():
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
writer = threading.Thread(target=write)
writer.start()
got = b''.join(iter(lambda: peer.recv(65536), b''))
writer.join()
assert got == data, (len(got), len(data))
print('same')
";
    let test = TestApp::new().await;
    test.remove_listener().await;
    let echo = BatchEcho.start();
    let (tcp, server) = (&test.app.tcp, &test.app.tcp_server);
    server.on_accept.do_add_listener(echo.clone().recipient());
    tcp.on_receive_error
        .do_add_listener(echo.clone().recipient());
    let added = tcp.on_receive_batch.add_listener(echo.recipient()).await;
    added.expect("the registry runs");
    let (_, address) = test.listen().await;
    let peers: Vec<_> = (0..6)
        .map(|_| {
            let mut python = Command::new("python3");
            python.args(["-c", PEER, &address.port().to_string()]);
            python.stdout(Stdio::piped()).spawn().expect("python3 runs")
        })
        .collect();
    for peer in peers {
        let done = tokio::task::spawn_blocking(move || peer.wait_with_output());
        let done = within("the echo", done).await.expect("no panic");
        assert_eq!(done.expect("its output").stdout, b"same\n");
    }
}

#[actix_rt::test]
async fn data_that_is_sent_back_keeps_its_credit_until_the_peer_takes_it() {
    let mut fixture = Fixture::new(2, 100).await;
    let (client, peer) = fixture.clients.remove(0);
    peer.limit_writes(3);
    peer.send("abcdef");
    fixture.clients[0].1.send("gh");
    for info in fixture.next().await {
        info.send_back().expect("it is open");
    }
    assert_eq!(fixture.clients[0].1.received(), b"gh");
    let mut paused = client.set_paused(true);
    fixture.until_raised().await;
    assert_eq!(peer.received(), b"abc");
    // The rest holds bytes of the window, and a handled event holds no pause.
    within("the pause", &mut paused).await.expect("it is open");
    assert_eq!(client.queued_bytes(), 3);
    peer.unlimit_writes();
    support::until("the rest", || client.queued_bytes() == 0).await;
    assert_eq!(peer.received(), b"abcdef");
    client.close().await.expect("it is open");
    peer.send("late");
    let batch = {
        fixture.clients[0].1.send("x");
        fixture.next().await
    };
    let open = fixture.clients[0].0.clone();
    open.close().await.expect("it is open");
    for info in batch {
        assert_eq!(info.send_back(), Err(Error::SocketNotFound));
    }
    let code = fixture.test.ended(open.id()).await;
    assert_eq!(code, NetError::CONNECTION_CLOSED);
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn listeners_of_both_kinds_get_every_event_once_and_in_order() {
    let mut fixture = Fixture::new(3, 2).await;
    let singles = fixture.test.listener.clone();
    let (sender, mut second) = unbounded_channel();
    let another = EventSender::<ReceiveBatch>(sender).start();
    let tcp = &fixture.test.app.tcp;
    tcp.on_receive.do_add_listener(singles.recipient());
    let added = tcp.on_receive_batch.add_listener(another.recipient());
    added.await.expect("the registry runs");
    for (_, peer) in &fixture.clients {
        peer.send("abcdef");
    }
    let (first, second_batch) = (fixture.next().await, within("a batch", second.recv()).await);
    let second_batch = second_batch.expect("it runs");
    assert_eq!(data_of(&first), ["ab", "cd", "ef"].repeat(3));
    assert_eq!(data_of(&second_batch), data_of(&first));
    for (client, _) in &fixture.clients {
        assert_eq!(fixture.test.received(client.id(), 6).await, b"abcdef");
    }
    // Each copy counts: the last one ends the wait of a pause.
    let client = fixture.clients[0].0.clone();
    let mut paused = client.set_paused(true);
    drop(first);
    fixture.until_raised().await;
    assert!(futures::FutureExt::now_or_never(&mut paused).is_none());
    drop(second_batch);
    within("the pause", paused).await.expect("it is open");
    client.set_paused(false).await.expect("it is open");
    second.close();
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn listeners_are_found_and_removed_by_their_kind() {
    async fn has<E: Event>(event: &OnEvent<E>, listener: &Recipient<E>) -> bool
    where
        Registry: Handler<chrome_sockets::HasListener<E>>,
    {
        let found = event.has_listener(listener.clone()).await;
        found.expect("the registry runs")
    }
    let mut fixture = Fixture::new(1, 100).await;
    let tcp = fixture.test.app.tcp.clone();
    let batches: Recipient<ReceiveBatch> = fixture.listener.clone().recipient();
    let singles: Recipient<ReceiveInfo> = fixture.test.listener.clone().recipient();
    assert!(has(&tcp.on_receive_batch, &batches).await);
    assert!(!has(&tcp.on_receive, &singles).await);
    assert_eq!(tcp.on_receive.has_listeners().await, Ok(true));
    // Twice is once.
    let again = tcp.on_receive_batch.add_listener(batches.clone());
    again.await.expect("the registry runs");
    fixture.assert_alive().await;
    let removed = tcp.on_receive_batch.remove_listener(batches.clone());
    removed.await.expect("the registry runs");
    assert!(!has(&tcp.on_receive_batch, &batches).await);
    assert_eq!(tcp.on_receive_batch.has_listeners().await, Ok(false));
    // Without a listener nothing is read.
    fixture.clients[0].1.send("later");
    fixture.until_raised().await;
    assert!(fixture.batches.try_recv().is_err());
    let added = tcp.on_receive_batch.add_listener(batches);
    added.await.expect("the registry runs");
    assert_eq!(fixture.take(5).await, [b"later"]);
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn the_end_of_a_connection_comes_after_all_of_its_batches_are_handled() {
    let mut fixture = Fixture::new(2, 1).await;
    for (_, peer) in &fixture.clients {
        peer.send("abc");
    }
    fixture.clients[0].1.shutdown();
    let batch = fixture.next().await;
    assert_eq!(data_of(&batch).concat(), b"abcabc");
    fixture.test.expect_no_event().await;
    // What is left of the batch is of the other socket.
    let ended = fixture.clients[0].0.id();
    let mut events = batch.into_iter();
    while events.len() > 3 {
        assert_eq!(events.next().map(|info| info.socket_id), Some(ended));
    }
    let code = fixture.test.ended(ended).await;
    assert_eq!(code, NetError::CONNECTION_CLOSED);
    drop(events);
    fixture.clients.remove(0);
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn an_actor_of_the_sockets_that_panics_in_a_turn_sends_what_the_turn_has_received() {
    const ROUNDS: usize = 20;
    let scripted = ScriptedNetwork::new();
    let faulty = FaultyNetwork::new(scripted.clone(), 7);
    let test = TestApp::with_network(faulty.clone()).await;
    let (listener, batches) = listen_for_batches(&test).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(connect(&test.app, &scripted, 100).await);
    }
    let mut fixture = Fixture {
        test,
        clients,
        batches,
        listener,
    };
    let rule = faulty.inject("panic=clients,every=5".parse().expect("a rule"));
    let mut received = vec![Vec::new(); 10];
    for round in 0..ROUNDS {
        for (_, peer) in &fixture.clients {
            peer.send([round as u8; 10]);
        }
        for (all, more) in received.iter_mut().zip(fixture.take(100).await) {
            all.extend(more);
        }
    }
    assert!(faulty.triggered(rule) > ROUNDS as u64);
    faulty.clear();
    let sent: Vec<u8> = (0..ROUNDS).flat_map(|round| [round as u8; 10]).collect();
    assert!(received.iter().all(|it| *it == sent), "in order, and once");
    fixture.assert_alive().await;
    match fixture.test.try_next() {
        None => {}
        Some(ListenerEvent::ReceiveError(id, code)) => panic!("{id} has ended: {code}"),
        Some(other) => panic!("expected no event, not {other:?}"),
    }
}
