//! Each invalid argument is refused with its field and its reason, and with Chrome's number and text.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use chrome_sockets::tcp::{ConnectOptions, MinimumRate, SendMarks, Timeouts};
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptPolicy, AtLimit, Limit, Limits, ListenOptions, RateLimit,
};
use chrome_sockets::{
    AppLimits, Endpoint, Error, InvalidArgument, MAX_NAME, NetError, Registry, SetRegistryLimits,
    tcp, tcp_server,
};
use support::TestApp;

const SECOND: Duration = Duration::from_secs(1);

/// The distinct texts of refusals.
#[derive(Default)]
struct Refusals(HashSet<String>);

impl Refusals {
    /// Expects a refusal for a reason that no other has had, and returns its text.
    fn expect<T: std::fmt::Debug>(&mut self, result: Result<T, Error>, argument: InvalidArgument) {
        let error = result.expect_err("it is refused");
        assert_eq!(error, Error::InvalidArgument(argument));
        // What JavaScript gets is Chrome's.
        assert_eq!(error.net_error(), Some(NetError::INVALID_ARGUMENT));
        assert_eq!(error.last_error(), "net::ERR_INVALID_ARGUMENT");
        let text = error.to_string();
        assert!(text.contains(&format!("`{}`", argument.field())), "{text}");
        assert!(text.contains(argument.reason()), "{text}");
        assert!(self.0.insert(text), "{error} looks like another mistake");
    }
}

#[actix_rt::test]
async fn each_mistake_at_listen_and_connect_has_its_own_reason() {
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let created = server.create(Default::default()).await.expect("create");
    let id = created.socket_id;
    let mut refusals = Refusals::default();
    let listen = |address, port, backlog| server.listen(id, address, port, backlog);
    for (answer, argument) in [
        (listen("localhost", 0, None), InvalidArgument::AddressNotIp),
        (
            listen("127.0.0.1", 65536, None),
            InvalidArgument::PortOutOfRange,
        ),
        (
            listen("127.0.0.1", 0, Some(0)),
            InvalidArgument::BacklogBelowOne,
        ),
    ] {
        refusals.expect(answer.await, argument);
    }
    let client = test.create().await;
    let connected = test
        .app
        .tcp
        .connect(client, "127.0.0.1", -1, Default::default());
    refusals.expect(connected.await, InvalidArgument::PeerPortOutOfRange);
    // They still work.
    listen("127.0.0.1", 0, None).await.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    let port = info.local_port.expect("it listens");
    let connected = test
        .app
        .tcp
        .connect(client, "127.0.0.1", port.into(), Default::default());
    connected.await.expect("connect");
}

#[actix_rt::test]
async fn each_mistake_at_listen_on_and_connect_to_has_its_own_reason() {
    let test = TestApp::new().await;
    let (server, tcp) = (&test.app.tcp_server, &test.app.tcp);
    let created = server.create(Default::default()).await.expect("create");
    let id = created.socket_id;
    let ipv6_only = ListenOptions {
        ipv6_only: true,
        ..Default::default()
    };
    let unscoped = SocketAddr::from(("fe80::1".parse::<Ipv6Addr>().expect("an address"), 1));
    let scoped = SocketAddr::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 1));
    let mut refusals = Refusals::default();
    for (endpoint, options, argument) in [
        (
            Endpoint::from((Ipv4Addr::LOCALHOST, 0)),
            ipv6_only,
            InvalidArgument::Ipv6OnlyForIpv4,
        ),
        (
            unscoped.into(),
            Default::default(),
            InvalidArgument::ScopeMissing,
        ),
        (
            scoped.into(),
            Default::default(),
            InvalidArgument::ScopeNotAllowed,
        ),
        (
            ("localhost", 0).into(),
            Default::default(),
            InvalidArgument::AddressNotIp,
        ),
    ] {
        refusals.expect(server.listen_on(id, endpoint, options).await, argument);
    }
    let client = test.create().await;
    let mut refusals = Refusals::default();
    let at_once = ConnectOptions {
        timeout: Some(Duration::ZERO),
        ..Default::default()
    };
    for (endpoint, options, argument) in [
        (
            Endpoint::from((Ipv4Addr::LOCALHOST, 1)),
            at_once,
            InvalidArgument::ConnectTimeoutZero,
        ),
        (
            unscoped.into(),
            Default::default(),
            InvalidArgument::ScopeMissing,
        ),
        (
            SocketAddr::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 0, 1)).into(),
            Default::default(),
            InvalidArgument::ScopeNotAllowed,
        ),
    ] {
        refusals.expect(tcp.connect_to(client, endpoint, options).await, argument);
    }
    // Chrome's functions have the same reason for an address that they cannot name either.
    let missing = InvalidArgument::ScopeMissing;
    let listening = server.listen(id, "fe80::1", 0, None).await;
    Refusals::default().expect(listening, missing);
    let connecting = tcp.connect(client, "fe80::1", 1, Default::default()).await;
    Refusals::default().expect(connecting, missing);
    // They still work.
    let listening = server.listen_on(id, (Ipv4Addr::LOCALHOST, 0), Default::default());
    listening.await.expect("listen_on");
    let at = server.get_info(id).await.expect("it exists").local_addr();
    let connecting = tcp.connect_to(client, at.expect("it listens"), Default::default());
    connecting.await.expect("connect_to");
}

