//! What counts as a panic at an event, on a scripted network.

use std::collections::VecDeque;

use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType};
use chrome_sockets::testing::{Peer, ScriptedNetwork};

use super::*;

/// What a listener does with its next event, if it is of this text.
type Deed = (&'static str, What);

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Panic,
    /// It keeps the event.
    Keep,
    /// After it has taken the data out.
    TakeAndPanic,
    /// In a future that the handler has returned.
    PanicLater,
}
use What::*;

/// Does each deed once, and notes what it handles otherwise.
struct Frail {
    deeds: Arc<Mutex<VecDeque<Deed>>>,
    handled: Arc<Mutex<Vec<Bytes>>>,
    ends: Arc<Mutex<Vec<NetError>>>,
    kept: Vec<ReceiveInfo>,
}

impl Actor for Frail {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Frail {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, mut info: ReceiveInfo, _: &mut Self::Context) -> Self::Result {
        let mut deeds = self.deeds.lock().expect("nobody panics with it");
        let is_next = deeds.front().is_some_and(|(text, _)| *text == info.data);
        let deed = if is_next { deeds.pop_front() } else { None };
        drop(deeds);
        match deed {
            Some((_, Panic)) => panic!("a listener that is not well"),
            Some((_, TakeAndPanic)) => {
                drop(std::mem::take(&mut info.data));
                panic!("after the data was taken");
            }
            Some((_, PanicLater)) => {
                let later = async move {
                    actix_rt::task::yield_now().await;
                    let _info = info;
                    panic!("in a future of the handler");
                };
                return Box::pin(actix::fut::wrap_future(later));
            }
            Some((_, Keep)) => self.kept.push(info),
            None => {
                let mut handled = self.handled.lock().expect("nobody panics with it");
                handled.push(info.data.clone());
            }
        }
        Box::pin(actix::fut::ready(()))
    }
}

impl Handler<ReceiveErrorInfo> for Frail {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        let mut ends = self.ends.lock().expect("nobody panics with it");
        ends.push(info.result_code);
    }
}

/// An app with client sockets, whose listener is started again when it dies.
struct Clinic {
    world: World,
    network: ScriptedNetwork,
    deeds: Arc<Mutex<VecDeque<Deed>>>,
    handled: Arc<Mutex<Vec<Bytes>>>,
    ends: Arc<Mutex<Vec<NetError>>>,
}

impl Clinic {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let world = World::with_network(network.clone()).await;
        world.deafen().await;
        Clinic {
            world,
            network,
            deeds: Arc::default(),
            handled: Arc::default(),
            ends: Arc::default(),
        }
    }

    async fn connected(&self) -> (ClientSocket, Peer) {
        let tcp = &self.world.app.tcp;
        let id = self.world.create().await;
        let client = tcp.socket(id).await.expect("it exists");
        let peer = self
            .network
            .server("192.0.2.1:7".parse().expect("an address"));
        let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
        connected.await.expect("it answers");
        (client, peer)
    }

    async fn start(&self) -> Addr<Frail> {
        let frail = Frail {
            deeds: self.deeds.clone(),
            handled: self.handled.clone(),
            ends: self.ends.clone(),
            kept: Vec::new(),
        }
        .start();
        let tcp = &self.world.app.tcp;
        tcp.on_receive_error.add_listener(frail.clone().recipient());
        let added = tcp.on_receive.add_listener(frail.clone().recipient());
        added.await.expect("the registry runs");
        frail
    }

    fn plan(&self, deeds: &[Deed]) {
        let mut plan = self.deeds.lock().expect("nobody panics with it");
        plan.extend(deeds);
    }

    /// Starts a listener, and has it die of the deeds of one life.
    async fn dies_of(&self, deeds: &[Deed]) {
        self.plan(deeds);
        let frail = self.start().await;
        until("its death", move || !frail.connected()).await;
    }

    async fn handles(&self, texts: &[&str]) {
        until("the events", || self.handled().len() >= texts.len()).await;
        assert_eq!(self.handled(), texts);
    }

    fn handled(&self) -> Vec<Bytes> {
        self.handled.lock().expect("nobody panics with it").clone()
    }

    fn ends(&self) -> Vec<NetError> {
        self.ends.lock().expect("nobody panics with it").clone()
    }

    async fn fails(&self) {
        let _frail = self.start().await;
        until("the end", || !self.ends().is_empty()).await;
        assert_eq!(self.ends(), [NetError::FAILED]);
    }
}

