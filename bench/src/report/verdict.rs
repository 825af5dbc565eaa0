//! Targets: met or missed.

use super::super::plan::{Bound, Measure, Peer, Target};
use super::results::WorkloadResults;

/// The outcome of a target.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// The target in words.
    pub text: String,
    /// `None` if it was not measured.
    pub met: Option<bool>,
}

impl Verdict {
    pub fn of(target: &Target, found: &WorkloadResults) -> Self {
        let us = target.of;
        let measure = match target.measure {
            Measure::Cpu if us == Peer::ChromeSockets2 => "two arbiters ",
            Measure::Cpu => "",
            Measure::P99 => "p99 ",
            Measure::Memory => "",
        };
        let (text, value, most) = match target.bound {
            Bound::Times(most, peer) => {
                let ratio = match target.measure {
                    Measure::Cpu => found.ratio(us, peer, |round| round.cost()),
                    Measure::P99 => found.ratio(us, peer, |round| round.p99 as f64),
                    Measure::Memory => None,
                };
                let value = ratio.map(|ratio| ratio.median);
                let shown = value.map_or("?".to_owned(), |value| format!("{value:.2}"));
                let text = format!("{measure}{shown} ≤ {most:.2} {}", peer.name());
                (text, value, most)
            }
            Bound::Bytes(most) => {
                let spread = found.of(us).and_then(|results| results.memory());
                let value = spread.map(|spread| spread.median);
                let shown = value.map_or("?".to_owned(), |value| format!("{value:.0}"));
                (format!("{shown} B ≤ {most:.0} B"), value, most)
            }
        };
        Verdict {
            text,
            met: value.map(|value| value <= most),
        }
    }

    pub fn word(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        }
    }
}
