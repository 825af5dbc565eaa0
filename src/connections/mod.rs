//! How many connections are open, for those who limit them and those who wait
//! for them to end.

mod wait_queue;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::connections::wait_queue::WaitQueue;
use crate::ids::ClientSocketId;

/// The connections of one server socket, of one app, or of a whole registry.
#[derive(Default)]
pub(crate) struct ConnectionCounter {
    /// Accepted, and open: what limits count. It begins before a connection is
    /// one of those that are `open` here, which have come to a row.
    accepted: AtomicUsize,
    /// Of those peers whose connections are counted.
    peers: Mutex<HashMap<u64, usize>>,
    open: AtomicUsize,
    /// How many there have been that are not open any more.
    over: AtomicUsize,
    /// How many drains go on.
    draining: AtomicUsize,
    /// Those that drains have ended, while there are any.
    forced: Mutex<Vec<ClientSocketId>>,
    changed: Notify,
    /// The server sockets that wait for one that was accepted to end.
    pub(crate) line: WaitQueue,
    /// The app's, of a server socket's; the registry's, of an app's.
    parent: Option<Arc<ConnectionCounter>>,
}

impl ConnectionCounter {
    pub(crate) fn of(parent: &Arc<ConnectionCounter>) -> Self {
        ConnectionCounter {
            parent: Some(parent.clone()),
            ..ConnectionCounter::default()
        }
    }

    /// Those that were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// How many connections of this peer are counted.
    pub(crate) fn of_peer(&self, peer: IpAddr) -> usize {
        self.peers.lock().get(&key(peer)).copied().unwrap_or(0)
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub(crate) fn over(&self) -> usize {
        self.over.load(SeqCst)
    }

    /// Whether nobody new is to come.
    pub(crate) fn is_draining(&self) -> bool {
        self.each().any(|counter| counter.draining.load(SeqCst) > 0)
    }

    /// Which ones were forced while drains have gone on, from the `from`th.
    pub(crate) fn forced(&self, from: usize) -> Vec<ClientSocketId> {
        self.forced.lock().get(from..).unwrap_or_default().to_vec()
    }

    pub(crate) fn count_forced(&self) -> usize {
        self.forced.lock().len()
    }

    /// Waits until none is open.
    pub(crate) async fn gone(&self) {
        let mut changed = std::pin::pin!(self.changed.notified());
        loop {
            // Registered before the look: no end is missed.
            changed.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    /// This, and what it is part of.
    fn each(&self) -> impl Iterator<Item = &ConnectionCounter> {
        std::iter::successors(Some(self), |counter| counter.parent.as_deref())
    }

    fn arrived(&self) {
        for counter in self.each() {
            counter.open.fetch_add(1, SeqCst);
        }
    }

    fn forget_peer(&self, peer: u64) {
        let mut peers = self.peers.lock();
        if let Some(count) = peers.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&peer);
            }
        }
    }
}

/// One open connection, counted until this is dropped.
pub(crate) struct ConnectionGuard {
    counter: Arc<ConnectionCounter>,
    was_accepted: bool,
    has_arrived: bool,
    /// Who counts it for its peer, by distance: the first is the server socket.
    counted: [bool; 3],
    peer: u64,
}

impl ConnectionGuard {
    /// A connection that was accepted just now, and who counts it for its
    /// peer: the server socket, the app, the registry.
    pub(crate) fn accepted(
        counter: Arc<ConnectionCounter>,
        peer: IpAddr,
        counted: [bool; 3],
    ) -> Self {
        let peer = key(peer);
        for (each, counted) in counter.each().zip(counted) {
            each.accepted.fetch_add(1, SeqCst);
            if counted {
                *each.peers.lock().entry(peer).or_default() += 1;
            }
        }
        ConnectionGuard {
            counter,
            was_accepted: true,
            has_arrived: false,
            counted,
            peer,
        }
    }

    /// One that was not accepted here, but may have been in another process,
    /// for a server socket that is not known.
    pub(crate) fn arrived(counter: Arc<ConnectionCounter>, was_accepted: bool) -> Self {
        counter.arrived();
        if was_accepted {
            for each in counter.each() {
                each.accepted.fetch_add(1, SeqCst);
            }
        }
        ConnectionGuard {
            counter,
            was_accepted,
            has_arrived: true,
            counted: [false; 3],
            peer: 0,
        }
    }

    /// It has come to a row.
    pub(crate) fn activate(&mut self) {
        if !std::mem::replace(&mut self.has_arrived, true) {
            self.counter.arrived();
        }
    }

    /// Its place in limits is another's from now on: the app has closed it, and
    /// what was sent has left. Drains still wait for it.
    pub(crate) fn leave_limits(&mut self) {
        for (counter, counted) in self.counter.each().zip(std::mem::take(&mut self.counted)) {
            if counted {
                counter.forget_peer(self.peer);
            }
        }
        if std::mem::take(&mut self.was_accepted) {
            for counter in self.counter.each() {
                counter.accepted.fetch_sub(1, SeqCst);
                counter.line.call();
            }
        }
    }

