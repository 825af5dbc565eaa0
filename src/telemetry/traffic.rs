//! What one socket counts.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use crate::telemetry::arbiter::{ArbiterStats, OwnCount};

/// The socket had no connection yet, and was not bound yet.
const NEVER: u32 = u32::MAX;

/// What a socket has transferred (beyond Chrome, with the feature `metrics`).
///
/// The counts are those of its present connection, or of its last one; of a UDP socket, since it
/// was bound. A handover does not carry them: they begin anew in the other process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Traffic {
    /// The bytes that were read from the OS. What waits in the OS does not count.
    pub bytes_received: u64,
    /// The bytes that the OS has accepted. The peer may not have them yet.
    pub bytes_sent: u64,
    /// When the connection was made, or the UDP socket was bound. It does not follow a system clock
    /// that is set while the registry runs.
    pub since: SystemTime,
    /// When something was received or sent last, or `since`. It is up to a second early.
    pub last_activity: SystemTime,
}

/// The counts of one socket. Its actor, and the thread that holds its fast path, write them: of a
/// TCP socket never two at once, because its fast path is closed while a send waits.
pub(crate) struct SocketTraffic {
    received: OwnCount,
    sent: OwnCount,
    /// In ticks of the arbiter's clock.
    since: AtomicU32,
    last: AtomicU32,
}

impl Default for SocketTraffic {
    fn default() -> Self {
        SocketTraffic {
            received: OwnCount::default(),
            sent: OwnCount::default(),
            since: AtomicU32::new(NEVER),
            last: AtomicU32::new(NEVER),
        }
    }
}

impl SocketTraffic {
    /// A connection begins, or the socket was bound.
    pub(crate) fn begin(&self, stats: &Arc<ArbiterStats>) {
        let now = stats.exact_now();
        self.received.reset();
        self.sent.reset();
        self.since.store(now, Relaxed);
        self.last.store(now, Relaxed);
    }

    #[inline]
    pub(crate) fn received(&self, stats: &Arc<ArbiterStats>, bytes: usize) {
        stats.received(bytes);
        self.count_received(stats, bytes);
    }

    #[inline]
    pub(crate) fn sent(&self, stats: &Arc<ArbiterStats>, bytes: usize) {
        stats.sent(bytes);
        self.sent.add(bytes as u64);
        self.last.store(stats.now(), Relaxed);
    }

    pub(crate) fn datagram_received(&self, stats: &Arc<ArbiterStats>, bytes: usize) {
        stats.datagram_received(bytes);
        self.count_received(stats, bytes);
    }

    pub(crate) fn datagram_sent(&self, stats: &Arc<ArbiterStats>, bytes: usize) {
        stats.datagram_sent(bytes);
        // The actor may send to an address that it has looked up while the fast path is open.
        self.sent.add_shared(bytes as u64);
        self.last.store(stats.now(), Relaxed);
    }

    #[inline]
    fn count_received(&self, stats: &Arc<ArbiterStats>, bytes: usize) {
        self.received.add(bytes as u64);
        self.last.store(stats.now(), Relaxed);
    }

    /// `None` if it has never had a connection, and was never bound.
    pub(crate) fn read(&self, stats: &ArbiterStats) -> Option<Traffic> {
        let since = self.since.load(Relaxed);
        if since == NEVER {
            return None;
        }
        let time = |tick: u32| stats.system_time(tick);
        Some(Traffic {
            bytes_received: self.received.get(),
            bytes_sent: self.sent.get(),
            since: time(since),
            // The coarse clock may be behind the exact one that `since` was read from.
            last_activity: time(self.last.load(Relaxed).max(since)),
        })
    }
}
