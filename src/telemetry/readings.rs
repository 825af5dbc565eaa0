//! Gauges, which are read when they are published.

use std::collections::BTreeMap;

/// What the parts of a registry add up to at one moment.
#[derive(Default)]
pub(crate) struct Readings {
    pub(super) connections: usize,
    pub(super) send_queue_bytes: usize,
    pub(super) udp_sockets: usize,
    /// By the place of the name: see [`ServerStats::index`](super::ServerStats::index).
    pub(super) servers: BTreeMap<usize, ServerReading>,
    pub(super) arbiters: BTreeMap<usize, ArbiterReading>,
}

#[derive(Default)]
pub(super) struct ServerReading {
    pub(super) connections: usize,
    pub(super) accept_events: usize,
}

#[derive(Default)]
pub(super) struct ArbiterReading {
    pub(super) client_sockets: usize,
    pub(super) unhandled_bytes: usize,
}

impl Readings {
    pub(crate) fn add_connections(&mut self, open: usize) {
        self.connections += open;
    }

    pub(crate) fn add_server(&mut self, index: usize, open: usize, accept_events: usize) {
        let server = self.servers.entry(index).or_default();
        server.connections += open;
        server.accept_events += accept_events;
    }

    pub(crate) fn add_client_sockets(&mut self, arbiter: usize, sockets: usize) {
        self.arbiters.entry(arbiter).or_default().client_sockets += sockets;
    }

    pub(crate) fn add_unhandled(&mut self, arbiter: usize, bytes: usize) {
        self.arbiters.entry(arbiter).or_default().unhandled_bytes += bytes;
    }

    pub(crate) fn add_send_queue(&mut self, bytes: usize) {
        self.send_queue_bytes += bytes;
    }

    pub(crate) fn add_udp_sockets(&mut self, sockets: usize) {
        self.udp_sockets += sockets;
    }
}

/// Adds to the readings. `false` if what it reads is gone.
type Source = Box<dyn Fn(&mut Readings) -> bool + Send + Sync>;

/// Everything that has gauges.
#[derive(Default)]
pub(super) struct Sources {
    all: Vec<Source>,
    /// The length at which sources that are gone are removed. So the list stays short even if
    /// nobody reads it.
    prune_at: usize,
}

impl Sources {
    pub(super) fn add(&mut self, source: Source) {
        const MIN: usize = 64;
        if self.all.len() >= self.prune_at.max(MIN) {
            self.read();
            self.prune_at = 2 * self.all.len();
        }
        self.all.push(source);
    }

    /// Reads all sources, and removes those that are gone.
    pub(super) fn read(&mut self) -> Readings {
        let mut readings = Readings::default();
        self.all.retain(|source| source(&mut readings));
        readings
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn sources_that_are_gone_do_not_add_up_though_nobody_reads() {
        let mut sources = Sources::default();
        let stays = Arc::new(());
        let mut add = |alive: &Arc<()>| {
            let alive = Arc::downgrade(alive);
            sources.add(Box::new(move |readings| {
                readings.add_connections(1);
                alive.upgrade().is_some()
            }));
        };
        add(&stays);
        for _ in 0..10_000 {
            add(&Arc::default());
        }
        assert!(sources.all.len() <= 128, "{}", sources.all.len());
        sources.read();
        assert_eq!(sources.read().connections, 1);
    }
}