    /// Whether it is one of those.
    pub(crate) fn is_of(&self, counter: &Arc<ConnectionCounter>) -> bool {
        let counter = Arc::as_ptr(counter);
        self.counter.each().any(|each| std::ptr::eq(each, counter))
    }

    /// It is ended by a drain.
    pub(crate) fn force(&self, id: ClientSocketId) {
        for counter in self.counter.each() {
            if counter.draining.load(SeqCst) > 0 {
                counter.forced.lock().push(id);
            }
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.has_arrived {
            for counter in self.counter.each() {
                counter.over.fetch_add(1, SeqCst);
                if counter.open.fetch_sub(1, SeqCst) == 1 {
                    counter.changed.notify_waiters();
                }
            }
        }
        self.leave_limits();
    }
}

/// Marks IPv4, in a range of IPv6 that is given to nobody.
const V4: u64 = 1 << 32;

/// What stands for a peer: an IPv4 address, or the /64 network of an IPv6
/// one, which is what one host is given.
fn key(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(ip) => V4 | u64::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

/// A drain goes on, until this is dropped.
pub(crate) struct Draining(Arc<ConnectionCounter>);

impl Draining {
    pub(crate) fn new(counter: Arc<ConnectionCounter>) -> Self {
        counter.draining.fetch_add(1, SeqCst);
        Draining(counter)
    }

    pub(crate) fn counter(&self) -> &Arc<ConnectionCounter> {
        &self.0
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if self.0.draining.fetch_sub(1, SeqCst) == 1 {
            *self.0.forced.lock() = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_counts_for_its_server_socket_and_for_its_app() {
        let app = Arc::new(ConnectionCounter::default());
        let server = Arc::new(ConnectionCounter::of(&app));
        let dialled = ConnectionGuard::arrived(app.clone(), false);
        let peer = IpAddr::from([127, 0, 0, 1]);
        let mut accepted = ConnectionGuard::accepted(server.clone(), peer, [false; 3]);
        assert_eq!((app.open(), server.open()), (1, 0), "no row has it");
        accepted.activate();
        assert_eq!((app.open(), server.open()), (2, 1));
        assert_eq!((app.accepted(), server.accepted()), (1, 1));
        assert!(accepted.is_of(&app) && accepted.is_of(&server));
        assert!(dialled.is_of(&app) && !dialled.is_of(&server));

        accepted.force(1.into());
        assert_eq!(app.count_forced(), 0, "nobody drains");
        let draining = Draining::new(app.clone());
        assert!(app.is_draining() && server.is_draining());
        accepted.force(1.into());
        assert_eq!((app.forced(0), server.count_forced()), (vec![1.into()], 0));
        drop(draining);
        assert!(!server.is_draining());
        assert_eq!(app.count_forced(), 0);

        accepted.leave_limits();
        assert_eq!((app.open(), server.open()), (2, 1), "drains wait for it");
        assert_eq!((app.accepted(), server.accepted()), (0, 0));
        drop((accepted, dialled));
        assert_eq!((app.open(), server.open()), (0, 0));
        assert_eq!((app.over(), server.over()), (2, 1));
        assert_eq!((app.accepted(), server.accepted()), (0, 0));
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
        let key = |ip: &str| key(ip.parse().expect("an IP address"));
        assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("::1"), key("0.0.0.1"));
        assert_ne!(key("::1"), key("0.0.0.0"));
    }

    #[test]
    fn a_guest_that_goes_is_not_counted_and_no_peer_is_kept() {
        let registry = Arc::new(ConnectionCounter::default());
        let app = Arc::new(ConnectionCounter::of(&registry));
        let server = Arc::new(ConnectionCounter::of(&app));
        let peer = IpAddr::from([127, 0, 0, 1]);
        let accepted = |counted| ConnectionGuard::accepted(server.clone(), peer, counted);
        let of_peer = || [&server, &app, &registry].map(|it| it.of_peer(peer));
        let counted = [
            accepted([true, true, true]),
            accepted([true, false, false]),
            accepted([false, false, true]),
        ];
        let uncounted = accepted([false; 3]);
        assert_eq!((server.accepted(), of_peer()), (4, [2, 1, 2]));
        drop(uncounted);
        assert_eq!((registry.accepted(), of_peer()), (3, [2, 1, 2]));
        drop(counted);
        assert_eq!((server.accepted(), server.over()), (0, 0));
        for counter in [server, app, registry] {
            assert!(counter.peers.lock().is_empty());
        }
    }

    #[test]
    fn one_that_another_process_has_accepted_counts_for_its_app() {
        let app = Arc::new(ConnectionCounter::default());
        let inherited = ConnectionGuard::arrived(app.clone(), true);
        assert_eq!((app.open(), app.accepted()), (1, 1));
        drop(inherited);
        assert_eq!((app.open(), app.accepted()), (0, 0));
    }
}
