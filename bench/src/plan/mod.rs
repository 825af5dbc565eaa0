//! What is measured: servers, workloads and durations. Plain data.

mod options;
mod peer;
mod workload;

pub use options::{Options, USAGE};
pub use peer::{Mode, Peer};
pub use workload::{Bound, Kind, Measure, Target, WORKLOADS, Workload};
