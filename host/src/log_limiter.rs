//! Limits log lines about clients per peer address, so that no client can fill a disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The most lines about one address in one [`SPAN`].
const LINES: u32 = 30;

const SPAN: Duration = Duration::from_secs(10);

/// The most addresses that are counted separately. All others share one count.
const PEERS: usize = 1024;

#[derive(Default)]
struct LineCount {
    start: Option<Instant>,
    lines: u32,
}

/// Counts log lines per address.
#[derive(Clone, Default)]
pub(super) struct LogLimiter {
    peers: Rc<RefCell<HashMap<Option<IpAddr>, LineCount>>>,
    peer: Option<IpAddr>,
}

impl LogLimiter {
    /// Shares the counts; counts lines about this address.
    pub(super) fn for_peer(&self, peer: IpAddr) -> Self {
        LogLimiter {
            peers: self.peers.clone(),
            peer: Some(peer),
        }
    }

    /// Counts a line and returns whether to write it. Logs once per span that it drops lines.
    pub(super) fn allows(&self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&self, now: Instant) -> bool {
        let mut peers = self.peers.borrow_mut();
        let is_past = |count: &LineCount| count.start.is_none_or(|start| now - start >= SPAN);
        if peers.len() >= PEERS && !peers.contains_key(&self.peer) {
            peers.retain(|_, count| !is_past(count));
        }
        // A full table counts new addresses together, to bound its memory.
        let peer = self
            .peer
            .filter(|_| peers.len() < PEERS || peers.contains_key(&self.peer));
        let count = peers.entry(peer).or_default();
        if is_past(count) {
            let dropped = count.lines.saturating_sub(LINES);
            if dropped > 0 {
                log::warn!("{}: {dropped} lines were left out", display(peer));
            }
            *count = LineCount {
                start: Some(now),
                lines: 0,
            };
        }
        count.lines = count.lines.saturating_add(1);
        if count.lines == LINES + 1 {
            log::warn!(
                "{}: too many log lines, the next are left out",
                display(peer)
            );
        }
        count.lines <= LINES
    }
}

fn display(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "clients".to_owned(), |peer| peer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_limit_of_lines_per_span() {
        let start = Instant::now();
        let limiter = LogLimiter::default();
        let one = limiter.for_peer([127, 0, 0, 1].into());
        for _ in 0..LINES {
            assert!(one.allows_at(start));
        }
        assert!(!one.allows_at(start) && !one.allows_at(start + SPAN / 2));
        assert!(limiter.for_peer([127, 0, 0, 2].into()).allows_at(start));
        assert!(one.allows_at(start + SPAN));
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_addresses() {
        let start = Instant::now();
        let limiter = LogLimiter::default();
        let peer = |n: u32| limiter.for_peer(IpAddr::V4((0x7f00_0000 + n).into()));
        let written = (0..50_000).filter(|n| peer(*n).allows_at(start));
        assert!(written.count() <= PEERS + LINES as usize);
        assert!(limiter.peers.borrow().len() <= PEERS + 1);
        assert!(peer(7_000_000).allows_at(start + SPAN));
    }
}
