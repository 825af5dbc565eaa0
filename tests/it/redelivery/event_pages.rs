//! Apps with an event page are loaded again when their listeners have died and an event waits.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{Error, ServerSocketId};
use support::subscribe;
use tokio::time::{Instant, sleep};

use super::*;

const EMFILE: i32 = 24;
const SLACK: Duration = Duration::from_millis(50);

/// Panics in every handler, or stops with the event unhandled.
#[derive(Default)]
struct DyingListener {
    stops: Arc<AtomicBool>,
}

impl Actor for DyingListener {
    type Context = Context<Self>;
}

macro_rules! panics {
    ($($event:ty),*) => {$(
        impl Handler<$event> for DyingListener {
            type Result = ();

            fn handle(&mut self, event: $event, ctx: &mut Self::Context) {
                assert!(self.stops.load(SeqCst), "injected panic of the listener");
                // Dropped when the mailbox is closed.
                let kept = async move {
                    let _event = event;
                    std::future::pending().await
                };
                ctx.spawn(actix::fut::wrap_future(kept));
                ctx.stop();
            }
        }
    )*};
}
panics!(AcceptInfo, AcceptErrorInfo, ReceiveInfo, ReceiveErrorInfo);

support::stoppable!(DyingListener);

async fn subscribe_dying_listener(
    app: &App,
    dying_listener: &Addr<DyingListener>,
) -> Result<(), Error> {
    let (tcp, server) = (&app.tcp, &app.tcp_server);
    server
        .on_accept
        .do_add_listener(dying_listener.clone().recipient());
    server
        .on_accept_error
        .do_add_listener(dying_listener.clone().recipient());
    tcp.on_receive_error
        .do_add_listener(dying_listener.clone().recipient());
    tcp.on_receive
        .add_listener(dying_listener.clone().recipient())
        .await
}

async fn unsubscribe(app: &App, dying_listener: &Addr<DyingListener>) {
    let (tcp, server) = (&app.tcp, &app.tcp_server);
    server
        .on_accept
        .do_remove_listener(dying_listener.clone().recipient());
    let errors = &server.on_accept_error;
    errors.do_remove_listener(dying_listener.clone().recipient());
    let ends = &tcp.on_receive_error;
    ends.do_remove_listener(dying_listener.clone().recipient());
    let left = tcp
        .on_receive
        .remove_listener(dying_listener.clone().recipient());
    left.await.expect("the registry runs");
}

/// An app whose event page was loaded, on the scripted network. Its listener dies at every event
/// until `healthy` is set.
struct EventPageFixture {
    test: TestApp,
    network: ScriptedNetwork,
    starts: UnboundedReceiver<Instant>,
    healthy: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    dying_listener: Addr<DyingListener>,
}

impl EventPageFixture {
    async fn new() -> Self {
        tokio::time::pause();
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        let (start, starts) = unbounded_channel();
        let healthy = Arc::new(AtomicBool::new(false));
        let stops = Arc::new(AtomicBool::new(false));
        let (listener, is_well) = (test.another_listener(), healthy.clone());
        let may_stop = stops.clone();
        let page = EventPage::new(move |app| {
            let _ = start.send(Instant::now());
            let listener = is_well.load(SeqCst).then(&listener);
            let stops = may_stop.clone();
            async move {
                match listener {
                    Some(listener) => subscribe(&app, &listener.start()).await,
                    None => subscribe_dying_listener(&app, &DyingListener { stops }.start()).await,
                }
            }
        });
        let set = test.app.set_event_page(Some(page));
        set.await.expect("the registry runs");
        remove_all_listeners(&test).await;
        let dying_listener = DyingListener {
            stops: stops.clone(),
        }
        .start();
        subscribe_dying_listener(&test.app, &dying_listener)
            .await
            .expect("the registry runs");
        EventPageFixture {
            test,
            network,
            starts,
            healthy,
            stops,
            dying_listener,
        }
    }

    async fn server(&self) -> (ServerSocketId, std::net::SocketAddr) {
        self.test.listen().await
    }

    /// Expects the next start of the page after exactly this time.
    async fn expect_start_after(&mut self, time: Duration) {
        let from = Instant::now();
        let limit = time + SLACK;
        let started = tokio::time::timeout(limit, self.starts.recv()).await;
        let started = started.expect("it starts").expect("it runs");
        assert!(started - from >= time, "too early: {:?}", started - from);
    }

    async fn expect_no_start(&mut self, time: Duration) {
        sleep(time).await;
        assert!(self.starts.try_recv().is_err(), "it is not to be started");
    }

