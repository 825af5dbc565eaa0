//! What ends a connection that nothing happens on, if the app wants that.
//!
//! No connection has a timer: those with time-outs stand in one set, by the
//! time at which they are to be looked at, and the rows actor sleeps until the
//! first. What moves bytes only writes down when; a look that comes too early
//! finds that out, and puts the row back for later.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep_until};
use parking_lot::Mutex;

use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::Timeouts;
use crate::tcp::actor::{Entry, SOCKETS_PER_TURN, SocketTable};
use crate::tcp::connection::linger::Ended;
use crate::tcp::connection::state::{Claim, SocketState, Transfer};
use crate::tcp::connection::write::WriteQueue;
use crate::tcp::connection::{Connection, FailureReport, Link, Peeked, ReadSide};

/// The rows of one actor that are to be looked at, and when.
pub(in crate::tcp) struct TimerQueue {
    began: Instant,
    /// The time of this turn, once somebody has asked for it: nanoseconds since
    /// the beginning, and one more; 0 until then.
    now: AtomicU64,
    due: Mutex<Due>,
}

#[derive(Default)]
struct Due {
    /// With the slot of the row; no row stands here twice.
    slots: BTreeSet<(Instant, u32)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Default for TimerQueue {
    fn default() -> Self {
        TimerQueue {
            began: Instant::now(),
            now: AtomicU64::new(0),
            due: Mutex::default(),
        }
    }
}

impl TimerQueue {
    /// A turn begins or ends.
    pub(in crate::tcp) fn clear_now(&self) {
        self.now.store(0, Relaxed);
    }

    pub(in crate::tcp) fn now(&self) -> Instant {
        let known = self.now.load(Relaxed);
        if known > 0 {
            return self.began + Duration::from_nanos(known - 1);
        }
        let now = Instant::now();
        let since = now.saturating_duration_since(self.began).as_nanos();
        self.now
            .store(u64::try_from(since).map_or(0, |it| it + 1), Relaxed);
        now
    }

    /// The clock that it slept by is gone with its thread.
    pub(in crate::tcp) fn drop_sleep(&self) {
        self.due.lock().sleep = None;
    }

