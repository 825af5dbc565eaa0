//! Copies counts to the handles of a recorder.

use std::collections::HashMap;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use crate::telemetry::list::{METRICS, Metric, MetricKind};

const METADATA: Metadata<'_> = Metadata::new("chrome_sockets", Level::INFO, Some(module_path!()));

/// The value of a label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Value<'a> {
    Text(&'static str),
    Arbiter(usize),
    /// The place of a server socket's name, and the name.
    Server(usize, &'a str),
}

/// Two labels at most; a label that a metric does not have is `None`.
type SeriesKey = (&'static str, [Option<(usize, &'static str)>; 2]);

/// The handles of a recorder for the series that were published.
pub(super) struct Publisher {
    recorder: Box<dyn Recorder + Send + Sync>,
    /// Of each series.
    labels: Vec<Label>,
    counters: HashMap<SeriesKey, CounterSeries>,
    gauges: HashMap<SeriesKey, GaugeSeries>,
}

struct CounterSeries {
    handle: Counter,
    /// What the recorder has been given.
    published: u64,
    now: u64,
}

struct GaugeSeries {
    handle: Gauge,
    now: usize,
}

impl Publisher {
    pub(super) fn new(recorder: Box<dyn Recorder + Send + Sync>, labels: Vec<Label>) -> Self {
        for metric in METRICS {
            let name = KeyName::from_const_str(metric.name);
            let unit = Unit::from_string(metric.unit);
            let help = metric.help.into();
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, unit, help),
                MetricKind::Gauge => recorder.describe_gauge(name, unit, help),
                MetricKind::Histogram => recorder.describe_histogram(name, unit, help),
            }
        }
        Publisher {
            recorder,
            labels,
            counters: HashMap::new(),
            gauges: HashMap::new(),
        }
    }

    /// Values that are recorded directly.
    pub(super) fn histogram(&self, metric: &'static Metric, values: &[Value<'_>]) -> Histogram {
        let key = key(&self.labels, metric, values);
        self.recorder.register_histogram(&key, &METADATA)
    }

    /// Begins a publication. Values of the same series are added up.
    pub(super) fn begin(&mut self) -> Series<'_> {
        self.counters.values_mut().for_each(|series| series.now = 0);
        self.gauges.values_mut().for_each(|series| series.now = 0);
        Series(self)
    }
}

/// The values of one publication.
pub(super) struct Series<'a>(&'a mut Publisher);

impl Series<'_> {
    pub(super) fn counter(&mut self, metric: &'static Metric, values: &[Value<'_>], now: u64) {
        debug_assert_eq!(metric.kind, MetricKind::Counter, "{}", metric.name);
        let Publisher {
            recorder,
            labels,
            counters,
            ..
        } = &mut *self.0;
        let series = counters
            .entry(series_key(metric, values))
            .or_insert_with(|| {
                let key = key(labels, metric, values);
                CounterSeries {
                    handle: recorder.register_counter(&key, &METADATA),
                    published: 0,
                    now: 0,
                }
            });
        series.now += now;
    }

    /// For combinations of labels of which most never occur.
    pub(super) fn counter_unless_zero(
        &mut self,
        metric: &'static Metric,
        values: &[Value<'_>],
        now: u64,
    ) {
        if now > 0 {
            self.counter(metric, values, now);
        }
    }

    pub(super) fn gauge(&mut self, metric: &'static Metric, values: &[Value<'_>], now: usize) {
        debug_assert_eq!(metric.kind, MetricKind::Gauge, "{}", metric.name);
        let Publisher {
            recorder,
            labels,
            gauges,
            ..
        } = &mut *self.0;
        let series = gauges.entry(series_key(metric, values)).or_insert_with(|| {
            let key = key(labels, metric, values);
            GaugeSeries {
                handle: recorder.register_gauge(&key, &METADATA),
                now: 0,
            }
        });
        series.now += now;
    }

    /// Gives the recorder what has changed.
    pub(super) fn finish(self) {
        for series in self.0.counters.values_mut() {
            // A difference, so that an exporter that is sent to sees every count once.
            series
                .handle
                .increment(series.now.saturating_sub(series.published));
            series.published = series.published.max(series.now);
        }
        for series in self.0.gauges.values() {
            // Exact: counts are far below 2^53.
            series.handle.set(series.now as f64);
        }
    }
}

fn series_key(metric: &'static Metric, values: &[Value<'_>]) -> SeriesKey {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let place = |at: usize| {
        values.get(at).map(|value| match *value {
            Value::Text(text) => (0, text),
            Value::Arbiter(index) | Value::Server(index, _) => (index, ""),
        })
    };
    (metric.name, [place(0), place(1)])
}

fn key(labels: &[Label], metric: &'static Metric, values: &[Value<'_>]) -> Key {
    let mut labels = labels.to_vec();
    for (name, value) in metric.labels.iter().zip(values) {
        labels.push(match *value {
            Value::Text(text) => Label::new(*name, text),
            Value::Arbiter(index) => Label::new(*name, index.to_string()),
            Value::Server(_, server) => Label::new(*name, server.to_owned()),
        });
    }
    Key::from_parts(metric.name, labels)
}
