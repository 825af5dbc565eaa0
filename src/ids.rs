//! Who owns a socket, and which socket is meant.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use derive_more::{Debug, Display};
use parking_lot::RwLock;

/// The app that owns a socket: every socket belongs to exactly one, and to
/// every other app its id does not exist.
///
/// Any non-empty or empty text is a valid id; cloning one is cheap.
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
            /// The id with this number. Whether a socket has it is only known
            /// when it is used: "Socket not found" otherwise.
            pub const fn new(number: u64) -> Self {
                $name(number)
            }

            /// The number that Chrome's API shows.
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
    /// `socketId` of `chrome.sockets.tcpServer`: counts from 1, never reused.
    ServerSocketId
);
socket_id!(
    /// `socketId` of `chrome.sockets.tcp`, and `clientSocketId` of
    /// `onAccept`: counts from 1, never reused.
    ClientSocketId
);

/// The highest number that a socket may have: above it, JavaScript cannot tell
/// one integer from the next.
pub const MAX_ID: u64 = 1 << 53;

/// Numbers one namespace from 1 upward. Shared, because an accepted
/// connection gets its number where it is accepted, not by a message.
#[derive(Default)]
pub(crate) struct IdAllocator {
    last: AtomicU64,
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

    /// The last number that was given out; 0 if none was.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(SeqCst)
    }

    /// Goes on after this number, if it is not beyond it already.
    pub(crate) fn go_on_after(&self, number: u64) {
        self.last.fetch_max(number, SeqCst);
    }

    /// Gives none of these numbers out, until they are released. The ones
    /// that were reserved before are released.
    pub(crate) fn reserve(&self, numbers: HashSet<u64>) {
        let has_reserved = !numbers.is_empty();
        *self.reserved.write() = numbers;
        self.has_reserved.store(has_reserved, SeqCst);
    }

    pub(crate) fn release(&self) {
        self.reserve(HashSet::new());
    }

    fn is_reserved(&self, number: u64) -> bool {
        self.has_reserved.load(SeqCst) && {
            let reserved = self.reserved.read();
            reserved.contains(&number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_one_and_never_repeat() {
        let ids = IdAllocator::default();
        assert_eq!([ids.allocate(), ids.allocate(), ids.allocate()], [1, 2, 3]);
        ids.go_on_after(2);
        assert_eq!((ids.last(), ids.allocate()), (3, 4));
        ids.go_on_after(9);
        assert_eq!(ids.allocate(), 10);
    }

    #[test]
    fn reserved_numbers_are_left_out_until_they_are_released() {
        let ids = IdAllocator::default();
        ids.reserve([2, 3, 5].into());
        assert_eq!([ids.allocate(), ids.allocate(), ids.allocate()], [1, 4, 6]);
        ids.reserve([8].into());
        ids.release();
        assert_eq!([ids.allocate(), ids.allocate()], [7, 8]);
    }

    #[test]
    fn ids_show_the_number_that_chrome_shows() {
        assert_eq!(ServerSocketId::new(7).to_string(), "7");
        assert_eq!(format!("{:?}", ClientSocketId::new(7)), "ClientSocketId(7)");
        assert_eq!(AppId::from("a").to_string(), "a");
    }
}
