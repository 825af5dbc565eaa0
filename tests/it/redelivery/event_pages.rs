//! Apps with an event page are loaded again when their listeners have died,
//! and something is to be told.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{Error, ServerSocketId};
use tokio::time::{Instant, sleep};

use support::subscribe;

const EMFILE: i32 = 24;
const SLACK: Duration = Duration::from_millis(50);

/// Panics in every handler, or stops with the event unhandled.
#[derive(Default)]
struct Ill {
    stops: Arc<AtomicBool>,
}

impl Actor for Ill {
    type Context = Context<Self>;
}

macro_rules! panics {
    ($($event:ty),*) => {$(
        impl Handler<$event> for Ill {
            type Result = ();

            fn handle(&mut self, event: $event, ctx: &mut Self::Context) {
                assert!(self.stops.load(SeqCst), "a listener that is not well");
                // It goes when the mailbox is closed.
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

#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Handler<Die> for Ill {
    type Result = ();

    fn handle(&mut self, _: Die, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

async fn hears(app: &App, ill: &Addr<Ill>) -> Result<(), Error> {
    let (tcp, server) = (&app.tcp, &app.tcp_server);
    server.on_accept.add_listener(ill.clone().recipient());
    server.on_accept_error.add_listener(ill.clone().recipient());
    tcp.on_receive_error.add_listener(ill.clone().recipient());
    tcp.on_receive.add_listener(ill.clone().recipient()).await
}

async fn leaves(app: &App, ill: &Addr<Ill>) {
    let (tcp, server) = (&app.tcp, &app.tcp_server);
    server.on_accept.remove_listener(ill.clone().recipient());
    let errors = &server.on_accept_error;
    errors.remove_listener(ill.clone().recipient());
    let ends = &tcp.on_receive_error;
    ends.remove_listener(ill.clone().recipient());
    let left = tcp.on_receive.remove_listener(ill.clone().recipient());
    left.await.expect("the registry runs");
}

/// An app whose event page was loaded, on the scripted network. Its listener
/// dies of every event until it is well.
struct Clinic {
    world: World,
    network: ScriptedNetwork,
    starts: UnboundedReceiver<Instant>,
    well: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    ill: Addr<Ill>,
}

impl Clinic {
    async fn new() -> Self {
        tokio::time::pause();
        let network = ScriptedNetwork::new();
        let world = World::with_network(network.clone()).await;
        let (start, starts) = unbounded_channel();
        let well = Arc::new(AtomicBool::new(false));
        let stops = Arc::new(AtomicBool::new(false));
        let (listener, is_well) = (world.another_listener(), well.clone());
        let may_stop = stops.clone();
        let page = EventPage::new(move |app| {
            let _ = start.send(Instant::now());
            let listener = is_well.load(SeqCst).then(&listener);
            let stops = may_stop.clone();
            async move {
                match listener {
                    Some(listener) => subscribe(&app, &listener.start()).await,
                    None => hears(&app, &Ill { stops }.start()).await,
                }
            }
        });
        let set = world.app.set_event_page(Some(page));
        set.await.expect("the registry runs");
        deafen_all(&world).await;
        let ill = Ill {
            stops: stops.clone(),
        }
        .start();
        hears(&world.app, &ill).await.expect("the registry runs");
        Clinic {
            world,
            network,
            starts,
            well,
            stops,
            ill,
        }
    }

    async fn server(&self) -> (ServerSocketId, std::net::SocketAddr) {
        self.world.listen().await
    }

    /// When the page starts next, which takes so long.
    async fn starts_after(&mut self, time: Duration) {
        let from = Instant::now();
        let limit = time + SLACK;
        let started = tokio::time::timeout(limit, self.starts.recv()).await;
        let started = started.expect("it starts").expect("it runs");
        assert!(started - from >= time, "too early: {:?}", started - from);
    }

    async fn does_not_start(&mut self, time: Duration) {
        sleep(time).await;
        assert!(self.starts.try_recv().is_err(), "it is not to be started");
    }

    async fn next(&mut self) -> Heard {
        self.world.next_before(Duration::from_secs(60)).await
    }
}

/// The world's own listener hears nothing at all.
async fn deafen_all(world: &World) {
    deafen(world).await;
    let (server, listener) = (&world.app.tcp_server, &world.listener);
    let errors = &server.on_accept_error;
    errors.remove_listener(listener.clone().recipient());
    let accepts = &server.on_accept;
    let removed = accepts.remove_listener(listener.clone().recipient()).await;
    removed.expect("the registry runs");
}

#[actix_rt::test]
async fn data_whose_listeners_died_loads_the_app_which_receives_it() {
    let mut clinic = Clinic::new().await;
    let (client, peer) = connected(&clinic.world, &clinic.network, 100).await;
    clinic.well.store(true, SeqCst);
    peer.send("data");
    clinic.starts_after(Duration::ZERO).await;
    match clinic.next().await {
        Heard::Receive(id, data) if id == client.id() => assert_eq!(data, "data"),
        other => panic!("expected onReceive, not {other:?}"),
    }
    // It was not suspended: what is not persistent is still there.
    assert_eq!(clinic.world.app.is_suspended().await, Ok(false));
    let info = client.get_info().await.expect("it is open");
    assert!(info.connected && !info.persistent);
    clinic.does_not_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn data_after_the_death_of_all_listeners_loads_the_app() {
    let mut clinic = Clinic::new().await;
    clinic.ill.do_send(Die);
    let (_client, peer) = connected(&clinic.world, &clinic.network, 100).await;
    clinic.well.store(true, SeqCst);
    clinic.does_not_start(Duration::from_secs(60)).await;
    peer.send("data");
    clinic.starts_after(Duration::ZERO).await;
    assert!(matches!(clinic.next().await, Heard::Receive(_, data) if data == "data"));
}

#[actix_rt::test]
async fn a_client_whose_listeners_died_loads_the_app_which_receives_on_accept() {
    let mut clinic = Clinic::new().await;
    let (server, at) = clinic.server().await;
    clinic.well.store(true, SeqCst);
    let _first = clinic.network.client(at).expect("it listens");
    clinic.starts_after(Duration::ZERO).await;
    for peer in [None, Some(clinic.network.client(at).expect("it listens"))] {
        match clinic.next().await {
            Heard::Accept(by, client) => {
                assert_eq!(by, server);
                client.set_paused(false).await.expect("it is open");
            }
            other => panic!("expected onAccept, not {other:?}"),
        }
        drop(peer);
    }
    clinic.does_not_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn a_client_after_the_death_of_all_listeners_loads_the_app() {
    let mut clinic = Clinic::new().await;
    let (_, at) = clinic.server().await;
    clinic.ill.do_send(Die);
    clinic.well.store(true, SeqCst);
    clinic.does_not_start(Duration::from_secs(60)).await;
    let _peer = clinic.network.client(at).expect("it listens");
    clinic.starts_after(Duration::ZERO).await;
    assert!(matches!(clinic.next().await, Heard::Accept(..)));
}

#[actix_rt::test]
async fn the_end_of_a_connection_whose_listeners_died_loads_the_app() {
    let mut clinic = Clinic::new().await;
    let (client, peer) = connected(&clinic.world, &clinic.network, 100).await;
    clinic.well.store(true, SeqCst);
    peer.end();
    clinic.starts_after(Duration::ZERO).await;
    match clinic.next().await {
        Heard::ReceiveError(id, code) => {
            assert_eq!((id, code), (client.id(), NetError::CONNECTION_CLOSED));
        }
        other => panic!("expected onReceiveError, not {other:?}"),
    }
}

#[actix_rt::test]
async fn an_accept_error_after_the_death_of_all_listeners_loads_the_app() {
    let mut clinic = Clinic::new().await;
    let (server, at) = clinic.server().await;
    clinic.ill.do_send(Die);
    clinic.well.store(true, SeqCst);
    clinic.does_not_start(Duration::from_secs(60)).await;
    let failed = clinic.network.accept_error(at, EMFILE);
    failed.expect("it listens");
    clinic.starts_after(Duration::ZERO).await;
    let told = clinic.next().await;
    assert!(matches!(told, Heard::AcceptError(by, _) if by == server));
}

#[actix_rt::test]
async fn an_app_whose_listeners_die_at_once_is_reloaded_with_growing_back_off() {
    let mut clinic = Clinic::new().await;
    // The data is not at fault, however often.
    clinic.stops.store(true, SeqCst);
    let (_client, peer) = connected(&clinic.world, &clinic.network, 100).await;
    peer.send("data");
    clinic.starts_after(Duration::ZERO).await;
    let mut rest = Duration::from_millis(100);
    for _ in 0..12 {
        clinic.starts_after(rest).await;
        rest = (rest * 2).min(Duration::from_secs(30));
    }
    assert_eq!(rest, Duration::from_secs(30));
    clinic.well.store(true, SeqCst);
    clinic.starts_after(rest).await;
    assert!(matches!(clinic.next().await, Heard::Receive(_, data) if data == "data"));
    clinic.does_not_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn an_app_whose_listeners_lived_long_is_reloaded_at_once() {
    let mut clinic = Clinic::new().await;
    for _ in 0..3 {
        clinic.well.store(false, SeqCst);
        clinic.world.app.suspend().await.expect("all is handled");
        clinic.world.app.resume().await.expect("it runs");
        clinic.starts_after(Duration::ZERO).await;
        let (client, peer) = connected(&clinic.world, &clinic.network, 100).await;
        clinic.does_not_start(Duration::from_secs(2)).await;
        clinic.well.store(true, SeqCst);
        peer.send("data");
        clinic.starts_after(Duration::ZERO).await;
        assert!(matches!(clinic.next().await, Heard::Receive(..)));
        client.close().await.expect("it is open");
        assert!(matches!(clinic.next().await, Heard::ReceiveError(..)));
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
    let mut clinic = Clinic::new().await;
    let (_, at) = clinic.server().await;
    let (client, peer) = connected(&clinic.world, &clinic.network, 100).await;
    if are_dead {
        clinic.ill.do_send(Die);
        clinic.does_not_start(Duration::from_secs(1)).await;
        assert!(!clinic.ill.connected());
    }
    leaves(&clinic.world.app, &clinic.ill).await;
    peer.send("data");
    let _accepted = clinic.network.client(at).expect("it listens");
    clinic.does_not_start(Duration::from_secs(60)).await;
    let (app, listener) = (&clinic.world.app, &clinic.world.listener);
    subscribe(app, listener).await.expect("it runs");
    let (mut data, mut accepted) = (0, 0);
    for _ in 0..2 {
        match clinic.next().await {
            Heard::Receive(id, _) if id == client.id() => data += 1,
            Heard::Accept(..) => accepted += 1,
            other => panic!("expected what has waited, not {other:?}"),
        }
    }
    assert_eq!((data, accepted), (1, 1));
}

#[actix_rt::test]
async fn an_app_in_back_off_is_suspended_and_unloaded_like_any_other() {
    let mut clinic = Clinic::new().await;
    let (client, peer) = connected(&clinic.world, &clinic.network, 100).await;
    peer.send("data");
    clinic.starts_after(Duration::ZERO).await;
    // It rests now.
    sleep(Duration::from_millis(50)).await;
    assert_eq!(clinic.world.app.is_suspended().await, Ok(false));
    assert!(!peer.is_closed());
    clinic
        .world
        .app
        .suspend()
        .await
        .expect("nothing is on its way");
    assert_eq!(clinic.world.app.is_suspended().await, Ok(true));
    assert!(peer.is_closed(), "it is not persistent");
    assert!(client.get_info().await.is_err());
    clinic.does_not_start(Duration::from_secs(60)).await;
}

#[actix_rt::test]
async fn an_app_in_back_off_without_event_page_waits_for_new_listeners() {
    let mut clinic = Clinic::new().await;
    let (_client, peer) = connected(&clinic.world, &clinic.network, 100).await;
    peer.send("data");
    clinic.starts_after(Duration::ZERO).await;
    sleep(Duration::from_millis(50)).await;
    let app = &clinic.world.app;
    app.set_event_page(None).await.expect("the registry runs");
    subscribe(app, &clinic.world.listener)
        .await
        .expect("it runs");
    assert!(matches!(clinic.next().await, Heard::Receive(_, data) if data == "data"));
    clinic.does_not_start(Duration::from_secs(60)).await;
}
