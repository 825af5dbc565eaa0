//! Counts open connections, for limits and draining.

mod wait_queue;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::address::{Address, PeerCredentials};
use crate::connections::wait_queue::WaitQueue;
use crate::ids::ClientSocketId;

/// Counts the connections of one server socket, of one app, or of a whole
/// registry.
#[derive(Default)]
pub(crate) struct ConnectionCounter {
    /// Connections that were accepted and have not ended, which limits count.
    /// A connection counts here before it counts as `open`, which begins when
    /// it has become a client socket.
    accepted: AtomicUsize,
    /// Accepted connections per peer, of those that a limit per peer counts.
    peers: Mutex<PeerCounts>,
    open: AtomicUsize,
    /// How many connections were open and have ended.
    closed_total: AtomicUsize,
    /// How many drains are running.
    drains: AtomicUsize,
    /// Connections that drains have ended, kept while a drain is running.
    forced: Mutex<Vec<ClientSocketId>>,
    /// Notified when the last open connection has ended.
    none_open: Notify,
    /// Server sockets that wait for an accepted connection to end.
    pub(crate) wait_queue: WaitQueue,
    /// A server socket's counter has its app's, which has its registry's.
    parent: Option<Arc<ConnectionCounter>>,
}

/// Boxed, because few scopes have a limit per peer.
#[derive(Default)]
struct PeerCounts(Option<Box<PeerMap>>);

#[derive(Default)]
struct PeerMap {
    counts: HashMap<PeerKey, usize>,
}

impl PeerCounts {
    fn get(&self, peer: PeerKey) -> usize {
        let map = self.0.as_ref();
        let count = map.and_then(|map| map.counts.get(&peer));
        count.copied().unwrap_or(0)
    }

    fn add(&mut self, peer: PeerKey) {
        let map = self.0.get_or_insert_default();
        *map.counts.entry(peer).or_default() += 1;
    }

    fn remove(&mut self, peer: PeerKey) {
        if let Some(map) = &mut self.0
            && let Some(count) = map.counts.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                map.counts.remove(&peer);
            }
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|map| map.counts.is_empty())
    }
}

impl ConnectionCounter {
    pub(crate) fn with_parent(parent: &Arc<ConnectionCounter>) -> Self {
        ConnectionCounter {
            parent: Some(parent.clone()),
            ..ConnectionCounter::default()
        }
    }

    /// How many connections were accepted and have not ended.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// How many accepted connections of this peer are counted.
    pub(crate) fn accepted_from(&self, peer: PeerKey) -> usize {
        self.peers.lock().get(peer)
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub(crate) fn closed_total(&self) -> usize {
        self.closed_total.load(SeqCst)
    }

    /// Whether a drain of these connections, or of all of the app's, is running.
    pub(crate) fn is_draining(&self) -> bool {
        self.self_and_parents()
            .any(|counter| counter.drains.load(SeqCst) > 0)
    }

    /// The connections that drains have ended, without the first `from` ones.
    pub(crate) fn forced_since(&self, from: usize) -> Vec<ClientSocketId> {
        self.forced.lock().get(from..).unwrap_or_default().to_vec()
    }

    pub(crate) fn forced_total(&self) -> usize {
        self.forced.lock().len()
    }

    /// Waits until no connection is open.
    pub(crate) async fn wait_until_none(&self) {
        let mut notified = std::pin::pin!(self.none_open.notified());
        loop {
            // Registered before the count is read, so that no end is missed.
            notified.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            notified.as_mut().await;
            notified.set(self.none_open.notified());
        }
    }

    fn self_and_parents(&self) -> impl Iterator<Item = &ConnectionCounter> {
        std::iter::successors(Some(self), |counter| counter.parent.as_deref())
    }

    fn count_opened(&self) {
        for counter in self.self_and_parents() {
            counter.open.fetch_add(1, SeqCst);
        }
    }
}

/// Counts one connection until it is dropped.
pub(crate) struct ConnectionGuard {
    counter: Arc<ConnectionCounter>,
    was_accepted: bool,
    is_active: bool,
    /// Which counters count it for its peer: the server socket's, the app's and
    /// the registry's.
    counted_for_peer: [bool; 3],
    peer: PeerKey,
}

impl ConnectionGuard {
    /// Counts a connection that was just accepted. `counted_for_peer` says which
    /// counters count it for its peer: the server socket's, the app's and the
    /// registry's.
    pub(crate) fn accepted(
        counter: Arc<ConnectionCounter>,
        peer: PeerKey,
        counted_for_peer: [bool; 3],
    ) -> Self {
        for (each, is_counted) in counter.self_and_parents().zip(counted_for_peer) {
            each.accepted.fetch_add(1, SeqCst);
            if is_counted {
                each.peers.lock().add(peer);
            }
        }
        ConnectionGuard {
            counter,
            was_accepted: true,
            is_active: false,
            counted_for_peer,
            peer,
        }
    }

