//! Delays between loads of an app whose listeners keep dying.

use std::time::Duration;

use actix_rt::time::Instant;

use crate::registry::lifecycle::timer::{MAX_BACKOFF, MIN_BACKOFF};

/// Listeners that have lived for this many delays did not die because of their
/// start, so the next load is not delayed.
const STABLE_AFTER_DELAYS: u32 = 10;

/// The state of an app whose listeners have died.
#[derive(Default)]
pub(in crate::registry) struct OrphanBackoff {
    is_active: bool,
    /// When the event page has last started.
    last_start: Option<Instant>,
    /// The delay before that start.
    delay: Duration,
}

impl OrphanBackoff {
    /// The listeners have died: returns the delay before the app is loaded.
    pub(in crate::registry) fn next_delay(&mut self) -> Duration {
        let stable_after = self.delay.max(MIN_BACKOFF) * STABLE_AFTER_DELAYS;
        let died_early = self
            .last_start
            .is_some_and(|it| it.elapsed() < stable_after);
        self.delay = match died_early {
            true => (self.delay * 2).clamp(MIN_BACKOFF, MAX_BACKOFF),
            false => Duration::ZERO,
        };
        self.is_active = true;
        self.delay
    }

    /// Whether the app is to be loaded because its listeners have died. It
    /// counts as not suspended, though it gets no event.
    pub(in crate::registry) fn is_active(&self) -> bool {
        self.is_active
    }

    /// Cancels the load. Returns whether there was one.
    pub(in crate::registry) fn cancel(&mut self) -> bool {
        std::mem::take(&mut self.is_active)
    }

    pub(in crate::registry) fn page_started(&mut self) {
        self.is_active = false;
        self.last_start = Some(Instant::now());
    }
}
