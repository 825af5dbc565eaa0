//! Counters of what sockets have transferred, and ranges of lists of them.

use serde_json::{Value, json};

/// What sockets have transferred.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    /// The bytes passed to the apps' clients.
    pub(crate) received: u64,
    /// The bytes of answered sends.
    pub(crate) sent: u64,
    /// The connections reported to the clients.
    pub(crate) accepted: u64,
    /// The datagrams passed to the apps' clients.
    pub(crate) datagrams_received: u64,
    /// The datagrams of answered sends.
    pub(crate) datagrams_sent: u64,
}

/// The order of sockets in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// By id.
    Id,
    /// Most bytes first.
    Bytes,
}

/// A range of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageRange {
    pub(crate) from: usize,
    pub(crate) max: usize,
}

impl Counters {
    pub(crate) fn add(&mut self, other: Counters) {
        self.received += other.received;
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.datagrams_received += other.datagrams_received;
        self.datagrams_sent += other.datagrams_sent;
    }

    pub(crate) fn bytes(self) -> u64 {
        self.received + self.sent
    }

    pub(crate) fn sum(counters: impl IntoIterator<Item = Counters>) -> Self {
        let mut sum = Counters::default();
        counters.into_iter().for_each(|one| sum.add(one));
        sum
    }

    pub(crate) fn to_json(self) -> Value {
        json!({ "received": self.received, "sent": self.sent, "accepted": self.accepted })
    }
}

impl PageRange {
    /// The number of all rows, and those in this range.
    pub(crate) fn select<T>(self, rows: Vec<T>) -> (usize, Vec<T>) {
        let total = rows.len();
        let selected = rows.into_iter().skip(self.from).take(self.max);
        (total, selected.collect())
    }
}
