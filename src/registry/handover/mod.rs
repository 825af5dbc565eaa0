//! Both ends of a handover.

pub(super) mod incoming;
pub(super) mod outgoing;
