//! The timeouts of connections: claim, idle, send and the minimum rate.
//!
//! A connection has no timer of its own. Sockets with timeouts are in one set per actor, ordered by
//! the time of their next check, and the actor sleeps until the first. Moving bytes only notes the
//! time. A check that comes too early finds that, and puts the socket back for later.

mod closed_stream;
mod rate;
mod timer_queue;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::Instant;

use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::Timeouts;
use crate::tcp::actor::{Entry, SOCKETS_PER_TURN, SocketTable};
use crate::tcp::connection::linger::Closing;
use crate::tcp::connection::state::{Claim, SocketState, Transfer};
use crate::tcp::connection::write::WriteQueue;
use crate::tcp::connection::{Connection, Link, Peeked, ReadEnd, ReadSide, ReportedBy};

pub(crate) use closed_stream::closed_stream;
use rate::RatePeriod;
pub(in crate::tcp) use timer_queue::{Timer, TimerQueue};

/// The first check of what the peer has acknowledged comes after this part of the send timeout, or
/// of the period of the minimum rate. Bytes acknowledged after it are progress.
const CHECKS_BEFORE: u32 = 16;

/// The timeouts of one socket.
pub(in crate::tcp) struct TimeoutState {
    pub(in crate::tcp) settings: Timeouts,
    timers: Arc<TimerQueue>,
    timer: Timer,
    offered_at: Instant,
    /// When bytes were last received or sent, or the idle time started.
    active_at: Instant,
    /// Since when the peer has taken nothing, while data waits.
    progress_at: Instant,
    /// How much the peer had not acknowledged at the last check since `progress_at`. The inner
    /// value is `None` where the OS does not tell.
    unacknowledged: Option<Option<usize>>,
    rate_period: RatePeriod,
}

impl TimeoutState {
    /// Bytes were received.
    pub(in crate::tcp) fn record_received(&mut self) {
        self.active_at = self.timers.now();
    }

    /// Bytes were sent, or data has started to wait.
    pub(in crate::tcp) fn record_sent(&mut self) {
        self.active_at = self.timers.now();
        self.progress_at = self.active_at;
        self.unacknowledged = None;
    }

    /// Whether the peer has acknowledged bytes since the last check.
    fn has_acknowledged(&mut self, stream: &dyn Stream) -> bool {
        let now = stream.unacknowledged();
        let before = self.unacknowledged.replace(now).flatten();
        now.zip(before).is_some_and(|(now, before)| now < before)
    }

    /// Counts bytes that the peer has acknowledged as progress, if the idle timeout (`is_idle`) or
    /// the send timeout (`is_stalled`) has elapsed.
    fn check_acknowledged(
        &mut self,
        stream: &dyn Stream,
        now: Instant,
        is_idle: bool,
        is_stalled: bool,
    ) {
        if self.unacknowledged.is_some() {
            if (is_idle || is_stalled) && self.has_acknowledged(stream) {
                self.progress_at = now;
                self.active_at = now;
            }
            return;
        }
        // The first check only notes how much is unacknowledged. It may be late, and the peer may
        // have acknowledged bytes before it, so an elapsed timeout starts anew.
        self.has_acknowledged(stream);
        if self.unacknowledged.flatten().is_some() {
            if is_stalled {
                self.progress_at = now;
            }
            if is_idle {
                self.active_at = now;
            }
        }
    }
}

/// What a timeout ends.
enum Expired {
    Claim,
    Connection,
}

impl SocketState {
    /// Sets the timeouts, which start now. The socket must have its slot.
    pub(in crate::tcp) fn set_timeouts(&mut self, settings: Timeouts, timers: &Arc<TimerQueue>) {
        if settings == Timeouts::default() {
            self.timeout_state = None;
            return;
        }
        let now = timers.now();
        // The old timer must leave the set before the new one enters it.
        self.timeout_state = None;
        self.timeout_state = Some(Box::new(TimeoutState {
            settings,
            timers: timers.clone(),
            timer: Timer::new(timers, self.socket.slot()),
            offered_at: now,
            active_at: now,
            progress_at: now,
            unacknowledged: None,
            rate_period: RatePeriod::starting_at(now),
        }));
        self.arm();
    }

    pub(in crate::tcp) fn timeouts(&self) -> Timeouts {
        let timeouts = self.timeout_state.as_ref();
        timeouts.map_or_else(Timeouts::default, |it| it.settings)
    }

    /// The socket was resumed, connected, or unfrozen: its timeouts start anew.
    pub(in crate::tcp) fn restart_timeouts(&mut self) {
        if let Some(timeout_state) = &mut self.timeout_state {
            timeout_state.record_sent();
            timeout_state.offered_at = timeout_state.active_at;
            self.arm();
        }
    }

    /// Data may wait that was sent before the connection had timeouts.
    pub(in crate::tcp) fn restart_rate(&mut self) {
        if let Some(timeout_state) = &mut self.timeout_state {
            timeout_state.restart_rate();
            self.arm();
        }
    }

