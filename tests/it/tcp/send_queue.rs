//! The send queue of a socket: its length, its limit, its marks.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{
    ClientSocket, SendMarks, SendQueueInfo, SendQueueLevel, SocketListeners, SocketProperties,
};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{Error, NetError, Registry};
use support::{EventSender, Stop, TestApp, stoppable, until, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::fast_path::scripted;
use super::{LARGE, connected, pattern, read, read_to_end};
use SendQueueLevel::{High, Low};

fn limit(bytes: usize) -> SocketProperties {
    SocketProperties {
        send_limit: Some(bytes),
        ..Default::default()
    }
}

fn marks(high: usize, low: usize) -> SocketProperties {
    SocketProperties {
        send_marks: Some(SendMarks { high, low }),
        ..Default::default()
    }
}

/// Lets every actor have its turns.
async fn settle(client: &ClientSocket) {
    for _ in 0..3 {
        client.get_info().await.expect("it exists");
        for _ in 0..10 {
            actix_rt::task::yield_now().await;
        }
    }
}

#[actix_rt::test]
async fn queued_bytes_are_those_that_the_os_has_not_accepted() {
    let (test, client, peer) = scripted().await;
    client.try_send(&b"accepted"[..]).expect("it is connected");
    assert_eq!(client.queued_bytes(), 0);
    peer.limit_writes(3);
    client.try_send(&b"first"[..]).expect("it is connected");
    assert_eq!(client.queued_bytes(), 2);
    client.try_send(&b"second"[..]).expect("it is connected");
    let by_id = test.app.tcp.send(client.id(), &b"third"[..]);
    let info = test.app.tcp.get_info(client.id()).await;
    assert_eq!(info.map(|info| info.queued_bytes), Ok(13));
    assert_eq!(client.queued_bytes(), 13);
    for (accepted, left) in [(1, 12), (3, 9), (8, 1)] {
        peer.limit_writes(accepted);
        settle(&client).await;
        assert_eq!(client.queued_bytes(), left);
    }
    peer.unlimit_writes();
    by_id.await.expect("it is connected");
    assert_eq!(client.queued_bytes(), 0);
    assert_eq!(peer.received(), b"acceptedfirstsecondthird");
}

#[actix_rt::test]
async fn queued_bytes_count_until_the_bytes_are_accepted_or_lost() {
    let test = TestApp::new().await;
    for is_lost in [false, true] {
        let (client, mut peer) = connected(&test).await;
        client.try_send(pattern(LARGE)).expect("it is connected");
        let waiting = client.queued_bytes();
        assert!(0 < waiting && waiting < LARGE, "{waiting} bytes wait");
        if is_lost {
            client.reset().await.expect("it is open");
        } else {
            client.close().await.expect("it is open");
            assert!(client.queued_bytes() > 0, "it is still delivered");
            assert!(read_to_end(&mut peer).await == pattern(LARGE));
        }
        assert_eq!(client.queued_bytes(), 0);
    }
}

#[actix_rt::test]
async fn a_send_beyond_the_limit_is_refused_and_nothing_of_it_is_sent() {
    let (test, client, peer) = scripted().await;
    let full = || Err(Error::SendQueueFull);
    client.update(limit(100)).await.expect("update");
    let info = client.get_info().await.expect("it exists");
    assert_eq!(info.send_limit, Some(100));
    // The OS would take it, but might not.
    assert_eq!(client.try_send(vec![0; 101]), full());
    client.try_send(vec![1; 100]).expect("within the limit");
    assert_eq!(peer.received().len(), 100);
    peer.limit_writes(10);
    client.try_send(vec![2; 70]).expect("within the limit");
    assert_eq!(client.queued_bytes(), 60);
    assert_eq!(client.try_send(vec![0; 41]), full());
    let last = client.send(vec![3; 40]);
    for refused in [
        client.send(&b"x"[..]).await,
        test.app.tcp.send(client.id(), &b"x"[..]).await,
    ] {
        assert_eq!(refused.map(drop), full());
    }
    client.try_send(&b""[..]).expect("it takes no room");
    // What is queued stays when the limit is lowered.
    client.update(limit(1)).await.expect("update");
    assert_eq!(client.try_send(&b"x"[..]), full());
    peer.unlimit_writes();
    last.await.expect("it was queued");
    client.try_send(&b"y"[..]).expect("within the limit");
    assert_eq!(client.try_send(&b"xx"[..]), full());
    let sent = [&[1; 100][..], &[2; 70], &[3; 40], b"y"].concat();
    assert!(peer.received() == sent);

    client.update(limit(usize::MAX)).await.expect("update");
    let info = client.get_info().await.expect("it exists");
    assert_eq!(info.send_limit, None);
    client.try_send(vec![4; 1000]).expect("there is no limit");
    assert_eq!(peer.received().len(), sent.len() + 1000);
    assert_eq!(
        Error::SendQueueFull.net_error(),
        Some(NetError::INSUFFICIENT_RESOURCES)
    );
}

#[actix_rt::test]
async fn the_limit_is_exact_with_senders_in_several_threads() {
    let (_test, client, peer) = scripted().await;
    client.update(limit(1000)).await.expect("update");
    peer.limit_writes(0);
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || (0..1000).filter(|_| client.try_send("x").is_ok()).count())
        })
        .collect();
    let sent = senders.into_iter().map(|it| it.join().expect("no panic"));
    assert_eq!(sent.sum::<usize>(), 1000);
    assert_eq!(client.queued_bytes(), 1000);
}

