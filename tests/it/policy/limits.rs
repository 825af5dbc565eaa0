//! Limits on connections of a server socket.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::Timeouts;
use chrome_sockets::tcp_server::{
    AtLimit, BlockReason, Limit, LimitKind, LimitScope, Limits, RateLimit, RefusedInfo,
    UNHANDLED_REFUSALS,
};
use chrome_sockets::testing::Peer;
use chrome_sockets::{Error, InvalidArgument, NetError, ServerSocketId};
use socket2::{Domain, Socket, Type};
use support::{EventSender, LIMIT, TestApp, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::Fixture;

pub async fn add_refusal_listener(test: &TestApp) -> UnboundedReceiver<RefusedInfo> {
    let (sender, refusals) = unbounded_channel();
    let listener = EventSender(sender).start().recipient();
    let on_refused = &test.app.tcp_server.on_refused;
    on_refused.add_listener(listener).await.expect("added");
    refusals
}

pub async fn next_refusal(refusals: &mut UnboundedReceiver<RefusedInfo>) -> RefusedInfo {
    let info = within("onRefused", refusals.recv()).await;
    info.expect("the listener runs")
}

pub async fn set(test: &TestApp, id: ServerSocketId, limits: Limits) -> Result<(), Error> {
    within("the answer", test.app.tcp_server.set_limits(id, limits)).await
}

pub fn connections(most: usize, then: AtLimit) -> Limits {
    Limits {
        connections: Some(Limit { most, then }),
        ..Default::default()
    }
}

impl Fixture {
    async fn limit(&self, limits: Limits) {
        set(&self.test, self.id, limits)
            .await
            .expect("valid limits");
    }

    fn peer(&self) -> Peer {
        self.network.client(self.at).expect("it listens")
    }
}

#[actix_rt::test]
async fn at_the_limit_connections_wait_and_each_end_admits_one() {
    let mut fixture = Fixture::new().await;
    fixture.limit(connections(2, AtLimit::Queue)).await;
    let mut peers: Vec<_> = (0..6).map(|_| fixture.peer()).collect();
    let mut clients = vec![fixture.test.accepted().await, fixture.test.accepted().await];
    fixture.test.expect_no_event().await;
    let info = fixture.info().await;
    assert_eq!(
        info.blocked_by,
        [BlockReason::Limit(LimitKind::Connections(
            LimitScope::Socket
        ))]
    );
    assert!(!info.paused);
    assert_eq!(info.backlog, Some(4));

    // However it ends: by `close`, `disconnect`, or its peer.
    clients.remove(0).do_close();
    clients.push(fixture.test.accepted().await);
    let kept = clients.remove(0);
    kept.disconnect().await.expect("it is connected");
    clients.push(fixture.test.accepted().await);
    let ending = clients.remove(0);
    ending.set_paused(false).await.expect("it is open");
    peers.remove(2).shutdown();
    let end = fixture.test.ended(ending.id()).await;
    assert_eq!(end, NetError::CONNECTION_CLOSED);
    clients.push(fixture.test.accepted().await);
    fixture.test.expect_no_event().await;

    // A higher limit admits at once, and no limit admits all.
    fixture.limit(connections(3, AtLimit::Queue)).await;
    clients.push(fixture.test.accepted().await);
    let _last = fixture.peer();
    fixture.test.expect_no_event().await;
    fixture.limit(Limits::default()).await;
    clients.push(fixture.test.accepted().await);
    let info = fixture.info().await;
    assert_eq!(info.blocked_by, []);
    assert_eq!((info.counts.accepted, info.counts.refused), (7, 0));
}

#[actix_rt::test]
async fn above_the_limit_connections_are_closed_counted_and_reported() {
    let mut fixture = Fixture::new().await;
    let mut refusals = add_refusal_listener(&fixture.test).await;
    fixture.limit(connections(1, AtLimit::Close)).await;
    let first = fixture.peer();
    let client = fixture.test.accepted().await;
    let second = fixture.peer();
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.socket_id, fixture.id);
    assert_eq!(info.peer, second.addr());
    assert_eq!(
        (info.limit, info.missed),
        (LimitKind::Connections(LimitScope::Socket), 0)
    );
    assert!(second.is_closed() && !first.is_closed());
    let info = fixture.info().await;
    assert_eq!((info.counts.accepted, info.counts.refused), (2, 1));
    assert_eq!(info.blocked_by, [], "it continues to accept");

    client.close().await.expect("it is open");
    let third = fixture.peer();
    fixture.test.accepted().await;
    assert!(!third.is_closed());
}

