//! Apps whose listeners have died: they are loaded again, no faster than they
//! die.

use std::time::Duration;

use actix_rt::time::Instant;

use crate::registry::lifecycle::timer::{FIRST_REST, LAST_REST};

/// Listeners that have lived for this many rests have not died at once.
const RESTS_LIVED: u32 = 10;

/// How an app fares whose listeners die.
#[derive(Default)]
pub(in crate::registry) struct OrphanBackoff {
    is_on: bool,
    /// When its event page has started last.
    started: Option<Instant>,
    /// How long was waited before that.
    rest: Duration,
}

impl OrphanBackoff {
    /// How long to wait before it is loaded.
    pub(in crate::registry) fn begin(&mut self) -> Duration {
        let long = self.rest.max(FIRST_REST) * RESTS_LIVED;
        let at_once = self.started.is_some_and(|it| it.elapsed() < long);
        self.rest = match at_once {
            true => (self.rest * 2).clamp(FIRST_REST, LAST_REST),
            false => Duration::ZERO,
        };
        self.is_on = true;
        self.rest
    }

    /// Whether it is loaded because of that: it is not suspended, though it
    /// hears as little.
    pub(in crate::registry) fn is_on(&self) -> bool {
        self.is_on
    }

    /// It is not to be loaded because of that any more; whether it was.
    pub(in crate::registry) fn end(&mut self) -> bool {
        std::mem::take(&mut self.is_on)
    }

    pub(in crate::registry) fn page_has_started(&mut self) {
        self.is_on = false;
        self.started = Some(Instant::now());
    }
}
