//! Which panics count, on a scripted network.

use std::collections::VecDeque;

use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType};
use chrome_sockets::testing::{Peer, ScriptedNetwork};

use super::*;

/// What a listener does with its next event, if it has this text.
type ListenerStep = (&'static str, Action);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Panic,
    /// It keeps the event.
    Keep,
    /// After taking the data out.
    TakeAndPanic,
    /// In a future that the handler returned.
    PanicLater,
}
use Action::*;

/// Carries out each step once, and records what it handles otherwise.
struct ScriptedListener {
    steps: Arc<Mutex<VecDeque<ListenerStep>>>,
    handled: Arc<Mutex<Vec<Bytes>>>,
    ends: Arc<Mutex<Vec<NetError>>>,
    kept: Vec<ReceiveInfo>,
}

impl Actor for ScriptedListener {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for ScriptedListener {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, mut info: ReceiveInfo, _: &mut Self::Context) -> Self::Result {
        let mut steps = self.steps.lock().expect("no panic while locked");
        let is_next = steps.front().is_some_and(|(text, _)| *text == info.data);
        let deed = if is_next { steps.pop_front() } else { None };
        drop(steps);
        match deed {
            Some((_, Panic)) => panic!("injected panic of the listener"),
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
                let mut handled = self.handled.lock().expect("no panic while locked");
                handled.push(info.data.clone());
            }
        }
        Box::pin(actix::fut::ready(()))
    }
}

impl Handler<ReceiveErrorInfo> for ScriptedListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        let mut ends = self.ends.lock().expect("no panic while locked");
        ends.push(info.result_code);
    }
}

/// An app with client sockets, whose listener is restarted when it dies.
struct Fixture {
    test: TestApp,
    network: ScriptedNetwork,
    steps: Arc<Mutex<VecDeque<ListenerStep>>>,
    handled: Arc<Mutex<Vec<Bytes>>>,
    ends: Arc<Mutex<Vec<NetError>>>,
}

impl Fixture {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        test.remove_listener().await;
        Fixture {
            test,
            network,
            steps: Arc::default(),
            handled: Arc::default(),
            ends: Arc::default(),
        }
    }

    async fn connected(&self) -> (ClientSocket, Peer) {
        let tcp = &self.test.app.tcp;
        let id = self.test.create().await;
        let client = tcp.socket(id).await.expect("it exists");
        let peer = self
            .network
            .server("192.0.2.1:7".parse().expect("an address"));
        let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
        connected.await.expect("it answers");
        (client, peer)
    }

    async fn start(&self) -> Addr<ScriptedListener> {
        let listener = ScriptedListener {
            steps: self.steps.clone(),
            handled: self.handled.clone(),
            ends: self.ends.clone(),
            kept: Vec::new(),
        }
        .start();
        let tcp = &self.test.app.tcp;
        tcp.on_receive_error
            .do_add_listener(listener.clone().recipient());
        let added = tcp.on_receive.add_listener(listener.clone().recipient());
        added.await.expect("the registry runs");
        listener
    }

    fn plan(&self, steps: &[ListenerStep]) {
        let mut plan = self.steps.lock().expect("no panic while locked");
        plan.extend(steps);
    }

    /// Starts a listener that carries out these steps and then dies.
    async fn assert_panics_at(&self, steps: &[ListenerStep]) {
        self.plan(steps);
        let listener = self.start().await;
        until("the death of the listener", move || !listener.connected()).await;
    }

    async fn expect_handled(&self, texts: &[&str]) {
        until("the events", || self.handled().len() >= texts.len()).await;
        assert_eq!(self.handled(), texts);
    }

    fn handled(&self) -> Vec<Bytes> {
        self.handled.lock().expect("no panic while locked").clone()
    }

    fn ends(&self) -> Vec<NetError> {
        self.ends.lock().expect("no panic while locked").clone()
    }

    async fn fails(&self) {
        let _frail = self.start().await;
        until("the end", || !self.ends().is_empty()).await;
        assert_eq!(self.ends(), [NetError::FAILED]);
    }
}

#[actix_rt::test]
async fn the_third_panic_in_a_row_ends_the_connection_and_its_data_is_dropped() {
    let fixture = Fixture::new().await;
    let (client, peer) = fixture.connected().await;
    peer.send("a");
    for _ in 0..3 {
        fixture.assert_panics_at(&[("a", Panic)]).await;
    }
    fixture.fails().await;
    assert!(fixture.handled().is_empty());
    assert!(peer.is_closed());
    let info = client.get_info().await.expect("the id is there");
    assert!(!info.connected && info.paused);
    assert_eq!(info.dropped_events, 0);
}

