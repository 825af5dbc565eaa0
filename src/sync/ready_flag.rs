//! Whether something stands in the queue of those that are looked at.

use std::sync::atomic::Ordering::AcqRel;

use super::AtomicBool;

/// Keeps an entry from standing in a queue twice.
///
/// Whoever changes something about the entry sets the flag afterwards, and puts
/// the entry into the queue if it was not set. Whoever takes the entry out clears
/// the flag, then looks. Both exchange the flag and do not merely store it: the
/// look that clears a flag which another thread has set sees what that thread
/// has changed.
#[derive(Default)]
pub(crate) struct ReadyFlag(AtomicBool);

impl ReadyFlag {
    /// After a change: `true` if the caller is to put the entry into the queue.
    #[inline]
    pub(crate) fn set(&self) -> bool {
        !self.0.swap(true, AcqRel)
    }

    /// Before a look: whatever changes from here on puts it into the queue again.
    #[inline]
    pub(crate) fn clear(&self) {
        self.0.swap(false, AcqRel);
    }
}
