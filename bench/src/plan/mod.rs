//! What is measured: servers, workloads and durations. Plain data.

mod hot_path;
mod options;
mod peer;
mod profile;
mod workload;

pub use hot_path::{HOT_PATHS, HotPath, PathTargets};
pub use options::{Options, USAGE};
pub use peer::{Mode, Peer};
pub use profile::profile_of;
pub use workload::{Bound, Kind, Measure, Target, WORKLOADS, Workload};
