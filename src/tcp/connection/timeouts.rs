//! The timeouts of connections: claim, idle and send.
//!
//! A connection has no timer of its own. Sockets with timeouts are in one set per actor, ordered by
//! the time of their next check, and the actor sleeps until the first. Moving bytes only notes the
//! time. A check that comes too early finds that, and puts the socket back for later.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep_until};
use parking_lot::Mutex;

use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::Timeouts;
use crate::tcp::actor::{Entry, SOCKETS_PER_TURN, SocketTable};
use crate::tcp::connection::linger::Closing;
use crate::tcp::connection::state::{Claim, SocketState, Transfer};
use crate::tcp::connection::write::WriteQueue;
use crate::tcp::connection::{Connection, Link, Peeked, ReadEnd, ReadSide, ReportedBy};

/// The next check of each socket of one actor.
pub(in crate::tcp) struct TimerQueue {
    started_at: Instant,
    /// The time of this turn, as nanoseconds since `started_at` plus 1. 0 until it is first read in
    /// the turn.
    now: AtomicU64,
    due: Mutex<TimerSet>,
}

#[derive(Default)]
struct TimerSet {
    /// The time of the check and the slot. Each slot is in the set once at most.
    slots: BTreeSet<(Instant, u32)>,
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
    fn poll_due(&self, cx: &mut Context<'_>) -> Poll<(Instant, u32)> {
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
    armed: Option<Instant>,
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

/// The first check of what the peer has acknowledged comes after this part of the send timeout.
/// Bytes acknowledged after it are progress.
const SEND_CHECKS: u32 = 16;

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
        let Timeouts { claim, idle, send } = timeouts.settings;
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
            None => send.map(|send| send / SEND_CHECKS),
            Some(_) => send,
        };
        let times = [
            deadline(timeouts.offered_at, claim, self.is_unclaimed()),
            deadline(timeouts.active_at, idle, may_be_idle),
            deadline(timeouts.progress_at, send, has_unsent),
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
        let Timeouts { claim, idle, send } = timeouts.settings;
        timeouts.timer.mark_fired();
        if is_in_handover {
            // Otherwise an elapsed send timeout would be due again at once, without end.
            timeouts.progress_at = now;
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

/// Stands in for a stream that was closed. Its end is known already.
pub(crate) fn closed_stream() -> Box<dyn Stream> {
    Box::new(ClosedStream)
}

struct ClosedStream;

impl Stream for ClosedStream {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_peek(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_error_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn reached_eof(&self) -> bool {
        true
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn set_keepalive(&self, _: Option<Duration>) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::invalid_argument::InvalidArgument;
    use crate::tcp::connection::tests::{Fixture, Network, Step};
    use crate::tcp::connection::write::tests::socket;

    #[test]
    fn a_timeout_of_zero_is_invalid() {
        let zero = Some(Duration::ZERO);
        let ok = Timeouts {
            claim: Some(Duration::from_nanos(1)),
            idle: Some(Duration::MAX),
            send: None,
        };
        assert_eq!(ok.checked(), Ok(ok));
        use InvalidArgument::{ClaimTimeoutZero, IdleTimeoutZero, SendTimeoutZero};
        for (wrong, error) in [
            (Timeouts { claim: zero, ..ok }, ClaimTimeoutZero),
            (Timeouts { idle: zero, ..ok }, IdleTimeoutZero),
            (Timeouts { send: zero, ..ok }, SendTimeoutZero),
        ] {
            assert_eq!(wrong.checked(), Err(error));
        }
    }

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
