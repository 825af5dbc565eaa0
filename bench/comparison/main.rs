//! Compares servers on this crate with other servers: CPU time per operation, throughput,
//! latency and memory.
//!
//! ```text
//! cargo bench -p chrome-sockets-bench                                        # everything
//! cargo bench -p chrome-sockets-bench -- --only echo-64-1000 --peers chrome-sockets,tokio
//! cargo bench -p chrome-sockets-bench -- --help
//! cargo bench -p chrome-sockets-bench -- --instructions          # hot paths, counted by callgrind
//! cargo bench -p chrome-sockets-bench -- --instructions udp      # those of this prefix
//! ```
//!
//! Times on a shared machine are noisy, so only servers of the same run are compared. All
//! servers run at the same time, each in a process pinned to the same core, each with its load in
//! a process pinned to another. In each round every server has its turn, and ratios are within a
//! round. Many short rounds are better than a few long ones, because disturbances come and go. CPU
//! time is compared, because throughput also depends on the load.
//!
//! The same program is each of the processes:
//!
//! ```text
//! PROGRAM server PEER CORE|none [MODE]      prints its port, serves until stdin ends
//! PROGRAM load WORKLOAD PORT PID CORE|none  a round for each line of stdin
//! ```
//!
//! Linux only: it reads `/proc`.

mod instructions;
mod load;
mod machine;
mod measure;
mod memory;
mod peers;
mod process;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use chrome_sockets_bench::{plan, report};
use plan::{Options, USAGE, WORKLOADS};
use report::page::Measured;
use report::{Instructions, Results, page, plots, table};

/// The benchmark could not run, or an answer was wrong.
type Failure = Box<dyn Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["server", peer, core] => peers::run(peer, core, "echo"),
        ["server", peer, core, mode] => peers::run(peer, core, mode),
        ["load", workload, port, server, core] => load::run(workload, port, server, core),
        // Cargo passes `--bench` for benchmarks, and not for tests.
        _ if !words.contains(&"--bench") || words.contains(&"--test") => {
            println!(
                "nothing is measured without --bench: run `cargo bench -p chrome-sockets-bench`"
            );
            Ok(())
        }
        _ => Options::read(&arguments)
            .map_err(Into::into)
            .and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if options.help {
        print!("{USAGE}");
        return Ok(());
    }
    if options.list {
        for workload in WORKLOADS {
            println!("{:<16}{}", workload.key, workload.name);
        }
        return Ok(());
    }
    // Cargo starts a benchmark in the folder of its package; paths are those of the workspace.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::current_dir()? == package {
        std::env::set_current_dir(package.join(".."))?;
    }
    if options.instructions.is_some() {
        let found = instructions::count(options)?;
        if let Some(folder) = &options.page {
            store_instructions(folder, &found)?;
            write_page(folder)?;
        }
        return instructions::check(&found);
    }
    let results = match &options.from {
        Some(file) => Results::from_json(&fs::read_to_string(file)?)?,
        None => measure::all(options)?,
    };
    println!("{}", table::of(&results, table::Style::Terminal));
    write(options, &results)
    // A missed target is no failure, because a noisy machine can cause it.
}

/// Stores results, plots and, if requested, the page.
fn write(options: &Options, results: &Results) -> Result<()> {
    let json = options.out.join("results.json");
    store(options.json.as_ref().unwrap_or(&json), &results.to_json()?)?;
    for (name, plot) in plots::all(results)? {
        store(&options.out.join(name), &plot)?;
    }
    if let Some(folder) = &options.page {
        let beside = folder_of(folder, &results.about.profile);
        store(&beside.join("results.json"), &results.to_json()?)?;
        for (name, plot) in plots::all(results)? {
            store(&beside.join(name), &plot)?;
        }
        if options.from.is_none() && options.only.is_empty() && has_valgrind() {
            store_instructions(folder, &instructions::count(options)?)?;
        }
        write_page(folder)?;
    }
    Ok(())
}

/// The folder of what was measured with this profile.
fn folder_of(docs: &Path, profile: &str) -> PathBuf {
    docs.join("benchmark").join(profile)
}

fn has_valgrind() -> bool {
    let mut valgrind = Command::new("valgrind");
    let version = valgrind.arg("--version").stdout(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

fn store_instructions(docs: &Path, found: &Instructions) -> Result<()> {
    let file = folder_of(docs, &found.profile).join("instructions.json");
    store(&file, &found.to_json()?)
}

/// Writes the page, and the medians in the README beside its folder, from what is stored.
fn write_page(docs: &Path) -> Result<()> {
    let measured = Measured::all(docs)?;
    let file = docs.join("benchmark.md");
    let old = fs::read_to_string(&file).unwrap_or_default();
    store(&file, &page::with_generated_part(&old, &measured))?;
    let file = docs.join("../README.md");
    let old = fs::read_to_string(&file).unwrap_or_default();
    if let Some(new) = page::readme_with_medians(&old, &measured) {
        store(&file, &new)?;
        eprintln!("now: UPDATE_README=1 cargo test --workspace --test it tidy");
    }
    Ok(())
}

fn store(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}
