//! Apps whose listeners have died: they are loaded again, no faster than they
//! die.

use std::time::Duration;

use actix_rt::time::Instant;

use crate::registry::apps::AppState;
use crate::registry::lifecycle::{FIRST_REST, LAST_REST};

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

impl AppState {
    /// Its listeners have died: it hears nothing until it has been loaded
    /// again. How long to wait before that.
    pub(in crate::registry) fn desert(&mut self) -> Duration {
        // The page adds all of them.
        self.clear_listeners();
        self.app_shards.activity.suspend_for_reload();
        let rest = self.lifecycle.desertion.begin();
        let app = &self.app_shards.app_context.app;
        log::warn!("app {app}: its listeners have died; loaded again in {rest:?}");
        rest
    }
}

impl OrphanBackoff {
    /// How long to wait before it is loaded.
    fn begin(&mut self) -> Duration {
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
