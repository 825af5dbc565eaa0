//! `connect` to a name with several addresses (RFC 8305), on a clock that advances only when
//! everything is idle.

use std::net::IpAddr;

use chrome_sockets::tcp::ConnectOptions;
use chrome_sockets::testing::{Call, ScriptedNetwork};
use chrome_sockets::{InvalidArgument, NetError, Registry};
use tokio::time::{Instant, sleep};

use super::*;

const HOST: &str = "many.example";

/// The time between two attempts.
const DELAY: Duration = Duration::from_millis(250);

/// The resolution of the clock.
const MILLISECOND: Duration = Duration::from_millis(1);

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), 80)
}

/// A socket that connects to a name with these addresses.
struct Fixture {
    network: ScriptedNetwork,
    test: TestApp,
    id: ClientSocketId,
    started: Instant,
}

impl Fixture {
    async fn new(addresses: &[&str]) -> Self {
        let network = ScriptedNetwork::new();
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| at(ip).ip()).collect();
        network.next_resolve(HOST, Ok(addresses));
        // The clock of another arbiter would not be paused.
        let test = TestApp::at(Registry::with_network(network.clone()).start()).await;
        let id = test.create().await;
        Fixture {
            network,
            test,
            id,
            started: Instant::now(),
        }
    }

    fn connect(&self) -> chrome_sockets::Answer<()> {
        let tcp = &self.test.app.tcp;
        tcp.connect(self.id, HOST, 80, DnsQueryType::Any)
    }

    fn connect_within(&self, limit: Duration) -> chrome_sockets::Answer<()> {
        let options = ConnectOptions {
            timeout: Some(limit),
            ..ConnectOptions::default()
        };
        self.test.app.tcp.connect_to(self.id, (HOST, 80), options)
    }

    /// The addresses that were tried so far, in order.
    fn tried(&self) -> Vec<SocketAddr> {
        let calls = self.network.calls();
        let connects = calls.into_iter().filter_map(|call| match call {
            Call::Connect { address } => Some(address),
            _ => None,
        });
        connects.collect()
    }

    async fn peer(&self) -> Option<SocketAddr> {
        let info = self.test.app.tcp.get_info(self.id).await;
        info.expect("it exists").peer_addr()
    }

    /// Advances the clock to this time after the start.
    async fn advance_to(&self, after: Duration) {
        sleep((self.started + after).duration_since(Instant::now())).await;
    }
}

#[actix_rt::test]
async fn the_next_family_is_tried_after_250_ms_and_the_first_success_ends_the_others() {
    tokio::time::pause();
    let fixture = Fixture::new(&["2001:db8::1", "2001:db8::2", "192.0.2.1"]).await;
    let silent = fixture.network.block_connect(at("2001:db8::1"));
    let _server = fixture.network.server(at("192.0.2.1"));
    let answer = fixture.connect();
    fixture.advance_to(DELAY - MILLISECOND).await;
    assert_eq!(fixture.tried(), [at("2001:db8::1")]);
    assert_eq!(silent.waiting(), 1);
    assert_eq!(answer.await, Ok(()));
    let elapsed = fixture.started.elapsed();
    assert!(
        elapsed >= DELAY && elapsed <= DELAY + MILLISECOND,
        "{elapsed:?}"
    );
    // The second IPv6 address was not needed.
    assert_eq!(fixture.tried(), [at("2001:db8::1"), at("192.0.2.1")]);
    assert_eq!(silent.waiting(), 0, "the first attempt is cancelled");
    assert_eq!(fixture.peer().await, Some(at("192.0.2.1")));
}

#[actix_rt::test]
async fn a_failed_attempt_starts_the_next_one_at_once() {
    tokio::time::pause();
    let fixture = Fixture::new(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]).await;
    let _server = fixture.network.server(at("192.0.2.2"));
    assert_eq!(fixture.connect().await, Ok(()));
    assert_eq!(fixture.started.elapsed(), Duration::ZERO);
    let tried = [at("192.0.2.1"), at("2001:db8::1"), at("192.0.2.2")];
    assert_eq!(fixture.tried(), tried);
    assert_eq!(fixture.peer().await, Some(at("192.0.2.2")));
}

#[actix_rt::test]
async fn an_earlier_address_that_answers_late_still_wins() {
    tokio::time::pause();
    let fixture = Fixture::new(&["2001:db8::1", "192.0.2.1"]).await;
    let slow = fixture.network.block_connect(at("2001:db8::1"));
    let silent = fixture.network.block_connect(at("192.0.2.1"));
    let _server = fixture.network.server(at("2001:db8::1"));
    let answer = fixture.connect();
    fixture.advance_to(DELAY + 100 * MILLISECOND).await;
    assert_eq!((slow.waiting(), silent.waiting()), (1, 1));
    slow.release();
    assert_eq!(answer.await, Ok(()));
    assert_eq!(silent.waiting(), 0, "the other attempt is cancelled");
    assert_eq!(fixture.peer().await, Some(at("2001:db8::1")));
}

