//! The counts of instructions: as stored in a JSON file, and as a table.

use comfy_table::Table;
use serde::{Deserialize, Serialize};

use super::super::plan::{HOT_PATHS, HotPath, Peer};
use super::budget::{Budget, Comparison};
use super::table::{Style, count};

/// The counts of one operation, outside the kernel.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub instructions: f64,
    /// Those of `instructions` that lock the bus, in the program.
    pub locked: f64,
    /// Those in libraries of the system: allocator and system calls of glibc.
    pub locked_in_libraries: f64,
    /// Calls of functions that allocate.
    pub allocations: f64,
    /// Those of `instructions` that zero memory.
    pub zeroing: f64,
}

impl Counts {
    /// All instructions but those that zero buffers: Rust's allocator zeroes at least one for
    /// each connection of a server that reads into a `Vec` of its own, which says nothing about
    /// its way to serve.
    pub fn without_zeroing(&self) -> f64 {
        self.instructions - self.zeroing
    }
}

/// The counts of one hot path.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PathCounts {
    /// The name of the path.
    pub name: String,
    pub servers: Vec<(Peer, Counts)>,
}

/// A run of `--instructions`. All servers are of one profile, because they are one program.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Instructions {
    /// Its start, in UTC.
    pub date: String,
    /// Cargo's profile.
    pub profile: String,
    /// Of rustc.
    pub compiler: String,
    pub paths: Vec<PathCounts>,
    /// Paths that were not counted, and why.
    pub left_out: Vec<(String, String)>,
}

impl PathCounts {
    /// `None` for a file of another version of this program.
    pub fn path(&self) -> Option<&'static HotPath> {
        HOT_PATHS.iter().find(|path| path.name == self.name)
    }

    pub fn of(&self, peer: Peer) -> Option<&Counts> {
        let mut servers = self.servers.iter();
        servers
            .find(|(server, _)| *server == peer)
            .map(|(_, counts)| counts)
    }

    /// The instructions of this crate, as a ratio to tokio's without its zeroing. This crate's
    /// own zeroing counts.
    pub fn to_tokio(&self) -> Option<f64> {
        let ours = self.of(Peer::ChromeSockets)?.instructions;
        Some(ours / self.of(Peer::Tokio)?.without_zeroing())
    }
}

impl Instructions {
    /// # Errors
    /// Never, for finite numbers.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let text = serde_json::to_string(self)?;
        Ok(text.replace("{\"name\"", "\n{\"name\"") + "\n")
    }

    /// # Errors
    /// The text is no such file.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// Every path with its counts; with a budget, also what that allows.
    pub fn table(&self, style: Style, budget: Option<&Budget>) -> Table {
        let mut header = vec!["path", "an operation", "chrome-sockets"];
        if budget.is_some() {
            header.push("budget");
        }
        header.extend(["tokio", "epoll", "to tokio", "target"]);
        let mut table = style.table(&header, &[0, 1, header.len() - 1]);
        for path in &self.paths {
            let mut name = path.name.as_str();
            for measure in Measure::ALL {
                let mut row = vec![std::mem::take(&mut name).to_owned(), measure.name()];
                let shown = |peer| path.of(peer).map_or("-".to_owned(), |it| measure.show(it));
                row.push(shown(Peer::ChromeSockets));
                if let Some(budget) = budget {
                    row.push(allowed(budget, path, measure));
                }
                row.push(match (measure, path.of(Peer::Tokio)) {
                    (Measure::Instructions, Some(tokio)) if tokio.zeroing >= 1.0 => format!(
                        "{} (left out: {} of zeroing)",
                        count(tokio.without_zeroing()),
                        count(tokio.zeroing)
                    ),
                    _ => shown(Peer::Tokio),
                });
                row.push(shown(Peer::Epoll));
                row.push(ratio(path, measure));
                row.push(target(path, measure));
                table.add_row(row);
            }
        }
        table
    }

    /// What is above the budget, as `path: what`.
    pub fn above(&self, budget: &Budget) -> Vec<String> {
        let mut above = Vec::new();
        for path in &self.paths {
            for measure in Measure::ALL {
                if compared(budget, path, measure) == Some(Comparison::Above) {
                    above.push(format!("{}: {}", path.name, measure.name()));
                }
            }
        }
        above
    }

    /// The lines of a budget of these counts, for the paths whose counts are below this one, or
    /// that have none.
    pub fn better_lines(&self, budget: &Budget) -> Vec<String> {
        let differs = |path: &&PathCounts| {
            Measure::ALL.into_iter().any(|measure| {
                let compared = compared(budget, path, measure);
                compared.is_none_or(|compared| compared == Comparison::Below)
            })
        };
        let lines = self.paths.iter().filter(differs).filter_map(|path| {
            let ours = path.of(Peer::ChromeSockets)?;
            let compared = [Peer::Tokio, Peer::Epoll].into_iter().filter_map(|peer| {
                let counts = path.of(peer)?;
                Some(format!("{} {:.0}", peer.name(), counts.without_zeroing()))
            });
            Some(format!(
                "{:<18}{:>13.0}{:>8.1}{:>10.1}{:>13.1}   # {}",
                path.name,
                ours.instructions,
                ours.locked,
                ours.locked_in_libraries,
                ours.allocations,
                compared.collect::<Vec<_>>().join(", ")
            ))
        });
        lines.collect()
    }
}

