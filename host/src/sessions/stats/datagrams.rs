//! The sockets of `chrome.sockets.udp`.

use tokio::time::Instant;

use crate::sessions::stats::{Counters, Namespace, Order, PageRange, SocketStats, cost};

#[derive(Debug)]
pub(super) struct UdpSocket {
    /// The bytes of its name.
    pub(super) name: usize,
    pub(super) counters: Counters,
    /// When it was created, or when the host first saw it.
    since: Instant,
}

impl UdpSocket {
    pub(super) fn new(name: usize) -> Self {
        UdpSocket {
            name,
            counters: Counters::default(),
            since: Instant::now(),
        }
    }

    pub(super) fn cost(&self) -> usize {
        cost(Namespace::Udp, self.name)
    }
}

impl SocketStats {
    pub(super) fn sync_udp(&mut self, sockets: impl IntoIterator<Item = (u64, usize)>) {
        let mut old = std::mem::take(&mut self.udp);
        for (id, name) in sockets {
            let known = old.remove(&id);
            let mut socket = known.unwrap_or_else(|| UdpSocket::new(name));
            socket.name = name;
            self.udp.insert(id, socket);
        }
        for socket in old.into_values() {
            self.closed.add(socket.counters);
        }
    }

    /// The counters of a socket, or of the closed ones.
    fn counters_of(&mut self, socket: u64) -> &mut Counters {
        let socket = self.udp.get_mut(&socket);
        socket.map_or(&mut self.closed, |socket| &mut socket.counters)
    }

    pub(crate) fn count_datagram_received(&mut self, socket: u64, bytes: usize) {
        let counters = self.counters_of(socket);
        counters.received += bytes as u64;
        counters.datagrams_received += 1;
    }

    pub(crate) fn count_datagram_sent(&mut self, socket: u64, bytes: usize) {
        let counters = self.counters_of(socket);
        counters.sent += bytes as u64;
        counters.datagrams_sent += 1;
    }

    /// The counters of a socket, and its age in milliseconds.
    pub(crate) fn udp_socket(&self, socket: u64) -> (Counters, u64) {
        let Some(socket) = self.udp.get(&socket) else {
            return (Counters::default(), 0);
        };
        let age = socket.since.elapsed().as_millis();
        (socket.counters, age.try_into().unwrap_or(u64::MAX))
    }

    /// The number of sockets, and a range of them.
    pub(crate) fn udp_ids(&self, order: Order, range: PageRange) -> (usize, Vec<u64>) {
        let mut ids: Vec<_> = self.udp.iter().collect();
        if order == Order::Bytes {
            // The sort is stable, so equal sockets stay ordered by id.
            ids.sort_by_key(|(_, socket)| std::cmp::Reverse(socket.counters.bytes()));
        }
        let (total, ids) = range.select(ids);
        (total, ids.into_iter().map(|(id, _)| *id).collect())
    }
}
