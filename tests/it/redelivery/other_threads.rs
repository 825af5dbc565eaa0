//! Listeners on other threads, suspended apps, and other processes.

use std::sync::mpsc;

use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::WINDOW;
use futures::FutureExt;
use support::subscribe;

use super::*;
use crate::handover;

/// A message that takes time in its handler, or when it is dropped.
#[derive(Message)]
#[rtype(result = "()")]
struct BlockingMessage(BlockUntil);

struct BlockUntil(mpsc::Receiver<()>);

impl Drop for BlockUntil {
    fn drop(&mut self) {
        // Bounded, so that a failing test ends.
        let _ = self.0.recv_timeout(support::LIMIT);
    }
}

impl Handler<BlockingMessage> for ScriptedListener {
    type Result = ();

    fn handle(&mut self, busy: BlockingMessage, ctx: &mut Self::Context) {
        drop(busy.0);
        ctx.stop();
    }
}

/// A listener on its own thread with events in its mailbox. One message makes it die, and another
/// one empties its mailbox.
struct DyingListenerThread {
    scripted_listener: Addr<ScriptedListener>,
    die: mpsc::Sender<()>,
    empty: mpsc::Sender<()>,
    arbiter: Arbiter,
}

impl DyingListenerThread {
    async fn with(data: &str, fixture: &Fixture) -> Self {
        let arbiter = Arbiter::new();
        let (handled, _) = unbounded_channel();
        let reactions = Arc::default();
        let scripted_listener =
            ScriptedListener::start_in_arbiter(&arbiter.handle(), |_| ScriptedListener {
                reactions,
                handled,
                kept: Vec::new(),
            });
        let (die, until) = mpsc::channel();
        scripted_listener.do_send(BlockingMessage(BlockUntil(until)));
        let (empty, until) = mpsc::channel();
        scripted_listener.do_send(BlockingMessage(BlockUntil(until)));
        let tcp = &fixture.test.app.tcp;
        let added = tcp
            .on_receive
            .add_listener(scripted_listener.clone().recipient());
        added.await.expect("the registry runs");
        fixture.peer.send(data);
        // This is not answered at once only while an event is in flight.
        within("the events", async {
            while fixture.client.set_paused(true).now_or_never().is_some() {
                fixture.client.set_paused(false).await.expect("it is open");
            }
        })
        .await;
        fixture.client.set_paused(false).await.expect("it is open");
        DyingListenerThread {
            scripted_listener,
            die,
            empty,
            arbiter,
        }
    }