#[actix_rt::test]
async fn a_user_timeout_that_is_too_long_is_refused_with_its_reason() {
    let test = TestApp::new().await;
    let id = test.create().await;
    let before = test.app.tcp.get_info(id).await;
    let too_long = tcp::SocketProperties {
        user_timeout: Some(Duration::from_millis(1 << 31)),
        ..Default::default()
    };
    let argument = InvalidArgument::UserTimeoutTooLong;
    let updated = test.app.tcp.update(id, too_long.clone()).await;
    Refusals::default().expect(updated, argument);
    Refusals::default().expect(test.app.tcp.create(too_long).await, argument);
    assert_eq!(test.app.tcp.get_info(id).await, before);
}

#[actix_rt::test]
async fn a_long_name_is_refused_with_its_reason_wherever_it_is_given() {
    let test = TestApp::new().await;
    let name = Some("x".repeat(MAX_NAME + 1));
    let tcp = tcp::SocketProperties {
        name: name.clone(),
        ..Default::default()
    };
    let server = tcp_server::SocketProperties {
        name,
        ..Default::default()
    };
    let argument = InvalidArgument::NameTooLong;
    let id = test.create().await;
    let app = &test.app;
    let created = app.tcp_server.create(Default::default()).await;
    let server_id = created.expect("create").socket_id;
    Refusals::default().expect(app.tcp.create(tcp.clone()).await, argument);
    Refusals::default().expect(app.tcp.update(id, tcp).await, argument);
    Refusals::default().expect(app.tcp_server.create(server.clone()).await, argument);
    Refusals::default().expect(app.tcp_server.update(server_id, server).await, argument);
}

#[actix_rt::test]
async fn a_wrong_limit_or_mark_of_the_send_queue_changes_nothing() {
    let test = TestApp::new().await;
    let id = test.create().await;
    let marks = |high, low| Some(SendMarks { high, low });
    let name = Some("new".to_owned());
    let mut refusals = Refusals::default();
    for (send_limit, send_marks, argument) in [
        (Some(0), marks(1, 1), InvalidArgument::SendLimitZero),
        (Some(1), marks(1, 2), InvalidArgument::LowMarkAboveHigh),
    ] {
        let properties = tcp::SocketProperties {
            name: name.clone(),
            send_limit,
            send_marks,
            ..Default::default()
        };
        let created = test.app.tcp.create(properties.clone()).await;
        Refusals::default().expect(created, argument);
        refusals.expect(test.app.tcp.update(id, properties).await, argument);
        let info = test.app.tcp.get_info(id).await.expect("it exists");
        assert_eq!(
            (info.name, info.send_limit, info.send_marks),
            (None, None, None)
        );
    }
}

#[actix_rt::test]
async fn each_timeout_of_zero_is_named() {
    let test = TestApp::new().await;
    let id = test.create().await;
    let zero = Some(Duration::ZERO);
    let none = Timeouts::default();
    let mut refusals = Refusals::default();
    for (timeouts, argument) in [
        (
            Timeouts {
                claim: zero,
                ..none
            },
            InvalidArgument::ClaimTimeoutZero,
        ),
        (
            Timeouts { idle: zero, ..none },
            InvalidArgument::IdleTimeoutZero,
        ),
        (
            Timeouts { send: zero, ..none },
            InvalidArgument::SendTimeoutZero,
        ),
        (
            Timeouts {
                send_rate: Some(MinimumRate {
                    bytes: 0,
                    per: Duration::MAX,
                }),
                ..none
            },
            InvalidArgument::SendRateZero,
        ),
        (
            Timeouts {
                send_rate: Some(MinimumRate {
                    bytes: 1,
                    per: Duration::ZERO,
                }),
                ..none
            },
            InvalidArgument::SendRatePeriodZero,
        ),
    ] {
        refusals.expect(test.app.tcp.set_timeouts(id, timeouts).await, argument);
    }
}

