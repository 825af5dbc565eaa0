//! Tests of the parts of the benchmark that do not measure. `.ci/run` checks that the benchmark
//! runs.

mod common;

use std::path::Path;
use std::time::Duration;

use chrome_sockets_bench::plan::{Mode, Options, Peer, WORKLOADS};
use chrome_sockets_bench::report::page::Measured;
use chrome_sockets_bench::report::{
    About, Memory, PeerResults, Results, Sample, WorkloadResults, page, plots, table,
};
use common::line;

fn options(words: &[&str]) -> Result<Options, String> {
    let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
    Options::read(&words)
}

fn keys(words: &[&str]) -> Vec<&'static str> {
    let options = options(words).expect("valid options");
    options.workloads().iter().map(|it| it.key).collect()
}

/// A round of 1000 operations in a second, with this CPU time for each.
fn round(cost: u64, p99: u64) -> Sample {
    Sample {
        operations: 1000,
        seconds: 1.0,
        cpu: cost * 1000,
        user_ticks: 1,
        system_ticks: 3,
        load_cpu: 0,
        resident: 3 << 20,
        p50: 1000,
        p99,
        p999: 3_000_000,
        longest: 4_000_000,
    }
}

fn times(peer: Peer, costs: &[u64], p99: u64) -> PeerResults {
    PeerResults {
        peer,
        rounds: costs.iter().map(|cost| round(*cost, p99)).collect(),
        memory: Vec::new(),
    }
}

fn memory(peer: Peer, each: u64) -> PeerResults {
    PeerResults {
        peer,
        rounds: Vec::new(),
        memory: vec![Memory {
            count: 1000,
            without: 5000,
            with: 5000 + 1000 * each,
            used: Some(5000 + 2000 * each),
        }],
    }
}

/// Half of tokio's CPU time in the middle round, but a worse p99; and 999 bytes per connection.
fn found() -> Results {
    let tokio = times(Peer::Tokio, &[4000, 8000, 4000, 4000, 4000], 2000);
    let ours = times(Peer::ChromeSockets, &[1000, 4000, 2800, 2400, 1200], 2200);
    Results {
        about: About {
            date: "2000-01-01T00:00:00Z".to_owned(),
            profile: "release".to_owned(),
            missing: vec![(Peer::Node, "not installed".to_owned())],
            ..About::default()
        },
        workloads: vec![
            WorkloadResults {
                key: "echo-64-64".to_owned(),
                peers: vec![ours, tokio],
            },
            WorkloadResults {
                key: "pause".to_owned(),
                peers: vec![times(Peer::ChromeSockets, &[5000], 5000)],
            },
            WorkloadResults {
                key: "idle".to_owned(),
                peers: vec![
                    memory(Peer::ChromeSockets, 999),
                    memory(Peer::Tokio, 16_780),
                ],
            },
        ],
    }
}

#[test]
fn ratios_are_within_rounds_and_have_a_spread() {
    let table = table::of(&found(), table::Style::Markdown);
    // The ratios are 0.25, 0.5, 0.7, 0.6 and 0.3; of the medians it would be 0.6.
    let ours = line(&table, &["echo 64 B × 64", "chrome-sockets"]);
    assert!(ours.contains(" 0.50 (0.30–0.60; 0.25–0.70) "), "{ours}");
    assert!(ours.contains(" 2.40 µs "), "the median of a round: {ours}");
    assert!(
        ours.contains(" 600 ns | 1.80 µs "),
        "user and kernel: {ours}"
    );
    let tokio = line(&table, &["| tokio ", "4.00 µs"]);
    assert!(tokio.contains(" 1,000 "), "operations a second: {tokio}");
    let glance = table::ratios(&found());
    let ours = line(&glance, &["echo 64 B × 64"]);
    assert!(ours.contains(" 4.00 µs / echo "), "tokio's own: {ours}");
    assert!(ours.contains(" 0.50 (0.30–0.60) "), "{ours}");
}

#[test]
fn targets_are_met_missed_or_not_measured() {
    let table = table::of(&found(), table::Style::Markdown);
    let ours = line(&table, &["echo 64 B × 64", "chrome-sockets"]);
    assert!(ours.contains("0.50 ≤ 0.96 tokio: met<br>"), "{ours}");
    assert!(ours.contains("? ≤ 0.65 node: not measured<br>"), "{ours}");
    assert!(ours.contains("p99 1.10 ≤ 1.05 tokio: MISSED"), "{ours}");
    let ours = line(&table, &["15,000 idle", "chrome-sockets"]);
    assert!(ours.contains("999 B ≤ 832 B: MISSED"), "{ours}");
    assert!(ours.contains(" 1998 "), "after an echo: {ours}");
}

