//! What one registry counts, and its publication.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use actix_rt::time::{Instant, sleep};
use metrics::{Histogram, Label, Recorder, SharedString};
use parking_lot::Mutex;

use crate::telemetry::arbiter::ArbiterStats;
use crate::telemetry::labels::{DrainEnd, FailedActor, FailureCause, Outcome, Side};
use crate::telemetry::list;
use crate::telemetry::publisher::{Publisher, Series, Value};
use crate::telemetry::readings::{Readings, Sources};
use crate::telemetry::servers::{ServerStats, ServerTable};

/// The metrics of one registry, and the recorder that they are published to.
///
/// [`Registry::metrics`](crate::Registry::metrics) gives them to a registry. A clone is the same
/// metrics. Metrics that two registries share are added up. To tell registries apart, give each its
/// own: with a recorder of its own, or with the same recorder and
/// [labels](Self::with_labels). There is no global state.
#[derive(Clone, derive_more::Debug)]
#[debug("Metrics")]
pub struct Metrics(Arc<Inner>);

struct Inner {
    counts: Counts,
    arbiters: Mutex<Vec<(usize, Arc<ArbiterStats>)>>,
    sources: Mutex<Sources>,
    handshakes: [Histogram; 2],
    /// What was published, and where to. Held while something is published.
    publisher: Mutex<Publisher>,
    /// Ends the task that publishes when another one replaces it.
    publishing: AtomicU64,
}

/// Counts that are not those of an arbiter.
struct Counts {
    servers: Arc<ServerTable>,
    /// By [`Outcome`].
    connects: [AtomicU64; 2],
    /// By [`Side`] and [`Outcome`].
    handshakes: [[AtomicU64; 2]; 2],
    /// By [`FailedActor`] and [`FailureCause`].
    restarts: [[AtomicU64; 3]; 6],
    given_up: [[AtomicU64; 3]; 6],
    drains_running: AtomicUsize,
    drains: AtomicU64,
    /// By [`DrainEnd`].
    drained: [AtomicU64; 2],
}

