//! How many are there at once: of all, of one peer address and of one page. So neither one page
//! nor one address can take every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The places of one kind.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Inner>);

struct Inner {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
    origins: HashMap<Arc<str>, usize>,
}

/// A place; dropping it frees it.
pub(crate) struct PeerSlot {
    peers: Peers,
    address: Option<IpAddr>,
    origin: Option<Arc<str>>,
}

impl Peers {
    pub(crate) fn new(most: usize) -> Self {
        let taken = Mutex::default();
        Peers(Arc::new(Inner { most, taken }))
    }

    /// An address may take three of four places: other addresses keep the fourth.
    fn of_address(&self) -> usize {
        (self.0.most - self.0.most / 4).max(1)
    }

    /// A page may take one of four.
    fn of_origin(&self) -> usize {
        (self.0.most / 4).max(1)
    }

    /// `None`: there is no place for it.
    pub(crate) fn reserve(
        &self,
        address: Option<IpAddr>,
        origin: Option<Arc<str>>,
    ) -> Option<PeerSlot> {
        let mut taken = self.0.taken.lock();
        let of_address = address.and_then(|it| taken.addresses.get(&it));
        let of_origin = origin.as_ref().and_then(|it| taken.origins.get(it));
        if taken.all >= self.0.most
            || of_address.is_some_and(|count| *count >= self.of_address())
            || of_origin.is_some_and(|count| *count >= self.of_origin())
        {
            return None;
        }
        taken.all += 1;
        if let Some(address) = address {
            *taken.addresses.entry(address).or_default() += 1;
        }
        if let Some(origin) = &origin {
            *taken.origins.entry(origin.clone()).or_default() += 1;
        }
        Some(PeerSlot {
            peers: self.clone(),
            address,
            origin,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.0.taken.lock().all
    }
}

impl PeerSlot {
    /// The same place, now that its page is known. `None`: there is none for that page.
    pub(crate) fn of_page(self, origin: Option<Arc<str>>) -> Option<Self> {
        let (peers, address) = (self.peers.clone(), self.address);
        drop(self);
        peers.reserve(address, origin)
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut taken = self.peers.0.taken.lock();
        taken.all -= 1;
        if let Some(address) = self.address {
            leave(&mut taken.addresses, &address);
        }
        if let Some(origin) = &self.origin {
            leave(&mut taken.origins, origin);
        }
    }
}

fn leave<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
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
    fn neither_a_page_nor_an_address_takes_every_place() {
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
        assert_eq!(of_address.len(), 4, "two are the page's");
        let others = (peers.reserve(address(2), None), peers.reserve(None, None));
        assert!(others.0.is_some() && others.1.is_some());
        assert!(peers.reserve(address(3), None).is_none(), "all are taken");
        drop((of_page, of_address, others));
        assert_eq!(peers.count(), 0);
        let taken = peers.0.taken.lock();
        assert!(taken.addresses.is_empty() && taken.origins.is_empty());
    }

    #[test]
    fn one_place_is_one() {
        let peers = Peers::new(1);
        let seat = peers.reserve(None, None);
        assert!(seat.is_some() && peers.reserve(None, None).is_none());
    }
}
