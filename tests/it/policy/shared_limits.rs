//! Limits that several server sockets share: those of an app and of a registry.

use std::net::SocketAddr;
use std::time::Duration;

use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::tcp_server::{
    AtLimit, BlockReason, Limit, LimitKind, LimitScope, Limits, RateLimit,
};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{
    App, AppLimits, Error, InvalidArgument, Registry, ServerSocketId, SetRegistryLimits, tcp,
};
use support::{LIMIT, ListenerEvent, TestApp, subscribe, within};

use super::limits::{add_refusal_listener, connections, next_refusal, set};

/// Two apps with one listener.
pub struct TwoApps {
    pub test: TestApp,
    pub other: App,
    network: ScriptedNetwork,
}

impl TwoApps {
    pub async fn new(limits: Limits) -> Self {
        let network = ScriptedNetwork::new();
        let registry = Registry::with_network(network.clone());
        let test = TestApp::on(registry.limits(limits).expect("valid limits")).await;
        let other = App::new("other", &test.registry);
        subscribe(&other, &test.listener).await.expect("it runs");
        TwoApps {
            test,
            other,
            network,
        }
    }

    pub async fn listen(&self, app: &App) -> (ServerSocketId, SocketAddr) {
        let created = app.tcp_server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        let listening = app.tcp_server.listen(id, "127.0.0.1", 0, None).await;
        listening.expect("listen");
        let info = app.tcp_server.get_info(id).await.expect("it is open");
        (id, info.local_addr().expect("it listens"))
    }

    async fn limit_app(&self, accepted: Limits) {
        let limits = AppLimits {
            accepted,
            ..AppLimits::default()
        };
        let set = self.test.app.set_limits(limits);
        set.await.expect("valid limits");
    }

    async fn limit_registry(&self, limits: Limits) -> Result<(), Error> {
        let set = self.test.registry.send(SetRegistryLimits { limits });
        set.await.expect("it runs")
    }

    pub fn dial(&self, at: SocketAddr) -> Peer {
        self.network.client(at).expect("it listens")
    }

    pub async fn accepted(&mut self) -> (ServerSocketId, ClientSocket) {
        match self.test.next().await {
            ListenerEvent::Accept(server, client) => (server, client),
            other => panic!("expected onAccept, not {other:?}"),
        }
    }

    async fn blocked_by(&self, app: &App, id: ServerSocketId) -> Vec<BlockReason> {
        let info = app.tcp_server.get_info(id).await;
        info.expect("it is open").blocked_by
    }
}

fn full(scope: LimitScope) -> BlockReason {
    BlockReason::Limit(LimitKind::Connections(scope))
}

#[actix_rt::test]
async fn server_sockets_of_an_app_share_its_limit_and_those_of_other_apps_do_not() {
    let mut apps = TwoApps::new(Limits::default()).await;
    let app = apps.test.app.clone();
    let (one, at_one) = apps.listen(&app).await;
    let (two, at_two) = apps.listen(&app).await;
    let (free, at_free) = apps.listen(&apps.other).await;
    apps.limit_app(connections(2, AtLimit::Queue)).await;
    let _peers = [at_one, at_two, at_one, at_two].map(|at| apps.dial(at));
    let (_, first) = apps.accepted().await;
    apps.accepted().await;
    apps.test.expect_no_event().await;
    for id in [one, two] {
        assert_eq!(
            apps.blocked_by(&app, id).await,
            [full(LimitScope::App)],
            "{id}"
        );
    }
    assert_eq!(apps.blocked_by(&apps.other, free).await, []);
    let _peer = apps.dial(at_free);
    assert_eq!(apps.accepted().await.0, free);

    first.close().await.expect("it is open");
    apps.accepted().await;
    apps.test.expect_no_event().await;
    // A higher limit admits waiting connections at once.
    apps.limit_app(Limits::default()).await;
    apps.accepted().await;
    for id in [one, two] {
        assert_eq!(apps.blocked_by(&app, id).await, [], "{id}");
    }
}

