//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use super::{Kind, Peer, WORKLOADS, Workload};

pub const USAGE: &str = "\
cargo bench -p chrome-sockets-bench -- [OPTIONS]

  --only TEXT        only the workload with this key, or those with this text
                     in their name; may be repeated
  --peers NAME,…     only these servers (chrome-sockets, chrome-sockets-2,
                     chrome-sockets-batches, tokio, actix-server,
                     actix-actors, node, epoll); ratios are to tokio
  --rounds N         rounds of each server in each workload (15)
  --seconds S        how long a round measures (0.4)
  --quick            3 rounds of 0.1 s, to check that everything works
  --out FOLDER       folder for results.json and plots (target/bench-results)
  --json FILE        another place for the JSON file
  --page FOLDER      writes results and plots to FOLDER/benchmark/PROFILE/, the
                     generated part of FOLDER/benchmark.md, and that of the
                     README beside FOLDER. Of a whole run, also instructions,
                     if there is valgrind
  --from FILE        measures nothing: tables, plots and page of this JSON file
  --list             the workloads
  --instructions [PATH]
                     only instructions of the hot paths (or of those whose
                     names begin with PATH), by callgrind: of this crate
                     against bench/instructions.txt, and of tokio and epoll.
                     The budget is that of --profile release

Cargo's profiles: release, which is the default, and release-lto (--profile
release-lto --bench comparison), with fat LTO.
";

/// The parsed command line.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Runs only the workloads with one of these keys, or with one of these texts in their name;
    /// all, if empty.
    pub only: Vec<String>,
    pub peers: Vec<Peer>,
    /// Rounds of each server.
    pub rounds: usize,
    /// Duration of one round.
    pub seconds: Duration,
    pub out: PathBuf,
    pub json: Option<PathBuf>,
    pub page: Option<PathBuf>,
    pub from: Option<PathBuf>,
    pub list: bool,
    pub help: bool,
    /// Only counts instructions, of the hot paths whose names begin with this.
    pub instructions: Option<String>,
    /// The command line as written, for the report.
    pub command: String,
}

/// Time of a round besides its measurement: the warm-up of a tenth, and what is in flight at the
/// end.
const OVERHEAD: f64 = 0.02;
/// Time of a round of memory: processes, and many connections.
const MEMORY: f64 = 1.0;
/// Time to start a server and its load, including the first, shorter round.
const START: f64 = 0.2;

impl Options {
    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// A sentence about the invalid argument.
    pub fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Options {
            only: Vec::new(),
            peers: Peer::ALL.to_vec(),
            rounds: 15,
            seconds: Duration::from_millis(400),
            out: PathBuf::from("target/bench-results"),
            json: None,
            page: None,
            from: None,
            list: false,
            help: false,
            instructions: None,
            command: "cargo bench -p chrome-sockets-bench".to_owned(),
        };
        let written: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .filter(|argument| *argument != "--bench")
            .collect();
        if !written.is_empty() {
            options.command += " --";
        }
        for word in &written {
            options.command += &match word.contains(' ') {
                true => format!(" \"{word}\""),
                false => format!(" {word}"),
            };
        }
        let mut written = written.into_iter().peekable();
        while let Some(name) = written.next() {
            if name == "--instructions" {
                let prefix = written.next_if(|word| !word.starts_with("--"));
                options.instructions = Some(prefix.unwrap_or_default().to_owned());
                continue;
            }
            let mut value = || written.next().ok_or(format!("{name} needs a value"));
            match name {
                "--only" => options.only.push(value()?.to_owned()),
                "--peers" => options.peers = peers(value()?)?,
                "--rounds" => options.rounds = number(name, value()?)?.max(1),
                "--seconds" => options.seconds = seconds(value()?)?,
                "--quick" => {
                    options.rounds = 3;
                    options.seconds = Duration::from_millis(100);
                }
                "--out" => options.out = value()?.into(),
                "--json" => options.json = Some(value()?.into()),
                "--page" => options.page = Some(value()?.into()),
                "--from" => options.from = Some(value()?.into()),
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                _ => return Err(format!("unknown argument {name}\n\n{USAGE}")),
            }
        }
        Ok(options)
    }

    /// The requested workloads.
    pub fn workloads(&self) -> Vec<&'static Workload> {
        let asks = |part: &String, workload: &Workload| match WORKLOADS
            .iter()
            .any(|known| known.key == part)
        {
            true => workload.key == part,
            false => workload.name.contains(part),
        };
        let asked = |workload: &&Workload| {
            self.only.is_empty() || self.only.iter().any(|part| asks(part, workload))
        };
        WORKLOADS.iter().filter(asked).collect()
    }

    /// Rounds of each peer in a workload. Memory needs fewer, because it varies little.
    pub fn rounds_of(&self, workload: &Workload) -> usize {
        match workload.kind {
            Kind::Idle { .. } => self.rounds.min(3),
            Kind::Listeners { .. } => self.rounds.min(7),
            _ => self.rounds,
        }
    }

    /// The estimated duration.
    pub fn estimate(&self, peers: &[Peer]) -> Duration {
        let mut total = 0.0;
        for workload in self.workloads() {
            let takes_part = |peer: &&Peer| peer.left_out(workload.kind).is_none();
            let peers = peers.iter().filter(takes_part).count();
            let round = if workload.kind.is_memory() {
                MEMORY
            } else {
                self.seconds.as_secs_f64() * 1.1 + OVERHEAD
            };
            total += peers as f64 * (self.rounds_of(workload) as f64 * round + START);
        }
        Duration::from_secs_f64(total)
    }
}

fn list(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

fn peers(text: &str) -> Result<Vec<Peer>, String> {
    let named = |name: String| Peer::named(&name).ok_or(format!("unknown server {name}"));
    let peers: Vec<Peer> = list(text)
        .into_iter()
        .map(named)
        .collect::<Result<_, _>>()?;
    // In the order of the tables.
    let wanted = Peer::ALL.into_iter().filter(|peer| peers.contains(peer));
    Ok(wanted.collect())
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    let number = text.parse();
    number.map_err(|_| format!("{name}: {text:?} is not a number"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds =
        seconds.filter(|seconds| !seconds.is_zero() && *seconds <= Duration::from_secs(3600));
    seconds.ok_or(format!("--seconds: {text:?} is not a time above 0"))
}
