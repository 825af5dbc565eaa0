//! Delays events at which a listener has panicked.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use actix_rt::time::{Sleep, sleep};

/// How long an event at which a listener has panicked is held back once the
/// next listener is there: 100 ms. The events that waited in the dead mailbox
/// are raised before it, so that they are handled even if the next listener
/// panics too.
pub(crate) const HOLD_BACK: Duration = Duration::from_millis(100);

/// Holds back the events at which listeners have panicked; see [`HOLD_BACK`].
#[derive(Default)]
pub(crate) struct HoldBack {
    /// How many listeners had died when it began.
    deaths: Option<u64>,
    time: Option<Pin<Box<Sleep>>>,
}

impl HoldBack {
    /// Whether they may be raised to the listeners of now, before whom so many
    /// have died; `cx` is woken when they may.
    pub(crate) fn is_over(&mut self, deaths: u64, cx: &mut Context<'_>) -> bool {
        if self.deaths != Some(deaths) {
            self.deaths = Some(deaths);
            self.time = Some(Box::pin(sleep(HOLD_BACK)));
        }
        let time = self.time.as_mut();
        let is_over = time.is_none_or(|time| time.as_mut().poll(cx).is_ready());
        if is_over {
            self.time = None;
        }
        is_over
    }

    /// Begins anew, by the clock of another thread.
    pub(crate) fn forget_clock(&mut self) {
        *self = Self::default();
    }
}