#[actix_rt::test]
async fn all_apps_share_the_registrys_limit_which_can_change_at_any_time() {
    let mut apps = TwoApps::new(connections(2, AtLimit::Queue)).await;
    let app = apps.test.app.clone();
    let (one, at_one) = apps.listen(&app).await;
    let (two, at_two) = apps.listen(&apps.other).await;
    let _peers: Vec<_> = [at_one, at_two, at_one, at_two, at_one]
        .map(|at| apps.dial(at))
        .into();
    apps.accepted().await;
    let (_, client) = apps.accepted().await;
    apps.test.expect_no_event().await;
    let blocked = [full(LimitScope::Registry)];
    assert_eq!(apps.blocked_by(&app, one).await, blocked);
    assert_eq!(apps.blocked_by(&apps.other, two).await, blocked);
    client.close().await.expect("it is open");
    apps.accepted().await;
    apps.test.expect_no_event().await;

    let raised = connections(3, AtLimit::Queue);
    apps.limit_registry(raised).await.expect("valid limits");
    apps.accepted().await;
    apps.test.expect_no_event().await;
    let refused = apps.limit_registry(connections(0, AtLimit::Close)).await;
    assert_eq!(refused, Err(InvalidArgument::ConnectionsZero.into()));
    assert_eq!(apps.blocked_by(&app, one).await, blocked, "as before");
    let none = apps.limit_registry(Limits::default()).await;
    none.expect("valid limits");
    apps.accepted().await;
}

#[actix_rt::test]
async fn waiting_server_sockets_take_turns() {
    let mut apps = TwoApps::new(connections(1, AtLimit::Queue)).await;
    let app = apps.test.app.clone();
    let (_, at) = apps.listen(&app).await;
    let _first = apps.dial(at);
    let (_, first) = apps.accepted().await;
    let mut servers = Vec::new();
    for app in [&app, &apps.other, &app] {
        servers.push(apps.listen(app).await);
    }
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.extend(servers.iter().map(|(_, at)| apps.dial(*at)));
    }
    apps.test.expect_no_event().await;
    first.close().await.expect("it is open");
    let mut came = Vec::new();
    for _ in 0..peers.len() {
        let (server, client) = apps.accepted().await;
        came.push(server);
        // Further calls while it waits change nothing.
        apps.blocked_by(&app, servers[0].0).await;
        client.close().await.expect("it is open");
    }
    let (first_round, rest) = came.split_at(servers.len());
    for round in rest.chunks(servers.len()) {
        assert_eq!(round, first_round, "of {came:?}");
    }
    let mut first_round = first_round.to_vec();
    first_round.sort_unstable();
    assert_eq!(
        first_round,
        servers.iter().map(|it| it.0).collect::<Vec<_>>()
    );
}

#[actix_rt::test]
async fn a_free_place_goes_to_a_socket_with_a_waiting_connection() {
    let mut apps = TwoApps::new(connections(1, AtLimit::Queue)).await;
    let app = apps.test.app.clone();
    let (_, at) = apps.listen(&app).await;
    let _first = apps.dial(at);
    let (_, client) = apps.accepted().await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let (id, at) = apps.listen(&app).await;
        waiting.push((id, apps.dial(at)));
        assert_eq!(
            apps.blocked_by(&app, id).await,
            [full(LimitScope::Registry)]
        );
    }
    let server = &app.tcp_server;
    server.close(waiting[0].0).await.expect("it is open");
    server.set_paused(waiting[1].0, true).await.expect("paused");
    server.disconnect(waiting[2].0).await.expect("it is open");
    client.close().await.expect("it is open");
    let (id, client) = apps.accepted().await;
    assert_eq!(id, waiting[3].0);

    let resumed = server.set_paused(waiting[1].0, false);
    resumed.await.expect("it is open");
    apps.test.expect_no_event().await;
    client.close().await.expect("it is open");
    assert_eq!(apps.accepted().await.0, waiting[1].0);
}

