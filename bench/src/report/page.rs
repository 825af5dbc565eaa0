//! The generated parts of the page of results, and of the README.

use std::fs;
use std::io;
use std::path::Path;

use super::super::plan::{Measure, Peer, Target, WORKLOADS};
use super::instructions::Instructions;
use super::results::{About, Results};
use super::table::Style;
use super::verdict::Verdict;
use super::{plots, table};

const BEGIN: &str = "<!-- written by the benchmark: begin -->";
const END: &str = "<!-- written by the benchmark: end -->";

/// The workloads that the README quotes.
const QUOTED: [&str; 8] = [
    "echo-64-1",
    "echo-64-64",
    "echo-64-1000",
    "echo-64-10000",
    "echo-64k-16",
    "udp",
    "churn",
    "accept",
];

/// What was measured last with one of Cargo's profiles.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Measured {
    pub profile: String,
    pub results: Option<Results>,
    pub instructions: Option<Instructions>,
}

impl Measured {
    /// What is stored in `benchmark/PROFILE/` of this folder, in the order of the profiles' names.
    ///
    /// # Errors
    /// A file cannot be read, or is none of this program.
    pub fn all(docs: &Path) -> io::Result<Vec<Self>> {
        let mut measured = Vec::new();
        for entry in fs::read_dir(docs.join("benchmark"))? {
            let entry = entry?;
            let folder = entry.path();
            if !folder.is_dir() {
                continue;
            }
            let read = |name| match fs::read_to_string(folder.join(name)) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
            let results = read("results.json")?.map(|text| Results::from_json(&text));
            let counts = read("instructions.json")?.map(|text| Instructions::from_json(&text));
            measured.push(Measured {
                profile: entry.file_name().to_string_lossy().into_owned(),
                results: results.transpose()?,
                instructions: counts.transpose()?,
            });
        }
        measured.sort_by(|one, other| one.profile.cmp(&other.profile));
        Ok(measured)
    }
}

/// The page with a new generated part, which is appended if the page has none.
pub fn with_generated_part(old: &str, measured: &[Measured]) -> String {
    let mut text = String::new();
    for one in measured {
        if let Some(results) = &one.results {
            text += &run(&one.profile, results);
        }
    }
    let counted = measured.iter().filter_map(|one| one.instructions.as_ref());
    let counted: Vec<&Instructions> = counted.collect();
    if !counted.is_empty() {
        text += &instructions(&counted);
    }
    let (before, after) = split(old).unwrap_or((old, ""));
    format!("{before}{BEGIN}\n\n{text}\n{END}{after}")
}

/// The README with the medians of these results; `None` if it has no place for them.
pub fn readme_with_medians(old: &str, measured: &[Measured]) -> Option<String> {
    let (before, after) = split(old)?;
    Some(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        medians(measured)
    ))
}

/// What stands before and after the generated part.
fn split(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    Some((before, rest.split_once(END).map_or("", |(_, after)| after)))
}

