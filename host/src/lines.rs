//! Log lines about clients: each peer address has so many in a time, so that no stranger can
//! fill a disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The most lines about one address in one span.
const LINES: u32 = 30;

const SPAN: Duration = Duration::from_secs(10);

/// The most addresses that are counted apart; all others are counted together.
const PEERS: usize = 1024;

#[derive(Default)]
struct Written {
    start: Option<Instant>,
    lines: u32,
}

/// Whether the next line about a client may be written.
#[derive(Clone, Default)]
pub(super) struct LogLines {
    peers: Rc<RefCell<HashMap<Option<IpAddr>, Written>>>,
    peer: Option<IpAddr>,
}

impl LogLines {
    /// The same counts, for lines about this address.
    pub(super) fn about(&self, peer: IpAddr) -> Self {
        LogLines {
            peers: self.peers.clone(),
            peer: Some(peer),
        }
    }

    /// Counts a line. Of the first one too many it says so itself.
    pub(super) fn may_write(&self) -> bool {
        self.may_write_at(Instant::now())
    }

    fn may_write_at(&self, now: Instant) -> bool {
        let mut peers = self.peers.borrow_mut();
        let is_past = |written: &Written| written.start.is_none_or(|start| now - start >= SPAN);
        if peers.len() >= PEERS && !peers.contains_key(&self.peer) {
            peers.retain(|_, written| !is_past(written));
        }
        let peer = self
            .peer
            .filter(|_| peers.len() < PEERS || peers.contains_key(&self.peer));
        let written = peers.entry(peer).or_default();
        if is_past(written) {
            let left_out = written.lines.saturating_sub(LINES);
            if left_out > 0 {
                log::warn!("{}: {left_out} lines were left out", shown(peer));
            }
            *written = Written {
                start: Some(now),
                lines: 0,
            };
        }
        written.lines = written.lines.saturating_add(1);
        if written.lines == LINES + 1 {
            log::warn!("{}: too many log lines, the next are left out", shown(peer));
        }
        written.lines <= LINES
    }
}

fn shown(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "clients".to_owned(), |peer| peer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_lines_in_a_time() {
        let start = Instant::now();
        let lines = LogLines::default();
        let one = lines.about([127, 0, 0, 1].into());
        for _ in 0..LINES {
            assert!(one.may_write_at(start));
        }
        assert!(!one.may_write_at(start) && !one.may_write_at(start + SPAN / 2));
        assert!(lines.about([127, 0, 0, 2].into()).may_write_at(start));
        assert!(one.may_write_at(start + SPAN));
    }

    #[test]
    fn however_many_addresses_there_are_the_counts_are_bounded() {
        let start = Instant::now();
        let lines = LogLines::default();
        let about = |n: u32| lines.about(IpAddr::V4((0x7f00_0000 + n).into()));
        let written = (0..50_000).filter(|n| about(*n).may_write_at(start));
        assert!(written.count() <= PEERS + LINES as usize);
        assert!(lines.peers.borrow().len() <= PEERS + 1);
        assert!(about(7_000_000).may_write_at(start + SPAN));
    }
}