#[actix_rt::test]
async fn the_third_panic_in_a_row_ends_the_connection_and_its_data_is_dropped() {
    let clinic = Clinic::new().await;
    let (client, peer) = clinic.connected().await;
    peer.send("a");
    for _ in 0..3 {
        clinic.dies_of(&[("a", Panic)]).await;
    }
    clinic.fails().await;
    assert!(clinic.handled().is_empty());
    assert!(peer.is_closed());
    let info = client.get_info().await.expect("the id is there");
    assert!(!info.connected && info.paused);
    assert_eq!(info.dropped_events, 0);
}

#[actix_rt::test]
async fn an_event_that_is_handled_between_two_panics_resets_the_count() {
    let clinic = Clinic::new().await;
    let (_client, peer) = clinic.connected().await;
    let mut handled = Vec::new();
    for text in ["a", "b", "c", "d"] {
        peer.send(text);
        for _ in 0..2 {
            clinic.dies_of(&[(text, Panic)]).await;
        }
        let frail = clinic.start().await;
        handled.push(text);
        clinic.handles(&handled).await;
        frail.do_send(Stop);
        until("its death", || !frail.connected()).await;
    }
    assert!(clinic.ends().is_empty());
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Frail {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[actix_rt::test]
async fn events_in_the_mailbox_of_a_listener_that_panics_do_not_count() {
    let clinic = Clinic::new().await;
    let (_bad, bad) = clinic.connected().await;
    let (_good, good) = clinic.connected().await;
    // Each time another client's event kills it, and this one's waits behind.
    let (_other, other) = clinic.connected().await;
    bad.send("bad");
    other.send("other");
    good.send("good");
    clinic.dies_of(&[("bad", Panic)]).await;
    // What waited comes first now.
    clinic.dies_of(&[("other", Panic)]).await;
    let frail = clinic.start().await;
    until("the events", || clinic.handled().len() == 3).await;
    let handled = clinic.handled();
    assert_eq!(
        handled[0], "good",
        "those that were not at fault come first"
    );
    assert!(clinic.ends().is_empty() && frail.connected());
}

#[actix_rt::test]
async fn a_kept_event_does_not_count_when_the_listener_panics_at_another() {
    let clinic = Clinic::new().await;
    let (_kept, kept) = clinic.connected().await;
    let (_bad, bad) = clinic.connected().await;
    kept.send("kept");
    for _ in 0..3 {
        clinic.plan(&[("kept", Keep), ("bad", Panic)]);
        let frail = clinic.start().await;
        until("the kept one", || {
            clinic.deeds.lock().is_ok_and(|deeds| deeds.len() == 1)
        })
        .await;
        if bad_waits(&clinic) {
            bad.send("bad");
        }
        until("its death", move || !frail.connected()).await;
        // The bad event alone is at fault.
    }
    clinic.fails().await;
    clinic.handles(&["kept"]).await;
}

/// Whether the bad client has not sent yet.
fn bad_waits(clinic: &Clinic) -> bool {
    clinic.deeds.lock().is_ok_and(|deeds| deeds.len() == 1)
}

#[actix_rt::test]
async fn a_panic_after_taking_the_data_counts_too() {
    let clinic = Clinic::new().await;
    let (_client, peer) = clinic.connected().await;
    for text in ["a", "b", "c"] {
        peer.send(text);
        clinic.dies_of(&[(text, TakeAndPanic)]).await;
    }
    clinic.fails().await;
    assert!(peer.is_closed() && clinic.handled().is_empty());
}

#[actix_rt::test]
async fn a_panic_in_a_future_of_the_handler_counts_too() {
    let clinic = Clinic::new().await;
    let (_client, peer) = clinic.connected().await;
    peer.send("a");
    for _ in 0..3 {
        clinic.dies_of(&[("a", PanicLater)]).await;
    }
    clinic.fails().await;
}

#[actix_rt::test]
async fn data_that_one_of_two_listeners_handles_does_not_count() {
    let clinic = Clinic::new().await;
    let (_client, peer) = clinic.connected().await;
    let calm = Clinic::new().await;
    let sound = Frail {
        deeds: calm.deeds.clone(),
        handled: calm.handled.clone(),
        ends: calm.ends.clone(),
        kept: Vec::new(),
    }
    .start();
    let on_receive = &clinic.world.app.tcp.on_receive;
    let added = on_receive.add_listener(sound.clone().recipient());
    added.await.expect("the registry runs");
    for text in ["a", "b", "c", "d"] {
        clinic.plan(&[(text, Panic)]);
        let frail = clinic.start().await;
        peer.send(text);
        until("its death", move || !frail.connected()).await;
    }
    calm.handles(&["a", "b", "c", "d"]).await;
    assert!(clinic.ends().is_empty() && calm.ends().is_empty());
}