#[test]
fn a_server_without_figures_has_a_reason() {
    let table = table::of(&found(), table::Style::Markdown);
    line(&table, &["| node ", "missing: not installed"]);
    line(&table, &["| tokio ", "left out: has no pause"]);
    // These were not requested.
    assert!(!table.contains("| epoll "), "{table}");
}

#[test]
fn written_results_parse_to_the_same() {
    let json = found().to_json().expect("numbers and texts");
    let read = Results::from_json(&json).expect("valid results");
    assert_eq!(read, found());
}

fn measured(profile: &str, results: Results) -> Measured {
    Measured {
        profile: profile.to_owned(),
        results: Some(results),
        instructions: None,
    }
}

#[test]
fn the_page_keeps_its_manual_parts() {
    let first = page::with_generated_part("# By hand\n", &[measured("release", found())]);
    assert!(first.starts_with("# By hand\n"), "{first}");
    assert!(first.contains("- run of 2000-01-01"), "{first}");
    assert!(
        first.contains("- node is missing: not installed"),
        "{first}"
    );
    assert!(first.contains("**built without optimisation"), "{first}");
    let mut later = found();
    later.about.date = "2001-01-01T00:00:00Z".to_owned();
    let second =
        page::with_generated_part(&format!("{first}\nAfter\n"), &[measured("release", later)]);
    assert!(second.starts_with("# By hand\n"), "{second}");
    assert!(second.ends_with("\nAfter\n"), "{second}");
    assert!(second.contains("- run of 2001-01-01"), "{second}");
    assert!(!second.contains("2000-01-01"), "{second}");
}

#[test]
fn the_page_counts_targets_and_names_those_that_the_lower_bound_misses() {
    let mut results = found();
    results.workloads[0]
        .peers
        .push(times(Peer::Epoll, &[4000, 7900, 3900, 4000, 4000], 1000));
    let page = page::with_generated_part("", &[measured("release", results)]);
    // CPU; p99 and memory; compared with Node, and two arbiters.
    line(&page, &["- targets: 1 met, 2 MISSED, 2 not measured"]);
    // Its ratios are 1, 0.99, 0.98, 1 and 1.
    line(
        &page,
        &[
            "epoll loop itself misses",
            "echo 64 B × 64: 1.00 ≤ 0.96 tokio",
        ],
    );
}

#[test]
fn the_page_shows_every_profile() {
    let both = [
        measured("release", found()),
        measured("release-lto", found()),
    ];
    let page = page::with_generated_part("", &both);
    let release = page.find("## Profile `release`\n");
    let lto = page.find("## Profile `release-lto`: fat LTO\n");
    assert!(release.is_some() && release < lto, "{page}");
    assert!(page.contains("(benchmark/release/ratios.svg)"), "{page}");
    assert!(
        page.contains("(benchmark/release-lto/ratios.svg)"),
        "{page}"
    );
    assert!(!page.contains("## Instructions"), "nothing was counted");
}

#[test]
fn the_readme_quotes_the_median_of_each_profile() {
    let place = "before\n<!-- written by the benchmark: begin -->\nold\n\
                 <!-- written by the benchmark: end -->\nafter\n";
    let both = [
        measured("release", found()),
        measured("release-lto", found()),
    ];
    let readme = page::readme_with_medians(place, &both).expect("it has a place");
    assert!(readme.starts_with("before\n<!--"), "{readme}");
    assert!(readme.ends_with("-->\nafter\n"), "{readme}");
    assert!(!readme.contains("old"), "{readme}");
    let header = line(&readme, &["workload"]);
    assert!(header.contains(" `release`: chrome-sockets |"), "{header}");
    assert!(
        header.contains(" `release-lto`: chrome-sockets |"),
        "{header}"
    );
    let row = line(&readme, &["echo 64 B × 64"]);
    assert_eq!(row.matches(" 0.50 |").count(), 2, "{row}");
    assert_eq!(
        page::readme_with_medians("no place", &both),
        None,
        "a README that quotes nothing stays as it is"
    );
}

#[test]
fn plots_show_every_server_of_every_workload() {
    let plots = plots::all(&found()).expect("they are drawn");
    let names: Vec<&str> = plots.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["ratios.svg", "latency.svg", "memory.svg"]);
    for ((name, svg), texts) in plots.iter().zip([
        ["echo 64 B × 64", "chrome-sockets", "0.50"],
        ["pause, resume", "tokio", "1.00 µs · 2.00 µs · 3.00 ms"],
        ["15,000 idle", "tokio", "16.4 KiB"],
    ]) {
        assert!(
            svg.starts_with("<svg") && svg.ends_with("</svg>\n"),
            "{name}"
        );
        for text in texts {
            assert!(svg.contains(text), "no {text} in {name}");
        }
    }
    let mut nothing = found();
    nothing.workloads.clear();
    assert!(plots::all(&nothing).expect("nothing is drawn").is_empty());
}

