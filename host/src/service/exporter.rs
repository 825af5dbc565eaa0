//! The numbers of a gateway, and those of its registry, in the text format of Prometheus. No number
//! belongs to one app or client, so their count is bounded.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrome_sockets::telemetry::Metrics;
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use crate::limits::Limits;
use crate::transport::control::{Control, Snapshot};

/// The content type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long one text answers all requests. Counting takes time in proportion to the sockets, so
/// requests in a loop must not count each time.
const LIFETIME: Duration = Duration::from_millis(100);

/// The upper bounds of the buckets of all histograms, in seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

pub(super) struct Exporter {
    recorder: Arc<PrometheusRecorder>,
    /// Those of the registry.
    metrics: Metrics,
    last: RefCell<Option<(Instant, Bytes)>>,
}

/// What the service knows about itself.
#[derive(Clone, Copy)]
pub(super) struct ServiceState {
    pub(super) is_ready: bool,
    pub(super) reloads: u64,
    pub(super) failed_reloads: u64,
}

impl Exporter {
    pub(super) fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        // Only an empty list of buckets is an error.
        let builder = builder.unwrap_or_default();
        let recorder = Arc::new(builder.build_recorder());
        Exporter {
            // Apps choose the names of their server sockets.
            metrics: Metrics::new(recorder.clone()).without_server_names(),
            recorder,
            last: RefCell::default(),
        }
    }

    /// For the registry.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The numbers now, or up to 100 ms ago. A gateway that does not run yet has none.
    pub(super) fn render(&self, service: ServiceState, gateway: Option<&Control>) -> Bytes {
        let mut last = self.last.borrow_mut();
        if let Some((_, text)) = last.as_ref().filter(|(time, _)| time.elapsed() < LIFETIME) {
            return text.clone();
        }
        with_local_recorder(&self.recorder, || {
            record_service(service);
            if let Some(gateway) = gateway {
                record_gateway(&gateway.snapshot(), &gateway.directory().settings().limits);
                record_traffic(gateway);
            }
        });
        self.metrics.publish();
        let text = Bytes::from(self.recorder.handle().render());
        *last = Some((Instant::now(), text.clone()));
        text
    }
}

/// A count as a gauge. Counts are far below 2^53, up to which this is exact.
fn set_gauge(
    name: &'static str,
    help: &'static str,
    labels: &[(&'static str, &'static str)],
    value: f64,
) {
    describe_gauge!(name, help);
    gauge!(name, labels).set(value);
}

fn set_counter(
    name: &'static str,
    help: &'static str,
    labels: &[(&'static str, &'static str)],
    value: u64,
) {
    describe_counter!(name, help);
    counter!(name, labels).absolute(value);
}

