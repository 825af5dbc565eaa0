//! A network that fails by rules: it wraps another network and injects faults into its operations.
//!
//! A call of an operation begins with its first poll and ends with its result. Each rule is
//! evaluated once per call, so the calls that fail do not depend on how often a task is woken.

mod datagram;
mod errno;
mod listener;
mod messages;
mod network;
mod rule;
mod rule_set;
mod stream;
mod subscriber;
#[cfg(test)]
mod tests;
mod text;

pub use crate::testing::faulty::errno::{Errno, ParseErrnoError};
pub use crate::testing::faulty::messages::{Clear, Inject, Release, Remove};
pub use crate::testing::faulty::network::FaultyNetwork;
pub use crate::testing::faulty::rule::{AddressFilter, Fault, Operation, Rule, RuleError};
pub use crate::testing::faulty::rule_set::{
    InjectedFault, MAX_INJECTED_FAULTS, RuleId, RuleReport,
};