    /// The next row that is due, and since when; on `Pending` the waker is
    /// called when there is one.
    fn poll_due(&self, cx: &mut Context<'_>) -> Poll<(Instant, u32)> {
        let mut due = self.due.lock();
        let Some(first) = due.slots.first().copied() else {
            due.sleep = None;
            return Poll::Pending;
        };
        let (when, _) = first;
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

/// When one slot is looked at, if that is known.
pub(in crate::tcp) struct Alarm {
    timers: Arc<TimerQueue>,
    slot: u32,
    armed: Option<Instant>,
}

impl Alarm {
    pub(in crate::tcp) fn new(timers: &Arc<TimerQueue>, slot: u32) -> Self {
        Alarm {
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

    /// It has rung.
    pub(in crate::tcp) fn mark_fired(&mut self) {
        self.armed = None;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// A send time-out is divided by this for the first look at what the peer has
/// acknowledged: what it acknowledges in the rest is progress.
const SEND_CHECKS: u32 = 16;

/// The time-outs of one socket.
pub(in crate::tcp) struct TimeoutState {
    pub(in crate::tcp) settings: Timeouts,
    timers: Arc<TimerQueue>,
    alarm: Alarm,
    offered_at: Instant,
    /// When bytes came or went, or the idle time began.
    active_at: Instant,
    /// Since when the peer takes nothing, if something waits.
    progress_at: Instant,
    /// What the peer had not acknowledged at the last look since then; `None`
    /// in it where the OS does not tell.
    unacknowledged: Option<Option<usize>>,
}

impl TimeoutState {
    /// Bytes came.
    pub(in crate::tcp) fn record_received(&mut self) {
        self.active_at = self.timers.now();
    }

    /// Bytes went, or the first that wait have come.
    pub(in crate::tcp) fn record_sent(&mut self) {
        self.active_at = self.timers.now();
        self.progress_at = self.active_at;
        self.unacknowledged = None;
    }

    /// Whether the peer has acknowledged something since the last look.
    fn has_acknowledged(&mut self, stream: &dyn Stream) -> bool {
        let now = stream.unacknowledged();
        let before = self.unacknowledged.replace(now).flatten();
        now.zip(before).is_some_and(|(now, before)| now < before)
    }
}

/// What has lasted too long.
enum Expired {
    Claim,
    Connection,
}

impl SocketState {
    /// Sets the time-outs, which begin now. The row has its slot.
    pub(in crate::tcp) fn set_timeouts(&mut self, settings: Timeouts, timers: &Arc<TimerQueue>) {
        if settings == Timeouts::default() {
            self.timeout_state = None;
            return;
        }
        let now = timers.now();
        // The old one leaves the set before the new one stands in it.
        self.timeout_state = None;
        self.timeout_state = Some(Box::new(TimeoutState {
            settings,
            timers: timers.clone(),
            alarm: Alarm::new(timers, self.socket.slot()),
            offered_at: now,
            active_at: now,
            progress_at: now,
            unacknowledged: None,
        }));
        self.arm();
    }

    pub(in crate::tcp) fn timeouts(&self) -> Timeouts {
        self.timeout_state
            .as_ref()
            .map_or_else(Timeouts::default, |it| it.settings)
    }

    /// The socket is resumed, connected, or back from where it stood still:
    /// time begins anew.
    pub(in crate::tcp) fn restart_timeouts(&mut self) {
        if let Some(timeout_state) = &mut self.timeout_state {
            timeout_state.record_sent();
            timeout_state.offered_at = timeout_state.active_at;
            self.arm();
        }
    }

    /// Something has begun to wait for the peer.
    pub(in crate::tcp) fn arm_send_timeout(&mut self) {
        if self.timeout_state.is_some() {
            self.arm();
        }
    }

    fn is_unclaimed(&self) -> bool {
        !matches!(self.claim, Claim::Resumed)
    }

    /// Has the row looked at when the next of its time-outs may be over.
    fn arm(&mut self) {
        let next = self.next_timeout();
        if let Some(timeout_state) = &mut self.timeout_state {
            // A look that comes too early costs less than moving it each time.
            let is_early_enough = match (timeout_state.alarm.armed, next) {
                (Some(armed), Some(next)) => armed <= next,
                (armed, next) => armed == next,
            };
            if !is_early_enough {
                timeout_state.alarm.set(next);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timeout_state = self.timeout_state.as_ref()?;
        let Timeouts { claim, idle, send } = timeout_state.settings;
        let after = |since: Instant, limit: Option<Duration>, runs: bool| {
            // What is beyond the clock's end never comes.
            limit
                .filter(|_| runs)
                .and_then(|limit| since.checked_add(limit))
        };
        let connection = match &self.link {
            Link::Connected(connection) if connection.end().is_none() => Some(connection),
            _ => None,
        };
        let waits = connection.is_some_and(|connection| !connection.queue.is_empty());
        let send = match timeout_state.unacknowledged {
            None => send.map(|send| send / SEND_CHECKS),
            Some(_) => send,
        };
        let times = [
            after(timeout_state.offered_at, claim, self.is_unclaimed()),
            after(
                timeout_state.active_at,
                idle,
                connection.is_some() && !self.paused,
            ),
            after(timeout_state.progress_at, send, waits),
        ];
        times.into_iter().flatten().min()
    }

    /// The row's time may be over: says what is, or has it looked at again.
    fn check_timeouts(&mut self, now: Instant) -> Option<Expired> {
        let is_moving = self.transfer != Transfer::None;
        let is_unclaimed = self.is_unclaimed();
        let Some(timeout_state) = &mut self.timeout_state else {
            return None;
        };
        let over = |since: Instant, limit: Option<Duration>| {
            limit.is_some_and(|limit| since.checked_add(limit).is_some_and(|end| end <= now))
        };
        let Timeouts { claim, idle, send } = timeout_state.settings;
        timeout_state.alarm.mark_fired();
        if is_moving {
            // Else a time that is over would have it looked at without end.
            timeout_state.progress_at = now;
        }
        if is_moving || self.socket.app_shard().activity.is_suspended() {
            timeout_state.offered_at = now;
            timeout_state.active_at = now;
        }
        if is_unclaimed && over(timeout_state.offered_at, claim) {
            // Else the app's own `close` is on its way.
            return self.socket.mark_closed().then_some(Expired::Claim);
        }
        if let Link::Connected(connection) = &mut self.link
            && connection.end().is_none()
            && !is_moving
        {
            let waits = !connection.queue.is_empty();
            let is_idle = !self.paused && over(timeout_state.active_at, idle);
            if waits && timeout_state.unacknowledged.is_none() {
                timeout_state.has_acknowledged(&*connection.stream);
                if timeout_state.unacknowledged.flatten().is_some() {
                    // It is known only from here on what the peer acknowledges,
                    // and this look may come late.
                    if over(timeout_state.progress_at, send) {
                        timeout_state.progress_at = now;
                    }
                    if is_idle {
                        timeout_state.active_at = now;
                    }
                }
            } else if waits
                && (is_idle || over(timeout_state.progress_at, send))
                && timeout_state.has_acknowledged(&*connection.stream)
            {
                timeout_state.progress_at = now;
                timeout_state.active_at = now;
            }
            if waits && over(timeout_state.progress_at, send) {
                return Some(Expired::Connection);
            }
            if !self.paused && over(timeout_state.active_at, idle) {
                let waits = self.redelivery.is_some();
                if !waits {
                    match connection.peek(&self.socket) {
                        Peeked::Nothing => return Some(Expired::Connection),
                        Peeked::Data => {}
                        Peeked::End(why) => connection.read_side = ReadSide::Ended(why),
                    }
                    self.socket.make_ready();
                }
                // It is the app that takes its time.
                timeout_state.active_at = now;
            }
        }
        self.arm();
        None
    }
}

impl Connection {
    /// Nothing more comes or goes: gives the stream up, and returns what is left
    /// of it. If something waits to be sent, it fails, and the stream is reset.
    /// What was read before is still handled before the end is told.
    #[must_use = "what was sent is delivered only if it lingers"]
    pub(in crate::tcp) fn terminate(&mut self, why: NetError) -> Option<Ended> {
        self.read_side = ReadSide::Released(why);
        let is_flushed = self.queue.is_empty();
        self.fail_writes(why, FailureReport::ByReading);
        let stream = std::mem::replace(&mut self.stream, closed_stream());
        let connection_guard = self.meta.connection_guard.take();
        if is_flushed {
            return Some(Ended {
                stream,
                queue: WriteQueue::default(),
                connection_guard,
                never_written: !self.maybe_written,
            });
        }
        stream.reset();
        None
    }

    /// The peer is gone: lets go of the stream. `end` is told when all that came
    /// before was handled; sends fail with a code of their own.
    pub(in crate::tcp) fn release(&mut self, end: NetError, send_error: NetError) {
        self.read_side = ReadSide::Released(end);
        self.fail_writes(send_error, FailureReport::ByReading);
        self.stream = closed_stream();
        self.meta.connection_guard = None;
    }
}

impl SocketTable {
    /// Ends what has taken too long, and has the actor woken for what comes.
    pub(in crate::tcp) fn poll_timeouts(&mut self, cx: &mut Context<'_>) {
        for _ in 0..SOCKETS_PER_TURN {
            let Poll::Ready((when, slot)) = self.timers.poll_due(cx) else {
                return;
            };
            // The clock that woke the actor may have run ahead of this one.
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
                    log::warn!("client socket {}: closed, nobody wanted it", socket.id());
                    socket.app_shard().id_table.remove(socket.id());
                    state.end_receiving(NetError::TIMED_OUT);
                    let _ = self.close(&socket);
                }
                Some(Expired::Connection) => {
                    let ended = match &mut state.link {
                        Link::Connected(connection) => connection.terminate(NetError::TIMED_OUT),
                        _ => None,
                    };
                    state.arm();
                    socket.make_ready();
                    self.linger(ended, &socket);
                }
            }
        }
        cx.waker().wake_by_ref();
    }
}

/// In place of a stream that was given up: its end is known already.
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

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn has_ended(&self) -> bool {
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
    use crate::error::Error;

    #[test]
    fn zero_is_no_time_out() {
        let zero = Some(Duration::ZERO);
        let ok = Timeouts {
            claim: Some(Duration::from_nanos(1)),
            idle: Some(Duration::MAX),
            send: None,
        };
        assert_eq!(ok.checked(), Ok(ok));
        for wrong in [
            Timeouts { claim: zero, ..ok },
            Timeouts { idle: zero, ..ok },
            Timeouts { send: zero, ..ok },
        ] {
            let error = Error::from(NetError::INVALID_ARGUMENT);
            assert_eq!(wrong.checked(), Err(error));
        }
    }

    #[test]
    fn a_row_stands_in_the_set_once_and_leaves_it_with_its_socket() {
        let timers = Arc::new(TimerQueue::default());
        let mut one = Alarm::new(&timers, 1);
        let two = Alarm::new(&timers, 2);
        let now = timers.now();
        for seconds in [5, 3, 8] {
            one.set(Some(now + Duration::from_secs(seconds)));
            assert_eq!(timers.due.lock().slots.len(), 1);
        }
        drop(two);
        assert_eq!(timers.due.lock().slots.len(), 1, "it never stood there");
        drop(one);
        assert!(timers.due.lock().slots.is_empty());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(timers.poll_due(&mut cx).is_pending());
    }
}
