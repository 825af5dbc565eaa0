//! What clients make the host hold: counted for each of them and for all, with bounds for both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::limits::{
    CLIENTS, FRAME, MAX_APP_SOCKETS, MEMORY, MIN_SEND, SEND_SHARE, SHARE_OF_FRAMES,
};

/// The memory that all clients share: frames that came and are not carried out, messages that
/// were not taken, and sockets with their names. Each client has shares that it can always use;
/// what is more comes from here.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<AtomicUsize>);

impl Memory {
    /// Whether there is room only within each client's shares.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(SeqCst) >= MEMORY
    }

    pub(crate) fn charge(&self) -> Charge {
        Charge {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

/// A part of the memory; dropping it gives it back.
pub(crate) struct Charge {
    memory: Memory,
    bytes: usize,
}

impl Charge {
    /// From now on it is this much, whether or not there is room.
    pub(crate) fn set(&mut self, bytes: usize) {
        let all = &self.memory.0;
        all.fetch_add(bytes, SeqCst);
        all.fetch_sub(self.bytes, SeqCst);
        self.bytes = bytes;
    }

    /// Whether it may grow: within this share, or as far as there is room for all.
    pub(crate) fn fits(&self, more: usize, share: usize) -> bool {
        let own = self.bytes + more;
        own <= share || (own <= MAX_APP_SOCKETS && self.memory.0.load(SeqCst) + more <= MEMORY)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.memory.is_full()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Why no more of a connection is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// A message with all of its parts is larger than a frame may be.
    TooLarge,
    /// All clients together hold as much as they may.
    Full,
}

/// The bytes of one connection that have come and make no whole frame yet.
pub(crate) struct Intake(Mutex<Coming>);

struct Coming {
    charge: Charge,
    unread: Option<Unread>,
}

/// What a frame may have around it on a WebSocket: the heads of its parts, and pings between them.
const AROUND: usize = 128 * 1024;

impl Intake {
    pub(crate) fn new(memory: &Memory) -> Arc<Self> {
        let charge = memory.charge();
        let unread = None;
        Arc::new(Intake(Mutex::new(Coming { charge, unread })))
    }

    /// Whether more may be read.
    pub(crate) fn may_read(&self) -> bool {
        let mut coming = self.0.lock();
        let bytes = coming.charge.bytes();
        let unread = if bytes > FRAME + AROUND {
            Some(Unread::TooLarge)
        } else if bytes > SHARE_OF_FRAMES && coming.charge.is_full() {
            Some(Unread::Full)
        } else {
            None
        };
        coming.unread = coming.unread.or(unread);
        unread.is_none()
    }

    pub(crate) fn came(&self, bytes: usize) {
        let charge = &mut self.0.lock().charge;
        charge.set(charge.bytes() + bytes);
    }

    /// So many bytes are a ping or its like, and gone.
    pub(crate) fn passed(&self, bytes: usize) {
        let charge = &mut self.0.lock().charge;
        charge.set(charge.bytes().saturating_sub(bytes));
    }

    /// A frame is whole.
    pub(crate) fn is_whole(&self) {
        self.0.lock().charge.set(0);
    }

    pub(crate) fn unread(&self) -> Option<Unread> {
        self.0.lock().unread
    }
}

/// What all apps together may have queued to send.
#[derive(Clone)]
pub(crate) struct SendBudget {
    used: Arc<AtomicUsize>,
    most: usize,
}

impl SendBudget {
    pub(crate) fn new(most: usize) -> Self {
        let used = Arc::default();
        SendBudget { used, most }
    }

    /// Counts the data of a send for as long as any of it is kept, if there is room: for all, or
    /// within the share of a client that has `own` queued.
    pub(crate) fn charge(&self, data: Bytes, own: usize) -> Option<Bytes> {
        let cost = data.len().max(MIN_SEND);
        let most = match own + cost <= SEND_SHARE {
            true => self.most + CLIENTS * SEND_SHARE,
            false => self.most,
        };
        let charged = self.used.fetch_update(SeqCst, SeqCst, |used| {
            used.checked_add(cost).filter(|sum| *sum <= most)
        });
        charged.ok()?;
        Some(Bytes::from_owner(Counted {
            data,
            cost,
            used: self.used.clone(),
        }))
    }
}

/// Data of a send; dropping it gives its part of the budget back.
struct Counted {
    data: Bytes,
    cost: usize,
    used: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.used.fetch_sub(self.cost, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_there_when_all_else_is_taken() {
        let memory = Memory::default();
        let (mut greedy, mut small) = (memory.charge(), memory.charge());
        assert!(greedy.fits(MAX_APP_SOCKETS, 1) && !greedy.fits(MAX_APP_SOCKETS + 1, 1));
        greedy.set(MEMORY);
        assert!(memory.is_full() && !small.fits(100, 99) && small.fits(99, 99));
        small.set(99);
        assert!(!small.fits(1, 99));
        drop(greedy);
        assert!(!memory.is_full() && small.fits(1, 99));
        drop(small);
        assert_eq!(memory.0.load(SeqCst), 0);
    }

    #[test]
    fn the_parts_of_a_frame_count_until_it_is_whole() {
        let memory = Memory::default();
        let intake = Intake::new(&memory);
        intake.came(SHARE_OF_FRAMES + 1);
        assert!(intake.may_read());
        let mut others = memory.charge();
        others.set(MEMORY);
        assert!(!intake.may_read());
        assert_eq!(intake.unread(), Some(Unread::Full));
        intake.is_whole();
        assert!(intake.may_read());
        let endless = Intake::new(&memory);
        endless.came(FRAME + AROUND);
        endless.passed(10);
        endless.came(11);
        assert!(!endless.may_read());
        assert_eq!(endless.unread(), Some(Unread::TooLarge));
        drop((intake, endless, others));
        assert_eq!(memory.0.load(SeqCst), 0);
    }

    #[test]
    fn sends_count_as_long_as_their_data_is_kept() {
        let budget = SendBudget::new(10 * SEND_SHARE);
        let data = Bytes::from(vec![7; 10 * SEND_SHARE]);
        let kept = budget.charge(data.clone(), 0).expect("there is room");
        assert_eq!(kept, data);
        let one = Bytes::from_static(b"x");
        assert!(budget.charge(one.clone(), SEND_SHARE).is_none());
        assert!(budget.charge(one.clone(), 0).is_some(), "its share");
        let part = kept.slice(1..2);
        drop(kept);
        assert!(budget.charge(one.clone(), SEND_SHARE).is_none());
        drop(part);
        assert!(budget.charge(one, SEND_SHARE).is_some());
        assert_eq!(budget.used.load(SeqCst), 0);
    }
}
