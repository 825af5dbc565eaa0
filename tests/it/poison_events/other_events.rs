//! Events other than data at which listeners panic: dropped, and counted.

use chrome_sockets::tcp::DnsQueryType;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits, SocketInfo};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{AddListener, Event, OnEvent, ServerSocketId};

use super::*;
use crate::tls::certificates::Authority;
use support::Listener;

const ENOMEM: i32 = 12;

/// Panics at every event.
struct Ill;

impl Actor for Ill {
    type Context = Context<Self>;
}

impl<E: Event> Handler<E> for Ill {
    type Result = ();

    fn handle(&mut self, _: E, _: &mut Self::Context) {
        panic!("a listener that is not well");
    }
}

/// A server socket on a scripted network.
struct Ward {
    world: World,
    network: ScriptedNetwork,
    id: ServerSocketId,
    at: SocketAddr,
}

impl Ward {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let world = World::with_network(network.clone()).await;
        let (id, at) = world.listen().await;
        Ward {
            world,
            network,
            id,
            at,
        }
    }

    async fn info(&self) -> SocketInfo {
        let info = self.world.app.tcp_server.get_info(self.id).await;
        info.expect("it exists")
    }

    /// An ill listener of this event, which lives until it hears of one.
    async fn ill<E: Event>(&self, event: &OnEvent<E>) -> Addr<Ill>
    where
        Registry: Handler<AddListener<E>>,
    {
        let ill = Ill.start();
        let added = event.add_listener(ill.clone().recipient()).await;
        added.expect("the registry runs");
        ill
    }

    /// After the first ill listener two others die of the event, which is
    /// dropped then and not before.
    async fn kills_three<E: Event>(
        &self,
        first: Addr<Ill>,
        event: &OnEvent<E>,
        dropped: impl AsyncFn() -> u64,
    ) where
        Registry: Handler<AddListener<E>>,
    {
        until("the first death", || !first.connected()).await;
        for _ in 1..MAX_PANICS {
            assert_eq!(dropped().await, 0);
            let ill = self.ill(event).await;
            until("another death", || !ill.connected()).await;
        }
        within("the drop", async {
            while dropped().await == 0 {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(dropped().await, 1);
    }

    async fn hear_accepts(&self) {
        let listener: Addr<Listener> = self.world.listener.clone();
        let on_accept = &self.world.app.tcp_server.on_accept;
        let added = on_accept.add_listener(listener.recipient()).await;
        added.expect("the registry runs");
    }
}

#[actix_rt::test]
async fn an_accept_at_which_three_listeners_panicked_is_dropped_with_its_client() {
    let mut ward = Ward::new().await;
    ward.world.deafen().await;
    let app = ward.world.app.clone();
    let ill = ward.ill(&app.tcp_server.on_accept).await;
    let bad = ward.network.client(ward.at).expect("it listens");
    let dropped = async || ward.info().await.counts.dropped_events;
    let on_accept = &app.tcp_server.on_accept;
    ward.kills_three(ill, on_accept, dropped).await;
    until("the client's end", || bad.is_closed()).await;
    assert_eq!(app.tcp.get_sockets().await.expect("it runs"), []);
    // The next one is as welcome as ever.
    ward.hear_accepts().await;
    let _good = ward.network.client(ward.at).expect("it listens");
    ward.world.accepted().await;
    let counts = ward.info().await.counts;
    assert_eq!((counts.accepted, counts.delivered), (2, 1));
    ward.world.nothing().await;
}

#[actix_rt::test]
async fn clients_that_waited_behind_a_poisonous_accept_are_raised_before_it_is_retried() {
    let mut ward = Ward::new().await;
    ward.world.deafen().await;
    let _peers: Vec<_> = (0..3)
        .map(|_| ward.network.client(ward.at).expect("it listens"))
        .collect();
    let app = ward.world.app.clone();
    let ill = ward.ill(&app.tcp_server.on_accept).await;
    until("its death", || !ill.connected()).await;
    ward.hear_accepts().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(ward.world.accepted().await.id().get());
    }
    assert_eq!(ids, [2, 3, 1]);
}

#[actix_rt::test]
async fn an_accept_error_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut ward = Ward::new().await;
    ward.world.deafen().await;
    ward.hear_accepts().await;
    let app = ward.world.app.clone();
    let errors = &app.tcp_server.on_accept_error;
    let ill = ward.ill(errors).await;
    let failed = ward.network.accept_error(ward.at, ENOMEM);
    failed.expect("it listens");
    let dropped = async || ward.info().await.counts.dropped_events;
    ward.kills_three(ill, errors, dropped).await;
    let resumed = app.tcp_server.set_paused(ward.id, false).await;
    resumed.expect("it exists");
    let _peer = ward.network.client(ward.at).expect("it listens");
    ward.world.accepted().await;
    ward.world.nothing().await;
}