    async fn next(&mut self) -> ListenerEvent {
        self.test.next_before(Duration::from_secs(60)).await
    }
}

/// Removes the test's own listener from all events.
async fn remove_all_listeners(test: &TestApp) {
    remove_listener(test).await;
    let (server, listener) = (&test.app.tcp_server, &test.listener);
    let errors = &server.on_accept_error;
    errors.do_remove_listener(listener.clone().recipient());
    let accepts = &server.on_accept;
    let removed = accepts.remove_listener(listener.clone().recipient()).await;
    removed.expect("the registry runs");
}

#[actix_rt::test]
async fn data_whose_listeners_died_loads_the_app_which_receives_it() {
    let mut fixture = EventPageFixture::new().await;
    let (client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    fixture.healthy.store(true, SeqCst);
    peer.send("data");
    fixture.expect_start_after(Duration::ZERO).await;
    match fixture.next().await {
        ListenerEvent::Receive(id, data) if id == client.id() => assert_eq!(data, "data"),
        other => panic!("expected onReceive, not {other:?}"),
    }
    // It was not suspended: sockets that are not persistent still exist.
    assert_eq!(fixture.test.app.is_suspended().await, Ok(false));
    let info = client.get_info().await.expect("it is open");
    assert!(info.connected && !info.persistent);
    fixture.expect_no_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn data_after_the_death_of_all_listeners_loads_the_app() {
    let mut fixture = EventPageFixture::new().await;
    fixture.dying_listener.do_send(support::Stop);
    let (_client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    fixture.healthy.store(true, SeqCst);
    fixture.expect_no_start(Duration::from_secs(60)).await;
    peer.send("data");
    fixture.expect_start_after(Duration::ZERO).await;
    assert!(matches!(fixture.next().await, ListenerEvent::Receive(_, data) if data == "data"));
}

#[actix_rt::test]
async fn a_client_whose_listeners_died_loads_the_app_which_receives_on_accept() {
    let mut fixture = EventPageFixture::new().await;
    let (server, at) = fixture.server().await;
    fixture.healthy.store(true, SeqCst);
    let _first = fixture.network.client(at).expect("it listens");
    fixture.expect_start_after(Duration::ZERO).await;
    for peer in [None, Some(fixture.network.client(at).expect("it listens"))] {
        match fixture.next().await {
            ListenerEvent::Accept(by, client) => {
                assert_eq!(by, server);
                client.set_paused(false).await.expect("it is open");
            }
            other => panic!("expected onAccept, not {other:?}"),
        }
        drop(peer);
    }
    fixture.expect_no_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn a_client_after_the_death_of_all_listeners_loads_the_app() {
    let mut fixture = EventPageFixture::new().await;
    let (_, at) = fixture.server().await;
    fixture.dying_listener.do_send(support::Stop);
    fixture.healthy.store(true, SeqCst);
    fixture.expect_no_start(Duration::from_secs(60)).await;
    let _peer = fixture.network.client(at).expect("it listens");
    fixture.expect_start_after(Duration::ZERO).await;
    assert!(matches!(fixture.next().await, ListenerEvent::Accept(..)));
}

#[actix_rt::test]
async fn the_end_of_a_connection_whose_listeners_died_loads_the_app() {
    let mut fixture = EventPageFixture::new().await;
    let (client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    fixture.healthy.store(true, SeqCst);
    peer.shutdown();
    fixture.expect_start_after(Duration::ZERO).await;
    match fixture.next().await {
        ListenerEvent::ReceiveError(id, code) => {
            assert_eq!((id, code), (client.id(), NetError::CONNECTION_CLOSED));
        }
        other => panic!("expected onReceiveError, not {other:?}"),
    }
}

#[actix_rt::test]
async fn an_accept_error_after_the_death_of_all_listeners_loads_the_app() {
    let mut fixture = EventPageFixture::new().await;
    let (server, at) = fixture.server().await;
    fixture.dying_listener.do_send(support::Stop);
    fixture.healthy.store(true, SeqCst);
    fixture.expect_no_start(Duration::from_secs(60)).await;
    let failed = fixture.network.accept_error(at, EMFILE);
    failed.expect("it listens");
    fixture.expect_start_after(Duration::ZERO).await;
    let reported = fixture.next().await;
    assert!(matches!(reported, ListenerEvent::AcceptError(by, _) if by == server));
}

#[actix_rt::test]
async fn an_app_whose_listeners_die_at_once_is_reloaded_with_growing_back_off() {
    let mut fixture = EventPageFixture::new().await;
    // Stops do not count as panics at the data, however often.
    fixture.stops.store(true, SeqCst);
    let (_client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    peer.send("data");
    fixture.expect_start_after(Duration::ZERO).await;
    let mut rest = Duration::from_millis(100);
    for _ in 0..12 {
        fixture.expect_start_after(rest).await;
        rest = (rest * 2).min(Duration::from_secs(30));
    }
    assert_eq!(rest, Duration::from_secs(30));
    fixture.healthy.store(true, SeqCst);
    fixture.expect_start_after(rest).await;
    assert!(matches!(fixture.next().await, ListenerEvent::Receive(_, data) if data == "data"));
    fixture.expect_no_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn an_app_whose_listeners_lived_long_is_reloaded_at_once() {
    let mut fixture = EventPageFixture::new().await;
    for _ in 0..3 {
        fixture.healthy.store(false, SeqCst);
        fixture
            .test
            .app
            .suspend()
            .await
            .expect("everything was handled");
        fixture.test.app.resume().await.expect("it runs");
        fixture.expect_start_after(Duration::ZERO).await;
        let (client, peer) = connected(&fixture.test, &fixture.network, 100).await;
        fixture.expect_no_start(Duration::from_secs(2)).await;
        fixture.healthy.store(true, SeqCst);
        peer.send("data");
        fixture.expect_start_after(Duration::ZERO).await;
        assert!(matches!(fixture.next().await, ListenerEvent::Receive(..)));
        client.close().await.expect("it is open");
        assert!(matches!(
            fixture.next().await,
            ListenerEvent::ReceiveError(..)
        ));
    }
}

#[actix_rt::test]
async fn an_app_that_removed_its_listeners_is_not_loaded() {
    is_not_loaded_without_listeners(false).await;
}

#[actix_rt::test]
async fn an_app_that_removed_its_dead_listeners_is_not_loaded() {
    is_not_loaded_without_listeners(true).await;
}

async fn is_not_loaded_without_listeners(are_dead: bool) {
    let mut fixture = EventPageFixture::new().await;
    let (_, at) = fixture.server().await;
    let (client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    if are_dead {
        fixture.dying_listener.do_send(support::Stop);
        fixture.expect_no_start(Duration::from_secs(1)).await;
        assert!(!fixture.dying_listener.connected());
    }
    unsubscribe(&fixture.test.app, &fixture.dying_listener).await;
    peer.send("data");
    let _accepted = fixture.network.client(at).expect("it listens");
    fixture.expect_no_start(Duration::from_secs(60)).await;
    let (app, listener) = (&fixture.test.app, &fixture.test.listener);
    subscribe(app, listener).await.expect("it runs");
    let (mut data, mut accepted) = (0, 0);
    for _ in 0..2 {
        match fixture.next().await {
            ListenerEvent::Receive(id, _) if id == client.id() => data += 1,
            ListenerEvent::Accept(..) => accepted += 1,
            other => panic!("expected the waiting event, not {other:?}"),
        }
    }
    assert_eq!((data, accepted), (1, 1));
}

#[actix_rt::test]
async fn an_app_in_back_off_is_suspended_and_unloaded_like_any_other() {
    let mut fixture = EventPageFixture::new().await;
    let (client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    peer.send("data");
    fixture.expect_start_after(Duration::ZERO).await;
    // It is in back-off now.
    sleep(Duration::from_millis(50)).await;
    assert_eq!(fixture.test.app.is_suspended().await, Ok(false));
    assert!(!peer.is_closed());
    fixture
        .test
        .app
        .suspend()
        .await
        .expect("nothing is on its way");
    assert_eq!(fixture.test.app.is_suspended().await, Ok(true));
    assert!(peer.is_closed(), "it is not persistent");
    assert!(client.get_info().await.is_err());
    fixture.expect_no_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn an_app_in_back_off_without_event_page_waits_for_new_listeners() {
    let mut fixture = EventPageFixture::new().await;
    let (_client, peer) = connected(&fixture.test, &fixture.network, 100).await;
    peer.send("data");
    fixture.expect_start_after(Duration::ZERO).await;
    sleep(Duration::from_millis(50)).await;
    let app = &fixture.test.app;
    app.set_event_page(None).await.expect("the registry runs");
    subscribe(app, &fixture.test.listener)
        .await
        .expect("it runs");
    assert!(matches!(fixture.next().await, ListenerEvent::Receive(_, data) if data == "data"));
    fixture.expect_no_start(Duration::from_secs(60)).await;
}
