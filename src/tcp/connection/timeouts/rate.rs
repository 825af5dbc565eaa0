//! The minimum rate at which a peer acknowledges what is sent.

use actix_rt::time::Instant;

use super::{CHECKS_BEFORE, TimeoutState};
use crate::tcp::MinimumRate;
use crate::tcp::connection::Connection;

/// The present period. It has a meaning only while data waits.
pub(super) struct RatePeriod {
    /// When it began, or when data started to wait.
    since: Instant,
    /// What waited when the period began; `None` until the first check, which begins it. So data
    /// that waits for a moment only does not have the OS asked.
    outstanding: Option<Outstanding>,
    /// The bytes of the sends since then.
    sent: u64,
}

/// What the peer has not acknowledged.
#[derive(Clone, Copy)]
struct Outstanding {
    /// In the write queue.
    queued: u64,
    /// In the OS, where it tells.
    unacknowledged: Option<u64>,
}

impl Outstanding {
    fn of(connection: &Connection) -> Self {
        Outstanding {
            queued: connection.queue.bytes() as u64,
            unacknowledged: connection.stream.unacknowledged().map(|it| it as u64),
        }
    }

    /// How many bytes were acknowledged until `now`, if `sent` more were sent.
    fn acknowledged(self, sent: u64, now: Self) -> u64 {
        let in_os = self.unacknowledged.zip(now.unacknowledged);
        let (before, after) = in_os.unwrap_or_default();
        let all = self.queued.saturating_add(sent).saturating_add(before);
        all.saturating_sub(now.queued.saturating_add(after))
    }
}

impl RatePeriod {
    pub(super) fn starting_at(now: Instant) -> Self {
        RatePeriod {
            since: now,
            outstanding: None,
            sent: 0,
        }
    }

    /// When the rate is checked next.
    pub(super) fn next_check(&self, rate: MinimumRate) -> Option<Instant> {
        let wait = match self.outstanding {
            None => rate.per / CHECKS_BEFORE,
            Some(_) => rate.per,
        };
        // A time beyond the clock's range never comes.
        self.since.checked_add(wait)
    }

    fn begin(&mut self, now: Instant, outstanding: Outstanding) {
        *self = RatePeriod {
            since: now,
            outstanding: Some(outstanding),
            sent: 0,
        };
    }

    /// Data waits. Whether a period has ended in which the peer acknowledged too little. If not,
    /// and it has ended, the next one begins.
    pub(super) fn is_too_slow(
        &mut self,
        rate: MinimumRate,
        connection: &Connection,
        now: Instant,
    ) -> bool {
        if self.next_check(rate).is_none_or(|end| end > now) {
            return false;
        }
        let outstanding = Outstanding::of(connection);
        if let Some(before) = self.outstanding
            && before.acknowledged(self.sent, outstanding) < rate.bytes
        {
            return true;
        }
        self.begin(now, outstanding);
        false
    }
}

impl TimeoutState {
    /// So many bytes are sent; `nothing_waits` before them.
    pub(in crate::tcp) fn record_send(&mut self, bytes: usize, nothing_waits: bool) {
        if nothing_waits {
            self.record_sent();
            self.restart_rate();
        } else {
            self.rate_period.sent = self.rate_period.sent.saturating_add(bytes as u64);
        }
    }

    /// Data starts to wait, or may wait already: a period begins.
    pub(in crate::tcp) fn restart_rate(&mut self) {
        self.rate_period = RatePeriod::starting_at(self.timers.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_is_what_is_outstanding_no_more() {
        let outstanding = |queued, unacknowledged| Outstanding {
            queued,
            unacknowledged,
        };
        for (before, sent, now, acknowledged) in [
            // The OS has accepted 30, and the peer has acknowledged 50.
            (outstanding(100, Some(60)), 0, outstanding(70, Some(40)), 50),
            // The OS has accepted data, and the peer has acknowledged none.
            (outstanding(100, Some(60)), 0, outstanding(50, Some(110)), 0),
            (outstanding(10, Some(5)), 90, outstanding(80, Some(20)), 5),
            // The OS does not tell, or not any more.
            (outstanding(100, None), 20, outstanding(90, None), 30),
            (outstanding(100, None), 0, outstanding(90, Some(1000)), 10),
            (outstanding(100, Some(9)), 0, outstanding(100, None), 0),
            // Encrypted data is longer.
            (outstanding(100, Some(0)), 0, outstanding(0, Some(130)), 0),
        ] {
            assert_eq!(before.acknowledged(sent, now), acknowledged);
        }
    }
}