#[actix_rt::test]
async fn a_flood_of_refusals_is_counted_and_an_open_client_is_served() {
    const FLOOD: usize = 5 * UNHANDLED_REFUSALS;
    let mut fixture = Fixture::new().await;
    let mut refusals = add_refusal_listener(&fixture.test).await;
    fixture.limit(connections(1, AtLimit::Close)).await;
    let honest = fixture.peer();
    let client = fixture.test.accepted().await;
    fixture.set_paused(true).await;
    for _ in 0..FLOOD {
        fixture.peer();
    }
    fixture.set_paused(false).await;
    within("all refusals", async {
        while fixture.info().await.counts.refused < FLOOD as u64 {}
    })
    .await;
    let mut kept = Vec::new();
    for _ in 0..UNHANDLED_REFUSALS {
        kept.push(next_refusal(&mut refusals).await);
    }
    assert!(refusals.try_recv().is_err(), "one more than allowed");
    kept.clear();
    for _ in 0..UNHANDLED_REFUSALS {
        assert_eq!(next_refusal(&mut refusals).await.missed, 0);
    }
    let _one_more = fixture.peer();
    let missed = FLOOD - 2 * UNHANDLED_REFUSALS;
    assert_eq!(next_refusal(&mut refusals).await.missed, missed as u64);

    client.set_paused(false).await.expect("it is open");
    honest.send("alive");
    assert_eq!(fixture.test.received(client.id(), 5).await, b"alive");
}

#[actix_rt::test]
async fn a_rate_limit_admits_a_burst_and_then_one_connection_per_interval() {
    let mut fixture = Fixture::new().await;
    tokio::time::pause();
    let rate = RateLimit {
        most: 4,
        per: Duration::from_secs(2),
        then: AtLimit::Queue,
    };
    fixture
        .limit(Limits {
            rate: Some(rate),
            ..Default::default()
        })
        .await;
    let _peers: Vec<_> = (0..7).map(|_| fixture.peer()).collect();
    let started = Instant::now();
    let mut arrived = Vec::new();
    for _ in 0..7 {
        fixture.test.next_before(LIMIT).await;
        arrived.push(started.elapsed().as_millis());
        if arrived.len() == 4 {
            let blocked_by = fixture.info().await.blocked_by;
            assert_eq!(
                blocked_by,
                [BlockReason::Limit(LimitKind::Rate(LimitScope::Socket))]
            );
        }
    }
    // The clock has a resolution of milliseconds.
    for (arrived, due) in arrived.iter().zip([0, 0, 0, 0, 500, 1000, 1500]) {
        assert!(
            (due..due + 50).contains(arrived),
            "after {arrived}, not {due} ms"
        );
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.info().await.blocked_by, []);
}

#[actix_rt::test]
async fn above_a_rate_limit_connections_can_be_closed() {
    let mut fixture = Fixture::new().await;
    let mut refusals = add_refusal_listener(&fixture.test).await;
    tokio::time::pause();
    let rate = RateLimit {
        most: 1,
        per: Duration::from_secs(60),
        then: AtLimit::Close,
    };
    fixture
        .limit(Limits {
            rate: Some(rate),
            ..Default::default()
        })
        .await;
    let _first = fixture.peer();
    fixture.test.accepted().await;
    let _second = fixture.peer();
    assert_eq!(
        next_refusal(&mut refusals).await.limit,
        LimitKind::Rate(LimitScope::Socket)
    );
    // Refused connections do not postpone it.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let _third = fixture.peer();
    fixture.test.accepted().await;
}

/// A connection from this loopback address.
fn dial_from(from: [u8; 4], to: SocketAddr) -> std::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .expect("an address of this machine");
    socket.connect(&to.into()).expect("it listens");
    let stream = std::net::TcpStream::from(socket);
    stream
        .set_read_timeout(Some(LIMIT))
        .expect("the option is set");
    stream
}

