//! `setPaused(true)` calls of one socket that wait until listeners have handled earlier events.

use std::time::Duration;

use actix_rt::time::Instant;

use crate::answer::Reply;
use crate::error::Error;

/// How long the answer to `setPaused(true)` waits for listeners to handle the
/// events that were raised before: 5 seconds.
pub const PAUSE_GRACE: Duration = Duration::from_secs(5);

/// The calls share one timer, which their socket starts. Boxed, because few sockets have such calls.
#[derive(Default)]
pub(crate) struct PendingPauses(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// Each with its deadline; the oldest is first.
    calls: Vec<(Instant, Reply<()>)>,
    has_timer: bool,
}

impl PendingPauses {
    pub(crate) fn is_empty(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|waiting| waiting.calls.is_empty())
    }

    /// Adds a call. It is answered after [`PAUSE_GRACE`] at the latest.
    /// A call without a caller needs no answer.
    pub(crate) fn add(&mut self, reply: Reply<()>) {
        if reply.has_caller() {
            let waiting = self.0.get_or_insert_default();
            waiting.calls.push((Instant::now() + PAUSE_GRACE, reply));
        }
    }

    /// After which time the caller has to start a timer; `None` if a timer is
    /// running, or no call waits.
    pub(crate) fn needs_timer(&mut self) -> Option<Duration> {
        let waiting = self.0.as_mut()?;
        let (first, _) = waiting.calls.first()?;
        let is_running = std::mem::replace(&mut waiting.has_timer, true);
        (!is_running).then(|| first.saturating_duration_since(Instant::now()))
    }

    /// The timer has fired, or has ended with its thread.
    pub(crate) fn timer_ended(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.has_timer = false;
            self.free_if_unused();
        }
    }

    #[inline]
    pub(crate) fn answer_all(&mut self, answer: Result<(), Error>) {
        // Every connection passes here, and few sockets have such calls.
        if self.0.is_some() {
            self.answer_waiting(answer);
        }
    }

    #[cold]
    fn answer_waiting(&mut self, answer: Result<(), Error>) {
        if let Some(waiting) = &mut self.0 {
            for (_, reply) in waiting.calls.drain(..) {
                reply.send(answer);
            }
            self.free_if_unused();
        }
    }

    /// Answers the calls that have waited for [`PAUSE_GRACE`].
    pub(crate) fn answer_overdue(&mut self) {
        let now = Instant::now();
        if let Some(waiting) = &mut self.0 {
            let overdue = |(deadline, _): &mut (Instant, _)| *deadline <= now;
            for (_, reply) in waiting.calls.extract_if(.., overdue) {
                reply.send(Err(Error::EventsInFlight));
            }
        }
    }

    /// A timer that runs still needs to be known.
    fn free_if_unused(&mut self) {
        self.0
            .take_if(|waiting| waiting.calls.is_empty() && !waiting.has_timer);
    }
}