#[test]
fn the_command_line_is_parsed_or_an_error_names_the_argument() {
    let defaults = options(&["--bench"]).expect("valid options");
    assert_eq!(defaults.rounds, 15);
    assert_eq!(defaults.peers, Peer::ALL);
    assert_eq!(defaults.command, "cargo bench -p chrome-sockets-bench");
    let all = defaults.estimate(&Peer::ALL);
    assert!(all < Duration::from_secs(15 * 60), "{all:?} for everything");
    let page = options(&["--page", "docs", "--rounds", "9", "--seconds", "0.3"]);
    let page = page.expect("valid options").estimate(&Peer::ALL);
    assert!(page < Duration::from_secs(8 * 60), "{page:?} for a page");

    let some = options(&["--peers", "node,tokio", "--rounds", "0", "--seconds", "0.5"]);
    let some = some.expect("valid options");
    assert_eq!(some.peers, [Peer::Tokio, Peer::Node], "in the one order");
    assert_eq!(some.rounds, 1);
    assert_eq!(some.seconds, Duration::from_millis(500));
    assert_eq!(
        some.command,
        "cargo bench -p chrome-sockets-bench -- --peers node,tokio --rounds 0 --seconds 0.5"
    );

    assert_eq!(defaults.instructions, None);
    for (words, prefix) in [
        (&["--instructions"][..], ""),
        (&["--instructions", "udp"], "udp"),
        (&["--instructions", "--page", "docs"], ""),
    ] {
        let counts = options(words).expect("valid options");
        assert_eq!(counts.instructions.as_deref(), Some(prefix), "{words:?}");
    }

    for (words, said) in [
        (vec!["--rounds"], "--rounds needs a value"),
        (vec!["--rounds", "x"], "--rounds: \"x\" is not a number"),
        (
            vec!["--seconds", "-1"],
            "--seconds: \"-1\" is not a time above 0",
        ),
        (
            vec!["--seconds", "0"],
            "--seconds: \"0\" is not a time above 0",
        ),
        (
            vec!["--seconds", "inf"],
            "--seconds: \"inf\" is not a time above 0",
        ),
        (vec!["--peers", "iis"], "unknown server iis"),
        (vec!["--fast"], "unknown argument --fast"),
        (vec!["--instructions", "x", "y"], "unknown argument y"),
    ] {
        let error = options(&words).expect_err("invalid options");
        assert!(error.starts_with(said), "{words:?}: {error}");
    }
}

#[test]
fn a_workload_is_chosen_by_its_key_or_a_part_of_its_name() {
    assert_eq!(keys(&[]).len(), WORKLOADS.len());
    assert_eq!(keys(&["--only", "accept"]), ["accept"], "a key is no part");
    assert_eq!(keys(&["--only", "64 KiB"]), ["echo-64k-16"]);
    let two = keys(&["--only", "send", "--only", "10,000"]);
    assert_eq!(two, ["echo-64-10000", "send"]);
    assert!(keys(&["--only", "nothing"]).is_empty());
}

#[test]
fn modes_parse_from_their_names() {
    for peer in Peer::ALL {
        assert_eq!(Peer::named(peer.name()), Some(peer));
    }
    for workload in WORKLOADS {
        let mode = Mode::of(workload.kind);
        assert_eq!(Mode::named(&mode.name()), Some(mode), "{}", workload.key);
    }
    assert_eq!(Mode::named("echo:x"), None);
}

#[test]
fn the_page_in_docs_matches_its_results() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |name: &str| {
        let text = std::fs::read_to_string(docs.join(name));
        text.unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let all = Measured::all(&docs).expect("results of runs");
    assert!(!all.is_empty(), "no results in docs/benchmark");
    for measured in &all {
        let profile = &measured.profile;
        let again = format!(
            "write it again: cargo bench -p chrome-sockets-bench -- \
             --from docs/benchmark/{profile}/results.json --page docs"
        );
        let page = read("benchmark.md");
        assert!(page::with_generated_part(&page, &all) == page, "{again}");
        if let Some(results) = &measured.results {
            assert_eq!(results.about.profile, *profile, "in the wrong folder");
            for (name, plot) in plots::all(results).expect("they are drawn") {
                let name = format!("benchmark/{profile}/{name}");
                assert!(read(&name) == plot, "{name}: {again}");
            }
        }
        if let Some(instructions) = &measured.instructions {
            assert_eq!(instructions.profile, *profile, "in the wrong folder");
        }
    }
    let readme = read("../README.md");
    let quoted = page::readme_with_medians(&readme, &all).expect("a place for the medians");
    assert!(
        quoted == readme,
        "the README quotes other figures: write it again with --from FILE --page docs"
    );
}
