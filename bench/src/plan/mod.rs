//! What is measured: whom, with what, and how long. Plain data, of which
//! nothing runs.

mod options;
mod peer;
mod workload;

pub use options::{Options, USAGE};
pub use peer::{Mode, Peer};
pub use workload::{Bound, Kind, Measure, Target, WORKLOADS, Workload};