#[actix_rt::test]
async fn sockets_that_share_a_rate_limit_take_turns() {
    tokio::time::pause();
    let mut apps = TwoApps::new(Limits::default()).await;
    let app = apps.test.app.clone();
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(apps.listen(&app).await);
    }
    let rate = Some(RateLimit {
        most: 1,
        per: Duration::from_secs(1),
        then: AtLimit::Queue,
    });
    let limits = Limits {
        rate,
        ..Limits::default()
    };
    apps.limit_app(limits).await;
    let (_, at) = apps.listen(&app).await;
    let mut peers = vec![apps.dial(at)];
    let started = tokio::time::Instant::now();
    apps.accepted().await;
    for _ in 0..3 {
        peers.extend(servers.iter().map(|(_, at)| apps.dial(*at)));
    }
    let mut came = Vec::new();
    for second in 1..10 {
        match apps.test.next_before(LIMIT).await {
            ListenerEvent::Accept(server, _) => came.push(server),
            other => panic!("expected onAccept, not {other:?}"),
        }
        let took = started.elapsed().as_millis();
        // The clock has a resolution of milliseconds.
        let due = second * 1000..second * 1000 + 50;
        assert!(due.contains(&took), "{second}: after {took} ms");
        assert_eq!(
            apps.blocked_by(&app, servers[0].0).await,
            [BlockReason::Limit(LimitKind::Rate(LimitScope::App))]
        );
    }
    for round in came.chunks(3) {
        assert_eq!(round, &came[..3], "of {came:?}");
    }
}

#[actix_rt::test]
async fn the_narrowest_limit_applies_and_is_named() {
    let mut apps = TwoApps::new(connections(3, AtLimit::Reset)).await;
    let mut refusals = add_refusal_listener(&apps.test).await;
    let app = apps.test.app.clone();
    let (id, at) = apps.listen(&app).await;
    let (other_id, other_at) = apps.listen(&app).await;
    apps.limit_app(connections(2, AtLimit::Queue)).await;
    set(&apps.test, id, connections(1, AtLimit::Close))
        .await
        .expect("valid limits");
    let _first = apps.dial(at);
    apps.accepted().await;
    let refused = apps.dial(at);
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.limit, LimitKind::Connections(LimitScope::Socket));
    assert!(refused.is_closed());

    // The app's limit is reached too, and applies where the socket's own is not reached.
    let _second = apps.dial(other_at);
    apps.accepted().await;
    let waiting_peer = apps.dial(other_at);
    apps.test.expect_no_event().await;
    assert_eq!(
        apps.blocked_by(&app, other_id).await,
        [full(LimitScope::App)]
    );
    assert_eq!(apps.blocked_by(&app, id).await, [], "it refuses");
    let refused = apps.dial(at);
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.limit, LimitKind::Connections(LimitScope::Socket));
    assert!(refused.is_closed() && !waiting_peer.is_closed());

    // And so on.
    let (third_id, third_at) = apps.listen(&apps.other).await;
    let _third = apps.dial(third_at);
    assert_eq!(apps.accepted().await.0, third_id);
    apps.limit_app(Limits::default()).await;
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.limit, LimitKind::Connections(LimitScope::Registry));
    assert_eq!(info.peer, waiting_peer.addr());
    assert!(waiting_peer.is_closed());
    let info = app.tcp_server.get_info(other_id).await;
    assert_eq!(info.expect("it is open").counts.refused, 1);
}

