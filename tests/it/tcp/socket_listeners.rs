//! `set_listeners`: one socket's events go to its own listeners.

use actix::prelude::*;
use chrome_sockets::tcp::{
    ClientSocket, ReceiveErrorInfo, ReceiveInfo, SocketListeners, WINDOW, WhenDead,
};
use chrome_sockets::{MAX_PANICS, NetError, Registry, tcp};
use support::{KeepingListener, ListenerEvent, TestApp, until, within};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{LARGE, assert_ended, pair, pattern, read, read_to_end, reset, write};
use crate::tcp_server::dial;

/// Echoes data. `PANIC` makes it panic, `TAKE` makes it take the data and panic.
struct Session {
    events: UnboundedSender<(std::thread::ThreadId, ListenerEvent)>,
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Session {
    fn record(&self, event: ListenerEvent) {
        // The receiver is gone when the test has ended.
        let _ = self.events.send((std::thread::current().id(), event));
    }
}

impl Handler<ReceiveInfo> for Session {
    type Result = ();

    fn handle(&mut self, mut info: ReceiveInfo, _: &mut Self::Context) {
        match &*info.data {
            b"PANIC" => panic!("injected panic of the listener"),
            b"TAKE" => {
                let _taken = std::mem::take(&mut info.data);
                panic!("injected panic after the data was taken");
            }
            _ => {}
        }
        self.record(ListenerEvent::Receive(info.socket_id, info.data.clone()));
        let client = info.client().clone();
        // Its peer may be gone.
        let _ = client.forward(info);
    }
}

impl Handler<ReceiveErrorInfo> for Session {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        self.record(ListenerEvent::ReceiveError(
            info.socket_id,
            info.result_code,
        ));
    }
}

support::stoppable!(Session);

/// A session, and what it has handled.
struct Recorded {
    actor: Addr<Session>,
    events: UnboundedReceiver<(std::thread::ThreadId, ListenerEvent)>,
}

impl Recorded {
    fn start() -> Self {
        let (events, recorded) = unbounded_channel();
        Recorded {
            actor: Session { events }.start(),
            events: recorded,
        }
    }

    fn listeners(&self) -> SocketListeners {
        SocketListeners::of(&self.actor)
    }

    async fn next(&mut self) -> ListenerEvent {
        let next = within("an event of the session", self.events.recv()).await;
        next.expect("it runs").1
    }

    async fn received(&mut self, id: chrome_sockets::ClientSocketId, length: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < length {
            match self.next().await {
                ListenerEvent::Receive(from, bytes) if from == id => data.extend_from_slice(&bytes),
                other => panic!("expected onReceive of {id}, not {other:?}"),
            }
        }
        data
    }

    async fn ended(&mut self, id: chrome_sockets::ClientSocketId) -> NetError {
        match self.next().await {
            ListenerEvent::ReceiveError(from, code) if from == id => code,
            other => panic!("expected onReceiveError of {id}, not {other:?}"),
        }
    }

    async fn stop(&self) {
        self.actor.send(support::Stop).await.expect("it runs");
        self.is_dead().await;
    }

    async fn is_dead(&self) {
        until("the death of the session", || !self.actor.connected()).await;
    }
}

/// An accepted client, resumed with a session as its listener, and its peer.
async fn session(test: &mut TestApp) -> (ClientSocket, tokio::net::TcpStream, Recorded) {
    let (client, peer) = pair(test).await;
    let session = Recorded::start();
    client
        .set_listeners(session.listeners())
        .await
        .expect("it is open");
    client.set_paused(false).await.expect("it is open");
    (client, peer, session)
}

