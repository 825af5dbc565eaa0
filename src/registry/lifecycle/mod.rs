//! Apps that are suspended, and loaded again when something waits for them.

pub(super) mod calls;
pub(super) mod event_page;
pub(super) mod orphaned;
pub(super) mod timer;
