//! Suspends apps, and loads them again when their sockets have something to report.

pub(super) mod event_page;
pub(super) mod idle;
pub(super) mod orphaned;
pub(super) mod timer;
pub(super) mod transitions;
