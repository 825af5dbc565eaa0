//! The parts of the benchmark that measure nothing: what is compared ([`plan`]), and what is made of the
//! results ([`report`]).
#![expect(
    missing_docs,
    reason = "they are for the benchmark and its tests alone"
)]

pub mod plan;
pub mod report;
