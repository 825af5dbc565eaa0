//! Results, and their presentation. Pure: text in, text out.

pub mod page;
pub mod plots;
mod results;
mod stats;
pub mod table;
mod verdict;

pub use results::{About, Memory, PeerResults, Results, Sample, Version, WorkloadResults};
