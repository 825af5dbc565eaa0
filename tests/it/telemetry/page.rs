//! `docs/metrics.md` lists exactly the metrics of the code.

use std::collections::BTreeSet;

use chrome_sockets::telemetry::{METRICS, Metric, Metrics};

use super::TestRecorder;

const PAGE: &str = include_str!("../../../docs/metrics.md");

fn row(metric: &Metric) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
    let Metric {
        name,
        kind,
        unit,
        help,
        ..
    } = metric;
    format!(
        "| `{name}` | {kind} | {} | {unit} | {help} |",
        labels.join(", ")
    )
}

#[test]
fn the_page_lists_every_metric_and_no_other() {
    let rows = PAGE
        .lines()
        .filter(|line| line.starts_with("| `chrome_sockets_"));
    let rows: Vec<_> = rows.map(str::to_owned).collect();
    let listed: Vec<_> = METRICS.iter().map(row).collect();
    assert_eq!(rows, listed, "{}", listed.join("\n"));
}

#[test]
fn a_recorder_is_given_every_description() {
    let recorder = TestRecorder::default();
    let _metrics = Metrics::new(recorder.clone());
    let state = recorder.state();
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} is listed twice", metric.name);
        let (kind, unit, help) = &state.described[metric.name];
        assert_eq!(*kind, metric.kind.to_string(), "{}", metric.name);
        let unit = unit.as_ref().map(metrics::Unit::as_str);
        assert_eq!(unit, Some(metric.unit), "{}", metric.name);
        assert_eq!(help, metric.help);
        assert!(help.ends_with('.'), "{help}");
        let is_counter = metric.kind.to_string() == "counter";
        assert_eq!(
            metric.name.ends_with("_total"),
            is_counter,
            "{}",
            metric.name
        );
    }
    assert_eq!(state.described.len(), METRICS.len());
}