#[actix_rt::test]
async fn a_peer_above_its_limit_is_reset_and_another_is_served() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let mut refusals = add_refusal_listener(&test).await;
    let per_peer = Limits {
        per_peer: Some(Limit {
            most: 2,
            then: AtLimit::Reset,
        }),
        ..Default::default()
    };
    set(&test, id, per_peer).await.expect("valid limits");
    let mut greedy = Vec::new();
    for _ in 0..2 {
        greedy.push(dial_from([127, 0, 0, 1], at));
    }
    let first = test.accepted().await;
    test.accepted().await;
    let mut third = dial_from([127, 0, 0, 1], at);
    let info = next_refusal(&mut refusals).await;
    assert_eq!(info.limit, LimitKind::PerPeer(LimitScope::Socket));
    assert_eq!(info.peer.ip(), Some(IpAddr::from([127, 0, 0, 1])));
    let end = third.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));

    let _other = dial_from([127, 0, 0, 2], at);
    let other = test.accepted().await.get_info().await.expect("it is open");
    assert_eq!(other.peer_address, Some(IpAddr::from([127, 0, 0, 2])));
    first.close().await.expect("it is open");
    let _fourth = dial_from([127, 0, 0, 1], at);
    test.accepted().await;
}

#[actix_rt::test]
async fn an_unreported_client_counts_in_limits_until_it_ends() {
    let mut fixture = Fixture::new().await;
    fixture.limit(connections(1, AtLimit::Queue)).await;
    let client = {
        let _peer = fixture.peer();
        fixture.test.accepted().await
    };
    // A refused connection takes no place.
    fixture.limit(connections(1, AtLimit::Close)).await;
    for _ in 0..10 {
        fixture.peer();
    }
    within("all refusals", async {
        while fixture.info().await.counts.refused < 10 {}
    })
    .await;
    client.close().await.expect("it is open");
    let _peer = fixture.peer();
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn a_reset_connection_frees_its_place_before_its_end_is_reported() {
    let mut fixture = Fixture::new().await;
    tokio::time::pause();
    fixture.limit(connections(1, AtLimit::Queue)).await;
    let peer = fixture.peer();
    let paused = fixture.test.accepted().await;
    let timeouts = Timeouts {
        send: Some(LIMIT),
        ..Timeouts::default()
    };
    paused.set_timeouts(timeouts).await.expect("it is open");
    peer.limit_writes(0);
    let sent = paused.send(&b"nobody takes it"[..]);
    let _next = fixture.peer();
    assert_eq!(sent.await, Err(NetError::TIMED_OUT.into()));
    assert!(peer.is_closed());
    assert_ne!(fixture.test.accepted().await.id(), paused.id());
    paused.set_paused(false).await.expect("the id is valid");
    let end = fixture.test.ended(paused.id()).await;
    assert_eq!(end, NetError::TIMED_OUT);
}

#[actix_rt::test]
async fn invalid_limits_are_refused_and_the_old_ones_stay() {
    let mut fixture = Fixture::new().await;
    fixture.limit(connections(1, AtLimit::Queue)).await;
    let limit = |most, then| Some(Limit { most, then });
    let rate = |most, per| Limits {
        rate: Some(RateLimit {
            most,
            per,
            then: AtLimit::Queue,
        }),
        ..Default::default()
    };
    let per_peer = |limit| Limits {
        per_peer: limit,
        ..Default::default()
    };
    let second = Duration::from_secs(1);
    use InvalidArgument::*;
    for (bad, error) in [
        (connections(0, AtLimit::Queue), ConnectionsZero),
        (per_peer(limit(0, AtLimit::Close)), PerPeerZero),
        (per_peer(limit(1, AtLimit::Queue)), PerPeerQueue),
        (rate(0, second), RateZero),
        (rate(1, Duration::ZERO), RatePeriodZero),
        (rate(1, Duration::MAX), RatePeriodTooLong),
    ] {
        let refused = set(&fixture.test, fixture.id, bad).await;
        assert_eq!(refused, Err(error.into()), "{bad:?}");
    }
    let unknown = set(&fixture.test, 999.into(), Limits::default()).await;
    assert_eq!(unknown, Err(Error::SocketNotFound));
    let _peers = [fixture.peer(), fixture.peer()];
    let client = fixture.test.accepted().await;
    fixture.test.expect_no_event().await;
    client.close().await.expect("it is open");
    fixture.test.accepted().await;
}