/// Proof of life: another client of the same app is served by the app's listeners.
async fn assert_app_works(test: &mut TestApp) {
    let (client, mut peer) = pair(test).await;
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"alive").await;
    assert_eq!(test.received(client.id(), 5).await, b"alive");
    client.send("yes").await.expect("send");
    assert_eq!(read(&mut peer, 3).await, b"yes");
    client.close().await.expect("close");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn events_go_to_the_sockets_own_listeners_and_not_to_the_apps() {
    let mut test = TestApp::new().await;
    let (client, mut peer, mut own) = session(&mut test).await;
    let data = pattern(LARGE);
    let (mut reader, mut writer) = peer.split();
    let sent = data.clone();
    let (echoed, ()) = within("the echo", async {
        tokio::join!(
            async {
                let mut echo = vec![0; LARGE];
                tokio::io::AsyncReadExt::read_exact(&mut reader, &mut echo)
                    .await
                    .expect("read");
                echo
            },
            async { writer.write_all(&sent).await.expect("write") }
        )
    })
    .await;
    assert!(echoed == data);
    assert!(own.received(client.id(), LARGE).await == data);
    drop(peer);
    assert_eq!(own.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    assert_ended(&test.app, client.id()).await;
    test.expect_no_event().await;
    assert_app_works(&mut test).await;
}

#[actix_rt::test]
async fn data_that_arrived_before_the_first_resume_is_not_lost() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for i in 0..50u8 {
        let mut peer = dial(at).await;
        write(&mut peer, &[i; 100]).await;
        // Half of them have ended before their listener is set.
        if i % 2 == 0 {
            peer.shutdown().await.expect("shut");
        }
        let client = test.accepted().await;
        let own = Recorded::start();
        client.do_set_listeners(own.listeners());
        client.do_set_paused(false);
        peers.push((i, client, own, peer));
    }
    for (i, client, own, peer) in &mut peers {
        assert_eq!(own.received(client.id(), 100).await, [*i; 100]);
        if *i % 2 == 0 {
            assert_eq!(own.ended(client.id()).await, NetError::CONNECTION_CLOSED);
            // What the session sent back still arrives.
            assert_eq!(read_to_end(peer).await, [*i; 100]);
        } else {
            assert_eq!(read(peer, 100).await, [*i; 100]);
        }
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn none_gives_the_socket_back_to_the_apps_listeners() {
    let mut test = TestApp::new().await;
    let (client, mut peer, mut own) = session(&mut test).await;
    write(&mut peer, b"own").await;
    assert_eq!(own.received(client.id(), 3).await, b"own");
    // By id, through the registry.
    let tcp = test.app.tcp.clone();
    tcp.set_listeners(client.id(), None).await.expect("set");
    write(&mut peer, b"app").await;
    assert_eq!(test.received(client.id(), 3).await, b"app");
    tcp.do_set_listeners(client.id(), own.listeners());
    tcp.get_info(client.id()).await.expect("the call before it");
    write(&mut peer, b"again").await;
    assert_eq!(own.received(client.id(), 5).await, b"again");
    client.close().await.expect("close");
    assert_eq!(own.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    test.expect_no_event().await;
    let gone = tcp.set_listeners(client.id(), None).await;
    assert_eq!(gone, Err(chrome_sockets::Error::SocketNotFound));
    let gone = client.set_listeners(None).await;
    assert_eq!(gone, Err(chrome_sockets::Error::SocketNotFound));
}

#[actix_rt::test]
async fn an_event_without_an_own_listener_goes_to_the_apps() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let own = Recorded::start();
    let only_end = SocketListeners::new().on_receive_error(own.actor.clone().recipient());
    client.set_listeners(only_end).await.expect("set");
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"data").await;
    assert_eq!(test.received(client.id(), 4).await, b"data");
    drop(peer);
    let mut own = own;
    assert_eq!(own.ended(client.id()).await, NetError::CONNECTION_CLOSED);

    let (client, mut peer) = pair(&mut test).await;
    let only_data = SocketListeners::new().on_receive(own.actor.clone().recipient());
    client.set_listeners(only_data).await.expect("set");
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"data").await;
    assert_eq!(own.received(client.id(), 4).await, b"data");
    assert_eq!(read(&mut peer, 4).await, b"data");
    drop(peer);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_slow_own_listener_slows_its_peer_and_no_other_socket() {
    let mut test = TestApp::new().await;
    let (client, peer) = pair(&mut test).await;
    let keeping = KeepingListener::<ReceiveInfo>::default().start();
    let listeners = SocketListeners::new().on_receive(keeping.clone().recipient());
    client.set_listeners(listeners).await.expect("set");
    client.set_paused(false).await.expect("resume");
    let (peer, taken) = fill(peer).await;
    // Two windows, and what the kernel buffers.
    assert!(taken < LARGE, "{taken} bytes were taken from the peer");
    let paused = client.set_paused(true).await;
    assert_eq!(paused, Err(chrome_sockets::Error::EventsInFlight));
    assert_app_works(&mut test).await;
    drop((peer, keeping));
}

/// Writes until nothing is taken for a while; how much was taken.
async fn fill(peer: tokio::net::TcpStream) -> (tokio::net::TcpStream, usize) {
    let chunk = vec![b'x'; WINDOW];
    let mut taken = 0;
    while taken < LARGE {
        let writable = actix_rt::time::timeout(support::QUIET * 3, peer.writable()).await;
        if writable.is_err() {
            break;
        }
        taken += peer.try_write(&chunk).unwrap_or(0);
    }
    (peer, taken)
}

#[actix_rt::test]
async fn a_pause_holds_own_listeners_too_and_its_answer_waits_for_them() {
    let mut test = TestApp::new().await;
    let (client, mut peer, mut own) = session(&mut test).await;
    write(&mut peer, b"1").await;
    assert_eq!(own.received(client.id(), 1).await, b"1");
    client.set_paused(true).await.expect("pause");
    write(&mut peer, b"2").await;
    let quiet = actix_rt::time::timeout(support::QUIET, own.events.recv()).await;
    assert!(quiet.is_err(), "it is paused: {quiet:?}");
    client.set_paused(false).await.expect("resume");
    assert_eq!(own.received(client.id(), 1).await, b"2");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn events_in_flight_stay_with_the_old_listener_and_later_ones_wait_for_them() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let (sender, mut unhandled) = unbounded_channel();
    let keeper = support::EventSender::<ReceiveInfo>(sender).start();
    let first = SocketListeners::new().on_receive(keeper.clone().recipient());
    client.set_listeners(first).await.expect("set");
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"first").await;
    let kept = within("the first event", unhandled.recv()).await;
    let mut own = Recorded::start();
    client.set_listeners(own.listeners()).await.expect("set");
    write(&mut peer, b"second").await;
    let quiet = actix_rt::time::timeout(support::QUIET, own.events.recv()).await;
    assert!(quiet.is_err(), "the first event is in flight: {quiet:?}");
    let kept = kept.expect("it came");
    assert_eq!(kept.data, "first");
    drop(kept);
    assert_eq!(own.received(client.id(), 6).await, b"second");
    drop(peer);
    // The first set had no listener of the end.
    assert_eq!(own.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    test.expect_no_event().await;
    drop(keeper);
}

#[actix_rt::test]
async fn data_that_waited_for_the_apps_listener_goes_to_the_own_one() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    test.remove_listener().await;
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"waits").await;
    let mut own = Recorded::start();
    client.set_listeners(own.listeners()).await.expect("set");
    assert_eq!(own.received(client.id(), 5).await, b"waits");
    assert_eq!(read(&mut peer, 5).await, b"waits");
}

