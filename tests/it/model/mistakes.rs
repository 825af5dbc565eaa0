//! Invalid arguments, each with the error that says which one it is.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use chrome_sockets::tcp::{MinimumRate, Timeouts};
use chrome_sockets::tcp_server::{AcceptAction, AcceptPolicy, AtLimit, Limit, Limits, RateLimit};
use chrome_sockets::{Endpoint, Error, InvalidArgument};

use super::server::net;

const SECOND: Duration = Duration::from_secs(1);

/// Picks one of these.
fn pick<T: Clone>(from: &[T], which: u8) -> T {
    from[usize::from(which) % from.len()].clone()
}

/// The address, the port and the backlog of `listen`.
pub fn listen(which: u8) -> ((&'static str, i32, Option<i32>), Error) {
    use InvalidArgument::{AddressNotIp, BacklogBelowOne, PortOutOfRange};
    let (arguments, error) = pick(
        &[
            (("localhost", 7001, None), AddressNotIp),
            (("", 7001, None), AddressNotIp),
            (("[::1]", 7001, None), AddressNotIp),
            (("127.1", 7001, None), AddressNotIp),
            (("fe80::1%2", 7001, None), AddressNotIp),
            (("127.0.0.1", -1, None), PortOutOfRange),
            (("127.0.0.1", 65_536, None), PortOutOfRange),
            (("127.0.0.1", i32::MIN, Some(3)), PortOutOfRange),
            (("127.0.0.1", 7001, Some(0)), BacklogBelowOne),
            (("127.0.0.1", 7001, Some(-5)), BacklogBelowOne),
        ],
        which,
    );
    (arguments, error.into())
}

/// The endpoint, the backlog and `ipv6_only` of `listen_on`.
pub fn listen_on(which: u8) -> ((Endpoint, Option<i32>, bool), Error) {
    use InvalidArgument::{
        AddressNotIp, BacklogBelowOne, Ipv6OnlyForIpv4, ScopeMissing, ScopeNotAllowed,
    };
    let text = |host: &str| Endpoint::from((host, 7001));
    let scoped = |ip: Ipv6Addr, scope| {
        Endpoint::from(SocketAddr::from(SocketAddrV6::new(ip, 7001, 0, scope)))
    };
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    pick(
        &[
            ((text("localhost"), None, false), AddressNotIp.into()),
            ((text(""), Some(2), true), AddressNotIp.into()),
            ((text("[::1]"), None, true), AddressNotIp.into()),
            ((text("::1%lo"), None, false), AddressNotIp.into()),
            ((text("fe80::1%"), None, false), AddressNotIp.into()),
            (
                (text("127.0.0.1"), Some(i32::MIN), false),
                BacklogBelowOne.into(),
            ),
            ((text("::"), Some(0), true), BacklogBelowOne.into()),
            ((text("127.0.0.1"), None, true), Ipv6OnlyForIpv4.into()),
            ((text("0.0.0.0"), Some(5), true), Ipv6OnlyForIpv4.into()),
            ((text("fe80::1"), None, true), ScopeMissing.into()),
            ((scoped(link_local, 0), Some(2), false), ScopeMissing.into()),
            (
                (scoped(Ipv6Addr::LOCALHOST, 9), None, false),
                ScopeNotAllowed.into(),
            ),
            // The scripted network has no interfaces.
            ((text("fe80::1%eth0"), None, false), net(-108)),
        ],
        which,
    )
}

pub fn policy(which: u8) -> (AcceptPolicy, Error) {
    use AcceptAction::{BackOff, Continue, Shed};
    use InvalidArgument::*;
    let zero = BackOff {
        first: Duration::ZERO,
        last: SECOND,
    };
    let shrinks = BackOff {
        first: SECOND,
        last: SECOND - Duration::from_nanos(1),
    };
    let good = AcceptPolicy::default();
    let connection = |connection| AcceptPolicy { connection, ..good };
    let resources = |resources| AcceptPolicy { resources, ..good };
    let listener = |listener| AcceptPolicy { listener, ..good };
    let (policy, error) = pick(
        &[
            (connection(Shed), ShedForConnection),
            (listener(Shed), ShedForListener),
            (resources(Continue), ContinueForResources),
            (listener(Continue), ContinueForListener),
            (connection(zero), ConnectionBackOffZero),
            (resources(zero), ResourcesBackOffZero),
            (listener(zero), ListenerBackOffZero),
            (connection(shrinks), ConnectionBackOffShrinks),
            (resources(shrinks), ResourcesBackOffShrinks),
            (listener(shrinks), ListenerBackOffShrinks),
        ],
        which,
    );
    (policy, error.into())
}

pub fn timeouts(which: u8) -> (Timeouts, Error) {
    use InvalidArgument::{
        ClaimTimeoutZero, IdleTimeoutZero, SendRatePeriodZero, SendRateZero, SendTimeoutZero,
    };
    let zero = Some(Duration::ZERO);
    let good = Timeouts {
        claim: Some(SECOND),
        idle: Some(SECOND),
        send: Some(SECOND),
        send_rate: None,
    };
    let rate = |bytes, per| Timeouts {
        send_rate: Some(MinimumRate { bytes, per }),
        ..good
    };
    let (timeouts, error) = pick(
        &[
            (
                Timeouts {
                    claim: zero,
                    ..good
                },
                ClaimTimeoutZero,
            ),
            (Timeouts { idle: zero, ..good }, IdleTimeoutZero),
            (Timeouts { send: zero, ..good }, SendTimeoutZero),
            (rate(0, SECOND), SendRateZero),
            (rate(1, Duration::ZERO), SendRatePeriodZero),
        ],
        which,
    );
    (timeouts, error.into())
}

pub fn limits(which: u8) -> (Limits, Error) {
    use InvalidArgument::{
        ConnectionsZero, PerPeerQueue, PerPeerZero, RatePeriodTooLong, RatePeriodZero, RateZero,
    };
    let day = SECOND * 24 * 60 * 60;
    let limit = |most, then| Some(Limit { most, then });
    let rate = |most, per| {
        let then = AtLimit::Close;
        Some(RateLimit { most, per, then })
    };
    let none = Limits::default;
    let connections = |connections| Limits {
        connections,
        ..none()
    };
    let per_peer = |per_peer| Limits { per_peer, ..none() };
    let rated = |rate| Limits { rate, ..none() };
    let (limits, error) = pick(
        &[
            (connections(limit(0, AtLimit::Queue)), ConnectionsZero),
            (per_peer(limit(0, AtLimit::Close)), PerPeerZero),
            (per_peer(limit(1, AtLimit::Queue)), PerPeerQueue),
            (rated(rate(0, SECOND)), RateZero),
            (rated(rate(1, Duration::ZERO)), RatePeriodZero),
            (
                rated(rate(1, day + Duration::from_nanos(1))),
                RatePeriodTooLong,
            ),
        ],
        which,
    );
    (limits, error.into())
}