#[actix_rt::test]
async fn forwarded_data_counts_in_the_limit() {
    let mut test = TestApp::new().await;
    test.remove_listener().await;
    let (sender, mut received) = unbounded_channel();
    let listener = EventSender(sender).start();
    test.app
        .tcp
        .on_receive
        .do_add_listener(listener.recipient());
    let accepts = test.listener.clone().recipient();
    test.app.tcp_server.on_accept.do_add_listener(accepts);
    let (client, mut peer) = super::pair(&mut test).await;
    client.set_paused(false).await.expect("it is open");
    client.update(limit(3)).await.expect("update");
    for (data, forwarded) in [("four", Err(Error::SendQueueFull)), ("yes", Ok(()))] {
        super::write(&mut peer, data.as_bytes()).await;
        let info = within("the data", received.recv()).await;
        let info = info.expect("it is alive");
        assert_eq!(client.forward(info), forwarded);
    }
    assert_eq!(read(&mut peer, 3).await, b"yes");
}

/// Events that the test holds, and so are not handled until it drops them.
async fn listen(test: &TestApp) -> UnboundedReceiver<SendQueueInfo> {
    let (sender, events) = unbounded_channel();
    let listener = EventSender(sender).start();
    let on_send_queue = &test.app.tcp.on_send_queue;
    let added = on_send_queue.add_listener(listener.recipient());
    added.await.expect("the registry runs");
    events
}

async fn next(events: &mut UnboundedReceiver<SendQueueInfo>) -> SendQueueInfo {
    let info = within("onSendQueue", events.recv()).await;
    info.expect("it is alive")
}

async fn expect(
    events: &mut UnboundedReceiver<SendQueueInfo>,
    client: &ClientSocket,
    level: SendQueueLevel,
    queued_bytes: usize,
) {
    let info = next(events).await;
    assert_eq!(info.client(), client);
    assert_eq!(
        (info.socket_id, info.level, info.queued_bytes),
        (client.id(), level, queued_bytes)
    );
}

async fn expect_none(events: &mut UnboundedReceiver<SendQueueInfo>, client: &ClientSocket) {
    settle(client).await;
    let info = events.try_recv();
    assert!(info.is_err(), "{info:?}");
}