#[actix_rt::test]
async fn a_panic_of_the_own_listener_ends_only_its_connection() {
    let mut test = TestApp::new().await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(session(&mut test).await);
    }
    for fatal in [&b"PANIC"[..], b"TAKE"] {
        let (client, mut peer, mut own) = session(&mut test).await;
        write(&mut peer, b"good").await;
        assert_eq!(own.received(client.id(), 4).await, b"good");
        assert_eq!(read(&mut peer, 4).await, b"good");
        write(&mut peer, fatal).await;
        own.is_dead().await;
        // Its panic came after it had taken the data, so only the next data shows its death.
        if fatal == b"TAKE" {
            write(&mut peer, b"next").await;
        }
        assert_eq!(test.ended(client.id()).await, NetError::FAILED);
        assert_eq!(read_to_end(&mut peer).await, b"", "its end is clean");
        assert_ended(&test.app, client.id()).await;
        client.close().await.expect("close");
        for (client, peer, own) in &mut others {
            write(peer, b"ping").await;
            assert_eq!(read(peer, 4).await, b"ping");
            assert_eq!(own.received(client.id(), 4).await, b"ping");
        }
    }
    test.expect_no_event().await;
    assert_app_works(&mut test).await;
}

#[actix_rt::test]
async fn a_dead_own_listener_ends_the_connection_at_the_next_data_also_of_a_paused_socket() {
    let mut test = TestApp::new().await;
    let (client, mut peer, own) = session(&mut test).await;
    own.stop().await;
    write(&mut peer, b"for a dead listener").await;
    assert_eq!(test.ended(client.id()).await, NetError::FAILED);
    assert_ended(&test.app, client.id()).await;

    // Set when it is dead already, on a client that was never resumed.
    let (client, peer) = pair(&mut test).await;
    client.set_listeners(own.listeners()).await.expect("set");
    assert_eq!(test.ended(client.id()).await, NetError::FAILED);
    drop(peer);
    // The socket is the app's again.
    let peer = super::connect(&test.app, client.id()).await;
    client.set_paused(false).await.expect("resume");
    let mut peer = peer;
    write(&mut peer, b"new").await;
    assert_eq!(test.received(client.id(), 3).await, b"new");
    assert_app_works(&mut test).await;
}

