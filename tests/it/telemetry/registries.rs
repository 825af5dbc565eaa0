//! Several registries of one process, recorders that are sent to, and locks.

use std::time::Duration;

use chrome_sockets::telemetry::Metrics;
use chrome_sockets::{Registry, Shutdown};
use support::{TestApp, within};

use super::Fixture;
use super::recorder::TestRecorder;
use crate::tcp_server::dial;

#[actix_rt::test]
async fn registries_are_told_apart_by_their_recorders_or_their_labels() {
    let mut alone = Fixture::new().await;
    let recorder = TestRecorder::default();
    let mut shared = Vec::new();
    for name in ["a", "b"] {
        let labels = [("registry", name)];
        let metrics = Metrics::with_labels(recorder.clone(), labels);
        let test = TestApp::on(Registry::new().metrics(&metrics, None)).await;
        shared.push((test, metrics));
    }
    let (_, at) = shared[0].0.listen().await;
    let _peer = dial(at).await;
    shared[0].0.accepted().await;
    shared.iter().for_each(|(_, metrics)| metrics.publish());
    assert_eq!(recorder.value("connections_open{registry=\"a\"}"), 1.0);
    assert_eq!(recorder.value("connections_open{registry=\"b\"}"), 0.0);
    let accepted = "connections_accepted_total{registry=\"a\",server=\"\"}";
    assert_eq!(recorder.value(accepted), 1.0);
    assert_eq!(alone.value("connections_open"), 0.0);
    let (_, at) = alone.test.listen().await;
    let _peer = dial(at).await;
    alone.test.accepted().await;
    assert_eq!(alone.value("connections_open"), 1.0);
    shared.iter().for_each(|(_, metrics)| metrics.publish());
    assert_eq!(recorder.value("connections_open{registry=\"b\"}"), 0.0);
}

#[actix_rt::test]
async fn a_registry_publishes_by_itself_at_an_interval_and_for_the_last_time_when_it_has_ended() {
    let recorder = TestRecorder::default();
    let metrics = Metrics::new(recorder.clone());
    let interval = Some(Duration::from_millis(20));
    let mut test = TestApp::on(Registry::new().metrics(&metrics, interval)).await;
    let (_, at) = test.listen().await;
    let _peer = dial(at).await;
    test.accepted().await;
    let has_value = async |value: f64| {
        within("the publication", async {
            while recorder.value("connections_open") != value {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    };
    has_value(1.0).await;
    let ended = test.registry.send(Shutdown).await;
    ended.expect("it runs").expect("shut down");
    has_value(0.0).await;
    assert_eq!(
        recorder.value("connections_accepted_total{server=\"\"}"),
        1.0
    );
}

#[actix_rt::test]
async fn counters_never_go_back_and_gauges_fall_to_zero_when_the_registry_has_ended() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let _peer = dial(at).await;
    fixture.test.accepted().await;
    assert_eq!(fixture.value("client_sockets{arbiter=\"0\"}"), 1.0);
    let ended = fixture.test.registry.send(Shutdown).await;
    ended.expect("it runs").expect("shut down");
    fixture
        .wait_for("server_connections_open{server=\"web\"}", 0.0)
        .await;
    fixture.wait_for("connections_open", 0.0).await;
    fixture.wait_for("client_sockets{arbiter=\"0\"}", 0.0).await;
    assert_eq!(
        fixture.value("connections_accepted_total{server=\"web\"}"),
        1.0
    );
}

#[actix_rt::test]
async fn publishing_works_while_the_registrys_arbiter_is_busy() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let _peer = dial(at).await;
    fixture.test.accepted().await;
    // This thread is the registry's arbiter, and waits for the other one.
    let metrics = fixture.metrics.clone();
    let published = std::thread::spawn(move || metrics.publish());
    published.join().expect("no panic");
    assert_eq!(fixture.recorder.value("connections_open"), 1.0);
}
