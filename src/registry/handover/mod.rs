//! Both ends of a handover.

pub(super) mod incoming;
pub(super) mod outgoing;
pub(super) mod types;
