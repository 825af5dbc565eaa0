//! Injected faults: each test ends with proof of life.

use actix::prelude::*;
use chrome_sockets::os::TokioNetwork;
use chrome_sockets::supervision::{ActorKind, RestartInfo, RestartLimit};
use chrome_sockets::testing::{FaultyNetwork, Rule, ScriptedNetwork};
use chrome_sockets::udp::SocketProperties;
use chrome_sockets::{NetError, Registry};
use support::{EventSender, TestApp, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Peer, bound, create, expect_alive, failed, received};

async fn faulty(registry: impl FnOnce(Registry) -> Registry) -> (TestApp, FaultyNetwork) {
    let network = FaultyNetwork::new(TokioNetwork, 1);
    let registry = registry(Registry::with_network(network.clone()));
    (TestApp::on(registry).await, network)
}

fn rule(text: &str) -> Rule {
    text.parse().expect("a rule")
}

/// The restarts that the app hears of.
async fn restarts(test: &TestApp) -> UnboundedReceiver<RestartInfo> {
    let (sender, events) = unbounded_channel();
    let listener = EventSender(sender).start();
    let added = test.app.on_restart.add_listener(listener.recipient());
    added.await.expect("the registry runs");
    events
}

async fn next(events: &mut UnboundedReceiver<RestartInfo>) -> RestartInfo {
    within("onRestart", events.recv()).await.expect("it runs")
}