#[actix_rt::test]
async fn the_end_goes_to_the_apps_listeners_if_the_own_one_is_dead() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let (mut data, end) = (Recorded::start(), Recorded::start());
    let listeners = SocketListeners::new()
        .on_receive(data.actor.clone().recipient())
        .on_receive_error(end.actor.clone().recipient());
    client.set_listeners(listeners).await.expect("set");
    client.set_paused(false).await.expect("resume");
    end.stop().await;
    write(&mut peer, b"still").await;
    assert_eq!(data.received(client.id(), 5).await, b"still");
    reset(peer);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn a_socket_that_waits_gets_its_data_again_with_the_next_listener() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let set = |own: &Recorded| {
        let waiting = own.listeners().when_dead(WhenDead::Wait);
        client.set_listeners(waiting)
    };
    let mut first = Recorded::start();
    set(&first).await.expect("set");
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"good").await;
    assert_eq!(first.received(client.id(), 4).await, b"good");
    first.stop().await;
    write(&mut peer, b"kept").await;
    test.expect_no_event().await;
    let mut second = Recorded::start();
    set(&second).await.expect("set");
    assert_eq!(second.received(client.id(), 4).await, b"kept");
    assert_eq!(read(&mut peer, 8).await, b"goodkept");
    // The end waits for a listener too.
    second.stop().await;
    drop(peer);
    test.expect_no_event().await;
    let mut third = Recorded::start();
    set(&third).await.expect("set");
    assert_eq!(third.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn data_that_makes_each_next_listener_panic_ends_a_waiting_socket() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    client.set_paused(false).await.expect("resume");
    client.set_paused(true).await.expect("pause");
    write(&mut peer, b"PANIC").await;
    client.do_set_paused(false);
    let mut panics = 0;
    let mut last = Recorded::start();
    loop {
        let waiting = last.listeners().when_dead(WhenDead::Wait);
        client.set_listeners(waiting).await.expect("set");
        let died = within("a panic, or the end", async {
            loop {
                if !last.actor.connected() {
                    return true;
                }
                if let Ok((_, event)) = last.events.try_recv() {
                    let id = client.id();
                    assert!(
                        matches!(event, ListenerEvent::ReceiveError(of, NetError::FAILED) if of == id),
                        "{event:?}"
                    );
                    return false;
                }
                actix_rt::task::yield_now().await;
            }
        })
        .await;
        if !died {
            break;
        }
        panics += 1;
        last = Recorded::start();
    }
    assert_eq!(panics, MAX_PANICS);
    assert_eq!(read_to_end(&mut peer).await, b"");
    assert_app_works(&mut test).await;
}

