//! What the sockets of one arbiter count together, and the arbiter's coarse clock.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::time::{Duration, SystemTime};

use actix_rt::ArbiterHandle;
use actix_rt::time::{Instant, sleep};
use metrics::Histogram;
use parking_lot::RwLock;

use crate::telemetry::labels::FullWindow;

/// The time between two ticks of a running clock.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// The clock does not run.
const STOPPED: u32 = u32::MAX;

/// A count that one thread at a time writes. Others only read it.
#[derive(Default)]
pub(super) struct OwnCount(AtomicU64);

impl OwnCount {
    /// Without a locked operation, since no other thread writes.
    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// If two threads may write.
    pub(super) fn add_shared(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Keeps what other threads write out of the cache lines of what the arbiter writes.
#[derive(Default)]
#[repr(align(64))]
struct CacheLine<T>(T);

/// Counts of one arbiter. The arbiter's actors write them, and senders in other threads.
pub(crate) struct ArbiterStats {
    own: CacheLine<Own>,
    shared: CacheLine<Shared>,
    clock: CacheLine<Clock>,
}

/// Written by the arbiter's thread.
#[derive(Default)]
struct Own {
    received_bytes: OwnCount,
    /// By [`FullWindow`].
    full_windows: [OwnCount; 2],
    datagrams_received: OwnCount,
    datagram_bytes_received: OwnCount,
    /// The most that one turn has found, since this was last read.
    most_calls: AtomicUsize,
    most_ready: AtomicUsize,
}

/// Written by every thread that sends, or handles events.
#[derive(Default)]
struct Shared {
    sent_bytes: AtomicU64,
    datagrams_sent: AtomicU64,
    datagram_bytes_sent: AtomicU64,
    events_waiting: AtomicUsize,
}

/// Ticks while the arbiter's sockets transfer data, and stops when they rest: so reading the time
/// costs a load, and an idle process is not woken.
struct Clock {
    /// The last tick, or [`STOPPED`].
    tick: AtomicU32,
    started_at: Instant,
    /// The same moment by the system's clock.
    started_at_system: SystemTime,
    arbiter: RwLock<Option<ArbiterHandle>>,
    /// How much later than planned each tick came, if there is a recorder.
    lag: Histogram,
}

/// The counts of one moment.
pub(super) struct ArbiterCounts {
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) full_windows: [u64; 2],
    pub(super) datagrams_received: u64,
    pub(super) datagram_bytes_received: u64,
    pub(super) datagrams_sent: u64,
    pub(super) datagram_bytes_sent: u64,
    pub(super) events_waiting: usize,
    pub(super) most_calls: usize,
    pub(super) most_ready: usize,
}

impl Default for ArbiterStats {
    fn default() -> Self {
        ArbiterStats::new(Histogram::noop())
    }
}

impl ArbiterStats {
    pub(super) fn new(lag: Histogram) -> Self {
        ArbiterStats {
            own: CacheLine::default(),
            shared: CacheLine::default(),
            clock: CacheLine(Clock {
                tick: AtomicU32::new(STOPPED),
                started_at: Instant::now(),
                started_at_system: SystemTime::now(),
                arbiter: RwLock::default(),
                lag,
            }),
        }
    }

    /// The arbiter in which the clock ticks, from its next start on.
    pub(crate) fn set_arbiter(&self, arbiter: ArbiterHandle) {
        *self.clock.0.arbiter.write() = Some(arbiter);
    }

    #[inline]
    pub(super) fn received(&self, bytes: usize) {
        self.own.0.received_bytes.add(bytes as u64);
    }