    fn is_unclaimed(&self) -> bool {
        !matches!(self.claim, Claim::Resumed)
    }

    /// Plans the next check for the first timeout that may elapse.
    pub(in crate::tcp) fn arm(&mut self) {
        let next = self.next_timeout();
        if let Some(timeout_state) = &mut self.timeout_state {
            // An early check costs less than moving the timer each time.
            let is_early_enough = match (timeout_state.timer.armed, next) {
                (Some(armed), Some(next)) => armed <= next,
                (armed, next) => armed == next,
            };
            if !is_early_enough {
                timeout_state.timer.set(next);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timeouts = self.timeout_state.as_ref()?;
        let Timeouts {
            claim,
            idle,
            send,
            send_rate,
        } = timeouts.settings;
        let deadline = |since: Instant, limit: Option<Duration>, runs: bool| {
            // A time beyond the clock's range never comes.
            limit.filter(|_| runs).and_then(|it| since.checked_add(it))
        };
        let connection = match &self.link {
            Link::Connected(connection) if connection.end().is_none() => Some(connection),
            _ => None,
        };
        let may_be_idle = connection.is_some_and(|it| !self.paused || it.is_half_closed());
        let has_unsent = connection.is_some_and(|connection| !connection.queue.is_empty());
        let send = match timeouts.unacknowledged {
            None => send.map(|send| send / CHECKS_BEFORE),
            Some(_) => send,
        };
        let times = [
            deadline(timeouts.offered_at, claim, self.is_unclaimed()),
            deadline(timeouts.active_at, idle, may_be_idle),
            deadline(timeouts.progress_at, send, has_unsent),
            send_rate
                .filter(|_| has_unsent)
                .and_then(|rate| timeouts.rate_period.next_check(rate)),
        ];
        times.into_iter().flatten().min()
    }

    /// A check is due. Returns what has timed out, or plans the next check.
    fn check_timeouts(&mut self, now: Instant) -> Option<Expired> {
        let is_in_handover = self.transfer != Transfer::None;
        let is_unclaimed = self.is_unclaimed();
        let timeouts = self.timeout_state.as_mut()?;
        let is_elapsed = |since: Instant, limit: Option<Duration>| {
            limit.is_some_and(|limit| since.checked_add(limit).is_some_and(|end| end <= now))
        };
        let Timeouts {
            claim,
            idle,
            send,
            send_rate,
        } = timeouts.settings;
        timeouts.timer.mark_fired();
        if is_in_handover {
            // Otherwise an elapsed send timeout would be due again at once, without end.
            timeouts.progress_at = now;
            timeouts.rate_period = RatePeriod::starting_at(now);
        }
        // The app cannot act now, so these times start anew.
        if is_in_handover || self.socket.app_shard().activity.is_suspended() {
            timeouts.offered_at = now;
            timeouts.active_at = now;
        }
        if is_unclaimed && is_elapsed(timeouts.offered_at, claim) {
            // If the id is gone already, the app's own `close` is in the command queue.
            return self.socket.mark_closed().then_some(Expired::Claim);
        }
        if let Link::Connected(connection) = &mut self.link
            && connection.end().is_none()
            && !is_in_handover
        {
            let has_unsent = !connection.queue.is_empty();
            // After the peer's end a pause holds nothing back.
            let may_be_idle = !self.paused || connection.is_half_closed();
            if has_unsent {
                let is_idle = may_be_idle && is_elapsed(timeouts.active_at, idle);
                let is_stalled = is_elapsed(timeouts.progress_at, send);
                timeouts.check_acknowledged(&*connection.stream, now, is_idle, is_stalled);
            }
            // Neither the kernel nor the peer has taken anything.
            if has_unsent && is_elapsed(timeouts.progress_at, send) {
                return Some(Expired::Connection);
            }
            if has_unsent
                && let Some(rate) = send_rate
                && timeouts.rate_period.is_too_slow(rate, connection, now)
            {
                return Some(Expired::Connection);
            }
            if may_be_idle && is_elapsed(timeouts.active_at, idle) {
                if connection.is_half_closed() {
                    return Some(Expired::Connection);
                }
                // Returned events wait for a listener; unread data waits for room in the window.
                if self.redelivery.is_none() {
                    match connection.peek(&self.socket) {
                        // Really idle: nothing is unread.
                        Peeked::Nothing => return Some(Expired::Connection),
                        Peeked::Data => {}
                        Peeked::End(why) => connection.read_side = ReadSide::Ended(why),
                    }
                    self.socket.make_ready();
                }
                // The app is slow, not the peer.
                timeouts.active_at = now;
            }
        }
        self.arm();
        None
    }
}

impl Connection {
    /// Closes the stream for reading and writing, and returns what has to be delivered. If data
    /// waits to be sent, it fails, and the stream is reset. Data that was received before is still
    /// handled before the end is reported.
    #[must_use = "what was sent is delivered only if it lingers"]
    pub(in crate::tcp) fn terminate(&mut self, why: NetError) -> Option<Closing> {
        self.release_read_side(ReadEnd::Error(why));
        let is_flushed = self.queue.is_empty();
        self.fail_writes(why, ReportedBy::Reading);
        let stream = std::mem::replace(&mut self.stream, closed_stream());
        let connection_guard = self.meta.connection_guard.take();
        if is_flushed {
            return Some(Closing {
                stream,
                queue: WriteQueue::default(),
                connection_guard,
                never_written: !self.maybe_written,
            });
        }
        stream.reset();
        None
    }

    /// The peer is gone: closes the stream. `end` is reported when all earlier data was handled.
    /// Sends fail with `send_error`.
    pub(in crate::tcp) fn release(&mut self, end: ReadEnd, send_error: NetError) {
        self.release_read_side(end);
        self.fail_writes(send_error, ReportedBy::Reading);
        self.stream = closed_stream();
        self.meta.connection_guard = None;
    }
}

impl SocketTable {
    /// Ends what has timed out, and has the actor woken for the next check.
    pub(in crate::tcp) fn poll_timeouts(&mut self, cx: &mut Context<'_>) {
        for _ in 0..SOCKETS_PER_TURN {
            let Poll::Ready((when, slot)) = self.timers.poll_due(cx) else {
                return;
            };
            // The timer's clock may be ahead of this turn's.
            let now = self.timers.now().max(when);
            let state = match self.entries.get_mut(slot as usize) {
                Some(Entry::Socket(state)) => state,
                Some(Entry::Lingering(_)) => {
                    self.check_lingering(slot, now);
                    continue;
                }
                None => continue,
            };
            let socket = state.socket.clone();
            match state.check_timeouts(now) {
                None => {}
                Some(Expired::Claim) => {
                    log::warn!(
                        "client socket {}: closed, the app did not claim it in time",
                        socket.id()
                    );
                    socket.app_shard().id_table.remove(socket.id());
                    state.end_receiving(NetError::TIMED_OUT);
                    let _ = self.close(&socket);
                }
                Some(Expired::Connection) => {
                    let closed = match &mut state.link {
                        Link::Connected(connection) => connection.terminate(NetError::TIMED_OUT),
                        _ => None,
                    };
                    state.arm();
                    socket.make_ready();
                    self.linger(closed, &socket);
                }
            }
        }
        // More may be due: after the sockets of the next turn.
        cx.waker().wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid_argument::InvalidArgument;
    use crate::tcp::MinimumRate;
    use crate::tcp::connection::tests::{Fixture, Network, Step};
    use crate::tcp::connection::write::tests::socket;

    #[test]
    fn a_timeout_of_zero_is_invalid() {
        let zero = Some(Duration::ZERO);
        let ok = Timeouts {
            claim: Some(Duration::from_nanos(1)),
            idle: Some(Duration::MAX),
            send: None,
            send_rate: Some(MinimumRate {
                bytes: u64::MAX,
                per: Duration::MAX,
            }),
        };
        assert_eq!(ok.checked(), Ok(ok));
        let with_rate = |bytes, per| Timeouts {
            send_rate: Some(MinimumRate { bytes, per }),
            ..ok
        };
        use InvalidArgument::{ClaimTimeoutZero, IdleTimeoutZero, SendTimeoutZero};
        use InvalidArgument::{SendRatePeriodZero, SendRateZero};
        for (wrong, error) in [
            (Timeouts { claim: zero, ..ok }, ClaimTimeoutZero),
            (Timeouts { idle: zero, ..ok }, IdleTimeoutZero),
            (Timeouts { send: zero, ..ok }, SendTimeoutZero),
            (with_rate(0, Duration::MAX), SendRateZero),
            (with_rate(1, Duration::ZERO), SendRatePeriodZero),
        ] {
            assert_eq!(wrong.checked(), Err(error));
        }
    }

    #[actix_rt::test]
    async fn a_timeout_that_elapses_during_a_handover_is_not_due_again_at_once() {
        let (socket, _command_queue, _actor) = socket();
        let mut fixture = Fixture::new(&socket);
        let timers = Arc::new(TimerQueue::default());
        let second = Some(Duration::from_secs(1));
        let all = Timeouts {
            claim: second,
            idle: second,
            send: second,
            send_rate: Some(MinimumRate {
                bytes: 1,
                per: Duration::from_secs(1),
            }),
        };
        socket.set_slot(0);
        fixture.run_step(Step::Send(Network::TakesNothing));
        fixture.state.set_timeouts(all, &timers);
        let elapsed = timers.now() + Duration::from_secs(2);
        for transfer in [Transfer::Quiescing, Transfer::Frozen] {
            fixture.state.transfer = transfer;
            // As when the timer fires.
            timers.due.lock().slots.clear();
            assert!(fixture.state.check_timeouts(elapsed).is_none());
            let next = timers.due.lock().slots.first().copied();
            assert!(next.is_some_and(|(when, _)| when > elapsed), "{next:?}");
        }
    }
}
