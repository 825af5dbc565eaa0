//! Bounds the memory that clients make the host use, for each client and for all.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::limits::{Limits, MIN_SEND, SEND_SHARE};

/// The memory that all clients share: pending frames, unsent messages, and sockets with their
/// names. Each client has shares that it can always use, however much others use.
#[derive(Clone)]
pub(crate) struct MemoryBudget(Arc<Shared>);

/// What clients use together of a budget, and the most of it. The most may change at any time.
struct Shared {
    used: AtomicUsize,
    max: AtomicUsize,
}

impl Shared {
    fn new(max: usize) -> Arc<Self> {
        Arc::new(Shared {
            used: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
        })
    }
}

impl MemoryBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        MemoryBudget(Shared::new(limits.memory))
    }

    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.0.max.store(limits.memory, SeqCst);
    }

    pub(crate) fn used(&self) -> usize {
        self.0.used.load(SeqCst)
    }

    /// Whether clients may use no more than their own shares now.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.0.max.load(SeqCst)
    }

    pub(crate) fn charge(&self) -> Charge {
        Charge {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

/// A part of the memory. Dropping it returns it.
pub(crate) struct Charge {
    memory: MemoryBudget,
    bytes: usize,
}

impl Charge {
    /// Changes the size, even if that exceeds the budget.
    pub(crate) fn set(&mut self, bytes: usize) {
        let all = &self.memory.0.used;
        all.fetch_add(bytes, SeqCst);
        all.fetch_sub(self.bytes, SeqCst);
        self.bytes = bytes;
    }

    /// Whether it may grow by `more`: within this share, or within `max` and the budget.
    pub(crate) fn fits(&self, more: usize, share: usize, max: usize) -> bool {
        let own = self.bytes + more;
        let fits_all = || self.memory.used() + more <= self.memory.0.max.load(SeqCst);
        own <= share || (own <= max && fits_all())
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

/// Why the host stopped reading a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadStop {
    /// A frame, with all fragments of its message, is too large.
    TooLarge,
    /// The shared memory is used up.
    MemoryFull,
}

/// Counts the received bytes of one connection that do not form a whole frame yet. It has a lock
/// because it belongs to `Io`, which hyper requires to be `Send`.
pub(crate) struct ReceiveBudget(Mutex<Received>);

struct Received {
    charge: Charge,
    limits: Limits,
    stop: Option<ReadStop>,
}

/// The bytes around a frame on a WebSocket: the headers of its fragments, and pings between them.
const FRAME_OVERHEAD: usize = 128 * 1024;

impl ReceiveBudget {
    pub(crate) fn new(memory: &MemoryBudget, limits: Limits) -> Arc<Self> {
        Arc::new(ReceiveBudget(Mutex::new(Received {
            charge: memory.charge(),
            limits,
            stop: None,
        })))
    }

    /// Whether to read more.
    pub(crate) fn may_read(&self) -> bool {
        let mut received = self.0.lock();
        let bytes = received.charge.bytes();
        let stop = if bytes > received.limits.frame + FRAME_OVERHEAD {
            Some(ReadStop::TooLarge)
        } else if bytes > received.limits.frame_share() && received.charge.is_full() {
            Some(ReadStop::MemoryFull)
        } else {
            None
        };
        received.stop = received.stop.or(stop);
        stop.is_none()
    }

    pub(crate) fn add(&self, bytes: usize) {
        let charge = &mut self.0.lock().charge;
        charge.set(charge.bytes() + bytes);
    }

    /// Subtracts the bytes of a control frame, which are no longer in memory.
    pub(crate) fn subtract(&self, bytes: usize) {
        let charge = &mut self.0.lock().charge;
        charge.set(charge.bytes().saturating_sub(bytes));
    }

    /// A whole frame was received: its session counts it from here on.
    pub(crate) fn reset(&self) {
        self.0.lock().charge.set(0);
    }

    pub(crate) fn stop(&self) -> Option<ReadStop> {
        self.0.lock().stop
    }
}

/// The bytes that all apps together may have queued to send. The count is atomic because the last
/// reference to the data may be dropped in any thread.
#[derive(Clone)]
pub(crate) struct SendBudget {
    shared: Arc<Shared>,
    /// What all clients can always queue beyond the budget.
    shares: Arc<AtomicUsize>,
}

impl SendBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        SendBudget {
            shared: Shared::new(limits.send_budget),
            shares: Arc::new(AtomicUsize::new(shares(limits))),
        }
    }

    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.shared.max.store(limits.send_budget, SeqCst);
        self.shares.store(shares(limits), SeqCst);
    }

    pub(crate) fn used(&self) -> usize {
        self.shared.used.load(SeqCst)
    }

    /// Charges the data of a send until its last reference is dropped. `None` if the budget is
    /// used up and so is the share of its client, which has `own` bytes queued.
    pub(crate) fn charge(&self, data: Bytes, own: usize) -> Option<Bytes> {
        let cost = data.len().max(MIN_SEND);
        let mut max = self.shared.max.load(SeqCst);
        if own + cost <= SEND_SHARE {
            max = max.saturating_add(self.shares.load(SeqCst));
        }
        let charged = self.shared.used.fetch_update(SeqCst, SeqCst, |used| {
            used.checked_add(cost).filter(|sum| *sum <= max)
        });
        charged.ok()?;
        Some(Bytes::from_owner(ChargedData {
            data,
            cost,
            budget: self.shared.clone(),
        }))
    }
}