#[actix_rt::test]
async fn each_limit_that_is_refused_is_named_by_sockets_apps_and_registries() {
    let test = TestApp::new().await;
    let created = test.app.tcp_server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let limit = |most, then| Some(Limit { most, then });
    let rate = |most, per| {
        let then = AtLimit::Close;
        Some(RateLimit { most, per, then })
    };
    let none = Limits::default();
    let close = AtLimit::Close;
    let day = Duration::from_secs(24 * 60 * 60);
    let mut refusals = [(); 4].map(|()| Refusals::default());
    let [of_socket, of_app, of_registry, of_new] = &mut refusals;
    for (limits, argument) in [
        (
            Limits {
                connections: limit(0, close),
                ..none
            },
            InvalidArgument::ConnectionsZero,
        ),
        (
            Limits {
                per_peer: limit(0, close),
                ..none
            },
            InvalidArgument::PerPeerZero,
        ),
        (
            Limits {
                per_peer: limit(1, AtLimit::Queue),
                ..none
            },
            InvalidArgument::PerPeerQueue,
        ),
        (
            Limits {
                rate: rate(0, SECOND),
                ..none
            },
            InvalidArgument::RateZero,
        ),
        (
            Limits {
                rate: rate(1, Duration::ZERO),
                ..none
            },
            InvalidArgument::RatePeriodZero,
        ),
        (
            Limits {
                rate: rate(1, day + Duration::from_nanos(1)),
                ..none
            },
            InvalidArgument::RatePeriodTooLong,
        ),
    ] {
        let set = test.app.tcp_server.set_limits(id, limits);
        of_socket.expect(set.await, argument);
        let set = test.app.set_limits(AppLimits {
            accepted: limits,
            sockets: None,
        });
        of_app.expect(set.await, argument);
        let set = test.registry.send(SetRegistryLimits { limits });
        of_registry.expect(set.await.expect("it runs"), argument);
        let made = Registry::new().limits(limits).map(drop);
        of_new.expect(made.map_err(Error::from), argument);
    }
    let longest = Limits {
        rate: rate(1, day),
        ..none
    };
    let set = test.app.tcp_server.set_limits(id, longest);
    set.await.expect("a day is allowed");
}

#[actix_rt::test]
async fn each_part_of_a_policy_that_is_refused_is_named() {
    use AcceptAction::{Continue, Pause, Shed};
    let test = TestApp::new().await;
    let created = test.app.tcp_server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let back_off = |first, last| AcceptAction::BackOff { first, last };
    let zero = back_off(Duration::ZERO, SECOND);
    let shrinking = back_off(2 * SECOND, SECOND);
    let mut refusals = Refusals::default();
    for (connection, resources, listener, argument) in [
        (Shed, Pause, Pause, InvalidArgument::ShedForConnection),
        (Pause, Pause, Shed, InvalidArgument::ShedForListener),
        (
            Pause,
            Continue,
            Pause,
            InvalidArgument::ContinueForResources,
        ),
        (Pause, Pause, Continue, InvalidArgument::ContinueForListener),
        (zero, Pause, Pause, InvalidArgument::ConnectionBackOffZero),
        (Pause, zero, Pause, InvalidArgument::ResourcesBackOffZero),
        (Pause, Pause, zero, InvalidArgument::ListenerBackOffZero),
        (
            shrinking,
            Pause,
            Pause,
            InvalidArgument::ConnectionBackOffShrinks,
        ),
        (
            Pause,
            shrinking,
            Pause,
            InvalidArgument::ResourcesBackOffShrinks,
        ),
        (
            Pause,
            Pause,
            shrinking,
            InvalidArgument::ListenerBackOffShrinks,
        ),
    ] {
        let policy = AcceptPolicy {
            connection,
            resources,
            listener,
        };
        let set = test.app.tcp_server.set_accept_policy(id, policy);
        refusals.expect(set.await, argument);
    }
}

#[actix_rt::test]
async fn a_value_that_the_os_refuses_is_an_error_of_the_network() {
    let test = TestApp::new().await;
    let created = test.app.tcp_server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    // An IPv4 address in the form of IPv6, on a socket without IPv4.
    let options = ListenOptions {
        ipv6_only: true,
        ..Default::default()
    };
    let listening = test
        .app
        .tcp_server
        .listen_on(id, ("::ffff:127.0.0.1", 0), options);
    let refused = listening.await;
    let error = refused.expect_err("it is refused");
    assert!(matches!(error, Error::Net(_)), "{error:?}");
}