#[actix_rt::test]
async fn a_bind_that_fails_leaves_the_socket_as_it_was() {
    let (mut test, network) = faulty(|it| it).await;
    let id = create(&test, SocketProperties::default()).await;
    for (errno, code) in [
        ("EACCES", -10),
        ("EMFILE", -12),
        ("EADDRINUSE", -147),
        ("ENOMEM", -13),
    ] {
        network.inject(rule(&format!("bind={errno},times=1")));
        assert_eq!(
            support::code("bind", test.app.udp.bind(id, "127.0.0.1", 0)).await,
            code
        );
    }
    test.app.udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn a_receive_that_fails_pauses_the_socket_and_the_datagram_stays() {
    let (mut test, network) = faulty(|it| it).await;
    let (id, at) = bound(&test).await;
    for (errno, code) in [
        ("ENOMEM", NetError::OUT_OF_MEMORY),
        ("ECONNREFUSED", NetError::CONNECTION_REFUSED),
        ("EIO", NetError::FAILED),
    ] {
        network.inject(rule(&format!("receive={errno},times=1,listener={at}")));
        // It is evaluated when the receive that waits is polled next.
        Peer::new().await.send(b"stays", at).await;
        assert_eq!(failed(&mut test, id).await, code);
        assert!(
            test.app
                .udp
                .get_info(id)
                .await
                .is_ok_and(|info| info.paused)
        );
        test.expect_no_event().await;
        test.app.udp.set_paused(id, false).await.expect("resumed");
        assert_eq!(received(&mut test, id).await.0, b"stays");
    }
    // What is no error is not reported.
    network.inject(rule("receive=EINTR,times=3"));
    network.inject(rule("receive=EAGAIN,times=3"));
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn a_send_that_fails_or_stalls_concerns_only_itself() {
    let (mut test, network) = faulty(|it| it).await;
    let (id, at) = bound(&test).await;
    let socket = test.app.udp.socket(id).await.expect("it exists");
    let (bad, good) = (Peer::new().await, Peer::new().await);
    network.inject(rule(&format!("send=EPERM,peer={}", bad.address())));
    let refused = socket.send_to("x", bad.address()).await;
    assert_eq!(refused, Err(NetError::ACCESS_DENIED.into()));
    socket.send_to("x", good.address()).await.expect("sent");
    assert_eq!(good.receive().await, (b"x".to_vec(), at));
    network.clear();
    let stalled = network.inject(rule("send=stall"));
    let waiting = socket.send_to("late", good.address());
    let second = socket.send_to("later", good.address());
    support::until("the stall", || network.stalled(stalled) > 0).await;
    // Receiving goes on.
    good.send(b"in", at).await;
    assert_eq!(received(&mut test, id).await.0, b"in");
    network.clear();
    waiting.await.expect("sent");
    second.await.expect("sent");
    assert_eq!(good.receive().await.0, b"late");
    assert_eq!(good.receive().await.0, b"later");
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn the_actor_panics_and_goes_on_with_its_sockets() {
    let (mut test, network) = faulty(|it| it).await;
    let mut restarts = restarts(&test).await;
    let (id, at) = bound(&test).await;
    let (other, _) = bound(&test).await;
    network.inject(rule("panic=udp,times=1"));
    // The call in hand is carried out by the next turn.
    let info = test.app.udp.get_info(id).await.expect("it exists");
    assert_eq!(info.local_addr(), Some(at));
    assert_eq!(next(&mut restarts).await.actor, ActorKind::UdpSockets);
    network.inject(rule("panic=udp,times=1"));
    Peer::new().await.send(b"seen", at).await;
    assert_eq!(received(&mut test, id).await.0, b"seen");
    assert_eq!(next(&mut restarts).await.restarts, 2);
    expect_alive(&mut test, id).await;
    expect_alive(&mut test, other).await;
}

#[actix_rt::test]
async fn a_socket_at_which_the_actor_keeps_panicking_loses_its_port_and_the_others_go_on() {
    let (mut test, network) = faulty(|it| it).await;
    let mut restarts = restarts(&test).await;
    let (other, _) = bound(&test).await;
    let (id, at) = bound(&test).await;
    network.inject(rule(&format!("receive=panic,listener={at}")));
    Peer::new().await.send(b"panic", at).await;
    assert_eq!(failed(&mut test, id).await, NetError::FAILED);
    for _ in 0..3 {
        assert_eq!(next(&mut restarts).await.actor, ActorKind::UdpSockets);
    }
    let info = test.app.udp.get_info(id).await.expect("it exists");
    assert!(info.paused && info.local_addr().is_none());
    expect_alive(&mut test, other).await;
    network.clear();
    test.app.udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    test.app.udp.set_paused(id, false).await.expect("resumed");
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn the_actor_stops_or_loses_its_arbiter_and_another_one_has_its_sockets() {
    for (text, arbiters) in [
        ("stop=udp,times=1", 1),
        ("stop=udp,times=1", 2),
        ("arbiter=udp,times=1", 3),
    ] {
        let (mut test, network) = faulty(|it| it.arbiters(arbiters)).await;
        let mut restarts = restarts(&test).await;
        let mut sockets = Vec::new();
        for _ in 0..4 {
            sockets.push(bound(&test).await.0);
        }
        network.inject(rule(text));
        // The first one lives in the system's arbiter, which ends with the system only. The call
        // that stops the actor may be lost with it.
        let _ = within("an answer", test.app.udp.get_info(sockets[1])).await;
        let mut seen = next(&mut restarts).await;
        while seen.actor != ActorKind::UdpSockets {
            seen = next(&mut restarts).await;
        }
        for id in sockets {
            expect_alive(&mut test, id).await;
        }
    }
}

#[actix_rt::test]
async fn an_actor_that_fails_too_often_reports_each_socket_and_works_again() {
    let limit = RestartLimit {
        most: 2,
        within: std::time::Duration::from_secs(3600),
    };
    let (mut test, network) = faulty(|it| it.restart_limit(limit)).await;
    let mut restarts = restarts(&test).await;
    let (id, _) = bound(&test).await;
    network.inject(rule("panic=udp,times=3"));
    for _ in 0..3 {
        let _ = test.app.udp.get_info(id).await;
    }
    let mut last = next(&mut restarts).await;
    while !last.gave_up {
        last = next(&mut restarts).await;
    }
    assert_eq!(failed(&mut test, id).await, NetError::FAILED);
    test.app.udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    test.app.udp.set_paused(id, false).await.expect("resumed");
    expect_alive(&mut test, id).await;
}

#[actix_rt::test]
async fn a_look_up_that_panics_fails_its_send_only() {
    let network = FaultyNetwork::new(ScriptedNetwork::new(), 1);
    let test = TestApp::with_network(network.clone()).await;
    let mut restarts = restarts(&test).await;
    let (id, _) = bound(&test).await;
    network.inject(rule("resolve=panic,times=1"));
    let query = chrome_sockets::udp::DnsQueryType::Any;
    let sent = test.app.udp.send(id, "x", "name.example", 9, query).await;
    assert_eq!(sent, Err(NetError::FAILED.into()));
    assert_eq!(next(&mut restarts).await.actor, ActorKind::UdpSend(id));
    let sent = test.app.udp.send(id, "x", "192.0.2.1", 9, query).await;
    assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(1));
}

#[actix_rt::test]
async fn a_network_without_datagrams_says_so() {
    struct NoDatagrams;

    impl chrome_sockets::os::Network for NoDatagrams {
        fn listen(
            &self,
            _: std::net::SocketAddr,
            _: u32,
        ) -> std::io::Result<Box<dyn chrome_sockets::os::Listener>> {
            Err(std::io::ErrorKind::Unsupported.into())
        }

        fn resolve(&self, _: &str) -> chrome_sockets::os::Resolving {
            Box::pin(std::future::pending())
        }

        fn connect(
            &self,
            _: std::net::SocketAddr,
        ) -> futures::future::BoxFuture<'static, std::io::Result<Box<dyn chrome_sockets::os::Stream>>>
        {
            Box::pin(std::future::pending())
        }
    }

    let test = TestApp::with_network(NoDatagrams).await;
    let id = create(&test, SocketProperties::default()).await;
    let bound = test.app.udp.bind(id, "127.0.0.1", 0).await;
    assert_eq!(bound, Err(NetError::NOT_IMPLEMENTED.into()));
}
