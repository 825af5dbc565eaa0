//! What is measured, in which order.

use std::process::Command;

use indicatif::{ProgressBar, ProgressStyle};

use crate::plan::{Mode, Options, Peer, Workload};
use crate::process::{Cores, Load, Server, raise_descriptor_limit};
use crate::report::{PeerResults, Results, Version, WorkloadResults};
use crate::{Result, machine, memory};

/// Runs everything that was requested.
pub fn all(options: &Options) -> Result<Results> {
    let workloads = options.workloads();
    if workloads.is_empty() {
        return Err(format!("no workload matches {}", options.only.join(" or ")).into());
    }
    let room = raise_descriptor_limit()?;
    let cores = Cores::choose()?;
    let mut about = machine::about(options, cores.is_some());
    let mut peers = options.peers.clone();
    match version_of_node() {
        Some(version) => about.versions.push(Version {
            name: "node".to_owned(),
            version,
        }),
        None if peers.contains(&Peer::Node) => {
            peers.retain(|peer| *peer != Peer::Node);
            eprintln!("the program `node` is missing: left out");
            about
                .missing
                .push((Peer::Node, "there is no program `node`".to_owned()));
        }
        None => {}
    }
    match cores {
        Some(cores) => eprintln!("servers on core {}, load on {}", cores.server, cores.load),
        None => eprintln!("one core: servers and load share it, unpinned"),
    }
    let estimate = options.estimate(&peers).as_secs();
    eprintln!("about {} min {} s", estimate / 60, estimate % 60);

    let run = Run {
        options,
        peers,
        cores,
        bar: progress(estimate_rounds(options, &workloads)),
    };
    let mut found = Vec::new();
    for workload in workloads {
        let needed = workload.kind.descriptors();
        if needed > room {
            let why = format!("{}: {needed} descriptors are not available", workload.name);
            eprintln!("left out: {why}; raise `ulimit -n`");
            about.left_out.push(why);
            continue;
        }
        found.push(run.workload(workload)?);
    }
    run.bar.finish_and_clear();
    Ok(Results {
        about,
        workloads: found,
    })
}

fn version_of_node() -> Option<String> {
    let output = Command::new("node").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(version.trim().trim_start_matches('v').to_owned())
}

fn estimate_rounds(options: &Options, workloads: &[&Workload]) -> u64 {
    let rounds = workloads.iter().map(|workload| options.rounds_of(workload));
    rounds.sum::<usize>() as u64
}

/// Drawn only between rounds: nothing else may run during a measurement.
fn progress(rounds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {pos}/{len} {elapsed_precise} left {eta_precise} {msg}",
    );
    let bar = ProgressBar::new(rounds);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

struct Run<'a> {
    options: &'a Options,
    peers: Vec<Peer>,
    cores: Option<Cores>,
    bar: ProgressBar,
}

impl Run<'_> {
    fn workload(&self, workload: &Workload) -> Result<WorkloadResults> {
        self.bar.set_message(workload.name);
        if self.bar.is_hidden() {
            // Where no bar can be drawn, a line shows the progress.
            eprintln!("{}", workload.name);
        }
        let peers = self.peers.iter().copied();
        let peers: Vec<Peer> = peers
            .filter(|peer| peer.left_out(workload.kind).is_none())
            .collect();
        let peers = if workload.kind.is_memory() {
            self.memory(workload, &peers)
        } else {
            self.times(workload, &peers)
        };
        Ok(WorkloadResults {
            key: workload.key.to_owned(),
            peers: peers.map_err(|error| format!("{}: {error}", workload.name))?,
        })
    }

    fn times(&self, workload: &Workload, peers: &[Peer]) -> Result<Vec<PeerResults>> {
        let mut loads = Vec::new();
        let mut found: Vec<PeerResults> = peers.iter().map(|peer| nothing(*peer)).collect();
        for peer in peers {
            let said = |error| format!("{}: {error}", peer.name());
            let server = Server::start(*peer, Mode::of(workload.kind), self.cores)?;
            let mut load = Load::start(workload, &server, self.cores).map_err(said)?;
            // A shorter round first, for caches, compilers at run time and memory.
            load.round(self.options.seconds / 2).map_err(said)?;
            loads.push((server, load));
        }
        for round in 0..self.options.rounds_of(workload) {
            // The order changes with each round, so that a machine that becomes slower or faster
            // favours no server.
            for turn in 0..peers.len() {
                let place = (round + turn) % peers.len();
                let (_, load) = &mut loads[place];
                let sample = load
                    .round(self.options.seconds)
                    .map_err(|error| format!("{}: {error}", peers[place].name()))?;
                found[place].rounds.push(sample);
            }
            self.bar.inc(1);
        }
        Ok(found)
    }

    fn memory(&self, workload: &Workload, peers: &[Peer]) -> Result<Vec<PeerResults>> {
        let mut found: Vec<PeerResults> = peers.iter().map(|peer| nothing(*peer)).collect();
        for _ in 0..self.options.rounds_of(workload) {
            for results in &mut found {
                let sample = memory::measure(results.peer, workload.kind, self.cores)
                    .map_err(|error| format!("{}: {error}", results.peer.name()))?;
                results.memory.push(sample);
            }
            self.bar.inc(1);
        }
        Ok(found)
    }
}

fn nothing(peer: Peer) -> PeerResults {
    PeerResults {
        peer,
        rounds: Vec::new(),
        memory: Vec::new(),
    }
}