#[actix_rt::test]
async fn a_refusal_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut ward = Ward::new().await;
    let app = ward.world.app.clone();
    let connections = Some(Limit {
        most: 1,
        then: AtLimit::Close,
    });
    let limits = Limits {
        connections,
        ..Default::default()
    };
    let set = app.tcp_server.set_limits(ward.id, limits).await;
    set.expect("good limits");
    let _first = ward.network.client(ward.at).expect("it listens");
    ward.world.accepted().await;
    let on_refused = &app.tcp_server.on_refused;
    let ill = ward.ill(on_refused).await;
    let _second = ward.network.client(ward.at).expect("it listens");
    let dropped = async || ward.info().await.counts.dropped_events;
    ward.kills_three(ill, on_refused, dropped).await;
    assert_eq!(ward.info().await.counts.refused, 1);
}

#[actix_rt::test]
async fn a_failed_handshake_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut ward = Ward::new().await;
    let app = ward.world.app.clone();
    let server = Authority::new().issue("localhost").server();
    let encrypts = app.tcp_server.set_tls(ward.id, Some(server)).await;
    encrypts.expect("it exists");
    let on_error = &app.tcp_server.on_handshake_error;
    let ill = ward.ill(on_error).await;
    let bad = ward.network.client(ward.at).expect("it listens");
    bad.send("no TLS");
    let dropped = async || ward.info().await.counts.dropped_events;
    ward.kills_three(ill, on_error, dropped).await;
    until("the client's end", || bad.is_closed()).await;
    assert_eq!(ward.info().await.counts.failed, 1);
    // The next error is reported, and connections are accepted.
    let ill = ward.ill(on_error).await;
    assert!(ill.connected(), "nothing is left of the first");
    let next = ward.network.client(ward.at).expect("it listens");
    next.end();
    until("the death of the next failure", || !ill.connected()).await;
    let decrypted = app.tcp_server.set_tls(ward.id, None).await;
    decrypted.expect("it exists");
    let _good = ward.network.client(ward.at).expect("it listens");
    ward.world.accepted().await;
    ward.world.nothing().await;
}

#[actix_rt::test]
async fn an_end_at_which_three_listeners_panicked_is_dropped_and_counted() {
    let mut ward = Ward::new().await;
    let peer = ward.network.client(ward.at).expect("it listens");
    let client = ward.world.accepted().await;
    client.set_paused(false).await.expect("it is open");
    let app = ward.world.app.clone();
    let ends = &app.tcp.on_receive_error;
    let own: Addr<Listener> = ward.world.listener.clone();
    let left = ends.remove_listener(own.clone().recipient()).await;
    left.expect("the registry runs");
    let ill = ward.ill(ends).await;
    peer.end();
    let dropped = async || {
        let info = client.get_info().await;
        info.expect("the id is there").dropped_events
    };
    ward.kills_three(ill, ends, dropped).await;
    let added = ends.add_listener(own.recipient()).await;
    added.expect("the registry runs");
    ward.world.nothing().await;
    // The next connection's end is told.
    let next = ward.network.client(ward.at).expect("it listens");
    let client = ward.world.accepted().await;
    client.set_paused(false).await.expect("it is open");
    next.end();
    let end = ward.world.ended(client.id()).await;
    assert_eq!(end, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn panics_at_the_end_of_the_previous_connection_do_not_count() {
    let ward = Ward::new().await;
    ward.world.deafen().await;
    let app = ward.world.app.clone();
    let ends = &app.tcp.on_receive_error;
    let id = ward.world.create().await;
    let client = app.tcp.socket(id).await.expect("it exists");
    let at: SocketAddr = "192.0.2.1:7".parse().expect("an address");
    let first = ward.network.server(at);
    let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
    connected.await.expect("it answers");
    first.end();
    for _ in 1..MAX_PANICS {
        let ill = ward.ill(ends).await;
        until("a death", || !ill.connected()).await;
    }
    ward.world.create().await;

    let second = ward.network.server(at);
    let connected = client.connect("192.0.2.1", 7, DnsQueryType::Any);
    connected.await.expect("it answers again");
    client.set_paused(false).await.expect("resume");
    let ill = ward.ill(ends).await;
    let dropped = async || {
        let info = client.get_info().await;
        info.expect("the id is there").dropped_events
    };
    second.end();
    ward.kills_three(ill, ends, dropped).await;
}
