//! Counts what the connections of a gateway transfer, and why clients go. For monitoring.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::protocol::close_reason::Code;

/// The counters of one gateway. They only grow. Atomic, because hyper requires `Io` to be `Send`.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) accepted: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) frames_received: Counter,
    pub(crate) frames_sent: Counter,
    /// Requests that were neither for a file nor a valid handshake.
    pub(crate) bad_requests: Counter,
    /// Connections of proxies without a valid PROXY header.
    pub(crate) proxy_errors: Counter,
    /// Clients that left by themselves.
    pub(crate) left: Counter,
    /// Connections that did not become clients, by [`Code`].
    refused: [Counter; Code::ALL.len()],
    /// Clients that the host closed, by [`Code`].
    closed: [Counter; Code::ALL.len()],
}

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Traffic {
    pub(crate) fn count_refused(&self, code: Code) {
        self.refused[code as usize].add(1);
    }

    /// Counts a client that has gone. `None`: it left by itself.
    pub(crate) fn count_closed(&self, code: Option<Code>) {
        match code {
            Some(code) => self.closed[code as usize].add(1),
            None => self.left.add(1),
        }
    }

    /// For each code: the connections that were refused, and the clients that were closed.
    pub(crate) fn by_code(&self) -> impl Iterator<Item = (Code, u64, u64)> {
        let all = Code::ALL.into_iter();
        all.map(|code| {
            (
                code,
                self.refused[code as usize].get(),
                self.closed[code as usize].get(),
            )
        })
    }
}