/// What is counted of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    Instructions,
    Locked,
    LockedInLibraries,
    Allocations,
}

impl Measure {
    /// In the order of the columns of a budget.
    pub const ALL: [Measure; 4] = [
        Measure::Instructions,
        Measure::Locked,
        Measure::LockedInLibraries,
        Measure::Allocations,
    ];

    fn name(self) -> String {
        let name = match self {
            Measure::Instructions => "instructions",
            Measure::Locked => "locked instructions",
            Measure::LockedInLibraries => "… in libraries",
            Measure::Allocations => "allocations",
        };
        name.to_owned()
    }

    fn of(self, counts: &Counts) -> f64 {
        match self {
            Measure::Instructions => counts.instructions,
            Measure::Locked => counts.locked,
            Measure::LockedInLibraries => counts.locked_in_libraries,
            Measure::Allocations => counts.allocations,
        }
    }

    fn show(self, counts: &Counts) -> String {
        self.number(self.of(counts))
    }

    fn number(self, number: f64) -> String {
        match self {
            Measure::Instructions => count(number),
            _ => format!("{number:.1}"),
        }
    }
}

fn compared(budget: &Budget, path: &PathCounts, measure: Measure) -> Option<Comparison> {
    let ours = measure.of(path.of(Peer::ChromeSockets)?);
    Some(Comparison::of(ours, measure.of(budget.of(&path.name)?)))
}

fn allowed(budget: &Budget, path: &PathCounts, measure: Measure) -> String {
    let (Some(allowed), Some(ours)) = (budget.of(&path.name), path.of(Peer::ChromeSockets)) else {
        return "none".to_owned();
    };
    let (allowed, ours) = (measure.of(allowed), measure.of(ours));
    let change = match allowed {
        0.0 => String::new(),
        _ => format!(" ({:+.1} %)", (ours / allowed - 1.0) * 100.0),
    };
    format!("{}{change}", measure.number(allowed))
}

fn ratio(path: &PathCounts, measure: Measure) -> String {
    let ratio = match measure {
        Measure::Instructions => path.to_tokio(),
        _ => None,
    };
    ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"))
}

fn target(path: &PathCounts, measure: Measure) -> String {
    let Some(targets) = path.path().map(|path| path.targets) else {
        return String::new();
    };
    let ours = path.of(Peer::ChromeSockets);
    let (value, most, text) = match measure {
        Measure::Instructions => match targets.to_tokio {
            Some(most) => (path.to_tokio(), most, format!("≤ {most:.2} tokio")),
            None => return String::new(),
        },
        Measure::Locked => match targets.locked {
            Some(most) => (ours.map(|ours| ours.locked), most, format!("≤ {most:.0}")),
            None => return String::new(),
        },
        Measure::LockedInLibraries | Measure::Allocations => return String::new(),
    };
    let word = match value.map(|value| value <= most) {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "not measured",
    };
    format!("{text}: {word}")
}
