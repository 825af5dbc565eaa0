//! Ids of apps and sockets, and the allocator of socket ids.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use derive_more::{Debug, Display};
use parking_lot::RwLock;

/// The id of an app. Every socket belongs to exactly one app; for every other
/// app its id does not exist.
///
/// Any text is a valid id, also an empty one. Cloning an id is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Display)]
#[debug("AppId({_0:?})")]
pub struct AppId(Arc<str>);

impl AppId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for AppId {
    fn from(id: &str) -> Self {
        AppId(id.into())
    }
}

impl From<String> for AppId {
    fn from(id: String) -> Self {
        AppId(id.into())
    }
}

impl From<&AppId> for AppId {
    fn from(id: &AppId) -> Self {
        id.clone()
    }
}

macro_rules! socket_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Display)]
        #[debug("{}({_0})", stringify!($name))]
        pub struct $name(u64);

        impl $name {
            /// The id with this number. No check is made that a socket has it:
            /// a call with an unknown id answers "Socket not found".
            pub const fn new(number: u64) -> Self {
                $name(number)
            }

            /// The number, as in Chrome's API.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                $name(number)
            }
        }
    };
}

socket_id!(
    /// `socketId` of `chrome.sockets.tcpServer`. Ids count from 1 and are never
    /// reused.
    ServerSocketId
);
socket_id!(
    /// `socketId` of `chrome.sockets.tcp`, and `clientSocketId` of `onAccept`.
    /// Ids count from 1 and are never reused.
    ClientSocketId
);

socket_id!(
    /// `socketId` of `chrome.sockets.udp`. Ids count from 1 and are never reused.
    UdpSocketId
);

/// The highest number that a socket may have: 2^53. Above it, JavaScript cannot
/// represent every integer.
pub const MAX_ID: u64 = 1 << 53;

/// Allocates the ids of one namespace, from 1 upward. Shared between threads,
/// because an accepted connection gets its id where it is accepted.
#[derive(Default)]
pub(crate) struct IdAllocator {
    last: AtomicU64,
    /// Spares the lock when nothing is reserved.
    has_reserved: AtomicBool,
    reserved: RwLock<HashSet<u64>>,
}

impl IdAllocator {
    pub(crate) fn allocate(&self) -> u64 {
        loop {
            let number = self.last.fetch_add(1, SeqCst) + 1;
            if !self.is_reserved(number) {
                return number;
            }
        }
    }

    /// The last number that was allocated; 0 if none was.
    pub(crate) fn last_allocated(&self) -> u64 {
        self.last.load(SeqCst)
    }

    /// Allocates no number up to this one any more.
    pub(crate) fn skip_to(&self, number: u64) {
        self.last.fetch_max(number, SeqCst);
    }

    /// Allocates none of these numbers until they are released. Numbers that
    /// were reserved before are released.
    pub(crate) fn reserve(&self, numbers: HashSet<u64>) {
        let has_reserved = !numbers.is_empty();
        *self.reserved.write() = numbers;
        self.has_reserved.store(has_reserved, SeqCst);
    }

    pub(crate) fn release(&self) {
        self.reserve(HashSet::new());
    }

    fn is_reserved(&self, number: u64) -> bool {
        self.has_reserved.load(SeqCst) && self.reserved.read().contains(&number)
    }
}

/// A map whose keys are ids of this crate.
pub(crate) type IdMap<K, V> = HashMap<K, V, IdHash>;

/// A set of ids of this crate.
pub(crate) type IdSet<K> = HashSet<K, IdHash>;

/// Hashes ids that this crate allocates, by one multiplication. Not for other keys: std's hash
/// makes collisions infeasible for a peer that chooses keys, which costs ten times as much. Peers
/// decide only which of the ids stay open, and do not know the factor.
#[derive(Clone)]
pub(crate) struct IdHash {
    /// Random and odd.
    factor: u64,
}

impl Default for IdHash {
    fn default() -> Self {
        IdHash {
            factor: RandomState::new().build_hasher().finish() | 1,
        }
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher {
            factor: self.factor,
            hash: 0,
        }
    }
}

pub(crate) struct IdHasher {
    factor: u64,
    hash: u64,
}

impl Hasher for IdHasher {
    #[inline]
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.hash ^ number) * u128::from(self.factor);
        // A map takes its bits from both ends of the hash. The upper half of the product depends on
        // all bits of the id, and ids in sequence differ in the lower half.
        self.hash = (product as u64) ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 1024 ids, `step` apart, have each value of these seven bits of their hash.
    fn spread(step: u64, shift: u32) -> [u32; 128] {
        let hash = IdHash::default();
        let mut counts = [0; 128];
        for index in 0..1024 {
            let id = ClientSocketId::new(1 + index * step);
            counts[(hash.hash_one(id) >> shift) as usize % 128] += 1;
        }
        counts
    }

    #[test]
    fn ids_spread_over_both_ends_of_their_hash_whatever_is_between_them() {
        for step in [1, 2, 3, 64, 1000, 1 << 16, 1 << 20] {
            // A map takes a bucket by the lower bits, and tells entries apart by the upper ones.
            for shift in [0, 57] {
                let empty = spread(step, shift).iter().filter(|it| **it == 0).count();
                let most = spread(step, shift).into_iter().max();
                assert!(most < Some(128), "step {step}, shift {shift}: {most:?} ids");
                assert!(empty < 96, "step {step}, shift {shift}: {empty} values");
            }
        }
    }

    #[test]
    fn a_map_of_ids_finds_what_was_inserted_and_not_removed() {
        let mut map = IdMap::default();
        for id in 1..=10_000 {
            map.insert(ClientSocketId::new(id), id);
        }
        for id in (1..=10_000).step_by(2) {
            assert_eq!(map.remove(&ClientSocketId::new(id)), Some(id));
        }
        assert_eq!(map.len(), 5_000);
        assert_eq!(map.get(&ClientSocketId::new(3)), None);
        assert_eq!(map.get(&ClientSocketId::new(4)), Some(&4));
    }

    #[test]
    fn numbers_start_at_one_and_never_repeat() {
        let ids = IdAllocator::default();
        assert_eq!([ids.allocate(), ids.allocate(), ids.allocate()], [1, 2, 3]);
        ids.skip_to(2);
        assert_eq!((ids.last_allocated(), ids.allocate()), (3, 4));
        ids.skip_to(9);
        assert_eq!(ids.allocate(), 10);
    }

    #[test]
    fn reserved_numbers_are_skipped_until_they_are_released() {
        let ids = IdAllocator::default();
        ids.reserve([2, 3, 5].into());
        assert_eq!([ids.allocate(), ids.allocate(), ids.allocate()], [1, 4, 6]);
        ids.reserve([8].into());
        ids.release();
        assert_eq!([ids.allocate(), ids.allocate()], [7, 8]);
    }

    #[test]
    fn ids_display_as_their_number() {
        assert_eq!(ServerSocketId::new(7).to_string(), "7");
        assert_eq!(format!("{:?}", ClientSocketId::new(7)), "ClientSocketId(7)");
        assert_eq!(AppId::from("a").to_string(), "a");
    }
}