#[actix_rt::test]
async fn an_event_that_is_handled_between_two_panics_resets_the_count() {
    let fixture = Fixture::new().await;
    let (_client, peer) = fixture.connected().await;
    let mut handled = Vec::new();
    for text in ["a", "b", "c", "d"] {
        peer.send(text);
        for _ in 0..2 {
            fixture.assert_panics_at(&[(text, Panic)]).await;
        }
        let listener = fixture.start().await;
        handled.push(text);
        fixture.expect_handled(&handled).await;
        listener.do_send(support::Stop);
        until("the death of the listener", || !listener.connected()).await;
    }
    assert!(fixture.ends().is_empty());
}

support::stoppable!(ScriptedListener);

#[actix_rt::test]
async fn events_in_the_mailbox_of_a_listener_that_panics_do_not_count() {
    let fixture = Fixture::new().await;
    let (_bad, bad) = fixture.connected().await;
    let (_good, good) = fixture.connected().await;
    // Each time it panics at another client's event, with this one's behind it.
    let (_other, other) = fixture.connected().await;
    bad.send("bad");
    other.send("other");
    good.send("good");
    fixture.assert_panics_at(&[("bad", Panic)]).await;
    // The waiting event comes first now.
    fixture.assert_panics_at(&[("other", Panic)]).await;
    let listener = fixture.start().await;
    until("the events", || fixture.handled().len() == 3).await;
    let handled = fixture.handled();
    assert_eq!(handled[0], "good", "events without a panic come first");
    assert!(fixture.ends().is_empty() && listener.connected());
}

#[actix_rt::test]
async fn a_kept_event_does_not_count_when_the_listener_panics_at_another() {
    let fixture = Fixture::new().await;
    let (_kept, kept) = fixture.connected().await;
    let (_bad, bad) = fixture.connected().await;
    kept.send("kept");
    for _ in 0..3 {
        fixture.plan(&[("kept", Keep), ("bad", Panic)]);
        let listener = fixture.start().await;
        until("the kept one", || {
            fixture.steps.lock().is_ok_and(|steps| steps.len() == 1)
        })
        .await;
        if poisonous_event_waits(&fixture) {
            bad.send("bad");
        }
        until("the death of the listener", move || !listener.connected()).await;
        // Only the poisonous event counts.
    }
    fixture.fails().await;
    fixture.expect_handled(&["kept"]).await;
}

/// Whether the poisonous client has not sent yet.
fn poisonous_event_waits(fixture: &Fixture) -> bool {
    fixture.steps.lock().is_ok_and(|steps| steps.len() == 1)
}

#[actix_rt::test]
async fn a_panic_after_taking_the_data_counts_too() {
    let fixture = Fixture::new().await;
    let (_client, peer) = fixture.connected().await;
    for text in ["a", "b", "c"] {
        peer.send(text);
        fixture.assert_panics_at(&[(text, TakeAndPanic)]).await;
    }
    fixture.fails().await;
    assert!(peer.is_closed() && fixture.handled().is_empty());
}

#[actix_rt::test]
async fn a_panic_in_a_future_of_the_handler_counts_too() {
    let fixture = Fixture::new().await;
    let (_client, peer) = fixture.connected().await;
    peer.send("a");
    for _ in 0..3 {
        fixture.assert_panics_at(&[("a", PanicLater)]).await;
    }
    fixture.fails().await;
}

#[actix_rt::test]
async fn data_that_one_of_two_listeners_handles_does_not_count() {
    let fixture = Fixture::new().await;
    let (_client, peer) = fixture.connected().await;
    let calm = Fixture::new().await;
    let sound = ScriptedListener {
        steps: calm.steps.clone(),
        handled: calm.handled.clone(),
        ends: calm.ends.clone(),
        kept: Vec::new(),
    }
    .start();
    let on_receive = &fixture.test.app.tcp.on_receive;
    let added = on_receive.add_listener(sound.clone().recipient());
    added.await.expect("the registry runs");
    for text in ["a", "b", "c", "d"] {
        fixture.plan(&[(text, Panic)]);
        let listener = fixture.start().await;
        peer.send(text);
        until("the death of the listener", move || !listener.connected()).await;
    }
    calm.expect_handled(&["a", "b", "c", "d"]).await;
    assert!(fixture.ends().is_empty() && calm.ends().is_empty());
}
