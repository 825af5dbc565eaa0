//! Listeners that die with events in their mailbox.

use support::KeepingListener;

use super::*;

/// Panics in the handler of its first event when told to, with whatever its mailbox holds then.
struct DyingListener {
    handling: UnboundedSender<ClientSocket>,
    may_panic: std::sync::mpsc::Receiver<()>,
}

impl Actor for DyingListener {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for DyingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, ctx: &mut Self::Context) {
        let _ = self.handling.send(info.client().clone());
        self.may_panic.recv().expect("the test signals");
        ctx.stop();
    }
}

/// Lets `clients` connect while the only listener handles its first event. Returns them with the
/// first one's socket and the trigger of the panic.
async fn with_a_full_mailbox(
    fixture: &mut Fixture,
    arbiter: &Arbiter,
    clients: usize,
) -> (
    Vec<Peer>,
    ClientSocket,
    std::sync::mpsc::Sender<()>,
    Addr<DyingListener>,
) {
    let (handling, mut handled) = unbounded_channel();
    let (die, may_panic) = std::sync::mpsc::channel();
    let dying = DyingListener::start_in_arbiter(&arbiter.handle(), |_| DyingListener {
        handling,
        may_panic,
    });
    let on_accept = &fixture.test.app.tcp_server.on_accept;
    on_accept.do_remove_listener(fixture.test.listener.clone().recipient());
    on_accept
        .add_listener(dying.clone().recipient())
        .await
        .expect("added");
    let peers: Vec<_> = (0..clients).map(|_| fixture.dial()).collect();
    let first = within("its first event", handled.recv()).await;
    let wait = clients - UNHANDLED_ACCEPTS;
    let full = || fixture.network.waiting(fixture.at) == wait;
    until("a full mailbox", full).await;
    (peers, first.expect("it is alive"), die, dying)
}

#[actix_rt::test]
async fn unhandled_events_of_a_dead_listener_are_raised_again_once_and_in_order() {
    let mut fixture = Fixture::new().await;
    let arbiter = Arbiter::new();
    let (mut peers, first, die, _) = with_a_full_mailbox(&mut fixture, &arbiter, 200).await;
    die.send(()).expect("it waits");
    let on_accept = fixture.test.app.tcp_server.on_accept.clone();
    // A dead listener is removed.
    within("the death of the listener", async {
        while on_accept.has_listeners().await.expect("alive") {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    fixture.test.expect_no_event().await;
    let next = fixture.test.listener.clone().recipient();
    on_accept.add_listener(next).await.expect("added");

    let during = peers.split_off(1);
    fixture.assert_alive(during).await;
    assert_talks(&mut fixture.test, &first, &peers[0]).await;
    let sockets = fixture.test.app.tcp.get_sockets().await.expect("alive");
    assert_eq!(sockets.len(), 1 + 200 + 1, "each client has one socket");
    arbiter.stop();
}

#[actix_rt::test]
async fn unhandled_events_of_a_dead_listener_precede_later_clients() {
    // Its mailbox is emptied on its own thread while the next listener's is filled on this one:
    // many rounds, so that either is faster at some time.
    for _ in 0..50 {
        let mut fixture = Fixture::new().await;
        let arbiter = Arbiter::new();
        let (peers, first, die, dying) = with_a_full_mailbox(&mut fixture, &arbiter, 200).await;
        let server = fixture.test.app.tcp_server.clone();
        let next = fixture.test.listener.clone().recipient();
        // The last event that it handles makes room, but not for another event, which both
        // listeners would receive.
        let pausing = server.set_paused(fixture.server, true);
        server.on_accept.add_listener(next).await.expect("added");
        die.send(()).expect("it waits");
        until("the death of the listener", || !dying.connected()).await;
        let resuming = server.set_paused(fixture.server, false);
        for peer in &peers[1..] {
            expect_accept(&mut fixture.test, peer).await;
        }
        for answer in [pausing, resuming] {
            within("the answer", answer).await.expect("alive");
        }
        assert_talks(&mut fixture.test, &first, &peers[0]).await;
        fixture.assert_alive(vec![]).await;
        arbiter.stop();
    }
}

#[actix_rt::test]
async fn unhandled_events_of_a_dead_listener_are_not_raised_again_if_another_listener_handled_them()
{
    let mut fixture = Fixture::new().await;
    let arbiter = Arbiter::new();
    let clients = UNHANDLED_ACCEPTS;
    let (handling, mut handled) = unbounded_channel();
    let (die, may_panic) = std::sync::mpsc::channel();
    let dying = DyingListener::start_in_arbiter(&arbiter.handle(), |_| DyingListener {
        handling,
        may_panic,
    });
    let on_accept = fixture.test.app.tcp_server.on_accept.clone();
    let added = on_accept.add_listener(dying.clone().recipient()).await;
    added.expect("added");

    let peers: Vec<_> = (0..clients).map(|_| fixture.dial()).collect();
    within("its first event", handled.recv()).await;
    let mut sockets = Vec::new();
    for peer in &peers {
        // The other listener receives the event at once.
        sockets.push(expect_accept(&mut fixture.test, peer).await);
    }
    die.send(()).expect("it waits");
    until("the death of the listener", || !dying.connected()).await;
    fixture.test.expect_no_event().await;
    for (client, peer) in sockets.iter().zip(&peers) {
        assert_talks(&mut fixture.test, client, peer).await;
    }
    fixture.assert_alive(vec![]).await;
    arbiter.stop();
}

#[actix_rt::test]
async fn a_listener_that_keeps_its_events_does_not_block_the_others_when_one_dies() {
    let mut fixture = Fixture::new().await;
    let arbiter = Arbiter::new();
    let on_accept = fixture.test.app.tcp_server.on_accept.clone();
    let keeping = KeepingListener::<AcceptInfo>::default().start();
    let added = on_accept.add_listener(keeping.clone().recipient()).await;
    added.expect("added");
    let (handling, mut handled) = unbounded_channel();
    let (die, may_panic) = std::sync::mpsc::channel();
    let dying = DyingListener::start_in_arbiter(&arbiter.handle(), |_| DyingListener {
        handling,
        may_panic,
    });
    let added = on_accept.add_listener(dying.clone().recipient()).await;
    added.expect("added");

    // Fewer kept events than a server socket may have in flight.
    let first = fixture.dial();
    let client = expect_accept(&mut fixture.test, &first).await;
    within("its first event", handled.recv()).await;
    die.send(()).expect("it waits");
    until("the death of the listener", || !dying.connected()).await;
    fixture.assert_alive(vec![]).await;
    assert_talks(&mut fixture.test, &client, &first).await;
    assert!(keeping.connected());
    arbiter.stop();
}
