//! Results, and their presentation. Text in, text out, but for the files of the page.

mod budget;
mod callgrind;
mod instructions;
pub mod page;
pub mod plots;
mod results;
mod stats;
pub mod table;
mod verdict;

pub use budget::{Budget, Comparison, TOLERANCE};
pub use callgrind::Profile;
pub use instructions::{Counts, Instructions, PathCounts};
pub use results::{About, Memory, PeerResults, Results, Sample, Version, WorkloadResults};
