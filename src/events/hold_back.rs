//! Delays events at which a listener has panicked.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use actix_rt::time::{Sleep, sleep};

/// How long an event at which a listener has panicked is held back once the
/// next listener exists: 100 ms. The events that waited in the dead listener's
/// mailbox are raised before it, so they are handled even if the next listener
/// panics too.
pub(crate) const HOLD_BACK: Duration = Duration::from_millis(100);

/// Holds back the events at which listeners have panicked, for [`HOLD_BACK`].
#[derive(Default)]
pub(crate) struct HoldBack {
    /// The number of dead listeners when the delay began.
    deaths: Option<u64>,
    delay: Option<Pin<Box<Sleep>>>,
}

impl HoldBack {
    /// Whether the events may be raised to the current listeners, before whom
    /// `deaths` listeners have died. If not, `cx` is woken when they may.
    pub(crate) fn is_elapsed(&mut self, deaths: u64, cx: &mut Context<'_>) -> bool {
        // Another death means that there are new listeners: each gets the
        // other events first.
        if self.deaths != Some(deaths) {
            self.deaths = Some(deaths);
            self.delay = Some(Box::pin(sleep(HOLD_BACK)));
        }
        let delay = self.delay.as_mut();
        let is_elapsed = delay.is_none_or(|delay| delay.as_mut().poll(cx).is_ready());
        if is_elapsed {
            self.delay = None;
        }
        is_elapsed
    }

    /// Forgets the delay, whose timer belongs to a thread that has ended.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
