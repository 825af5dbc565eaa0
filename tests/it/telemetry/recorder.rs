//! A recorder that a test can read.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

#[derive(Clone, Default)]
pub(super) struct TestRecorder(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    counters: BTreeMap<String, Arc<AtomicU64>>,
    gauges: BTreeMap<String, Arc<AtomicU64>>,
    histograms: BTreeMap<String, Arc<Recorded>>,
    /// Kind, unit and help by name.
    pub(super) described: BTreeMap<String, (&'static str, Option<Unit>, String)>,
}

#[derive(Default)]
struct Recorded(Mutex<Vec<f64>>);

impl HistogramFn for Recorded {
    fn record(&self, value: f64) {
        lock(&self.0).push(value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name and the labels, without the prefix of all names.
fn series(key: &Key) -> String {
    let name = key.name().trim_start_matches("chrome_sockets_");
    let labels = key.labels();
    let labels: Vec<_> = labels
        .map(|label| format!("{}={:?}", label.key(), label.value()))
        .collect();
    match labels.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(",")),
    }
}

impl TestRecorder {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    pub(super) fn value(&self, series: &str) -> f64 {
        let state = self.state();
        let counter = state.counters.get(series).map(|it| it.load(SeqCst) as f64);
        let gauge = state.gauges.get(series);
        let gauge = gauge.map(|it| f64::from_bits(it.load(SeqCst)));
        counter.or(gauge).unwrap_or(0.0)
    }

    /// What was recorded in a histogram.
    pub(super) fn recorded(&self, series: &str) -> Vec<f64> {
        let state = self.state();
        let recorded = state.histograms.get(series);
        recorded.map_or_else(Vec::new, |recorded| lock(&recorded.0).clone())
    }

    /// All series that were registered.
    pub(super) fn series(&self) -> Vec<String> {
        let state = self.state();
        let counters = state.counters.keys();
        let all = counters.chain(state.gauges.keys());
        all.chain(state.histograms.keys()).cloned().collect()
    }

    fn describe(&self, kind: &'static str, name: KeyName, unit: Option<Unit>, help: SharedString) {
        let described = (kind, unit, help.into_owned());
        let mut state = self.state();
        state.described.insert(name.as_str().to_owned(), described);
    }
}

impl Recorder for TestRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("counter", name, unit, help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("gauge", name, unit, help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("histogram", name, unit, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut state = self.state();
        Counter::from_arc(state.counters.entry(series(key)).or_default().clone())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut state = self.state();
        Gauge::from_arc(state.gauges.entry(series(key)).or_default().clone())
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut state = self.state();
        Histogram::from_arc(state.histograms.entry(series(key)).or_default().clone())
    }
}
