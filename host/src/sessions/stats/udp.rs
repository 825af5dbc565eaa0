//! The sockets of `chrome.sockets.udp` of one app. No I/O.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::limits::CLIENT_COST;
use crate::sessions::stats::counters::{Counters, Order, PageRange};

#[derive(Debug, Default)]
pub(super) struct UdpSockets(BTreeMap<u64, Entry>);

#[derive(Debug)]
struct Entry {
    /// The bytes of its name.
    name: usize,
    counters: Counters,
    /// When it was created, or when the host first saw it.
    since: Instant,
}

impl Entry {
    fn new(name: usize) -> Self {
        Entry {
            name,
            counters: Counters::default(),
            since: Instant::now(),
        }
    }

    fn cost(&self) -> usize {
        self.name + CLIENT_COST
    }
}

impl UdpSockets {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.0.keys().copied().collect()
    }

    /// Replaces the set of sockets, each with the bytes of its name, and keeps the counters of known
    /// ones. Returns the counters of the others.
    pub(super) fn sync(&mut self, sockets: impl IntoIterator<Item = (u64, usize)>) -> Counters {
        let mut old = std::mem::take(&mut self.0);
        for (id, name) in sockets {
            let known = old.remove(&id);
            let mut entry = known.unwrap_or_else(|| Entry::new(name));
            entry.name = name;
            self.0.insert(id, entry);
        }
        Counters::sum(old.into_values().map(|entry| entry.counters))
    }

    pub(super) fn create(&mut self, id: u64, name: usize) {
        self.0.insert(id, Entry::new(name));
    }

    /// Removes a socket. Returns its memory and its counters.
    pub(super) fn close(&mut self, id: u64) -> Option<(usize, Counters)> {
        let entry = self.0.remove(&id)?;
        Some((entry.cost(), entry.counters))
    }

    pub(super) fn name(&self, id: u64) -> Option<usize> {
        self.0.get(&id).map(|entry| entry.name)
    }

    pub(super) fn name_mut(&mut self, id: u64) -> Option<&mut usize> {
        self.0.get_mut(&id).map(|entry| &mut entry.name)
    }

    pub(super) fn counters_mut(&mut self, id: u64) -> Option<&mut Counters> {
        self.0.get_mut(&id).map(|entry| &mut entry.counters)
    }

    /// The memory of all.
    pub(super) fn cost(&self) -> usize {
        self.0.values().map(Entry::cost).sum()
    }

    /// The counters of each.
    pub(super) fn counters(&self) -> impl Iterator<Item = Counters> {
        self.0.values().map(|entry| entry.counters)
    }

    /// The counters of a socket, and its age in milliseconds.
    pub(super) fn get(&self, id: u64) -> (Counters, u64) {
        let Some(entry) = self.0.get(&id) else {
            return (Counters::default(), 0);
        };
        let age = entry.since.elapsed().as_millis();
        (entry.counters, age.try_into().unwrap_or(u64::MAX))
    }

    /// The number of sockets, and a range of them.
    pub(super) fn select(&self, order: Order, range: PageRange) -> (usize, Vec<u64>) {
        let mut ids: Vec<_> = self.0.iter().collect();
        if order == Order::Bytes {
            // The sort is stable, so equal sockets stay ordered by id.
            ids.sort_by_key(|(_, entry)| Reverse(entry.counters.bytes()));
        }
        let (total, ids) = range.select(ids);
        (total, ids.into_iter().map(|(id, _)| *id).collect())
    }
}
