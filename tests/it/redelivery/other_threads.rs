//! Listeners on other threads, suspended apps, and other processes.

use super::*;
use std::sync::mpsc;

use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::WINDOW;
use futures::FutureExt;

use crate::handover;
use support::subscribe;

/// A message that takes its time, in the handler or when it is dropped.
#[derive(Message)]
#[rtype(result = "()")]
struct Busy(Until);

struct Until(mpsc::Receiver<()>);

impl Drop for Until {
    fn drop(&mut self) {
        // A test that is over is waited for no more.
        let _ = self.0.recv_timeout(support::LIMIT);
    }
}

impl Handler<Busy> for Frail {
    type Result = ();

    fn handle(&mut self, busy: Busy, ctx: &mut Self::Context) {
        drop(busy.0);
        ctx.stop();
    }
}

/// A listener on a thread of its own that has events in its mailbox: it dies
/// when it is told, and its mailbox is emptied when that is told.
struct Dying {
    frail: Addr<Frail>,
    die: mpsc::Sender<()>,
    empty: mpsc::Sender<()>,
    arbiter: Arbiter,
}

impl Dying {
    async fn with(data: &str, scene: &Scene) -> Self {
        let arbiter = Arbiter::new();
        let (heard, _) = unbounded_channel();
        let deeds = Arc::default();
        let frail = Frail::start_in_arbiter(&arbiter.handle(), |_| Frail {
            deeds,
            heard,
            kept: Vec::new(),
        });
        let (die, until) = mpsc::channel();
        frail.do_send(Busy(Until(until)));
        let (empty, until) = mpsc::channel();
        frail.do_send(Busy(Until(until)));
        let tcp = &scene.world.app.tcp;
        let added = tcp.on_receive.add_listener(frail.clone().recipient());
        added.await.expect("the registry runs");
        scene.peer.send(data);
        // Only while something is on its way this is not answered at once.
        within("the events", async {
            while scene.client.set_paused(true).now_or_never().is_some() {
                scene.client.set_paused(false).await.expect("it is open");
            }
        })
        .await;
        scene.client.set_paused(false).await.expect("it is open");
        Dying {
            frail,
            die,
            empty,
            arbiter,
        }
    }

