//! Going to sleep: publish "I wait", then look again.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};

use super::{AtomicBool, fence};

/// Whether a waiter sleeps until a condition holds, for those who change what
/// the condition reads.
///
/// The waiter calls [`wait_unless`](Self::wait_unless), whose one reading
/// decides whether it sleeps. Whoever makes the condition true calls
/// [`is_set`](Self::is_set) or [`take`](Self::take) *after* the change, and wakes
/// the waiter if the flag is set. Between the flag and the reading on one
/// side, and the change and the flag on the other, stands a fence, so at least
/// one side sees what the other has done: the waiter the change, or the waker the
/// flag. What the condition reads may be any atomic, with any ordering.
#[derive(Default)]
pub(crate) struct WaitFlag(AtomicBool);

impl WaitFlag {
    /// Publishes that somebody waits, then takes the reading that decides:
    /// `true` if the condition holds, so that nobody needs to sleep.
    pub(crate) fn wait_unless(&self, condition: impl FnOnce() -> bool) -> bool {
        self.wait(condition)
    }

    /// As [`wait_unless`](Self::wait_unless), for a reading that says more.
    pub(crate) fn wait<T>(&self, look: impl FnOnce() -> T) -> T {
        self.0.store(true, Relaxed);
        fence(SeqCst);
        look()
    }

    /// Whether somebody waits; asked after the change.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        fence(SeqCst);
        self.0.load(Relaxed)
    }

    /// As [`is_set`](Self::is_set), and nobody waits from now on: the caller
    /// wakes all that wait.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        self.is_set() && self.0.swap(false, AcqRel)
    }

    /// The waiter is awake, and will publish again before it sleeps.
    #[inline]
    pub(crate) fn clear(&self) {
        // Most waiters were never asleep: a look costs less than a store.
        if self.0.load(Relaxed) {
            self.0.store(false, Relaxed);
        }
    }
}
