//! Events other than data at which listeners panic are dropped and counted.

use chrome_sockets::tcp::DnsQueryType;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::{AddListener, Event, OnEvent};
use support::Listener;

use super::*;
use crate::policy::Fixture;
use crate::tls::certificates::Authority;

const ENOMEM: i32 = 12;

/// Panics at every event.
struct PanickingListener;

impl Actor for PanickingListener {
    type Context = Context<Self>;
}

impl<E: Event> Handler<E> for PanickingListener {
    type Result = ();

    fn handle(&mut self, _: E, _: &mut Self::Context) {
        panic!("injected panic of the listener");
    }
}

impl Fixture {
    /// A listener of this event that panics at the first one.
    async fn panicking_listener<E: Event>(&self, event: &OnEvent<E>) -> Addr<PanickingListener>
    where
        Registry: Handler<AddListener<E>>,
    {
        let listener = PanickingListener.start();
        let added = event.add_listener(listener.clone().recipient()).await;
        added.expect("the registry runs");
        listener
    }

    /// After the first panicking listener, two others panic at the event, which is dropped after
    /// the third and not before.
    async fn panics_three_listeners<E: Event>(
        &self,
        first: Addr<PanickingListener>,
        event: &OnEvent<E>,
        dropped: impl AsyncFn() -> u64,
    ) where
        Registry: Handler<AddListener<E>>,
    {
        until("the death of the first listener", || !first.connected()).await;
        for _ in 1..MAX_PANICS {
            assert_eq!(dropped().await, 0);
            let listener = self.panicking_listener(event).await;
            until("the death of another listener", || !listener.connected()).await;
        }
        within("the dropped event", async {
            while dropped().await == 0 {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(dropped().await, 1);
    }

    async fn hear_accepts(&self) {
        let listener: Addr<Listener> = self.test.listener.clone();
        let on_accept = &self.test.app.tcp_server.on_accept;
        let added = on_accept.add_listener(listener.recipient()).await;
        added.expect("the registry runs");
    }
}

#[actix_rt::test]
async fn an_accept_at_which_three_listeners_panicked_is_dropped_with_its_client() {
    let mut fixture = Fixture::new().await;
    fixture.test.remove_listener().await;
    let app = fixture.test.app.clone();
    let listener = fixture.panicking_listener(&app.tcp_server.on_accept).await;
    let bad = fixture.network.client(fixture.at).expect("it listens");
    let dropped = async || fixture.info().await.counts.dropped_events;
    let on_accept = &app.tcp_server.on_accept;
    fixture
        .panics_three_listeners(listener, on_accept, dropped)
        .await;
    until("the client's end", || bad.is_closed()).await;
    assert_eq!(app.tcp.get_sockets().await.expect("it runs"), []);
    // The next client is accepted as usual.
    fixture.hear_accepts().await;
    let _good = fixture.network.client(fixture.at).expect("it listens");
    fixture.test.accepted().await;
    let counts = fixture.info().await.counts;
    assert_eq!((counts.accepted, counts.delivered), (2, 1));
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn clients_that_waited_behind_a_poisonous_accept_are_raised_before_it_is_retried() {
    let mut fixture = Fixture::new().await;
    fixture.test.remove_listener().await;
    let _peers: Vec<_> = (0..3)
        .map(|_| fixture.network.client(fixture.at).expect("it listens"))
        .collect();
    let app = fixture.test.app.clone();
    let listener = fixture.panicking_listener(&app.tcp_server.on_accept).await;
    until("the death of the listener", || !listener.connected()).await;
    fixture.hear_accepts().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(fixture.test.accepted().await.id().get());
    }
    assert_eq!(ids, [2, 3, 1]);
}

#[actix_rt::test]
async fn an_accept_error_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut fixture = Fixture::new().await;
    fixture.test.remove_listener().await;
    fixture.hear_accepts().await;
    let app = fixture.test.app.clone();
    let errors = &app.tcp_server.on_accept_error;
    let listener = fixture.panicking_listener(errors).await;
    let failed = fixture.network.accept_error(fixture.at, ENOMEM);
    failed.expect("it listens");
    let dropped = async || fixture.info().await.counts.dropped_events;
    fixture
        .panics_three_listeners(listener, errors, dropped)
        .await;
    let resumed = app.tcp_server.set_paused(fixture.id, false).await;
    resumed.expect("it exists");
    let _peer = fixture.network.client(fixture.at).expect("it listens");
    fixture.test.accepted().await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_refusal_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let connections = Some(Limit {
        most: 1,
        then: AtLimit::Close,
    });
    let limits = Limits {
        connections,
        ..Default::default()
    };
    let set = app.tcp_server.set_limits(fixture.id, limits).await;
    set.expect("valid limits");
    let _first = fixture.network.client(fixture.at).expect("it listens");
    fixture.test.accepted().await;
    let on_refused = &app.tcp_server.on_refused;
    let listener = fixture.panicking_listener(on_refused).await;
    let _second = fixture.network.client(fixture.at).expect("it listens");
    let dropped = async || fixture.info().await.counts.dropped_events;
    fixture
        .panics_three_listeners(listener, on_refused, dropped)
        .await;
    assert_eq!(fixture.info().await.counts.refused, 1);
}

#[actix_rt::test]
async fn a_failed_handshake_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let server = Authority::new().issue("localhost").server();
    let encrypts = app.tcp_server.set_tls(fixture.id, Some(server)).await;
    encrypts.expect("it exists");
    let on_error = &app.tcp_server.on_handshake_error;
    let listener = fixture.panicking_listener(on_error).await;
    let bad = fixture.network.client(fixture.at).expect("it listens");
    bad.send("no TLS");
    let dropped = async || fixture.info().await.counts.dropped_events;
    fixture
        .panics_three_listeners(listener, on_error, dropped)
        .await;
    until("the client's end", || bad.is_closed()).await;
    assert_eq!(fixture.info().await.counts.failed, 1);
    // The next error is reported, and connections are accepted.
    let listener = fixture.panicking_listener(on_error).await;
    assert!(listener.connected(), "nothing is left of the first");
    let next = fixture.network.client(fixture.at).expect("it listens");
    next.shutdown();
    until("the death at the next failure", || !listener.connected()).await;
    let decrypted = app.tcp_server.set_tls(fixture.id, None).await;
    decrypted.expect("it exists");
    let _good = fixture.network.client(fixture.at).expect("it listens");
    fixture.test.accepted().await;
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn an_end_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut fixture = Fixture::new().await;
    let peer = fixture.network.client(fixture.at).expect("it listens");
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    let app = fixture.test.app.clone();
    let ends = &app.tcp.on_receive_error;
    let own: Addr<Listener> = fixture.test.listener.clone();
    let left = ends.remove_listener(own.clone().recipient()).await;
    left.expect("the registry runs");
    let listener = fixture.panicking_listener(ends).await;
    peer.shutdown();
    let dropped = async || {
        let info = client.get_info().await;
        info.expect("the id is there").dropped_events
    };
    fixture
        .panics_three_listeners(listener, ends, dropped)
        .await;
    let added = ends.add_listener(own.recipient()).await;
    added.expect("the registry runs");
    fixture.test.expect_no_event().await;
    // The end of the next connection is reported.
    let next = fixture.network.client(fixture.at).expect("it listens");
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    next.shutdown();
    let end = fixture.test.ended(client.id()).await;
    assert_eq!(end, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn panics_at_the_end_of_the_previous_connection_do_not_count() {
    let fixture = Fixture::new().await;
    fixture.test.remove_listener().await;
    let app = fixture.test.app.clone();
    let ends = &app.tcp.on_receive_error;
    let id = fixture.test.create().await;
    let client = app.tcp.socket(id).await.expect("it exists");
    let at: SocketAddr = "192.0.2.1:7".parse().expect("an address");
    let first = fixture.network.server(at);
    let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
    connected.await.expect("it answers");
    first.shutdown();
    for _ in 1..MAX_PANICS {
        let listener = fixture.panicking_listener(ends).await;
        until("the death of a listener", || !listener.connected()).await;
    }
    fixture.test.create().await;

    let second = fixture.network.server(at);
    let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
    connected.await.expect("it answers again");
    client.set_paused(false).await.expect("resume");
    let listener = fixture.panicking_listener(ends).await;
    let dropped = async || {
        let info = client.get_info().await;
        info.expect("the id is there").dropped_events
    };
    second.shutdown();
    fixture
        .panics_three_listeners(listener, ends, dropped)
        .await;
}
