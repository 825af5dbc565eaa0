//! The results of a run, as stored in the JSON file.

use serde::{Deserialize, Serialize};

use super::super::plan::{Peer, WORKLOADS, Workload};
use super::stats::Spread;

/// A run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Results {
    pub about: About,
    pub workloads: Vec<WorkloadResults>,
}

/// Machine, time and versions.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct About {
    /// Its start, in UTC.
    pub date: String,
    /// Cargo's profile.
    #[serde(default)]
    pub profile: String,
    /// The command line.
    pub command: String,
    pub rounds: usize,
    /// Duration of a round.
    pub round_seconds: f64,
    /// Whether the compiler optimised; without that, figures mean little.
    pub optimised: bool,
    pub processor: String,
    pub cores: usize,
    /// Whether servers and loads had a core each.
    pub pinned: bool,
    pub kernel: String,
    /// The load average before the run: the work of other processes on the machine.
    pub load_before: f64,
    pub versions: Vec<Version>,
    /// Servers that did not take part, and why.
    pub missing: Vec<(Peer, String)>,
    /// Workloads that were left out, and why.
    pub left_out: Vec<String>,
}

/// A program or a crate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Version {
    pub name: String,
    pub version: String,
}

/// One workload.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkloadResults {
    pub key: String,
    pub peers: Vec<PeerResults>,
}

/// One server in a workload. Rounds with the same index were neighbours.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PeerResults {
    pub peer: Peer,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Sample>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<Memory>,
}

/// A round. Times in ns.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub operations: u64,
    pub seconds: f64,
    /// CPU time of the server.
    pub cpu: u64,
    /// In ticks, outside the kernel.
    pub user_ticks: u64,
    /// In ticks, inside the kernel.
    pub system_ticks: u64,
    /// CPU time of the load.
    pub load_cpu: u64,
    /// Resident memory of the server at the end, in bytes.
    pub resident: u64,
    /// Quantiles of the duration of an operation, as the load measures it.
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub longest: u64,
}

impl Sample {
    /// CPU time of the server per operation, in ns.
    pub fn cost(&self) -> f64 {
        self.cpu as f64 / self.operations as f64
    }

    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }

    /// The fraction of the time in which the server ran. A server that is not nearly always busy
    /// waits for a load that is too slow, or shares its core with another process.
    pub fn busy(&self) -> f64 {
        self.cpu as f64 / (self.seconds * 1e9)
    }
}

/// Resident memory of a server, in bytes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Number of connections or sockets.
    pub count: usize,
    pub without: u64,
    pub with: u64,
    /// After an echo on each.
    pub used: Option<u64>,
}

impl Memory {
    /// Below 0 if it is lost in the noise between two processes.
    pub fn each(&self) -> f64 {
        (self.with as f64 - self.without as f64) / self.count as f64
    }

    pub fn each_used(&self) -> Option<f64> {
        Some((self.used? as f64 - self.without as f64) / self.count as f64)
    }
}

impl Results {
    /// # Errors
    /// Never, for finite numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        // One round per line, so that the file can be read and compared.
        let text = serde_json::to_string(self)?;
        Ok(text
            .replace("{\"operations\"", "\n{\"operations\"")
            .replace("{\"key\"", "\n{\"key\"")
            + "\n")
    }

    /// # Errors
    /// The text is no such file.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

impl WorkloadResults {
    /// `None` for a file of another version of this program.
    pub fn workload(&self) -> Option<&'static Workload> {
        WORKLOADS.iter().find(|workload| workload.key == self.key)
    }

    pub fn of(&self, peer: Peer) -> Option<&PeerResults> {
        self.peers.iter().find(|results| results.peer == peer)
    }

    /// Ratios of one peer to another, round by round; `None` if one of them did not take part.
    pub fn ratio(&self, peer: Peer, to: Peer, number: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let pairs = self.of(peer)?.rounds.iter().zip(&self.of(to)?.rounds);
        Spread::of(pairs.map(|(one, other)| number(one) / number(other)))
    }
}

impl PeerResults {
    /// Of all rounds.
    pub fn spread(&self, number: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(number))
    }

    /// Bytes of each.
    pub fn memory(&self) -> Option<Spread> {
        Spread::of(self.memory.iter().map(Memory::each))
    }

    /// The fraction of its CPU time that it spends in the kernel.
    pub fn kernel_fraction(&self) -> Option<f64> {
        let sum = |ticks: fn(&Sample) -> u64| self.rounds.iter().map(ticks).sum::<u64>() as f64;
        let system = sum(|round| round.system_ticks);
        let all = system + sum(|round| round.user_ticks);
        (all > 0.0).then(|| system / all)
    }
}