#[actix_rt::test]
async fn the_queue_is_reported_above_its_high_mark_and_at_its_low_mark_in_turn() {
    let (test, client, peer) = scripted().await;
    let mut events = listen(&test).await;
    client.update(marks(10, 4)).await.expect("update");
    let info = client.get_info().await.expect("it exists");
    assert_eq!(info.send_marks, Some(SendMarks { high: 10, low: 4 }));
    // Also while the socket is paused.
    client.set_paused(true).await.expect("it exists");
    for _ in 0..3 {
        peer.limit_writes(0);
        client.try_send(&[1; 10][..]).expect("it is connected");
        expect_none(&mut events, &client).await;
        client.try_send(&[1; 1][..]).expect("it is connected");
        expect(&mut events, &client, High, 11).await;
        client.try_send(&[1; 20][..]).expect("it is connected");
        expect_none(&mut events, &client).await;
        peer.limit_writes(26);
        expect_none(&mut events, &client).await;
        peer.limit_writes(1);
        expect(&mut events, &client, Low, 4).await;
        client.try_send(&[1; 6][..]).expect("it is connected");
        expect_none(&mut events, &client).await;
        peer.unlimit_writes();
        expect_none(&mut events, &client).await;
    }
    client.update(marks(usize::MAX, 0)).await.expect("update");
    peer.limit_writes(0);
    client.try_send(&[1; 100][..]).expect("it is connected");
    expect_none(&mut events, &client).await;
    assert!(peer.received().len() == 3 * 37, "nothing was lost");
}

#[actix_rt::test]
async fn one_event_is_in_flight_and_the_next_one_tells_the_level_of_its_time() {
    let (test, client, peer) = scripted().await;
    let mut events = listen(&test).await;
    client.update(marks(0, 0)).await.expect("update");
    let mut held = None;
    for round in 0..20 {
        peer.limit_writes(0);
        client.try_send(&b"x"[..]).expect("it is connected");
        settle(&client).await;
        if held.is_none() {
            held = Some(next(&mut events).await);
        }
        assert!(events.try_recv().is_err(), "round {round}");
        peer.unlimit_writes();
        settle(&client).await;
    }
    // Twenty crossings each way are one event.
    drop(held);
    expect(&mut events, &client, Low, 0).await;
    expect_none(&mut events, &client).await;
}

/// Stops before it handles its first event.
struct Dying;

impl Actor for Dying {
    type Context = Context<Self>;
}

impl Handler<SendQueueInfo> for Dying {
    type Result = ();

    fn handle(&mut self, info: SendQueueInfo, _: &mut Self::Context) {
        panic!("it has stopped before {info:?}");
    }
}

stoppable!(Dying);

/// Blocks its thread.
#[derive(Message)]
#[rtype(result = "()")]
struct Wait(std::sync::mpsc::Receiver<()>);

impl Handler<Wait> for Dying {
    type Result = ();

    fn handle(&mut self, Wait(wait): Wait, _: &mut Self::Context) {
        wait.recv().expect("the test goes on");
    }
}

#[actix_rt::test]
async fn an_event_that_died_with_its_listener_is_raised_for_the_next_one() {
    let (test, client, peer) = scripted().await;
    let arbiter = actix_rt::Arbiter::new();
    let dying = actix::Actor::start_in_arbiter(&arbiter.handle(), |_| Dying);
    let on_send_queue = &test.app.tcp.on_send_queue;
    let added = on_send_queue.add_listener(dying.clone().recipient());
    added.await.expect("the registry runs");
    client.update(marks(0, 0)).await.expect("update");
    // It will find the event in its mailbox, behind the message that stops it.
    let (resume, wait) = std::sync::mpsc::channel();
    dying.do_send(Wait(wait));
    dying.do_send(Stop);
    peer.limit_writes(0);
    client.try_send(&b"x"[..]).expect("it is connected");
    settle(&client).await;
    resume.send(()).expect("it waits");
    until("its end", || !dying.connected()).await;
    let mut events = listen(&test).await;
    expect(&mut events, &client, High, 1).await;
    peer.unlimit_writes();
    expect(&mut events, &client, Low, 0).await;
    arbiter.stop();
    arbiter.join().expect("a clean end");
}

#[actix_rt::test]
async fn a_listener_that_is_added_above_the_mark_is_told() {
    let (test, client, peer) = scripted().await;
    client.update(marks(0, 0)).await.expect("update");
    peer.limit_writes(0);
    client.try_send(&b"x"[..]).expect("it is connected");
    settle(&client).await;
    let mut events = listen(&test).await;
    expect(&mut events, &client, High, 1).await;
    // It has been reported once.
    let mut more = listen(&test).await;
    expect_none(&mut more, &client).await;
    peer.unlimit_writes();
    expect(&mut events, &client, Low, 0).await;
    expect(&mut more, &client, Low, 0).await;
}

