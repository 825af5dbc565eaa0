//! Whether an entry is in the queue of ready entries.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::AtomicBool;

/// Keeps an entry from being queued twice.
///
/// A thread that changes the entry sets the flag after the change, and queues the entry if the flag
/// was not set. The consumer clears the flag and then looks at the entry. Both exchange the value
/// instead of storing it: a consumer that clears a flag sees every change that was made before the
/// flag was set, even if another thread set it first. A consumer that finds the flag clear leaves it:
/// who sets it, or has set it, queues the entry, and so it is looked at again.
#[derive(Default)]
pub(crate) struct ReadyFlag(AtomicBool);

impl ReadyFlag {
    /// Called after a change: `true` if the caller has to queue the entry.
    #[inline]
    pub(crate) fn set(&self) -> bool {
        !self.0.swap(true, AcqRel)
    }

    /// Called before looking at the entry: every later change queues it again.
    #[inline]
    pub(crate) fn clear(&self) {
        // A load is cheaper than an exchange.
        if self.0.load(Relaxed) {
            self.0.swap(false, AcqRel);
        }
    }
}
