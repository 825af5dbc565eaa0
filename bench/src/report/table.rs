//! The tables.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::super::plan::{Peer, Target, Workload};
use super::results::{PeerResults, Results, WorkloadResults};
use super::stats::Spread;
use super::verdict::Verdict;

/// Where the table is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Terminal,
    Markdown,
}

impl Style {
    /// The columns with text are aligned left.
    pub fn table(self, header: &[&str], words: &[usize]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(header.iter().map(Cell::new));
        for (number, column) in table.column_iter_mut().enumerate() {
            if !words.contains(&number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn lines(self, lines: &[String]) -> String {
        lines.join(match self {
            Style::Terminal => "\n",
            Style::Markdown => "<br>",
        })
    }
}

/// All tables: times, then memory.
pub fn of(results: &Results, style: Style) -> String {
    let mut parts = Vec::new();
    for (is_memory, title) in [
        (
            false,
            "Times: medians of rounds; ratios: median (quartiles; least and greatest)",
        ),
        (true, "Memory: medians (least and greatest)"),
    ] {
        let some = results.workloads.iter().filter_map(|found| {
            let workload = found.workload()?;
            (workload.kind.is_memory() == is_memory).then_some((workload, found))
        });
        let some: Vec<_> = some.collect();
        if !some.is_empty() {
            let table = match is_memory {
                false => times(results, &some, style),
                true => memory(&some, style),
            };
            parts.push(format!("{title}\n\n{table}\n"));
        }
    }
    parts.join("\n")
}

fn times(results: &Results, some: &[(&Workload, &WorkloadResults)], style: Style) -> Table {
    let header = [
        "workload",
        "server",
        "CPU/op",
        "user",
        "kernel",
        "CPU, in tokio's",
        "op/s",
        "p50",
        "p99",
        "p99.9",
        "resident",
        "busy",
        "target",
    ];
    let mut table = style.table(&header, &[0, 1, 12]);
    for (workload, found) in some {
        let mut name = workload.name;
        for peer in Peer::ALL {
            let Some(of_peer) = found.of(peer) else {
                if let Some(why) = missing_reason(results, workload, peer) {
                    let mut row = vec![String::new(); header.len()];
                    row[0] = std::mem::take(&mut name).to_owned();
                    row[1] = peer.name().to_owned();
                    row[12] = why;
                    table.add_row(row);
                }
                continue;
            };
            let mut row = vec![std::mem::take(&mut name).to_owned(), peer.name().to_owned()];
            row.extend(numbers(found, of_peer));
            row.push(targets(workload, found, Some(peer), style));
            table.add_row(row);
        }
    }
    table
}

/// Why a server has no figures; `None` if it was not requested.
fn missing_reason(results: &Results, workload: &Workload, peer: Peer) -> Option<String> {
    let missing = results
        .about
        .missing
        .iter()
        .find(|(missing, _)| *missing == peer);
    let asked = results
        .workloads
        .iter()
        .any(|found| found.of(peer).is_some());
    match (missing, peer.left_out(workload.kind)) {
        (Some((_, why)), _) => Some(format!("missing: {why}")),
        (None, Some(why)) if asked => Some(format!("left out: {why}")),
        _ => None,
    }
}

fn numbers(found: &WorkloadResults, of_peer: &PeerResults) -> [String; 10] {
    let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
    let shown = |number: Option<f64>, show: fn(f64) -> String| number.map_or("?".to_owned(), show);
    let cost = median(of_peer.spread(|round| round.cost()));
    let system = of_peer.kernel_fraction();
    let part = |part: Option<f64>| cost.zip(part).map(|(cost, part)| cost * part);
    let ratio = match of_peer.peer {
        Peer::Tokio => None,
        peer => found.ratio(peer, Peer::Tokio, |round| round.cost()),
    };
    [
        shown(cost, duration),
        shown(part(system.map(|system| 1.0 - system)), duration),
        shown(part(system), duration),
        ratio.map_or("-".to_owned(), |ratio| {
            let Spread {
                least,
                lower,
                median,
                upper,
                greatest,
            } = ratio;
            format!("{median:.2} ({lower:.2}–{upper:.2}; {least:.2}–{greatest:.2})")
        }),
        shown(median(of_peer.spread(|round| round.rate())), count),
        shown(median(of_peer.spread(|round| round.p50 as f64)), duration),
        shown(median(of_peer.spread(|round| round.p99 as f64)), duration),
        shown(median(of_peer.spread(|round| round.p999 as f64)), duration),
        shown(median(of_peer.spread(|round| round.resident as f64)), bytes),
        shown(median(of_peer.spread(|round| round.busy())), |busy| {
            format!("{:.0} %", busy * 100.0)
        }),
    ]
}

/// The verdicts of one server, or of all.
fn targets(
    workload: &Workload,
    found: &WorkloadResults,
    peer: Option<Peer>,
    style: Style,
) -> String {
    let those = |target: &&Target| peer.is_none_or(|peer| target.of == peer);
    let verdicts = workload.targets.iter().filter(those).map(|target| {
        let verdict = Verdict::of(target, found);
        format!("{}: {}", verdict.text, verdict.word())
    });
    style.lines(&verdicts.collect::<Vec<_>>())
}

fn memory(some: &[(&Workload, &WorkloadResults)], style: Style) -> Table {
    let header = [
        "workload",
        "server",
        "bytes each",
        "after an echo",
        "of",
        "target",
    ];
    let mut table = style.table(&header, &[0, 1, 5]);
    for (workload, found) in some {
        let mut name = workload.name;
        for of_peer in &found.peers {
            let Some(Spread {
                least,
                median,
                greatest,
                ..
            }) = of_peer.memory()
            else {
                continue;
            };
            let used = Spread::of(
                of_peer
                    .memory
                    .iter()
                    .filter_map(|memory| memory.each_used()),
            );
            let number = of_peer.memory.first().map_or(0, |memory| memory.count);
            table.add_row([
                std::mem::take(&mut name).to_owned(),
                of_peer.peer.name().to_owned(),
                format!("{median:.0} ({least:.0}–{greatest:.0})"),
                used.map_or("-".to_owned(), |used| format!("{:.0}", used.median)),
                count(number as f64),
                targets(workload, found, Some(of_peer.peer), style),
            ]);
        }
    }
    table
}

/// All ratios to tokio at a glance, with tokio's own cost.
pub fn ratios(results: &Results) -> String {
    let took_part = |peer: &Peer| {
        results
            .workloads
            .iter()
            .any(|found| found.of(*peer).is_some())
    };
    let others = Peer::ALL.into_iter().filter(|peer| *peer != Peer::Tokio);
    let others: Vec<Peer> = others.filter(took_part).collect();
    let mut header = vec!["workload", "tokio"];
    header.extend(others.iter().map(|peer| peer.name()));
    header.push("targets");
    let mut table = Style::Markdown.table(&header, &[0, header.len() - 1]);
    for found in &results.workloads {
        let Some(workload) = found
            .workload()
            .filter(|workload| !workload.kind.is_memory())
        else {
            continue;
        };
        let of_tokio = found.of(Peer::Tokio);
        let cost = of_tokio.and_then(|tokio| tokio.spread(|round| round.cost()));
        let mut row = vec![
            workload.name.to_owned(),
            cost.map_or("-".to_owned(), |cost| {
                format!("{} / {}", duration(cost.median), workload.kind.unit())
            }),
        ];
        for peer in &others {
            let ratio = found.ratio(*peer, Peer::Tokio, |round| round.cost());
            row.push(ratio.map_or("-".to_owned(), |ratio| {
                format!(
                    "{:.2} ({:.2}–{:.2})",
                    ratio.median, ratio.lower, ratio.upper
                )
            }));
        }
        row.push(targets(workload, found, None, Style::Markdown));
        table.add_row(row);
    }
    table.to_string()
}

/// A duration in ns.
pub fn duration(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{} µs", three_digits(ns / 1e3)),
        ..1e9 => format!("{} ms", three_digits(ns / 1e6)),
        _ => format!("{} s", three_digits(ns / 1e9)),
    }
}

pub fn bytes(number: f64) -> String {
    const KIB: f64 = 1024.0;
    match number {
        ..1024.0 => format!("{number:.0} B"),
        ..1_048_576.0 => format!("{} KiB", three_digits(number / KIB)),
        _ => format!("{} MiB", three_digits(number / KIB / KIB)),
    }
}

/// Three digits: such a measurement has no more precision.
fn three_digits(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

pub fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
