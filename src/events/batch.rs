//! Several events in one message, in a queue whose memory is used again.

use std::collections::{VecDeque, vec_deque};
use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::panicking;

use actix::Message;
use parking_lot::Mutex;

use crate::events::event_copy::DeliveryProbe;
use crate::events::types::Event;

/// The most events of one batch: 128. Beyond it another batch begins.
pub const MAX_BATCH: usize = 128;

/// How many empty queues a listener keeps: one that is filled, and some that it has not handled.
const MAX_SPARE: usize = 4;

/// What a turn of an arbiter received, in one message (beyond Chrome): events of all sockets of the
/// app in that arbiter, 1 to [`MAX_BATCH`] of them. A message for each event costs more than
/// receiving a small one, so a batch saves about a third of the work where many sockets are busy.
///
/// Listeners are added by [`Tcp::on_receive_batch`](crate::Tcp::on_receive_batch) or
/// [`Udp::on_receive_batch`](crate::Udp::on_receive_batch).
///
/// ```
/// use actix::prelude::*;
/// use chrome_sockets::tcp::ReceiveBatch;
///
/// struct Echo;
///
/// impl Actor for Echo {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<ReceiveBatch> for Echo {
///     type Result = ();
///
///     fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
///         for info in batch {
///             let client = info.client().clone();
///             if client.forward(info).is_err() {
///                 client.do_close();
///             }
///         }
///     }
/// }
/// ```
///
/// **Order.** The events of one socket are in the order in which they were raised, within a batch and from batch to batch.
///
/// **Credits.** Each event holds its own credit, inside the batch and after it was taken out. A
/// batch that the listener keeps is a batch of events that it keeps: their sockets are not read on when
/// their windows are full, and their `setPaused(true)` waits.
///
/// **Redelivery** is that of single events. An event is handled when it was taken out of the
/// batch and dropped. Dropping the batch handles what is left in it. If the handler
/// panics, the events that it has taken out and dropped are handled, and the others are raised
/// again. The panic counts for the event that was taken out and is dropped by the panic; if
/// the events are only borrowed ([`iter`](Self::iter)), for the one that was looked at last, and all of the batch
/// are raised again. If the listener dies with the batch in its mailbox, all are raised again.
pub struct Batch<E: Event> {
    events: VecDeque<E>,
    /// Whether an event was taken out.
    is_begun: bool,
    /// How many events [`iter`](Self::iter) has shown: if the handler panics, the last of them is the cause.
    shown: AtomicUsize,
    probe: Arc<DeliveryProbe>,
    spare: Arc<SpareQueues<E>>,
}

impl<E: Event> Batch<E> {
    pub(super) fn new(
        events: VecDeque<E>,
        probe: &Arc<DeliveryProbe>,
        spare: &Arc<SpareQueues<E>>,
    ) -> Self {
        Batch {
            events,
            is_begun: false,
            shown: AtomicUsize::new(0),
            probe: probe.clone(),
            spare: spare.clone(),
        }
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is no event. A listener never gets such a batch.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events, which stay in the batch.
    pub fn iter(&self) -> BatchIter<'_, E> {
        self.shown.store(0, Relaxed);
        BatchIter {
            events: self.events.iter(),
            shown: &self.shown,
        }
    }

    /// Drops what was not taken out. In a panic, at most one event is the cause of it: another one
    /// must not be suspected.
    #[cold]
    fn drop_rest(&mut self) {
        if panicking() {
            if self.is_begun {
                self.probe.set_panicked();
            } else {
                let shown = self.shown.load(Relaxed);
                // The first event that a panic drops is the suspect.
                drop(self.events.remove(shown.saturating_sub(1)));
            }
        }
        self.events.clear();
    }
}

impl<E: Event> Drop for Batch<E> {
    #[inline]
    fn drop(&mut self) {
        if !self.events.is_empty() {
            self.drop_rest();
        }
        self.spare.put_back(mem::take(&mut self.events));
    }
}

impl<E: Event> Message for Batch<E> {
    type Result = ();
}

impl<E: Event> Event for Batch<E> {}

impl<E: Event + fmt::Debug> fmt::Debug for Batch<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.events).finish()
    }
}

impl<E: Event> IntoIterator for Batch<E> {
    type Item = E;
    type IntoIter = BatchIntoIter<E>;

    fn into_iter(self) -> BatchIntoIter<E> {
        BatchIntoIter(self)
    }
}

impl<'a, E: Event> IntoIterator for &'a Batch<E> {
    type Item = &'a E;
    type IntoIter = BatchIter<'a, E>;

    fn into_iter(self) -> BatchIter<'a, E> {
        self.iter()
    }
}

/// Takes the events out of a [`Batch`]. What is left when this is dropped counts as dropped with the
/// batch.
#[derive(Debug)]
pub struct BatchIntoIter<E: Event>(Batch<E>);

impl<E: Event> Iterator for BatchIntoIter<E> {
    type Item = E;

    #[inline]
    fn next(&mut self) -> Option<E> {
        self.0.is_begun = true;
        self.0.events.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<E: Event> ExactSizeIterator for BatchIntoIter<E> {}

impl<E: Event> FusedIterator for BatchIntoIter<E> {}

/// Borrows the events of a [`Batch`].
#[derive(Debug)]
pub struct BatchIter<'a, E> {
    events: vec_deque::Iter<'a, E>,
    shown: &'a AtomicUsize,
}

impl<'a, E> Iterator for BatchIter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        let event = self.events.next()?;
        self.shown.store(self.shown.load(Relaxed) + 1, Relaxed);
        Some(event)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }
}

impl<E> ExactSizeIterator for BatchIter<'_, E> {}

impl<E> FusedIterator for BatchIter<'_, E> {}

/// Empty queues of a listener whose memory is used again: [`MAX_SPARE`] of [`MAX_BATCH`] events at
/// most.
pub(crate) struct SpareQueues<E>(Mutex<Vec<VecDeque<E>>>);

impl<E> Default for SpareQueues<E> {
    fn default() -> Self {
        SpareQueues(Mutex::default())
    }
}

impl<E> SpareQueues<E> {
    pub(super) fn get(&self) -> VecDeque<E> {
        self.0.lock().pop().unwrap_or_default()
    }

    fn put_back(&self, queue: VecDeque<E>) {
        let mut spare = self.0.lock();
        if spare.len() < MAX_SPARE && queue.capacity() <= MAX_BATCH {
            spare.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MAX_BATCH, MAX_SPARE, SpareQueues};

    #[test]
    fn the_memory_of_a_batch_is_used_again_and_spare_memory_is_bounded() {
        let spare = Arc::new(SpareQueues::<u64>::default());
        let mut queues: Vec<_> = (0..2 * MAX_SPARE).map(|_| spare.get()).collect();
        for queue in &mut queues {
            queue.extend(0..40);
            queue.clear();
        }
        let capacities: Vec<_> = queues.iter().map(|it| it.capacity()).collect();
        queues.into_iter().for_each(|queue| spare.put_back(queue));
        assert_eq!(spare.0.lock().len(), MAX_SPARE);
        for capacity in &capacities[..MAX_SPARE] {
            assert_eq!(spare.get().capacity(), *capacity);
        }
        assert_eq!(spare.get().capacity(), 0, "none is left");
        let mut longest = spare.get();
        longest.extend(0..MAX_BATCH as u64);
        longest.clear();
        spare.put_back(longest);
        assert_eq!(spare.0.lock().len(), 1, "the memory of a full batch");
    }
}