    /// Counts an accepted connection for its client, which a proxy has named. It was
    /// counted for no peer before.
    pub(crate) fn count_for_peer(&mut self, peer: PeerKey, counted_for_peer: [bool; 3]) {
        self.peer = peer;
        self.counted_for_peer = counted_for_peer;
        for (each, is_counted) in self.counter.self_and_parents().zip(counted_for_peer) {
            if is_counted {
                each.peers.lock().add(self.peer);
            }
        }
    }

    /// Counts a connection that no server socket of this process accepted. If
    /// one of another process did, it counts for the limits of its app.
    pub(crate) fn opened(counter: Arc<ConnectionCounter>, was_accepted: bool) -> Self {
        counter.count_opened();
        if was_accepted {
            for each in counter.self_and_parents() {
                each.accepted.fetch_add(1, SeqCst);
            }
        }
        ConnectionGuard {
            counter,
            was_accepted,
            is_active: true,
            counted_for_peer: [false; 3],
            peer: PeerKey::NONE,
        }
    }

    /// The connection has become a client socket: drains count it from now on.
    pub(crate) fn activate(&mut self) {
        if !std::mem::replace(&mut self.is_active, true) {
            self.counter.count_opened();
        }
    }

    /// Gives back its place in limits, because the app has closed it and all
    /// that was sent has left. Drains still wait for it.
    pub(crate) fn release_limits(&mut self) {
        // Few scopes have a limit per peer.
        if self.counted_for_peer != [false; 3] {
            self.release_peer();
        }
        if std::mem::take(&mut self.was_accepted) {
            for counter in self.counter.self_and_parents() {
                counter.accepted.fetch_sub(1, SeqCst);
                counter.wait_queue.wake_first();
            }
        }
    }

    #[cold]
    fn release_peer(&mut self) {
        let counted_for_peer = std::mem::take(&mut self.counted_for_peer);
        for (counter, is_counted) in self.counter.self_and_parents().zip(counted_for_peer) {
            if is_counted {
                counter.peers.lock().remove(self.peer);
            }
        }
    }

    /// Whether this counter counts the connection.
    pub(crate) fn belongs_to(&self, counter: &Arc<ConnectionCounter>) -> bool {
        let counter = Arc::as_ptr(counter);
        let mut counters = self.counter.self_and_parents();
        counters.any(|each| std::ptr::eq(each, counter))
    }

    /// Records that a drain ends the connection.
    pub(crate) fn record_forced(&self, id: ClientSocketId) {
        for counter in self.counter.self_and_parents() {
            if counter.drains.load(SeqCst) > 0 {
                counter.forced.lock().push(id);
            }
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.is_active {
            for counter in self.counter.self_and_parents() {
                counter.closed_total.fetch_add(1, SeqCst);
                if counter.open.fetch_sub(1, SeqCst) == 1 {
                    counter.none_open.notify_waiters();
                }
            }
        }
        self.release_limits();
    }
}

/// What identifies a peer: an IPv4 address; the /64 network of an IPv6 address, because that is the
/// smallest range that one host is given; a user at a Unix socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PeerKey(u64);

impl PeerKey {
    /// Marks the keys of IPv4 addresses and of users; no IPv6 network has a key in these ranges.
    const IPV4: u64 = 1 << 32;
    const USER: u64 = 2 << 32;
    /// For a connection that is not counted for its peer.
    pub(crate) const NONE: Self = PeerKey(0);

    /// `credentials` is asked for the peer of a Unix socket only.
    pub(crate) fn of(
        peer: &Address,
        credentials: impl FnOnce() -> Option<PeerCredentials>,
    ) -> Self {
        match peer {
            Address::Ip(address) => address.ip().into(),
            Address::Unix(_) => {
                // All of whom the OS tells nothing are one peer: none evades a limit so.
                let uid = credentials().map_or(u32::MAX, |peer| peer.uid);
                PeerKey(Self::USER | u64::from(uid))
            }
        }
    }
}

impl From<IpAddr> for PeerKey {
    fn from(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(ip) => PeerKey(Self::IPV4 | u64::from(u32::from(ip))),
            IpAddr::V6(ip) => PeerKey((u128::from(ip) >> 64) as u64),
        }
    }
}

/// A running drain, until it is dropped.
pub(crate) struct DrainGuard(Arc<ConnectionCounter>);

impl DrainGuard {
    pub(crate) fn new(counter: Arc<ConnectionCounter>) -> Self {
        counter.drains.fetch_add(1, SeqCst);
        DrainGuard(counter)
    }

