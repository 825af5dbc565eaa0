//! Metrics of the crate: each counts what it says, on real sockets, and labels are bounded.

mod arbiters;
mod failures;
mod page;
mod recorder;
mod registries;
mod servers;
mod sockets;
mod tls;

use std::net::SocketAddr;

use chrome_sockets::telemetry::Metrics;
use chrome_sockets::{Registry, ServerSocketId, tcp_server};
use support::{TestApp, within};

use self::recorder::TestRecorder;

/// A test app whose registry publishes to a recorder.
struct Fixture {
    test: TestApp,
    metrics: Metrics,
    recorder: TestRecorder,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(Registry::new()).await
    }

    async fn on(registry: Registry) -> Self {
        let recorder = TestRecorder::default();
        let metrics = Metrics::new(recorder.clone());
        let test = TestApp::on(registry.metrics(&metrics, None)).await;
        Fixture {
            test,
            metrics,
            recorder,
        }
    }

    /// A listening server socket with this name.
    async fn listen_as(&self, name: &str) -> (ServerSocketId, SocketAddr) {
        let (id, at) = self.test.listen().await;
        self.rename(id, name).await;
        (id, at)
    }

    async fn rename(&self, id: ServerSocketId, name: &str) {
        let properties = tcp_server::SocketProperties {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let updated = self.test.app.tcp_server.update(id, properties).await;
        updated.expect("it exists");
    }

    /// The published value of a series such as `connects_total{outcome="success"}`. 0 if there is
    /// none.
    fn value(&self, series: &str) -> f64 {
        self.metrics.publish();
        self.recorder.value(series)
    }

    /// Waits until a series has this value.
    async fn wait_for(&self, series: &str, value: f64) {
        let what = format!("{series} {value}, which is {}", self.value(series));
        within(&what, async {
            while self.value(series) != value {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    }
}
