//! Networks for tests: [`ScriptedNetwork`] returns what a test scripts, and
//! [`FaultyNetwork`] injects faults into any other network, also the real one.

pub(crate) mod faulty;
mod latch;
pub(crate) mod scripted;

pub use faulty::{
    AddressFilter, Clear, Errno, Fault, FaultyNetwork, Inject, InjectedFault, MAX_INJECTED_FAULTS,
    Operation, ParseErrnoError, Release, Remove, Rule, RuleError, RuleId, RuleReport,
};
pub use scripted::{BlockGuard, Call, Peer, ScriptedNetwork, SentDatagram};
