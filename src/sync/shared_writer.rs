//! Keeps the sends of a socket in the order of its calls, though some are written past the queue.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::{AtomicUsize, Mutex, MutexGuard};

/// The fast path of a socket: a send is written to the OS in the thread of its caller.
///
/// A send may use it while it has a writer and no call of the socket is in flight: in the queue,
/// being carried out, or in the write queue. A caller holds the guard while it writes, and until the
/// part that the OS has not accepted is in the queue, so no other send comes between.
pub(crate) struct SharedWriter<W> {
    /// Calls in flight.
    calls: AtomicUsize,
    writer: Mutex<Option<W>>,
}

/// Held by the caller that writes.
pub(crate) type SharedWriterGuard<'a, W> = MutexGuard<'a, Option<W>>;

impl<W> SharedWriter<W> {
    /// Without a writer: every send is queued.
    pub(crate) fn new() -> Self {
        SharedWriter {
            calls: AtomicUsize::new(0),
            writer: Mutex::new(None),
        }
    }

    /// Called before a call is queued: later sends are queued behind it.
    pub(crate) fn begin_call(&self) {
        // `AcqRel`, here and below, with the `Acquire` of `writer`: a thread that reads 0 also sees
        // the effects of every finished call.
        self.calls.fetch_add(1, AcqRel);
    }

    /// Called when a call was carried out and its bytes were written.
    pub(crate) fn finish_call(&self) {
        self.calls.fetch_sub(1, AcqRel);
    }

    pub(crate) fn lock(&self) -> SharedWriterGuard<'_, W> {
        self.writer.lock()
    }

    /// The writer, if there is one and no call is in flight.
    #[inline]
    pub(crate) fn writer<'a>(&self, guard: &'a SharedWriterGuard<'_, W>) -> Option<&'a W> {
        // The count is read under the lock. A thread that calls and then sends sees its own call.
        let writer = guard.as_ref()?;
        (self.calls.load(Acquire) == 0).then_some(writer)
    }

    pub(crate) fn open(&self, writer: W) {
        *self.lock() = Some(writer);
    }

    /// Removes the writer. When this returns, no send is written past the queue any more.
    pub(crate) fn close(&self) -> Option<W> {
        self.lock().take()
    }
}
