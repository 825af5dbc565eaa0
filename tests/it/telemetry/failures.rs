//! Metrics of what fails: accepts, actors, and connections in drains.

use std::io::ErrorKind;
use std::time::Duration;

use chrome_sockets::Registry;
use chrome_sockets::os::TokioNetwork;
use chrome_sockets::supervision::RestartLimit;
use chrome_sockets::testing::FaultyNetwork;
use support::{LIMIT, ListenerEvent, within};
use tokio::io::AsyncReadExt;

use super::Fixture;
use crate::tcp_server::dial;

const SEED: u64 = 7;

#[actix_rt::test]
async fn accept_errors_are_counted_by_their_class() {
    let network = FaultyNetwork::new(TokioNetwork, SEED);
    let mut fixture = Fixture::on(Registry::with_network(network.clone())).await;
    let (web, at) = fixture.listen_as("web").await;
    for (errno, class) in [
        ("EMFILE", "resources"),
        ("EPROTO", "connection"),
        ("EBADF", "listener"),
    ] {
        let rule = format!("accept={errno},times=1").parse();
        let id = network.inject(rule.expect("a rule"));
        let _peer = dial(at).await;
        let series = format!("accept_errors_total{{server=\"web\",class=\"{class}\"}}");
        fixture.wait_for(&series, 1.0).await;
        network.remove(id);
        // The policy for errors of one connection accepts again by itself.
        if class != "connection" {
            let event = fixture.test.next().await;
            assert!(matches!(event, ListenerEvent::AcceptError(..)), "{event:?}");
            let resumed = fixture.test.app.tcp_server.set_paused(web, false).await;
            resumed.expect("it exists");
        }
        fixture.test.accepted().await;
    }
    assert_eq!(
        fixture.value("connections_accepted_total{server=\"web\"}"),
        3.0
    );
    let lost = "connections_failed_total{server=\"web\",reason=\"panic\"}";
    assert_eq!(fixture.value(lost), 0.0);
}

#[actix_rt::test]
async fn restarts_are_counted_by_actor_and_cause() {
    let network = FaultyNetwork::new(TokioNetwork, SEED);
    let mut fixture = Fixture::on(Registry::with_network(network.clone())).await;
    let (_, at) = fixture.listen_as("web").await;
    for (rule, actor, cause) in [
        ("panic=server,times=1", "server_socket", "panic"),
        ("panic=clients,times=1", "client_sockets", "panic"),
        ("stop=clients,times=1", "client_sockets", "stop"),
        ("panic=registry,times=1", "registry", "panic"),
    ] {
        network.inject(rule.parse().expect("a rule"));
        let peer = dial(at).await;
        // A call that the registry carries out.
        let _ = fixture.test.app.tcp.get_info(1.into()).await;
        let series = format!("restarts_total{{actor=\"{actor}\",cause=\"{cause}\"}}");
        fixture.wait_for(&series, 1.0).await;
        fixture.test.accepted().await;
        drop(peer);
    }
    let series = fixture.recorder.series();
    assert!(!series.iter().any(|it| it.starts_with("actors_ended_total")));
}

#[actix_rt::test]
async fn an_actor_that_ends_after_too_many_failures_is_counted_as_ended() {
    let network = FaultyNetwork::new(TokioNetwork, SEED);
    let limit = RestartLimit {
        most: 1,
        within: LIMIT,
    };
    let registry = Registry::with_network(network.clone()).restart_limit(limit);
    let fixture = Fixture::on(registry).await;
    let (_, at) = fixture.listen_as("web").await;
    network.inject("panic=server,times=2".parse().expect("a rule"));
    let _peer = dial(at).await;
    let labels = "{actor=\"server_socket\",cause=\"panic\"}";
    fixture
        .wait_for(&format!("actors_ended_total{labels}"), 1.0)
        .await;
    assert_eq!(fixture.value(&format!("restarts_total{labels}")), 1.0);
    // The other parts go on.
    let (_, at) = fixture.listen_as("another").await;
    let _peer = dial(at).await;
    fixture
        .wait_for("connections_accepted_total{server=\"another\"}", 1.0)
        .await;
}

#[actix_rt::test]
async fn drains_and_the_connections_that_they_end_are_counted() {
    let mut fixture = Fixture::new().await;
    let (web, at) = fixture.listen_as("web").await;
    let finishing = dial(at).await;
    let first = fixture.test.accepted().await;
    let mut forced = dial(at).await;
    fixture.test.accepted().await;
    let drained = fixture
        .test
        .app
        .tcp_server
        .drain(web, Duration::from_millis(500));
    fixture.wait_for("drains_running", 1.0).await;
    drop(finishing);
    first.close().await.expect("it is open");
    let drained = within("the drain", drained).await.expect("drained");
    assert_eq!((drained.finished, drained.forced.len()), (1, 1));
    let end = within("the end", forced.read(&mut [0; 1])).await;
    assert!(matches!(
        end.as_ref().map_err(|it| it.kind()),
        Ok(0) | Err(ErrorKind::ConnectionReset)
    ));
    for (series, value) in [
        ("drains_running", 0.0),
        ("drains_total", 1.0),
        ("drained_connections_total{end=\"finished\"}", 1.0),
        ("drained_connections_total{end=\"forced\"}", 1.0),
        ("connections_open", 0.0),
    ] {
        assert_eq!(fixture.value(series), value, "{series}");
    }
}
