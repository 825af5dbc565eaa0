//! The parts of the benchmark that do not measure: what is compared ([`plan`]), and the
//! presentation of results ([`report`]).
#![expect(
    missing_docs,
    reason = "they are for the benchmark and its tests alone"
)]

pub mod plan;
pub mod report;