/// What all clients can always queue.
fn shares(limits: &Limits) -> usize {
    limits.clients.saturating_mul(SEND_SHARE)
}

/// The data of a send. Dropping it returns its part of the budget.
struct ChargedData {
    data: Bytes,
    cost: usize,
    budget: Arc<Shared>,
}

impl AsRef<[u8]> for ChargedData {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for ChargedData {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.cost, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits::DEFAULT;

    #[test]
    fn a_share_is_available_when_the_budget_is_used_up() {
        let memory = MemoryBudget::new(&LIMITS);
        let (mut greedy, mut small) = (memory.charge(), memory.charge());
        assert!(greedy.fits(1000, 1, 1000) && !greedy.fits(1001, 1, 1000));
        greedy.set(LIMITS.memory);
        assert!(memory.is_full() && !small.fits(100, 99, 1000) && small.fits(99, 99, 1000));
        small.set(99);
        assert!(!small.fits(1, 99, 1000));
        drop(greedy);
        assert!(!memory.is_full() && small.fits(1, 99, 1000));
        memory.set_limits(&Limits {
            memory: 99,
            ..LIMITS
        });
        assert!(
            memory.is_full() && !small.fits(1, 99, 1000),
            "a lower limit"
        );
        drop(small);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn fragments_count_until_their_frame_is_whole() {
        let memory = MemoryBudget::new(&LIMITS);
        let budget = ReceiveBudget::new(&memory, LIMITS);
        budget.add(LIMITS.frame_share() + 1);
        assert!(budget.may_read());
        let mut others = memory.charge();
        others.set(LIMITS.memory);
        assert!(!budget.may_read());
        assert_eq!(budget.stop(), Some(ReadStop::MemoryFull));
        budget.reset();
        assert!(budget.may_read());
        let endless = ReceiveBudget::new(&memory, LIMITS);
        endless.add(LIMITS.frame + FRAME_OVERHEAD);
        endless.subtract(10);
        endless.add(11);
        assert!(!endless.may_read());
        assert_eq!(endless.stop(), Some(ReadStop::TooLarge));
        drop((budget, endless, others));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn sends_count_until_their_data_is_dropped() {
        let budget = SendBudget::new(&Limits {
            send_budget: 10 * SEND_SHARE,
            ..LIMITS
        });
        let data = Bytes::from(vec![7; 10 * SEND_SHARE]);
        let kept = budget.charge(data.clone(), 0).expect("a free budget");
        assert_eq!(kept, data);
        let one = Bytes::from_static(b"x");
        assert!(budget.charge(one.clone(), SEND_SHARE).is_none());
        assert!(budget.charge(one.clone(), 0).is_some(), "its share");
        let part = kept.slice(1..2);
        drop(kept);
        assert!(budget.charge(one.clone(), SEND_SHARE).is_none());
        drop(part);
        assert!(budget.charge(one, SEND_SHARE).is_some());
        assert_eq!(budget.used(), 0);
    }
}
