//! Networks that fail: one whose every answer the test writes, and one that
//! has the operations of any other, the real one too, fail by rules.

pub(crate) mod faulty;
pub(crate) mod scripted;

pub use faulty::{
    Clear, Errno, Fault, FaultyNetwork, Inject, NotAnErrno, Operation, Place, Release, Remove,
    Rule, RuleError, RuleId, RuleReport, STRIKES_KEPT, Strike,
};
pub use scripted::{Call, Hold, Peer, ScriptedNetwork};