#[actix_rt::test]
async fn several_full_limits_are_all_named() {
    let mut apps = TwoApps::new(connections(1, AtLimit::Queue)).await;
    let app = apps.test.app.clone();
    let (id, at) = apps.listen(&app).await;
    apps.limit_app(connections(1, AtLimit::Queue)).await;
    let limited = set(&apps.test, id, connections(1, AtLimit::Queue)).await;
    limited.expect("valid limits");
    let _peers = [apps.dial(at), apps.dial(at)];
    apps.accepted().await;
    let scopes = [LimitScope::Socket, LimitScope::App, LimitScope::Registry];
    assert_eq!(apps.blocked_by(&app, id).await, scopes.map(full));
    // Each limit is lifted alone.
    let lifted = set(&apps.test, id, Limits::default()).await;
    lifted.expect("valid limits");
    apps.test.expect_no_event().await;
    assert_eq!(
        apps.blocked_by(&app, id).await,
        [full(LimitScope::App), full(LimitScope::Registry)]
    );
    let none = apps.limit_registry(Limits::default()).await;
    none.expect("valid limits");
    apps.test.expect_no_event().await;
    assert_eq!(apps.blocked_by(&app, id).await, [full(LimitScope::App)]);
    apps.limit_app(Limits::default()).await;
    apps.accepted().await;
}

#[actix_rt::test]
async fn a_peer_limit_counts_over_all_server_sockets() {
    let mut test = TestApp::new().await;
    let (_, one) = test.listen().await;
    let (_, two) = test.listen().await;
    let mut refusals = add_refusal_listener(&test).await;
    let accepted = Limits {
        per_peer: Some(Limit {
            most: 2,
            then: AtLimit::Close,
        }),
        ..Limits::default()
    };
    let limits = AppLimits {
        accepted,
        ..AppLimits::default()
    };
    test.app.set_limits(limits).await.expect("valid limits");
    let _peers = [one, two].map(|at| std::net::TcpStream::connect(at).expect("it listens"));
    let client = test.accepted().await;
    test.accepted().await;
    let _third = std::net::TcpStream::connect(one).expect("it listens");
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.limit, LimitKind::PerPeer(LimitScope::App));
    client.close().await.expect("it is open");
    let _fourth = std::net::TcpStream::connect(two).expect("it listens");
    test.accepted().await;
}

#[actix_rt::test]
async fn a_thousand_server_sockets_under_one_limit_are_all_served() {
    const SERVERS: usize = 1000;
    let mut apps = TwoApps::new(connections(10, AtLimit::Queue)).await;
    let app = apps.test.app.clone();
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(apps.listen(&app).await);
    }
    let mut peers = Vec::new();
    for _ in 0..2 {
        peers.extend(servers.iter().map(|(_, at)| apps.dial(*at)));
    }
    let mut served = std::collections::BTreeMap::<_, usize>::new();
    let mut open = std::collections::VecDeque::new();
    for turn in 0..2 * SERVERS {
        let (server, client) = apps.accepted().await;
        *served.entry(server).or_default() += 1;
        open.push_back(client);
        if open.len() == 10 {
            open.pop_front().map(|client| client.close());
        }
        if turn + 1 == SERVERS {
            // Sockets that found room before others waited may have had two.
            assert!(served.len() >= SERVERS - 10, "only {}", served.len());
        }
    }
    assert!(served.values().all(|count| *count == 2));
}

#[actix_rt::test]
async fn connections_accepted_by_the_predecessor_count_for_the_app() {
    let mut old = TestApp::new().await;
    let (id, at) = old.listen().await;
    let properties = chrome_sockets::tcp_server::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = old.app.tcp_server.update(id, properties).await;
    updated.expect("it is open");
    let _first = std::net::TcpStream::connect(at).expect("it listens");
    let client = old.accepted().await;
    let properties = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(properties).await.expect("it is open");
    let mut new = TestApp::new().await;
    let limits = AppLimits {
        accepted: connections(1, AtLimit::Queue),
        ..AppLimits::default()
    };
    new.app.set_limits(limits).await.expect("valid limits");
    within("the handover", crate::handover::expect_handover(&old, &new)).await;
    let _second = std::net::TcpStream::connect(at).expect("it listens");
    new.expect_no_event().await;
    let client = new
        .app
        .tcp
        .socket(client.id())
        .await
        .expect("it has arrived");
    client.close().await.expect("it is open");
    new.accepted().await;
}