#[actix_rt::test]
async fn a_suspension_gives_a_persistent_socket_back_to_the_apps_listeners() {
    let mut test = TestApp::new().await;
    let (client, mut peer, mut own) = session(&mut test).await;
    let persistent = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");
    write(&mut peer, b"before").await;
    assert_eq!(own.received(client.id(), 6).await, b"before");
    test.app.suspend().await.expect("suspend");
    write(&mut peer, b"during").await;
    test.app.resume().await.expect("resume");
    let listener = test.listener.clone();
    support::subscribe(&test.app, &listener).await.expect("add");
    assert_eq!(test.received(client.id(), 6).await, b"during");
    assert!(own.events.try_recv().is_err());
    // The socket held its last address but one.
    drop(own.actor);
    let ended = within("the end of the session", own.events.recv()).await;
    assert!(ended.is_none());
    drop(peer);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn a_suspension_closes_a_socket_without_an_event_at_its_own_listeners() {
    let mut test = TestApp::new().await;
    let (_client, mut peer, mut own) = session(&mut test).await;
    test.app.suspend().await.expect("suspend");
    assert_eq!(read_to_end(&mut peer).await, b"");
    drop(own.actor);
    let event = within("the end of the session", own.events.recv()).await;
    assert!(event.is_none(), "{event:?}");
    test.app.resume().await.expect("resume");
    let listener = test.listener.clone();
    support::subscribe(&test.app, &listener).await.expect("add");
    assert_app_works(&mut test).await;
}

#[actix_rt::test]
async fn closing_the_socket_drops_the_addresses_of_its_listeners() {
    let mut test = TestApp::new().await;
    let (client, _peer, mut own) = session(&mut test).await;
    client.close().await.expect("close");
    assert_eq!(own.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    drop(own.actor);
    let ended = within("the end of the session", own.events.recv()).await;
    assert!(ended.is_none());
}

#[actix_rt::test]
async fn listeners_in_other_arbiters_get_the_events_in_order() {
    let mut test = TestApp::on(Registry::new().arbiters(2)).await;
    let arbiter = Arbiter::new();
    let (_, at) = test.listen().await;
    for _ in 0..4 {
        let mut peer = dial(at).await;
        let client = test.accepted().await;
        let (events, mut recorded) = unbounded_channel();
        let actor = Session::start_in_arbiter(&arbiter.handle(), move |_| Session { events });
        client
            .set_listeners(SocketListeners::of(&actor))
            .await
            .expect("set");
        client.set_paused(false).await.expect("resume");
        let data = pattern(500_000);
        let sent = data.clone();
        let (mut reader, mut writer) = peer.split();
        let mut echo = vec![0; data.len()];
        within("the echo", async {
            let (read, written) = tokio::join!(
                tokio::io::AsyncReadExt::read_exact(&mut reader, &mut echo),
                writer.write_all(&sent)
            );
            read.expect("read");
            written.expect("write");
        })
        .await;
        assert!(data == echo);
        drop(peer);
        let mut received = Vec::new();
        let end = loop {
            let event = within("an event", recorded.recv()).await;
            let (thread, event) = event.expect("the session runs");
            assert_ne!(thread, std::thread::current().id());
            match event {
                ListenerEvent::Receive(_, bytes) => received.extend_from_slice(&bytes),
                ListenerEvent::ReceiveError(_, code) => break code,
                other => panic!("unexpected: {other:?}"),
            }
        };
        assert!(received == data);
        assert_eq!(end, NetError::CONNECTION_CLOSED);
    }
    arbiter.stop();
    test.expect_no_event().await;
}
