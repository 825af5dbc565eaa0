//! `setPaused(true)` calls of one socket that wait until listeners have handled earlier events.

use std::time::Duration;

use actix_rt::time::Instant;

use crate::answer::Reply;
use crate::error::Error;

/// How long the answer to `setPaused(true)` waits for listeners to handle the
/// events that were raised before: 5 seconds.
pub const PAUSE_GRACE: Duration = Duration::from_secs(5);

/// The calls share one timer, which their socket starts. Boxed, because hardly any socket has such
/// a call at a time.
#[derive(Default)]
pub(crate) struct PendingPauses(Option<Box<Pending>>);

#[derive(Default)]
struct Pending {
    /// Each with its deadline; the oldest is first.
    calls: Vec<(Instant, Reply<()>)>,
    has_timer: bool,
}

impl PendingPauses {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let pending = self.0.as_ref();
        pending.is_none_or(|pending| pending.calls.is_empty())
    }

    /// Adds a call. It is answered after [`PAUSE_GRACE`] at the latest.
    /// A call without a caller needs no answer.
    pub(crate) fn add(&mut self, reply: Reply<()>) {
        if reply.has_caller() {
            let pending = self.0.get_or_insert_default();
            pending.calls.push((Instant::now() + PAUSE_GRACE, reply));
        }
    }

    /// After which time the caller has to start a timer; `None` if a timer is
    /// running, or no call waits.
    pub(crate) fn needs_timer(&mut self) -> Option<Duration> {
        let pending = self.0.as_mut()?;
        let (first, _) = pending.calls.first()?;
        let is_running = std::mem::replace(&mut pending.has_timer, true);
        (!is_running).then(|| first.saturating_duration_since(Instant::now()))
    }

    /// The timer has fired, or has ended with its thread.
    pub(crate) fn timer_ended(&mut self) {
        if let Some(pending) = &mut self.0 {
            pending.has_timer = false;
        }
    }

    pub(crate) fn answer_all(&mut self, answer: Result<(), Error>) {
        if let Some(pending) = &mut self.0 {
            for (_, reply) in pending.calls.drain(..) {
                reply.send(answer);
            }
        }
    }

    /// Answers the calls that have waited for [`PAUSE_GRACE`].
    pub(crate) fn answer_overdue(&mut self) {
        let now = Instant::now();
        if let Some(pending) = &mut self.0 {
            let overdue = pending.calls.extract_if(.., |(due, _)| *due <= now);
            for (_, reply) in overdue {
                reply.send(Err(Error::EventsInFlight));
            }
        }
    }
}
