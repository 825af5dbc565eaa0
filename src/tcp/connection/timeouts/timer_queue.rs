//! When sockets are checked next: one ordered set, and one timer, per actor.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep_until};
use parking_lot::Mutex;

/// The next check of each socket of one actor.
pub(in crate::tcp) struct TimerQueue {
    started_at: Instant,
    /// The time of this turn, as nanoseconds since `started_at` plus 1. 0 until it is first read in
    /// the turn.
    now: AtomicU64,
    pub(super) due: Mutex<TimerSet>,
}

#[derive(Default)]
pub(super) struct TimerSet {
    /// The time of the check and the slot. Each slot is in the set once at most.
    pub(super) slots: BTreeSet<(Instant, u32)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Default for TimerQueue {
    fn default() -> Self {
        TimerQueue {
            started_at: Instant::now(),
            now: AtomicU64::new(0),
            due: Mutex::default(),
        }
    }
}

impl TimerQueue {
    /// A turn begins or ends: the next reading asks the clock.
    pub(in crate::tcp) fn clear_now(&self) {
        self.now.store(0, Relaxed);
    }

    pub(in crate::tcp) fn now(&self) -> Instant {
        let cached = self.now.load(Relaxed);
        if cached > 0 {
            return self.started_at + Duration::from_nanos(cached - 1);
        }
        let now = Instant::now();
        let since = now.saturating_duration_since(self.started_at).as_nanos();
        self.now
            .store(u64::try_from(since).map_or(0, |it| it + 1), Relaxed);
        now
    }

    /// The timer belonged to a thread that has ended.
    pub(in crate::tcp) fn drop_sleep(&self) {
        self.due.lock().sleep = None;
    }

    /// The next slot that is due, and since when. After `Pending` the waker is called when one is
    /// due.
    pub(super) fn poll_due(&self, cx: &mut Context<'_>) -> Poll<(Instant, u32)> {
        let mut due = self.due.lock();
        let Some(first) = due.slots.first().copied() else {
            due.sleep = None;
            return Poll::Pending;
        };
        let (when, _) = first;
        // One timer serves all slots. Another slot may be the first one by now.
        if when > self.now() {
            let sleep = due.sleep.get_or_insert_with(|| Box::pin(sleep_until(when)));
            if sleep.deadline() != when {
                sleep.as_mut().reset(when);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        due.slots.remove(&first);
        Poll::Ready(first)
    }
}

/// The next check of one slot.
pub(in crate::tcp) struct Timer {
    timers: Arc<TimerQueue>,
    slot: u32,
    pub(super) armed: Option<Instant>,
}

impl Timer {
    pub(in crate::tcp) fn new(timers: &Arc<TimerQueue>, slot: u32) -> Self {
        Timer {
            timers: timers.clone(),
            slot,
            armed: None,
        }
    }

    pub(in crate::tcp) fn set(&mut self, when: Option<Instant>) {
        if self.armed == when {
            return;
        }
        let mut due = self.timers.due.lock();
        if let Some(armed) = self.armed {
            due.slots.remove(&(armed, self.slot));
        }
        if let Some(when) = when {
            due.slots.insert((when, self.slot));
        }
        self.armed = when;
    }

    /// The check is due, and no longer in the set.
    pub(in crate::tcp) fn mark_fired(&mut self) {
        self.armed = None;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_socket_is_in_the_set_once_and_leaves_it_when_dropped() {
        let timers = Arc::new(TimerQueue::default());
        let mut one = Timer::new(&timers, 1);
        let two = Timer::new(&timers, 2);
        let now = timers.now();
        for seconds in [5, 3, 8] {
            one.set(Some(now + Duration::from_secs(seconds)));
            assert_eq!(timers.due.lock().slots.len(), 1);
        }
        drop(two);
        assert_eq!(timers.due.lock().slots.len(), 1, "it was never in the set");
        drop(one);
        assert!(timers.due.lock().slots.is_empty());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(timers.poll_due(&mut cx).is_pending());
    }
}