    #[inline]
    pub(super) fn sent(&self, bytes: usize) {
        self.shared.0.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    #[inline]
    pub(super) fn datagram_received(&self, bytes: usize) {
        self.own.0.datagrams_received.add(1);
        self.own.0.datagram_bytes_received.add(bytes as u64);
    }

    #[inline]
    pub(super) fn datagram_sent(&self, bytes: usize) {
        self.shared.0.datagrams_sent.fetch_add(1, Relaxed);
        let sum = &self.shared.0.datagram_bytes_sent;
        sum.fetch_add(bytes as u64, Relaxed);
    }

    /// `onReceive` events were raised.
    #[inline]
    pub(crate) fn events_raised(&self, count: usize) {
        self.shared.0.events_waiting.fetch_add(count, Relaxed);
    }

    /// `onReceive` events were handled, or have returned from a dead listener.
    #[inline]
    pub(crate) fn events_handled(&self, count: usize) {
        self.shared.0.events_waiting.fetch_sub(count, Relaxed);
    }

    /// A socket could not be read because a window is full.
    pub(crate) fn window_full(&self, whose: FullWindow) {
        self.own.0.full_windows[whose as usize].add(1);
    }

    /// A turn of the client sockets' actor begins with this much to do.
    #[inline]
    pub(crate) fn begin_turn(&self, calls: usize, ready: usize) {
        let own = &self.own.0;
        if calls > own.most_calls.load(Relaxed) {
            own.most_calls.store(calls, Relaxed);
        }
        if ready > own.most_ready.load(Relaxed) {
            own.most_ready.store(ready, Relaxed);
        }
    }

    pub(super) fn read(&self) -> ArbiterCounts {
        let (own, shared) = (&self.own.0, &self.shared.0);
        ArbiterCounts {
            received_bytes: own.received_bytes.get(),
            sent_bytes: shared.sent_bytes.load(Relaxed),
            full_windows: [0, 1].map(|whose| own.full_windows[whose].get()),
            datagrams_received: own.datagrams_received.get(),
            datagram_bytes_received: own.datagram_bytes_received.get(),
            datagrams_sent: shared.datagrams_sent.load(Relaxed),
            datagram_bytes_sent: shared.datagram_bytes_sent.load(Relaxed),
            events_waiting: shared.events_waiting.load(Relaxed),
            most_calls: own.most_calls.swap(0, Relaxed),
            most_ready: own.most_ready.swap(0, Relaxed),
        }
    }

    /// The time in [`TICK`]s since this was made, at most two late.
    #[inline]
    pub(super) fn now(self: &Arc<Self>) -> u32 {
        match self.clock.0.tick.load(Relaxed) {
            STOPPED => self.start_clock(),
            tick => tick,
        }
    }

    /// The exact time in [`TICK`]s.
    pub(super) fn exact_now(&self) -> u32 {
        let elapsed = self.clock.0.started_at.elapsed();
        // Not by milliseconds as `u128`, whose division is slow.
        let per_second = 1000 / TICK.subsec_millis();
        let ticks = elapsed.as_secs() * u64::from(per_second)
            + u64::from(elapsed.subsec_millis() / TICK.subsec_millis());
        u32::try_from(ticks).map_or(STOPPED - 1, |ticks| ticks.min(STOPPED - 1))
    }

    /// A time of this clock, by the system's clock.
    pub(super) fn system_time(&self, tick: u32) -> SystemTime {
        let start = self.clock.0.started_at_system;
        start.checked_add(TICK * tick).unwrap_or(start)
    }

    #[cold]
    fn start_clock(self: &Arc<Self>) -> u32 {
        let now = self.exact_now();
        let tick = &self.clock.0.tick;
        // Only one of several threads starts it.
        if tick.compare_exchange(STOPPED, now, AcqRel, Relaxed).is_ok() {
            let running = RunningClock(self.clone());
            // Dropping the task, now or with its arbiter, stops the clock.
            if let Some(arbiter) = self.clock.0.arbiter.read().clone() {
                arbiter.spawn(running.run());
            }
        }
        now
    }

    /// A value that changes with each transfer.
    fn transfers(&self) -> [u64; 4] {
        let (own, shared) = (&self.own.0, &self.shared.0);
        [
            own.received_bytes.get(),
            own.datagrams_received.get(),
            shared.sent_bytes.load(Relaxed),
            shared.datagrams_sent.load(Relaxed),
        ]
    }
}

/// Stops the clock when it is dropped.
struct RunningClock(Arc<ArbiterStats>);

impl RunningClock {
    async fn run(self) {
        let stats = &*self.0;
        let mut transfers = stats.transfers();
        loop {
            let slept_at = Instant::now();
            sleep(TICK).await;
            let lag = slept_at.elapsed().saturating_sub(TICK);
            stats.clock.0.lag.record(lag.as_secs_f64());
            if stats.transfers() == transfers {
                return;
            }
            transfers = stats.transfers();
            stats.clock.0.tick.store(stats.exact_now(), Relaxed);
        }
    }
}

impl Drop for RunningClock {
    fn drop(&mut self) {
        self.0.clock.0.tick.store(STOPPED, Relaxed);
    }
}