impl Metrics {
    /// Metrics that are published to this recorder, which gets the descriptions of all metrics now.
    ///
    /// An exporter's recorder may be shared in an `Arc`, which is a recorder too.
    pub fn new(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        Metrics::with_labels(recorder, std::iter::empty::<(&'static str, String)>())
    }

    /// As [`new`](Self::new), and each series has these labels before its own. No metric has the
    /// label `registry`, so `[("registry", "a")]` tells registries of one exporter apart.
    pub fn with_labels<K, V>(
        recorder: impl Recorder + Send + Sync + 'static,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self
    where
        K: Into<SharedString>,
        V: Into<SharedString>,
    {
        let labels = labels.into_iter();
        let labels = labels.map(|(key, value)| Label::new(key, value)).collect();
        let publisher = Publisher::new(Box::new(recorder), labels);
        let handshakes = Side::VALUES
            .iter()
            .map(|side| publisher.histogram(&list::HANDSHAKE, &[Value::Text(side)]));
        let mut handshakes = handshakes.collect::<Vec<_>>().into_iter();
        Metrics(Arc::new(Inner {
            counts: Counts::new(),
            arbiters: Mutex::default(),
            sources: Mutex::default(),
            handshakes: [(); 2].map(|()| handshakes.next().unwrap_or_else(Histogram::noop)),
            publisher: Mutex::new(publisher),
            publishing: AtomicU64::new(0),
        }))
    }

    /// Counts all server sockets as unnamed, for a program whose metrics must not show what apps
    /// call their sockets. It does not change what was counted before.
    pub fn without_server_names(self) -> Self {
        self.0.counts.servers.hide_names();
        self
    }

    /// Copies all counts and gauges to the recorder. It may be called in any thread, at any time.
    ///
    /// It takes time in proportion to the number of series, apps and server sockets, not of
    /// connections: some ten microseconds for a small server. It waits for no lock that events,
    /// sends or accepts take.
    pub fn publish(&self) {
        let inner = &*self.0;
        let mut publisher = inner.publisher.lock();
        let readings = inner.sources.lock().read();
        let arbiters = inner.arbiters.lock().clone();
        let mut series = publisher.begin();
        inner.counts.publish(&mut series);
        publish_readings(&readings, &inner.counts, &mut series);
        for (index, stats) in arbiters {
            publish_arbiter(index, &stats, &mut series);
        }
        series.finish();
    }
}

fn publish_readings(readings: &Readings, counts: &Counts, series: &mut Series<'_>) {
    series.gauge(&list::CONNECTIONS, &[], readings.connections);
    series.gauge(&list::SEND_QUEUE, &[], readings.send_queue_bytes);
    series.gauge(&list::UDP_SOCKETS, &[], readings.udp_sockets);
    for (index, entry) in counts.servers.entries.iter().enumerate() {
        let Some(name) = entry.name() else { break };
        let server = [Value::Server(index, name)];
        let reading = readings.servers.get(&index);
        let connections = reading.map_or(0, |reading| reading.connections);
        series.gauge(&list::SERVER_CONNECTIONS, &server, connections);
        let events = reading.map_or(0, |reading| reading.accept_events);
        series.gauge(&list::ACCEPT_EVENTS, &server, events);
    }
    for (index, reading) in &readings.arbiters {
        let arbiter = [Value::Arbiter(*index)];
        series.gauge(&list::CLIENT_SOCKETS, &arbiter, reading.client_sockets);
        series.gauge(&list::EVENT_BYTES, &arbiter, reading.unhandled_bytes);
    }
}

fn publish_arbiter(index: usize, stats: &ArbiterStats, series: &mut Series<'_>) {
    let now = stats.read();
    let arbiter = [Value::Arbiter(index)];
    for (metric, count) in [
        (&list::RECEIVED, now.received_bytes),
        (&list::SENT, now.sent_bytes),
        (&list::DATAGRAMS_RECEIVED, now.datagrams_received),
        (&list::DATAGRAM_BYTES_RECEIVED, now.datagram_bytes_received),
        (&list::DATAGRAMS_SENT, now.datagrams_sent),
        (&list::DATAGRAM_BYTES_SENT, now.datagram_bytes_sent),
    ] {
        series.counter(metric, &arbiter, count);
    }
    for (whose, count) in crate::telemetry::labels::FullWindow::VALUES
        .iter()
        .zip(now.full_windows)
    {
        let labels = [Value::Arbiter(index), Value::Text(whose)];
        series.counter(&list::FULL_WINDOWS, &labels, count);
    }
    series.gauge(&list::EVENTS, &arbiter, now.events_waiting);
    series.gauge(&list::CALLS, &arbiter, now.most_calls);
    series.gauge(&list::READY, &arbiter, now.most_ready);
}

impl Counts {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let pair = || [zero(), zero()];
        let by_actor = || std::array::from_fn(|_| std::array::from_fn(|_| zero()));
        Counts {
            servers: Arc::new(ServerTable::new()),
            connects: pair(),
            handshakes: [pair(), pair()],
            restarts: by_actor(),
            given_up: by_actor(),
            drains_running: AtomicUsize::new(0),
            drains: zero(),
            drained: pair(),
        }
    }

    fn publish(&self, series: &mut Series<'_>) {
        self.publish_servers(series);
        for (outcome, count) in Outcome::VALUES.iter().zip(&self.connects) {
            series.counter(
                &list::CONNECTS,
                &[Value::Text(outcome)],
                count.load(Relaxed),
            );
        }
        for (side, counts) in Side::VALUES.iter().zip(&self.handshakes) {
            for (outcome, count) in Outcome::VALUES.iter().zip(counts) {
                let labels = [Value::Text(side), Value::Text(outcome)];
                series.counter(&list::HANDSHAKES, &labels, count.load(Relaxed));
            }
        }
        for (metric, counts) in [
            (&list::RESTARTS, &self.restarts),
            (&list::GIVEN_UP, &self.given_up),
        ] {
            for (actor, counts) in FailedActor::VALUES.iter().zip(counts) {
                for (cause, count) in FailureCause::VALUES.iter().zip(counts) {
                    let labels = [Value::Text(actor), Value::Text(cause)];
                    series.counter_unless_zero(metric, &labels, count.load(Relaxed));
                }
            }
        }
        let running = self.drains_running.load(Relaxed);
        series.gauge(&list::DRAINS_RUNNING, &[], running);
        series.counter(&list::DRAINS, &[], self.drains.load(Relaxed));
        for (end, count) in DrainEnd::VALUES.iter().zip(&self.drained) {
            series.counter(&list::DRAINED, &[Value::Text(end)], count.load(Relaxed));
        }
    }

    fn publish_servers(&self, series: &mut Series<'_>) {
        use crate::telemetry::labels::{ErrorClass, LostBy, RefusedBy};
        for (index, entry) in self.servers.entries.iter().enumerate() {
            let Some(name) = entry.name() else { break };
            let server = Value::Server(index, name);
            series.counter(&list::ACCEPTED, &[server], entry.accepted.load(Relaxed));
            for (metric, values, counts) in [
                (&list::REFUSED, RefusedBy::VALUES, &entry.refused[..]),
                (&list::FAILED, LostBy::VALUES, &entry.failed),
                (
                    &list::ACCEPT_ERRORS,
                    ErrorClass::VALUES,
                    &entry.accept_errors,
                ),
            ] {
                for (value, count) in values.iter().zip(counts) {
                    let labels = [server, Value::Text(value)];
                    series.counter_unless_zero(metric, &labels, count.load(Relaxed));
                }
            }
        }
    }
}

/// What the parts of a registry count with: nothing without a recorder.
#[derive(Clone, Default)]
pub(crate) struct Telemetry(Option<Metrics>);

impl From<&Metrics> for Telemetry {
    fn from(metrics: &Metrics) -> Self {
        Telemetry(Some(metrics.clone()))
    }
}

impl Telemetry {
    fn inner(&self) -> Option<&Inner> {
        self.0.as_ref().map(|metrics| &*metrics.0)
    }

    /// The counts of a new arbiter. Sockets count for themselves even without a recorder.
    pub(crate) fn new_arbiter(&self, index: usize) -> Arc<ArbiterStats> {
        let Some(inner) = self.inner() else {
            return Arc::default();
        };
        let lag = inner
            .publisher
            .lock()
            .histogram(&list::LAG, &[Value::Arbiter(index)]);
        let stats = Arc::new(ArbiterStats::new(lag));
        inner.arbiters.lock().push((index, stats.clone()));
        stats
    }

    pub(crate) fn new_server(&self) -> ServerStats {
        ServerStats::new(self.inner().map(|inner| inner.counts.servers.clone()))
    }

    /// Adds gauges, until `source` returns `false`: what it reads is gone. It may take no lock.
    pub(crate) fn add_source(
        &self,
        source: impl Fn(&mut Readings) -> bool + Send + Sync + 'static,
    ) {
        if let Some(inner) = self.inner() {
            inner.sources.lock().add(Box::new(source));
        }
    }

    pub(crate) fn connect_ended(&self, outcome: Outcome) {
        if let Some(inner) = self.inner() {
            inner.counts.connects[outcome as usize].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn handshake_ended(&self, side: Side, outcome: Outcome, began: Instant) {
        if let Some(inner) = self.inner() {
            inner.counts.handshakes[side as usize][outcome as usize].fetch_add(1, Relaxed);
            let took = began.elapsed();
            inner.handshakes[side as usize].record(took.as_secs_f64());
        }
    }

    pub(crate) fn actor_failed(&self, actor: FailedActor, cause: FailureCause, restarts: bool) {
        if let Some(inner) = self.inner() {
            let counts = match restarts {
                true => &inner.counts.restarts,
                false => &inner.counts.given_up,
            };
            counts[actor as usize][cause as usize].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn begin_drain(&self) -> RunningDrain {
        if let Some(inner) = self.inner() {
            inner.counts.drains_running.fetch_add(1, Relaxed);
        }
        RunningDrain(self.clone())
    }

    /// Publishes at this interval, from this arbiter, until `has_ended` or another task does.
    pub(crate) fn publish_every(&self, interval: Duration, has_ended: impl Fn() -> bool + 'static) {
        let Some(metrics) = self.0.clone() else {
            return;
        };
        let number = metrics.0.publishing.fetch_add(1, AcqRel) + 1;
        actix_rt::spawn(async move {
            while metrics.0.publishing.load(Acquire) == number {
                sleep(interval).await;
                let is_last = has_ended();
                metrics.publish();
                if is_last {
                    return;
                }
            }
        });
    }
}

/// Counts a drain as running until it is dropped.
pub(crate) struct RunningDrain(Telemetry);

impl RunningDrain {
    /// The drain has ended, with this many connections.
    pub(crate) fn count_ended(&self, end: DrainEnd, connections: usize) {
        if let Some(inner) = self.0.inner() {
            let count = &inner.counts.drained[end as usize];
            count.fetch_add(connections as u64, Relaxed);
        }
    }
}

impl Drop for RunningDrain {
    fn drop(&mut self) {
        if let Some(inner) = self.0.inner() {
            inner.counts.drains_running.fetch_sub(1, Relaxed);
            inner.counts.drains.fetch_add(1, Relaxed);
        }
    }
}
