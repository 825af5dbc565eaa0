//! Keeps the sends of a socket in the order of its calls, although some bypass the queue.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::{AtomicUsize, Mutex, MutexGuard};

/// The fast path of a socket's sends, which writes in the caller's thread.
///
/// It is usable while it has a writer and no call of the socket is in flight: in the command queue,
/// being carried out, or in the write queue. A caller holds the lock while it writes, and until the
/// part that the OS has not taken is in the command queue. So no other send overtakes that part.
pub(crate) struct SharedWriter<W> {
    calls_in_flight: AtomicUsize,
    writer: Mutex<Option<W>>,
}

/// The lock, held by the thread that writes.
pub(crate) type SharedWriterGuard<'a, W> = MutexGuard<'a, Option<W>>;

impl<W> SharedWriter<W> {
    /// Closed.
    pub(crate) fn new() -> Self {
        SharedWriter {
            calls_in_flight: AtomicUsize::new(0),
            writer: Mutex::new(None),
        }
    }

    /// A call begins, before it is in the command queue: later sends go behind it.
    pub(crate) fn begin_call(&self) {
        // `AcqRel`, here and below, with the `Acquire` of `writer`: a thread that reads 0 also sees
        // the effect of every finished call.
        self.calls_in_flight.fetch_add(1, AcqRel);
    }

    /// A call is finished, and the OS has all its bytes.
    pub(crate) fn end_call(&self) {
        self.calls_in_flight.fetch_sub(1, AcqRel);
    }

    pub(crate) fn lock(&self) -> SharedWriterGuard<'_, W> {
        self.writer.lock()
    }

    /// The writer, if the fast path is usable.
    #[inline]
    pub(crate) fn writer<'a>(&self, guard: &'a SharedWriterGuard<'_, W>) -> Option<&'a W> {
        // The count is read under the lock. A thread that calls and then sends sees its own call.
        let writer = guard.as_ref()?;
        (self.calls_in_flight.load(Acquire) == 0).then_some(writer)
    }

    pub(crate) fn open(&self, writer: W) {
        *self.lock() = Some(writer);
    }

    /// Removes the writer. No thread writes past the queue when this returns, because a thread that
    /// writes holds the lock.
    pub(crate) fn close(&self) -> Option<W> {
        self.lock().take()
    }
}