/// A line for each workload, and a column for each server of each profile.
fn medians(measured: &[Measured]) -> String {
    let shown = [Peer::ChromeSockets, Peer::ChromeSocketsBatches, Peer::Epoll];
    let mut header = vec!["workload".to_owned()];
    let mut columns = Vec::new();
    for one in measured {
        let Some(results) = &one.results else {
            continue;
        };
        let took_part = |peer: &Peer| results.workloads.iter().any(|it| it.of(*peer).is_some());
        for peer in shown.into_iter().filter(took_part) {
            header.push(format!("`{}`: {}", one.profile, peer.name()));
            columns.push((results, peer));
        }
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = Style::Markdown.table(&header, &[0]);
    for workload in WORKLOADS {
        if !QUOTED.contains(&workload.key) {
            continue;
        }
        let mut row = vec![workload.name.to_owned()];
        row.extend(columns.iter().map(|(results, peer)| {
            let mut all = results.workloads.iter();
            let found = all.find(|found| found.key == workload.key);
            let ratio =
                found.and_then(|found| found.ratio(*peer, Peer::Tokio, |round| round.cost()));
            ratio.map_or("-".to_owned(), |ratio| format!("{:.2}", ratio.median))
        }));
        table.add_row(row);
    }
    table.to_string()
}

/// Cargo's name of a profile, and what it means.
fn profile_words(profile: &str) -> String {
    match profile {
        "release" => "`release`".to_owned(),
        "release-lto" => "`release-lto`: fat LTO".to_owned(),
        other => format!("`{other}`"),
    }
}

fn run(profile: &str, results: &Results) -> String {
    let mut text = about(profile, &results.about);
    text += &targets(results);
    let ratios = table::ratios(results);
    text += &format!(
        "\n### CPU time of the server for an operation (`{profile}`)\n\n\
         Absolute for tokio, as ratios to tokio for the others: median and quartiles over the rounds.\n\n{ratios}\n"
    );
    for (name, title) in plots::NAMES {
        text += &format!("\n![{title}](benchmark/{profile}/{name})\n");
    }
    let json = format!("benchmark/{profile}/results.json");
    text += &format!(
        "\n### All figures (`{profile}`)\n\n{}\nFigures of each round: [`{json}`]({json}).\n\n",
        table::of(results, Style::Markdown)
    );
    text
}

/// How many targets are met, and which ones even the epoll loop misses.
fn targets(results: &Results) -> String {
    let (mut met, mut missed, mut not_measured) = (0, 0, 0);
    let mut floor = Vec::new();
    for found in &results.workloads {
        let Some(workload) = found.workload() else {
            continue;
        };
        for target in workload.targets {
            match Verdict::of(target, found).met {
                Some(true) => met += 1,
                Some(false) => missed += 1,
                None => not_measured += 1,
            }
            let by_epoll = Target {
                of: Peer::Epoll,
                ..*target
            };
            let by_epoll = Verdict::of(&by_epoll, found);
            if target.of == Peer::ChromeSockets
                && target.measure == Measure::Cpu
                && by_epoll.met == Some(false)
            {
                floor.push(format!("{}: {}", workload.name, by_epoll.text));
            }
        }
    }
    let mut text = format!("- targets: {met} met, {missed} MISSED, {not_measured} not measured\n");
    if !floor.is_empty() {
        text += &format!(
            "- CPU targets that the epoll loop itself misses in this run: {}\n",
            floor.join("; ")
        );
    }
    text
}

fn about(profile: &str, about: &About) -> String {
    let versions = about.versions.iter();
    let versions: Vec<String> = versions
        .map(|version| format!("{} {}", version.name, version.version))
        .collect();
    let pinned = match about.pinned {
        true => "servers on one core, load on another",
        false => "servers and load share one core",
    };
    let mut text = format!(
        "## Profile {}\n\n\
         - run of {}; all servers are of this profile, because they are one program\n\
         - machine: {}, {} cores ({pinned}), Linux {}; load average before: {:.2}\n\
         - versions: {}\n\
         - command: `{}` ({} rounds of {} s)\n",
        profile_words(profile),
        about.date,
        about.processor,
        about.cores,
        about.kernel,
        about.load_before,
        versions.join(", "),
        about.command,
        about.rounds,
        about.round_seconds,
    );
    if !about.optimised {
        text += "- **built without optimisation: these figures show nothing but that it runs**\n";
    }
    for why in &about.left_out {
        text += &format!("- left out: {why}\n");
    }
    for (peer, why) in &about.missing {
        text += &format!("- {} is missing: {why}\n", peer.name());
    }
    text
}

fn instructions(counted: &[&Instructions]) -> String {
    let mut text = "## Instructions\n\n\
         Of the server outside the kernel for one operation, by callgrind. `left out`: tokio's task zeroes its buffer of 16 KiB; ratios are to the rest.\n"
        .to_owned();
    for counts in counted {
        text += &format!(
            "\n### Profile {}\n\nCounted {} with rustc {}.\n\n{}\n",
            profile_words(&counts.profile),
            counts.date,
            counts.compiler,
            counts.table(Style::Markdown, None)
        );
        for (path, why) in &counts.left_out {
            text += &format!("\n{path} is left out: {why}.\n");
        }
    }
    text
}