#[actix_rt::test]
async fn a_sockets_own_listener_gets_its_events_and_nobody_else() {
    let (test, client, peer) = scripted().await;
    let mut apps = listen(&test).await;
    let (sender, mut own) = unbounded_channel();
    let listener = EventSender::<SendQueueInfo>(sender).start();
    let listeners = SocketListeners::new().on_send_queue(listener.recipient());
    client.set_listeners(listeners).await.expect("it exists");
    client.update(marks(0, 0)).await.expect("update");
    peer.limit_writes(0);
    client.try_send(&b"x"[..]).expect("it is connected");
    expect(&mut own, &client, High, 1).await;
    expect_none(&mut apps, &client).await;
    client.set_listeners(None).await.expect("it exists");
    peer.unlimit_writes();
    expect(&mut apps, &client, Low, 0).await;
    assert!(own.try_recv().is_err());
}

#[actix_rt::test]
async fn the_end_of_a_connection_ends_its_events_and_the_next_one_begins_anew() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let mut events = listen(&test).await;
    let id = test.create().await;
    let client = test.app.tcp.socket(id).await.expect("it exists");
    client.update(marks(0, 0)).await.expect("update");
    for port in 1..4u16 {
        let peer = network.server(([192, 0, 2, 1], port).into());
        let connecting = client.connect("192.0.2.1", port.into(), Default::default());
        connecting.await.expect("connect");
        client.get_info().await.expect("it exists");
        peer.limit_writes(0);
        client.try_send(&b"x"[..]).expect("it is connected");
        expect(&mut events, &client, High, 1).await;
        match port {
            1 => drop(peer),
            2 => client.disconnect().await.expect("it exists"),
            _ => client.reset().await.expect("it exists"),
        }
        expect_none(&mut events, &client).await;
    }
}

async fn suspend(test: &TestApp) {
    let suspended = test.app.suspend();
    within("the suspension", suspended).await.expect("it runs");
}

#[actix_rt::test]
async fn a_suspended_app_is_told_when_it_is_loaded_again() {
    let (test, client, peer) = scripted().await;
    let persistent = SocketProperties {
        persistent: Some(true),
        ..marks(0, 0)
    };
    client.update(persistent).await.expect("update");
    suspend(&test).await;
    // The suspension has removed all listeners.
    let mut events = listen(&test).await;
    peer.limit_writes(0);
    client.try_send(&b"x"[..]).expect("it is connected");
    expect_none(&mut events, &client).await;
    test.app.resume().await.expect("it runs");
    expect(&mut events, &client, High, 1).await;
}

/// A real peer that does not read, and then does.
async fn real(registry: Registry) {
    let test = TestApp::on(registry).await;
    let (client, mut peer) = connected(&test).await;
    let mut events = listen(&test).await;
    client
        .update(marks(1 << 20, 1 << 16))
        .await
        .expect("update");
    client.try_send(pattern(LARGE)).expect("it is connected");
    let high = next(&mut events).await;
    assert_eq!(high.level, High);
    assert!(high.queued_bytes > 1 << 20, "{high:?}");
    drop(high);
    assert!(read(&mut peer, LARGE).await == pattern(LARGE));
    let low = next(&mut events).await;
    assert_eq!(low.level, Low);
    assert!(low.queued_bytes <= 1 << 16, "{low:?}");
    drop(low);
    let quiet = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[actix_rt::test]
async fn a_peer_that_reads_late_raises_one_event_for_each_mark() {
    real(Registry::new()).await;
    real(Registry::new().arbiters(2)).await;
}

#[actix_rt::test]
async fn a_limit_holds_for_the_next_connection_too() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let created = test.app.tcp.create(limit(5)).await.expect("create");
    let client = test.app.tcp.socket(created.socket_id).await;
    let client = client.expect("it exists");
    for port in 1..3u16 {
        let peer: Peer = network.server(([192, 0, 2, 1], port).into());
        let connecting = client.connect("192.0.2.1", port.into(), Default::default());
        connecting.await.expect("connect");
        assert_eq!(client.try_send("123456"), Err(Error::SendQueueFull));
        client.try_send("12345").expect("within the limit");
        settle(&client).await;
        assert_eq!(peer.received(), b"12345");
        client.disconnect().await.expect("it exists");
    }
}
