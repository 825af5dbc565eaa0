//! Limits connections in total, per peer address and per page, so that neither one address nor
//! one page can use every slot.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// A set of connection slots. It has a lock because `Io` holds one, and hyper requires `Io` to be
/// `Send`.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Inner>);

struct Inner {
    max: usize,
    used: Mutex<UsedSlots>,
}

#[derive(Default)]
struct UsedSlots {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    by_origin: HashMap<Arc<str>, usize>,
}

/// A reserved slot. Dropping it releases it.
pub(crate) struct PeerSlot {
    peers: Peers,
    address: Option<IpAddr>,
    origin: Option<Arc<str>>,
}

impl Peers {
    pub(crate) fn new(max: usize) -> Self {
        let used = Mutex::default();
        Peers(Arc::new(Inner { max, used }))
    }

    /// Three quarters, which leaves the rest to other addresses.
    fn max_per_address(&self) -> usize {
        (self.0.max - self.0.max / 4).max(1)
    }

    fn max_per_origin(&self) -> usize {
        (self.0.max / 4).max(1)
    }

    /// Reserves a slot; `None` if none is free for this address and origin.
    pub(crate) fn reserve(
        &self,
        address: Option<IpAddr>,
        origin: Option<Arc<str>>,
    ) -> Option<PeerSlot> {
        let mut used = self.0.used.lock();
        let of_address = address.and_then(|it| used.by_address.get(&it));
        let of_origin = origin.as_ref().and_then(|it| used.by_origin.get(it));
        if used.total >= self.0.max
            || of_address.is_some_and(|count| *count >= self.max_per_address())
            || of_origin.is_some_and(|count| *count >= self.max_per_origin())
        {
            return None;
        }
        used.total += 1;
        if let Some(address) = address {
            *used.by_address.entry(address).or_default() += 1;
        }
        if let Some(origin) = &origin {
            *used.by_origin.entry(origin.clone()).or_default() += 1;
        }
        Some(PeerSlot {
            peers: self.clone(),
            address,
            origin,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.0.used.lock().total
    }
}

impl PeerSlot {
    /// Counts the slot for its page too, once that is known. `None`: the page has too many.
    pub(crate) fn with_origin(self, origin: Option<Arc<str>>) -> Option<Self> {
        let (peers, address) = (self.peers.clone(), self.address);
        drop(self);
        peers.reserve(address, origin)
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut used = self.peers.0.used.lock();
        used.total -= 1;
        if let Some(address) = self.address {
            decrement(&mut used.by_address, &address);
        }
        if let Some(origin) = &self.origin {
            decrement(&mut used.by_origin, origin);
        }
    }
}

/// Removes entries that reach zero, so that the map holds only connected peers.
fn decrement<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_page_nor_an_address_can_use_every_slot() {
        let peers = Peers::new(8);
        let address = |n: u8| Some(IpAddr::from([127, 0, 0, n]));
        let page: Arc<str> = "https://a.example".into();
        let of_page: Vec<_> = (0..8)
            .filter_map(|_| peers.reserve(address(1), Some(page.clone())))
            .collect();
        assert_eq!(of_page.len(), 2);
        let of_address: Vec<_> = (0..8)
            .filter_map(|_| peers.reserve(address(1), None))
            .collect();
        assert_eq!(of_address.len(), 4, "the page has two");
        let others = (peers.reserve(address(2), None), peers.reserve(None, None));
        assert!(others.0.is_some() && others.1.is_some());
        assert!(peers.reserve(address(3), None).is_none(), "all are used");
        drop((of_page, of_address, others));
        assert_eq!(peers.count(), 0);
        let used = peers.0.used.lock();
        assert!(used.by_address.is_empty() && used.by_origin.is_empty());
    }

    #[test]
    fn a_set_of_one_slot_has_one_slot() {
        let peers = Peers::new(1);
        let slot = peers.reserve(None, None);
        assert!(slot.is_some() && peers.reserve(None, None).is_none());
    }
}
