//! `setPaused(true)` calls of one socket that wait until listeners have handled earlier events.

use std::time::Duration;

use actix_rt::time::Instant;

use crate::answer::Reply;
use crate::error::Error;

/// How long the answer to `setPaused(true)` waits for listeners to handle the
/// events that were raised before: 5 seconds.
pub const PAUSE_GRACE: Duration = Duration::from_secs(5);

/// The calls share one timer, which their socket starts.
#[derive(Default)]
pub(crate) struct PendingPauses {
    /// Each with its deadline; the oldest is first.
    calls: Vec<(Instant, Reply<()>)>,
    has_timer: bool,
}

impl PendingPauses {
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Adds a call. It is answered after [`PAUSE_GRACE`] at the latest.
    /// A call without a caller needs no answer.
    pub(crate) fn add(&mut self, reply: Reply<()>) {
        if reply.has_caller() {
            self.calls.push((Instant::now() + PAUSE_GRACE, reply));
        }
    }

    /// After which time the caller has to start a timer; `None` if a timer is
    /// running, or no call waits.
    pub(crate) fn needs_timer(&mut self) -> Option<Duration> {
        let (first, _) = self.calls.first()?;
        let is_running = std::mem::replace(&mut self.has_timer, true);
        (!is_running).then(|| first.saturating_duration_since(Instant::now()))
    }

    /// The timer has fired, or has ended with its thread.
    pub(crate) fn timer_ended(&mut self) {
        self.has_timer = false;
    }

    pub(crate) fn answer_all(&mut self, answer: Result<(), Error>) {
        for (_, reply) in self.calls.drain(..) {
            reply.send(answer);
        }
    }

    /// Answers the calls that have waited for [`PAUSE_GRACE`].
    pub(crate) fn answer_overdue(&mut self) {
        let now = Instant::now();
        for (_, reply) in self.calls.extract_if(.., |(deadline, _)| *deadline <= now) {
            reply.send(Err(Error::EventsInFlight));
        }
    }
}