    async fn wait_for_death(&self) {
        self.die.send(()).expect("it waits");
        within("the death of the listener", async {
            while self.scripted_listener.connected() {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    }

    fn drain_mailbox(self) {
        self.empty.send(()).expect("it waits");
        self.arbiter.stop();
    }
}

#[actix_rt::test]
async fn no_later_event_is_raised_while_a_dead_mailbox_is_drained() {
    let mut fixture = Fixture::new().await;
    let dying_listener = DyingListenerThread::with("abc", &fixture).await;
    dying_listener.wait_for_death().await;
    fixture.listen().await;
    fixture.peer.send("def");
    fixture.test.expect_no_event().await;
    dying_listener.drain_mailbox();
    fixture.expect_data("abcdef").await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn data_that_returns_after_the_end_of_its_connection_is_not_raised_on_the_next_one() {
    let mut fixture = Fixture::new().await;
    let dying_listener = DyingListenerThread::with("abc", &fixture).await;
    fixture.client.disconnect().await.expect("it is open");
    fixture.peer = reconnect(&fixture.client, &fixture.network).await;
    fixture.client.set_paused(false).await.expect("it is open");
    dying_listener.wait_for_death().await;
    fixture.listen().await;
    dying_listener.drain_mailbox();
    fixture.assert_alive().await;
}

/// Suspends the app, and sets an event page that adds a listener.
async fn suspend_with_event_page(test: &TestApp) {
    test.app.suspend().await.expect("everything was handled");
    let listener = test.another_listener();
    let page = EventPage::new(move |app| subscribe(&app, &listener().start()));
    let set = test.app.set_event_page(Some(page));
    set.await.expect("the registry runs");
}

#[actix_rt::test]
async fn data_for_redelivery_loads_a_suspended_app() {
    let mut fixture = Fixture::new().await;
    make_persistent(&fixture.client).await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("abc");
    fixture.peer.shutdown();
    assert_eq!(listener.wait_for_death().await, []);
    suspend_with_event_page(&fixture.test).await;
    fixture.expect_data("abc").await;
    fixture.expect_end(NetError::CONNECTION_CLOSED).await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_unreported_end_loads_a_suspended_app() {
    let mut fixture = Fixture::new().await;
    make_persistent(&fixture.client).await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.shutdown();
    assert_eq!(listener.wait_for_death().await, []);
    suspend_with_event_page(&fixture.test).await;
    fixture.expect_end(NetError::CONNECTION_CLOSED).await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_suspension_closes_sockets_that_are_not_persistent_with_their_data_for_redelivery() {
    let mut fixture = Fixture::new().await;
    let listener = fixture.start_listener(&[Panic]).await;
    fixture.peer.send("abc");
    assert_eq!(listener.wait_for_death().await, []);
    fixture
        .test
        .app
        .suspend()
        .await
        .expect("everything was handled");
    assert!(fixture.peer.is_closed());
    fixture.test.app.resume().await.expect("it runs");
    fixture.listen().await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_socket_with_data_for_redelivery_stays_when_others_are_handed_over() {
    use std::io::Write;
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, at) = old.listen().await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let peer = std::net::TcpStream::connect(at).expect("it listens");
        let client = old.accepted().await;
        make_persistent(&client).await;
        client.set_paused(false).await.expect("it is open");
        sockets.push((client, peer));
    }
    remove_listener(&old).await;
    let listener = ScriptedListenerHandle::new(&old.app, &[Panic]).await;
    let (stays, mut peer) = sockets.remove(0);
    peer.write_all(b"abc").expect("it is open");
    assert_eq!(listener.wait_for_death().await, []);
    let receipt = handover::expect_handover(&old, &new).await;
    let (goes, _) = &sockets[0];
    assert_eq!(receipt.clients, [("test".into(), goes.id())]);
    assert_eq!(receipt.not_transferred.len(), 1);
    new.expect_no_event().await;
    // The successor reports it to its listener.
    let listener = old.listener.clone();
    let added = old.app.tcp.on_receive.add_listener(listener.recipient());
    added.await.expect("the registry runs");
    assert_eq!(old.received(stays.id(), 3).await, b"abc");
    peer.write_all(b"def").expect("it is open");
    assert_eq!(old.received(stays.id(), 3).await, b"def");
}

async fn make_persistent(client: &ClientSocket) {
    let properties = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(properties).await.expect("update");
}

/// As many full windows as all sockets of an app may have unhandled.
const WINDOWS: usize = 64;

/// Sockets with two windows of unread data.
async fn full_windows(fixture: &Fixture, count: usize) -> Vec<(ClientSocket, Peer)> {
    let chunk = i32::try_from(WINDOW).expect("it fits");
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(connected(&fixture.test, &fixture.network, chunk).await);
    }
    sockets
}

#[actix_rt::test]
async fn data_for_redelivery_counts_as_unhandled_data_of_the_app() {
    let mut fixture = Fixture::new().await;
    let others = full_windows(&fixture, WINDOWS).await;
    let first = full_windows(&fixture, WINDOWS).await;
    let dying_listener = DyingListenerThread::with("x", &fixture).await;
    for (_, peer) in &first {
        peer.send(vec![7; 2 * WINDOW]);
    }
    fixture.test.expect_no_event().await;
    for (_, peer) in &others {
        peer.send(vec![7; 2 * WINDOW]);
    }
    dying_listener.wait_for_death().await;
    let mut keeping_listener = fixture.start_listener(&[Keep; 4 * WINDOWS]).await;
    fixture.test.expect_no_event().await;
    // There is room for the others now, but they have to wait.
    dying_listener.drain_mailbox();
    fixture.test.expect_no_event().await;
    let mut held = 0;
    while let Ok(HandledEvent::Data(data)) = keeping_listener.handled.try_recv() {
        held += data.len();
    }
    assert!(held > (WINDOWS - 2) * WINDOW, "only {held} bytes came back");
    assert!(held < (WINDOWS + 2) * WINDOW, "{held} bytes are held");
}

#[actix_rt::test]
async fn data_for_redelivery_of_paused_sockets_blocks_no_other_socket() {
    let mut fixture = Fixture::new().await;
    let sockets = full_windows(&fixture, WINDOWS).await;
    let dying_listener = DyingListenerThread::with("x", &fixture).await;
    for (_, peer) in &sockets {
        peer.send(vec![7; 2 * WINDOW]);
    }
    fixture.test.expect_no_event().await;
    dying_listener.wait_for_death().await;
    dying_listener.drain_mailbox();
    for (client, _) in &sockets {
        client.set_paused(true).await.expect("it is open");
    }
    fixture.listen().await;
    fixture.expect_data("x").await;
    fixture.assert_alive().await;
    for (client, _) in &sockets {
        client.set_paused(false).await.expect("it is open");
        let data = fixture.test.received(client.id(), 2 * WINDOW).await;
        assert!(data.iter().all(|byte| *byte == 7));
    }
}
