//! The budget of the hot paths (`bench/instructions.txt`).

use super::instructions::Counts;

/// Tolerance of each count, as a part of it.
pub const TOLERANCE: f64 = 0.03;
/// Tolerance of a small count: a few of the operations are dearer, such as one that grows a
/// buffer.
const SMALL: f64 = 0.1;

/// The most that each path may cost, in one profile.
#[derive(Clone, PartialEq, Debug)]
pub struct Budget {
    /// Cargo's profile: counts of another one say nothing about it.
    pub profile: String,
    paths: Vec<(String, Counts)>,
}

impl Budget {
    /// Reads `profile NAME`, and lines of a path's name, its instructions, its locked
    /// instructions, those in libraries, and its allocations. `#` begins a comment.
    ///
    /// # Errors
    /// A sentence with the wrong line.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut profile = None;
        let mut paths = Vec::new();
        for written in text.lines() {
            let line = written.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |word: &str| {
                let number = word.parse::<f64>().ok();
                let number = number.filter(|number| number.is_finite() && *number >= 0.0);
                number.ok_or(format!("{word:?} is no count: {written:?}"))
            };
            match words[..] {
                [] => {}
                ["profile", name] => profile = Some(name.to_owned()),
                [path, instructions, locked, in_libraries, allocations] => paths.push((
                    path.to_owned(),
                    Counts {
                        instructions: number(instructions)?,
                        locked: number(locked)?,
                        locked_in_libraries: number(in_libraries)?,
                        allocations: number(allocations)?,
                        zeroing: 0.0,
                    },
                )),
                _ => {
                    return Err(format!(
                        "neither a profile nor a path and four counts: {written:?}"
                    ));
                }
            }
        }
        Ok(Budget {
            profile: profile.ok_or("no line with the profile")?,
            paths,
        })
    }

    pub fn of(&self, path: &str) -> Option<&Counts> {
        let mut paths = self.paths.iter();
        paths
            .find(|(name, _)| name == path)
            .map(|(_, counts)| counts)
    }
}

/// A count beside its budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// More than is tolerated.
    Above,
    Within,
    /// So much less that the budget should be lowered.
    Below,
}

impl Comparison {
    pub fn of(count: f64, allowed: f64) -> Self {
        // A difference of decimal fractions is not exact.
        let tolerance = (allowed * TOLERANCE).max(SMALL) + 1e-9;
        match count - allowed {
            more if more > tolerance => Comparison::Above,
            less if less < -tolerance => Comparison::Below,
            _ => Comparison::Within,
        }
    }
}