#[actix_rt::test]
async fn the_error_is_that_of_the_last_address_and_a_denial_is_not_hidden() {
    tokio::time::pause();
    for (first, last, expected) in [
        (
            libc::EHOSTUNREACH,
            libc::ECONNREFUSED,
            NetError::CONNECTION_REFUSED,
        ),
        (
            libc::ECONNREFUSED,
            libc::EHOSTUNREACH,
            NetError::ADDRESS_UNREACHABLE,
        ),
        (
            libc::EACCES,
            libc::ECONNREFUSED,
            NetError::NETWORK_ACCESS_DENIED,
        ),
        (
            libc::ECONNREFUSED,
            libc::EACCES,
            NetError::NETWORK_ACCESS_DENIED,
        ),
    ] {
        let fixture = Fixture::new(&["2001:db8::1", "192.0.2.1"]).await;
        // The first attempt fails after the last one.
        let slow = fixture.network.block_connect(at("2001:db8::1"));
        fixture.network.connect_error(at("2001:db8::1"), first);
        fixture.network.connect_error(at("192.0.2.1"), last);
        let answer = fixture.connect();
        fixture.advance_to(2 * DELAY).await;
        assert_eq!(fixture.tried().len(), 2);
        slow.release();
        assert_eq!(answer.await, Err(expected.into()), "{first} {last}");
    }
}

#[actix_rt::test]
async fn eight_attempts_run_at_once_and_the_next_one_waits_for_a_failure() {
    tokio::time::pause();
    let ips: Vec<String> = (1..=10).map(|it| format!("192.0.2.{it}")).collect();
    let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
    let fixture = Fixture::new(&ips).await;
    let blocks = ips.iter().map(|ip| fixture.network.block_connect(at(ip)));
    let mut blocks: Vec<_> = blocks.collect();
    let answer = fixture.connect();
    fixture.advance_to(7 * DELAY + 10 * MILLISECOND).await;
    assert_eq!(fixture.tried().len(), 8);
    fixture.advance_to(100 * DELAY).await;
    assert_eq!(fixture.tried().len(), 8, "each attempt has a descriptor");
    // It is refused.
    blocks.remove(0).release();
    sleep(MILLISECOND).await;
    assert_eq!(fixture.tried().len(), 9);
    let closed = fixture.test.app.tcp.close(fixture.id).await;
    closed.expect("it is open");
    assert_eq!(answer.await, Err(NetError::ABORTED.into()));
    let waiting: usize = blocks.iter().map(|block| block.waiting()).sum();
    assert_eq!(waiting, 0, "close cancels every attempt");
}

#[actix_rt::test]
async fn a_timeout_cancels_every_attempt_and_the_socket_can_connect_again() {
    tokio::time::pause();
    let fixture = Fixture::new(&["2001:db8::1", "192.0.2.1"]).await;
    let limit = Duration::from_secs(3);
    let silent = ["2001:db8::1", "192.0.2.1"].map(|ip| fixture.network.block_connect(at(ip)));
    let answer = fixture.connect_within(limit);
    fixture.advance_to(limit - MILLISECOND).await;
    assert_eq!(silent.each_ref().map(|it| it.waiting()), [1, 1]);
    assert_eq!(answer.await, Err(NetError::CONNECTION_TIMED_OUT.into()));
    let elapsed = fixture.started.elapsed();
    assert!(
        elapsed >= limit && elapsed <= limit + MILLISECOND,
        "{elapsed:?}"
    );
    assert_eq!(silent.each_ref().map(|it| it.waiting()), [0, 0]);

    let _server = fixture.network.server(at("192.0.2.9"));
    let again = ConnectOptions {
        timeout: Some(limit),
        ..ConnectOptions::default()
    };
    let tcp = &fixture.test.app.tcp;
    let again = tcp.connect_to(fixture.id, at("192.0.2.9"), again);
    assert_eq!(again.await, Ok(()));
    // A timeout does not end the connection later.
    sleep(2 * limit).await;
    assert_eq!(fixture.peer().await, Some(at("192.0.2.9")));
}

#[actix_rt::test]
async fn a_timeout_includes_the_look_up_of_the_name() {
    tokio::time::pause();
    let fixture = Fixture::new(&["192.0.2.1"]).await;
    let silent = fixture.network.block_resolve(HOST);
    let limit = Duration::from_millis(700);
    let answer = fixture.connect_within(limit);
    assert_eq!(answer.await, Err(NetError::CONNECTION_TIMED_OUT.into()));
    let elapsed = fixture.started.elapsed();
    assert!(
        elapsed >= limit && elapsed <= limit + MILLISECOND,
        "{elapsed:?}"
    );
    assert_eq!(silent.waiting(), 0);
    assert_eq!(fixture.tried(), []);
}

#[actix_rt::test]
async fn a_timeout_of_zero_is_an_invalid_argument() {
    tokio::time::pause();
    let fixture = Fixture::new(&["192.0.2.1"]).await;
    let answer = fixture.connect_within(Duration::ZERO).await;
    assert_eq!(answer, Err(InvalidArgument::ConnectTimeoutZero.into()));
    assert_eq!(fixture.network.calls(), []);
}
