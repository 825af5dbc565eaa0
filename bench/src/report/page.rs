//! The generated part of the page of results.

use super::results::{About, Results};
use super::{plots, table};

const BEGIN: &str = "<!-- written by the benchmark: begin -->";
const END: &str = "<!-- written by the benchmark: end -->";

/// The page with a new generated part, which is appended if the page has none.
pub fn with_generated_part(old: &str, results: &Results) -> String {
    let (before, after) = match old.split_once(BEGIN) {
        Some((before, rest)) => (before, rest.split_once(END).map_or("", |(_, after)| after)),
        None => (old, ""),
    };
    format!("{before}{BEGIN}\n\n{}\n{END}{after}", generated(results))
}

fn generated(results: &Results) -> String {
    let mut text = about(&results.about);
    let ratios = table::ratios(results);
    text += &format!(
        "\n### CPU time of the server for an operation\n\n\
         Absolute for tokio, as ratios to tokio for the others: median and quartiles over the rounds.\n\n{ratios}\n"
    );
    for (name, title) in plots::NAMES {
        text += &format!("\n![{title}](benchmark/{name})\n");
    }
    text += &format!(
        "\n### All figures\n\n{}\nFigures of each round: [`benchmark/results.json`](benchmark/results.json).\n",
        table::of(results, table::Style::Markdown)
    );
    text
}

fn about(about: &About) -> String {
    let versions = about.versions.iter();
    let versions: Vec<String> = versions
        .map(|version| format!("{} {}", version.name, version.version))
        .collect();
    let pinned = match about.pinned {
        true => "servers on one core, load on another",
        false => "servers and load share one core",
    };
    let mut text = format!(
        "## The run of {}\n\n\
         - machine: {}, {} cores ({pinned}), Linux {}; load average before: {:.2}\n\
         - versions: {}\n\
         - command: `{}` ({} rounds of {} s)\n",
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
