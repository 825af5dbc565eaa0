//! Limits connections in total, per peer address and per page, so that neither one address nor
//! one page can use every slot.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// A set of connection slots. It has a lock because `Io` holds one, and hyper requires `Io` to be
/// `Send`.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Mutex<UsedSlots>>);

struct UsedSlots {
    max: usize,
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
        let used = Mutex::new(UsedSlots {
            max,
            total: 0,
            by_address: HashMap::new(),
            by_origin: HashMap::new(),
        });
        Peers(Arc::new(used))
    }

    /// Changes the number of slots. Used slots beyond it stay used until they are released.
    pub(crate) fn set_max(&self, max: usize) {
        self.0.lock().max = max;
    }

    /// Reserves a slot; `None` if none is free for this address and origin.
    pub(crate) fn reserve(
        &self,
        address: Option<IpAddr>,
        origin: Option<Arc<str>>,
    ) -> Option<PeerSlot> {
        let mut used = self.0.lock();
        let of_address = address.and_then(|it| used.by_address.get(&it));
        let of_origin = origin.as_ref().and_then(|it| used.by_origin.get(it));
        // Three quarters, which leaves the rest to other addresses.
        let max_per_address = (used.max - used.max / 4).max(1);
        let max_per_origin = (used.max / 4).max(1);
        if used.total >= used.max
            || of_address.is_some_and(|count| *count >= max_per_address)
            || of_origin.is_some_and(|count| *count >= max_per_origin)
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
        self.0.lock().total
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
        let mut used = self.peers.0.lock();
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
        let used = peers.0.lock();
        assert!(used.by_address.is_empty() && used.by_origin.is_empty());
    }

    #[test]
    fn a_lower_limit_ends_no_connection() {
        let peers = Peers::new(2);
        let slots = (peers.reserve(None, None), peers.reserve(None, None));
        peers.set_max(1);
        assert_eq!(peers.count(), 2);
        drop(slots.0);
        assert!(peers.reserve(None, None).is_none(), "one is still used");
        drop(slots.1);
        assert!(peers.reserve(None, None).is_some());
    }

    #[test]
    fn a_set_of_one_slot_has_one_slot() {
        let peers = Peers::new(1);
        let slot = peers.reserve(None, None);
        assert!(slot.is_some() && peers.reserve(None, None).is_none());
    }
}