fn record_service(service: ServiceState) {
    set_gauge(
        "chrome_sockets_host_build_info",
        "The version of the program; always 1.",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    set_gauge(
        "chrome_sockets_host_ready",
        "1 while the host accepts clients; 0 while it starts or drains.",
        &[],
        f64::from(u8::from(service.is_ready)),
    );
    let name = "chrome_sockets_host_reloads_total";
    let help = "Reloads of the configuration, by result.";
    set_counter(name, help, &[("result", "success")], service.reloads);
    set_counter(name, help, &[("result", "failure")], service.failed_reloads);
}

fn record_gateway(now: &Snapshot, limits: &Limits) {
    set_gauge(
        "chrome_sockets_host_uptime_seconds",
        "The time since the gateway started.",
        &[],
        now.uptime.as_secs_f64(),
    );
    let name = "chrome_sockets_host_connections";
    let help = "Connections of the gateway, by state: open, rejected (receives the reason), or \
                closing (its last output is not acknowledged).";
    for (state, count) in [
        ("open", now.connections),
        ("rejected", now.rejections),
        ("closing", now.lingering),
    ] {
        set_gauge(name, help, &[("state", state)], count as f64);
    }
    let name = "chrome_sockets_host_apps";
    let help = "Apps, by state: connected, or suspended (without a client, but with sockets).";
    set_gauge(
        name,
        help,
        &[("state", "connected")],
        now.connected_apps as f64,
    );
    set_gauge(
        name,
        help,
        &[("state", "suspended")],
        now.suspended_apps as f64,
    );
    let name = "chrome_sockets_host_sockets";
    let help = "Sockets of all apps, by namespace.";
    set_gauge(
        name,
        help,
        &[("namespace", "tcpServer")],
        now.server_sockets as f64,
    );
    set_gauge(
        name,
        help,
        &[("namespace", "tcp")],
        now.client_sockets as f64,
    );
    set_gauge(name, help, &[("namespace", "udp")], now.udp_sockets as f64);
    for (name, help, value) in [
        (
            "chrome_sockets_host_clients",
            "Clients: connections that are an app.",
            now.clients,
        ),
        (
            "chrome_sockets_host_clients_limit",
            "The limit --max-clients.",
            limits.clients,
        ),
        (
            "chrome_sockets_host_connections_limit",
            "The limit --max-connections.",
            limits.connections,
        ),
        (
            "chrome_sockets_host_memory_bytes",
            "The memory that clients use: incomplete frames, unread messages, and sockets.",
            now.memory,
        ),
        (
            "chrome_sockets_host_memory_limit_bytes",
            "The limit --shared-memory.",
            limits.memory,
        ),
        (
            "chrome_sockets_host_send_queue_bytes",
            "The data that all clients have queued to send.",
            now.send_queue,
        ),
        (
            "chrome_sockets_host_send_queue_limit_bytes",
            "The limit --send-budget.",
            limits.send_budget,
        ),
    ] {
        set_gauge(name, help, &[], value as f64);
    }
    let name = "chrome_sockets_host_app_bytes_total";
    let help = "The data of the apps' connections and datagrams, by direction: received and \
                passed to clients, or sent.";
    set_counter(
        name,
        help,
        &[("direction", "received")],
        now.app_counters.received,
    );
    set_counter(name, help, &[("direction", "sent")], now.app_counters.sent);
    let name = "chrome_sockets_host_app_datagrams_total";
    let help = "The datagrams of the apps, by direction.";
    let received = now.app_counters.datagrams_received;
    set_counter(name, help, &[("direction", "received")], received);
    let sent = now.app_counters.datagrams_sent;
    set_counter(name, help, &[("direction", "sent")], sent);
    set_counter(
        "chrome_sockets_host_app_connections_accepted_total",
        "Connections that server sockets accepted and reported to clients.",
        &[],
        now.app_counters.accepted,
    );
}

fn record_traffic(gateway: &Control) {
    let traffic = gateway.directory().traffic();
    for (name, help, value) in [
        (
            "chrome_sockets_host_connections_accepted_total",
            "Connections that the gateway accepted.",
            &traffic.accepted,
        ),
        (
            "chrome_sockets_host_accept_errors_total",
            "Errors of accepting connections for the gateway.",
            &traffic.accept_errors,
        ),
        (
            "chrome_sockets_host_bad_requests_total",
            "Requests that were neither for a file nor a valid WebSocket handshake.",
            &traffic.bad_requests,
        ),
        (
            "chrome_sockets_host_proxy_errors_total",
            "Connections of proxies (--proxy-from) without a valid PROXY header.",
            &traffic.proxy_errors,
        ),
    ] {
        set_counter(name, help, &[], value.get());
    }
    let name = "chrome_sockets_host_gateway_bytes_total";
    let help = "The bytes of the gateway's connections, by direction.";
    set_counter(
        name,
        help,
        &[("direction", "received")],
        traffic.bytes_received.get(),
    );
    set_counter(
        name,
        help,
        &[("direction", "sent")],
        traffic.bytes_sent.get(),
    );
    let name = "chrome_sockets_host_frames_total";
    let help = "The frames of clients after the hello, by direction.";
    set_counter(
        name,
        help,
        &[("direction", "received")],
        traffic.frames_received.get(),
    );
    set_counter(
        name,
        help,
        &[("direction", "sent")],
        traffic.frames_sent.get(),
    );
    let closed_name = "chrome_sockets_host_clients_closed_total";
    let closed_help = "Clients that have gone, by the close reason; left: by themselves.";
    set_counter(
        closed_name,
        closed_help,
        &[("reason", "left")],
        traffic.left.get(),
    );
    for (code, refused, closed) in traffic.by_code() {
        let labels = [("reason", code.name())];
        set_counter(closed_name, closed_help, &labels, closed);
        set_counter(
            "chrome_sockets_host_refused_total",
            "Connections that did not become clients, by the close reason.",
            &labels,
            refused,
        );
    }
}
