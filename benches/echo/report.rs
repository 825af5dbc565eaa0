//! The table at the end.

use std::fmt::{self, Display, Formatter};

use crate::load::Sample;

/// All that was found; shown, it is the table.
#[derive(Default)]
pub struct Report {
    /// Whether servers and load had a core each.
    pub pinned: bool,
    pub timings: Vec<Timing>,
    pub memory: Vec<Memory>,
}

/// One workload.
pub struct Timing {
    pub name: &'static str,
    /// The most that the ratio should be.
    pub target: Option<f64>,
    pub pairs: Vec<Pair>,
}

/// Two neighbouring rounds.
pub struct Pair {
    pub tokio: Sample,
    pub ours: Sample,
}

/// Resident memory for a connection, in bytes.
pub struct Memory {
    pub name: &'static str,
    pub connections: usize,
    pub tokio: u64,
    pub ours: u64,
    /// The most that ours should be.
    pub target: u64,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cores = if self.pinned {
            "servers on one core, load on another"
        } else {
            "servers and load share the one core"
        };
        if !self.timings.is_empty() {
            writeln!(
                f,
                "\nCPU time of the server for an operation, medians ({cores}); \
                 ratio: median (min-max) of the pairs\n"
            )?;
            writeln!(
                f,
                "{:<32}{:>12}{:>16}  {:<18}{:>13}{:>16}  target",
                "echo", "tokio", "chrome-sockets", "ratio", "tokio", "chrome-sockets",
            )?;
            self.timings.iter().try_for_each(|row| row.fmt(f))?;
        }
        if !self.memory.is_empty() {
            writeln!(
                f,
                "\nResident memory of the server for an idle connection\n"
            )?;
            writeln!(
                f,
                "{:<32}{:>12}{:>16}  {:<18}{:>29}  target",
                "idle", "tokio", "chrome-sockets", "ratio", "connections"
            )?;
            self.memory.iter().try_for_each(|row| row.fmt(f))?;
        }
        Ok(())
    }
}

impl Display for Timing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of = |number: fn(&Pair) -> f64| Spread::of(self.pairs.iter().map(number));
        let ratio = of(|pair| pair.ours.cost / pair.tokio.cost);
        writeln!(
            f,
            "{:<32}{:>9.0} ns{:>13.0} ns  {:<18}{:>11.0}/s{:>14.0}/s  {}",
            self.name,
            of(|pair| pair.tokio.cost).median,
            of(|pair| pair.ours.cost).median,
            ratio.to_string(),
            of(|pair| pair.tokio.rate).median,
            of(|pair| pair.ours.rate).median,
            match self.target {
                Some(target) => verdict(ratio.median <= target, format!("{target:.2}")),
                None => "-".to_owned(),
            },
        )
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<32}{:>10} B{:>14} B  {:<18.2}{:>29}  {}",
            self.name,
            self.tokio,
            self.ours,
            self.ours as f64 / self.tokio as f64,
            self.connections,
            verdict(self.ours <= self.target, format!("{} B", self.target)),
        )
    }
}

fn verdict(met: bool, target: String) -> String {
    let word = if met { "met" } else { "MISSED" };
    format!("at most {target}: {word}")
}

/// Where numbers lie.
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let at = |i: usize| numbers.get(i).copied().unwrap_or(f64::NAN);
        let last = numbers.len().saturating_sub(1);
        Spread {
            min: at(0),
            // Of an even count, the mean of the two in the middle.
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            max: at(last),
        }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Spread { min, median, max } = self;
        write!(f, "{median:.2} ({min:.2}-{max:.2})")
    }
}
