//! How many accepted connections of one server socket are open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;

/// Every accepted connection has its [`Place`] here.
#[derive(Default)]
pub(crate) struct Places {
    open: AtomicUsize,
    /// Of those peers whose connections are counted.
    peers: Mutex<HashMap<u64, usize>>,
    actor: AtomicWaker,
    /// Whether the actor waits for a free place.
    awaited: AtomicBool,
}

impl Places {
    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// How many connections of this peer are counted.
    pub(crate) fn of_peer(&self, peer: IpAddr) -> usize {
        self.peers().get(&key(peer)).copied().unwrap_or(0)
    }

    /// One more, counted for its peer if that is given.
    pub(crate) fn take(self: &Arc<Self>, peer: Option<IpAddr>) -> Place {
        self.open.fetch_add(1, SeqCst);
        let peer = peer.map_or(UNCOUNTED, key);
        if peer != UNCOUNTED {
            *self.peers().entry(peer).or_default() += 1;
        }
        Place {
            places: self.clone(),
            peer,
        }
    }

    /// Has `cx` woken when a place is free. After saying so, look again.
    pub(crate) fn wake_when_free(&self, cx: &Context<'_>) {
        self.actor.register(cx.waker());
        self.awaited.store(true, SeqCst);
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection: dropping it frees it.
pub(crate) struct Place {
    places: Arc<Places>,
    peer: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.places;
        if self.peer != UNCOUNTED {
            let mut peers = places.peers();
            if let Some(count) = peers.get_mut(&self.peer) {
                *count -= 1;
                if *count == 0 {
                    peers.remove(&self.peer);
                }
            }
        }
        places.open.fetch_sub(1, SeqCst);
        if places.awaited.swap(false, SeqCst) {
            places.actor.wake();
        }
    }
}

const UNCOUNTED: u64 = 0;

/// Marks IPv4, in a range of IPv6 that is given to nobody.
const V4: u64 = 1 << 32;

/// What stands for a peer: an IPv4 address, or the /64 network of an IPv6
/// one, which is what one host is given.
fn key(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(ip) => V4 | u64::from(u32::from(ip)),
        // The loopback is in network 0.
        IpAddr::V6(ip) => ((u128::from(ip) >> 64) as u64).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
        let key = |ip: &str| key(ip.parse().unwrap());
        assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        for ip in ["::1", "::", "0.0.0.0", "fe80::1"] {
            assert_ne!(key(ip), UNCOUNTED, "{ip}");
        }
        assert_ne!(key("::1"), key("0.0.0.1"));
    }

    #[test]
    fn a_place_that_is_dropped_is_free_and_no_peer_is_kept() {
        let places = Arc::new(Places::default());
        let peer = IpAddr::from([127, 0, 0, 1]);
        let counted = [places.take(Some(peer)), places.take(Some(peer))];
        let uncounted = places.take(None);
        assert_eq!((places.open(), places.of_peer(peer)), (3, 2));
        drop(uncounted);
        assert_eq!((places.open(), places.of_peer(peer)), (2, 2));
        drop(counted);
        assert_eq!(places.open(), 0);
        assert!(places.peers().is_empty());
    }
}
