//! Sleeping until a condition holds: publish "I wait", then check again.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};

use super::{AtomicBool, fence, fence_of_models};

/// Tells the threads that make a condition true whether a waiter sleeps until it is.
///
/// The waiter calls [`set_and_check`](Self::set_and_check), whose check decides whether it sleeps. A
/// thread that makes the condition true calls [`is_set`](Self::is_set) or one of its variants
/// *after* the change, and wakes the waiter if the flag is set. Both sides have a fence between the
/// two steps, so at least one sees what the other did: the waiter the change, or the waker the
/// flag. The check may read any atomic, with any ordering.
#[derive(Default)]
pub(crate) struct WaitFlag(AtomicBool);

impl WaitFlag {
    /// Publishes that a task waits, and then makes the check that decides whether it sleeps.
    pub(crate) fn set_and_check<T>(&self, check: impl FnOnce() -> T) -> T {
        self.0.store(true, Relaxed);
        fence(SeqCst);
        check()
    }

    /// Whether a task waits; called after the change.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        fence(SeqCst);
        self.0.load(Relaxed)
    }

    /// As [`is_set`](Self::is_set), for a change that was made by a `SeqCst` read-modify-write, which
    /// spares the fence. If the waiter's check, behind its fence, missed the change, then the change
    /// comes after that fence in the order of all `SeqCst` operations, and so does this load: it sees
    /// the flag.
    #[inline]
    pub(crate) fn is_set_after_rmw(&self) -> bool {
        fence_of_models();
        self.0.load(SeqCst)
    }

    /// As [`is_set_after_rmw`](Self::is_set_after_rmw), and clears the flag: the caller wakes all
    /// waiting tasks.
    #[inline]
    pub(crate) fn take_after_rmw(&self) -> bool {
        self.is_set_after_rmw() && self.0.swap(false, AcqRel)
    }

    /// Called by a waiter that is awake; it publishes again before it sleeps.
    #[inline]
    pub(crate) fn clear(&self) {
        // Most waiters never sleep, and a load costs less than a store.
        if self.0.load(Relaxed) {
            self.0.store(false, Relaxed);
        }
    }
}