    async fn dies(&self) {
        self.die.send(()).expect("it waits");
        within("its death", async {
            while self.frail.connected() {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    }

    fn empties(self) {
        self.empty.send(()).expect("it waits");
        self.arbiter.stop();
    }
}

#[actix_rt::test]
async fn no_later_event_is_raised_while_a_dead_mailbox_is_drained() {
    let mut scene = Scene::new().await;
    let dying = Dying::with("abc", &scene).await;
    dying.dies().await;
    scene.listen().await;
    scene.peer.send("def");
    scene.world.nothing().await;
    dying.empties();
    scene.hears("abcdef").await;
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_that_returns_after_the_end_of_its_connection_is_not_raised_on_the_next_one() {
    let mut scene = Scene::new().await;
    let dying = Dying::with("abc", &scene).await;
    scene.client.disconnect().await.expect("it is open");
    scene.peer = reconnect(&scene.client, &scene.network).await;
    scene.client.set_paused(false).await.expect("it is open");
    dying.dies().await;
    scene.listen().await;
    dying.empties();
    scene.is_alive().await;
}

#[actix_rt::test]
async fn data_for_redelivery_loads_a_suspended_app() {
    let mut scene = Scene::new().await;
    make_persistent(&scene.client).await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.send("abc");
    scene.peer.end();
    assert_eq!(patient.dies().await, []);
    scene.world.app.suspend().await.expect("all is handled");
    let listener = scene.world.another_listener();
    let page = EventPage::new(move |app| subscribe(&app, &listener().start()));
    let set = scene.world.app.set_event_page(Some(page));
    set.await.expect("the registry runs");
    scene.hears("abc").await;
    scene.ends(NetError::CONNECTION_CLOSED).await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn an_unreported_end_loads_a_suspended_app() {
    let mut scene = Scene::new().await;
    make_persistent(&scene.client).await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.end();
    assert_eq!(patient.dies().await, []);
    scene.world.app.suspend().await.expect("all is handled");
    let listener = scene.world.another_listener();
    let page = EventPage::new(move |app| subscribe(&app, &listener().start()));
    let set = scene.world.app.set_event_page(Some(page));
    set.await.expect("the registry runs");
    scene.ends(NetError::CONNECTION_CLOSED).await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn a_suspension_closes_sockets_that_are_not_persistent_with_their_data_for_redelivery() {
    let mut scene = Scene::new().await;
    let patient = scene.patient(&[Panic]).await;
    scene.peer.send("abc");
    assert_eq!(patient.dies().await, []);
    scene.world.app.suspend().await.expect("all is handled");
    assert!(scene.peer.is_closed());
    scene.world.app.resume().await.expect("it runs");
    scene.listen().await;
    scene.world.nothing().await;
}

#[actix_rt::test]
async fn a_socket_with_data_for_redelivery_stays_when_others_are_handed_over() {
    use std::io::Write;
    let mut old = World::new().await;
    let mut new = World::new().await;
    let (_, at) = old.listen().await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let peer = std::net::TcpStream::connect(at).expect("it listens");
        let client = old.accepted().await;
        make_persistent(&client).await;
        client.set_paused(false).await.expect("it is open");
        sockets.push((client, peer));
    }
    deafen(&old).await;
    let patient = Patient::new(&old.app, &[Panic]).await;
    let (stays, mut peer) = sockets.remove(0);
    peer.write_all(b"abc").expect("it is open");
    assert_eq!(patient.dies().await, []);
    let receipt = handover::succeeds(&old, &new).await;
    let (goes, _) = &sockets[0];
    assert_eq!(receipt.clients, [("test".into(), goes.id())]);
    assert_eq!(receipt.left.len(), 1);
    new.nothing().await;
    // There it is told, to whoever listens.
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

/// Sockets that have two windows of data to be read.
async fn full(scene: &Scene, count: usize) -> Vec<(ClientSocket, Peer)> {
    let chunk = i32::try_from(WINDOW).expect("it fits");
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(connected(&scene.world, &scene.network, chunk).await);
    }
    sockets
}

#[actix_rt::test]
async fn data_for_redelivery_counts_as_unhandled_data_of_the_app() {
    let mut scene = Scene::new().await;
    let others = full(&scene, WINDOWS).await;
    let first = full(&scene, WINDOWS).await;
    let dying = Dying::with("x", &scene).await;
    for (_, peer) in &first {
        peer.send(vec![7; 2 * WINDOW]);
    }
    scene.world.nothing().await;
    for (_, peer) in &others {
        peer.send(vec![7; 2 * WINDOW]);
    }
    dying.dies().await;
    let mut keeper = scene.patient(&[Keep; 4 * WINDOWS]).await;
    scene.world.nothing().await;
    // Now the others might be read, but have to wait.
    dying.empties();
    scene.world.nothing().await;
    let mut held = 0;
    while let Ok(Told::Data(data)) = keeper.heard.try_recv() {
        held += data.len();
    }
    assert!(held > (WINDOWS - 2) * WINDOW, "only {held} bytes came back");
    assert!(held < (WINDOWS + 2) * WINDOW, "{held} bytes are held");
}

#[actix_rt::test]
async fn data_for_redelivery_of_paused_sockets_blocks_no_other_socket() {
    let mut scene = Scene::new().await;
    let sockets = full(&scene, WINDOWS).await;
    let dying = Dying::with("x", &scene).await;
    for (_, peer) in &sockets {
        peer.send(vec![7; 2 * WINDOW]);
    }
    scene.world.nothing().await;
    dying.dies().await;
    dying.empties();
    for (client, _) in &sockets {
        client.set_paused(true).await.expect("it is open");
    }
    scene.listen().await;
    scene.hears("x").await;
    scene.is_alive().await;
    for (client, _) in &sockets {
        client.set_paused(false).await.expect("it is open");
        let data = scene.world.received(client.id(), 2 * WINDOW).await;
        assert!(data.iter().all(|byte| *byte == 7));
    }
}