    pub(crate) fn counter(&self) -> &Arc<ConnectionCounter> {
        &self.0
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        // The last drain has reported them.
        if self.0.drains.fetch_sub(1, SeqCst) == 1 {
            *self.0.forced.lock() = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::UnixAddress;

    #[test]
    fn a_connection_counts_for_its_server_socket_and_for_its_app() {
        let app = Arc::new(ConnectionCounter::default());
        let server = Arc::new(ConnectionCounter::with_parent(&app));
        let outbound = ConnectionGuard::opened(app.clone(), false);
        let peer = PeerKey::from(IpAddr::from([127, 0, 0, 1]));
        let mut accepted = ConnectionGuard::accepted(server.clone(), peer, [false; 3]);
        assert_eq!((app.open(), server.open()), (1, 0), "it is not active yet");
        accepted.activate();
        assert_eq!((app.open(), server.open()), (2, 1));
        assert_eq!((app.accepted(), server.accepted()), (1, 1));
        assert!(accepted.belongs_to(&app) && accepted.belongs_to(&server));
        assert!(outbound.belongs_to(&app) && !outbound.belongs_to(&server));

        accepted.record_forced(1.into());
        assert_eq!(app.forced_total(), 0, "no drain is running");
        let draining = DrainGuard::new(app.clone());
        assert!(app.is_draining() && server.is_draining());
        accepted.record_forced(1.into());
        assert_eq!(
            (app.forced_since(0), server.forced_total()),
            (vec![1.into()], 0)
        );
        drop(draining);
        assert!(!server.is_draining());
        assert_eq!(app.forced_total(), 0);

        accepted.release_limits();
        assert_eq!((app.open(), server.open()), (2, 1), "drains wait for it");
        assert_eq!((app.accepted(), server.accepted()), (0, 0));
        drop((accepted, outbound));
        assert_eq!((app.open(), server.open()), (0, 0));
        assert_eq!((app.closed_total(), server.closed_total()), (2, 1));
        assert_eq!((app.accepted(), server.accepted()), (0, 0));
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
        let key = |ip: &str| PeerKey::from(ip.parse::<IpAddr>().expect("an IP address"));
        assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("::1"), key("0.0.0.1"));
        assert_ne!(key("::1"), key("0.0.0.0"));
        let user = |uid| {
            let peer = Address::Unix(UnixAddress::Unnamed);
            PeerKey::of(&peer, || Some(PeerCredentials::new(Some(1), uid, 0)))
        };
        assert_eq!(user(1), user(1));
        assert_ne!(user(1), user(2));
        assert_ne!(user(0), key("0.0.0.0"));
    }

    #[test]
    fn an_ended_connection_is_not_counted_and_its_peer_is_forgotten() {
        let registry = Arc::new(ConnectionCounter::default());
        let app = Arc::new(ConnectionCounter::with_parent(&registry));
        let server = Arc::new(ConnectionCounter::with_parent(&app));
        let peer = PeerKey::from(IpAddr::from([127, 0, 0, 1]));
        let accepted = |counted| ConnectionGuard::accepted(server.clone(), peer, counted);
        let from_peer = || [&server, &app, &registry].map(|it| it.accepted_from(peer));
        let counted = [
            accepted([true, true, true]),
            accepted([true, false, false]),
            accepted([false, false, true]),
        ];
        let uncounted = accepted([false; 3]);
        assert_eq!((server.accepted(), from_peer()), (4, [2, 1, 2]));
        drop(uncounted);
        assert_eq!((registry.accepted(), from_peer()), (3, [2, 1, 2]));
        drop(counted);
        assert_eq!((server.accepted(), server.closed_total()), (0, 0));
        for counter in [server, app, registry] {
            assert!(counter.peers.lock().is_empty());
        }
    }

    #[test]
    fn a_connection_that_another_process_accepted_counts_for_its_app() {
        let app = Arc::new(ConnectionCounter::default());
        let inherited = ConnectionGuard::opened(app.clone(), true);
        assert_eq!((app.open(), app.accepted()), (1, 1));
        drop(inherited);
        assert_eq!((app.open(), app.accepted()), (0, 0));
    }
}
