//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use super::{Kind, Peer, WORKLOADS, Workload};

pub const USAGE: &str = "\
cargo bench -p chrome-sockets-bench -- [OPTIONS]

  --only TEXT        only the workload of that key, or those with the text in
                     their name; may be given several times
  --peers NAME,…     only these servers (chrome-sockets, chrome-sockets-2,
                     tokio, actix-server, actix-actors, node, epoll);
                     ratios are to tokio
  --rounds N         rounds of each server in each workload (15)
  --seconds S        how long a round measures (0.4)
  --quick            3 rounds of 0.1 s: whether it works, not what it shows
  --out FOLDER       where results.json and the plots go (target/bench-results)
  --json FILE        another place for the JSON file
  --page FOLDER      results and plots to FOLDER/benchmark/, and the generated
                     part of FOLDER/benchmark.md is written anew
  --from FILE        measures nothing: tables, plots and page of that JSON file
  --list             the workloads
  --instructions     this crate alone: the instructions of its hot paths, by
                     callgrind, against bench/instructions.txt; build it with
                     `cargo bench -p chrome-sockets-bench --profile release`
";

/// What the command line says.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Runs only the workloads of these keys, and those with one of these in
    /// their name; all, if there is none.
    pub only: Vec<String>,
    pub peers: Vec<Peer>,
    /// How many rounds each server has.
    pub rounds: usize,
    /// How long one round measures.
    pub seconds: Duration,
    pub out: PathBuf,
    pub json: Option<PathBuf>,
    pub page: Option<PathBuf>,
    pub from: Option<PathBuf>,
    pub list: bool,
    pub help: bool,
    /// As it was written, for the report.
    pub command: String,
}

/// What a round takes beside the time that it measures: its warm-up, a tenth,
/// and what is in flight at the end.
const BESIDE: f64 = 0.02;
/// What a round of memory takes: processes, and many connections.
const MEMORY: f64 = 1.0;
/// What starting a server and its load takes, and the round before the first.
const START: f64 = 0.2;

impl Options {
    /// Reads what stands behind the program's name.
    ///
    /// # Errors
    /// A sentence about what cannot be read.
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
        let mut written = written.into_iter();
        while let Some(name) = written.next() {
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

    /// The workloads that are asked for.
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

    /// How many rounds each peer has in a workload. What memory takes varies
    /// little.
    pub fn rounds_of(&self, workload: &Workload) -> usize {
        match workload.kind {
            Kind::Idle { .. } => self.rounds.min(3),
            Kind::Listeners { .. } => self.rounds.min(7),
            _ => self.rounds,
        }
    }

    /// How long it will take, about.
    pub fn estimate(&self, peers: &[Peer]) -> Duration {
        let mut total = 0.0;
        for workload in self.workloads() {
            let takes_part = |peer: &&Peer| peer.left_out(workload.kind).is_none();
            let peers = peers.iter().filter(takes_part).count();
            let round = if workload.kind.is_memory() {
                MEMORY
            } else {
                self.seconds.as_secs_f64() * 1.1 + BESIDE
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
    let named = |name: String| Peer::named(&name).ok_or(format!("no server is called {name}"));
    let peers: Vec<Peer> = list(text)
        .into_iter()
        .map(named)
        .collect::<Result<_, _>>()?;
    // In the one order that tables have.
    let wanted = Peer::ALL.into_iter().filter(|peer| peers.contains(peer));
    Ok(wanted.collect())
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    let number = text.parse();
    number.map_err(|_| format!("{name}: {text:?} is no number"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds =
        seconds.filter(|seconds| !seconds.is_zero() && *seconds <= Duration::from_secs(3600));
    seconds.ok_or(format!("--seconds: {text:?} is no time above 0"))
}
