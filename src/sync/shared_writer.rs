//! Keeps the sends of a socket in the order of its calls, though some are written past the queue.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::{AtomicU64, Mutex, MutexGuard};

/// One unsent byte in the word of [`SharedWriter`]. The calls are in the 24 bits below.
const BYTE: u64 = 1 << 24;

/// The fast path of a socket: a send is written to the OS in the thread of its caller.
///
/// A send may use it while it has a writer and no call of the socket is in flight: in the queue,
/// being carried out, or in the write queue. A caller holds the guard while it writes, and until the
/// part that the OS has not accepted is in the queue, so no other send comes between.
pub(crate) struct SharedWriter<W> {
    /// The calls in flight, and above them the bytes of their sends that the OS has not accepted.
    /// One word, so that the bytes cost no operation of their own. A sum that overflows its part is
    /// right again when the calls have finished, and is not 0 before.
    in_flight: AtomicU64,
    writer: Mutex<Option<W>>,
}

/// Held by the caller that writes.
pub(crate) type SharedWriterGuard<'a, W> = MutexGuard<'a, Option<W>>;

impl<W> SharedWriter<W> {
    /// Without a writer: every send is queued.
    pub(crate) fn new() -> Self {
        SharedWriter {
            in_flight: AtomicU64::new(0),
            writer: Mutex::new(None),
        }
    }

    /// Called before a call is queued, with the bytes that it has to send: later sends are queued
    /// behind it.
    pub(crate) fn begin_call(&self, bytes: usize) {
        // `AcqRel`, here and below, with the `Acquire` of `writer`: a thread that reads 0 also sees
        // the effects of every finished call.
        self.in_flight.fetch_add(1 + bytes as u64 * BYTE, AcqRel);
    }

    /// The OS has accepted bytes of a call that is not finished.
    pub(crate) fn accept_bytes(&self, bytes: usize) {
        self.in_flight.fetch_sub(bytes as u64 * BYTE, AcqRel);
    }

    /// Called when a call was carried out. `bytes` of it were not accepted before.
    pub(crate) fn finish_call(&self, bytes: usize) {
        self.in_flight.fetch_sub(1 + bytes as u64 * BYTE, AcqRel);
    }

    /// The bytes of all calls in flight that the OS has not accepted.
    pub(crate) fn unsent_bytes(&self) -> usize {
        usize::try_from(self.in_flight.load(Acquire) / BYTE).unwrap_or(usize::MAX)
    }

    pub(crate) fn lock(&self) -> SharedWriterGuard<'_, W> {
        self.writer.lock()
    }

    /// The writer, if there is one and no call is in flight.
    #[inline]
    pub(crate) fn writer<'a>(&self, guard: &'a SharedWriterGuard<'_, W>) -> Option<&'a W> {
        // The count is read under the lock. A thread that calls and then sends sees its own call.
        let writer = guard.as_ref()?;
        (self.in_flight.load(Acquire) == 0).then_some(writer)
    }

    pub(crate) fn open(&self, writer: W) {
        *self.lock() = Some(writer);
    }

    /// Removes the writer. When this returns, no send is written past the queue any more.
    pub(crate) fn close(&self) -> Option<W> {
        self.lock().take()
    }
}
