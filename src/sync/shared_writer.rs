//! Keeps a socket's sends in the order of its calls, though some go past the
//! queue.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::{AtomicUsize, Mutex, MutexGuard};

/// The fast path of a socket's sends: straight to the OS, where they are called.
///
/// It is open while a writer stands in it, and free while no call of the
/// socket is under way: in the inbox, being carried out, or in the write queue.
/// A caller holds the guard while it writes, and until what the OS has not taken
/// is in the inbox, so nothing overtakes that.
pub(crate) struct SharedWriter<W> {
    calls_in_flight: AtomicUsize,
    writer: Mutex<Option<W>>,
}

/// Held by the one that writes.
pub(crate) type SharedWriterGuard<'a, W> = MutexGuard<'a, Option<W>>;

impl<W> SharedWriter<W> {
    /// Shut.
    pub(crate) fn new() -> Self {
        SharedWriter {
            calls_in_flight: AtomicUsize::new(0),
            writer: Mutex::new(None),
        }
    }

    /// A call is under way, before it is in the inbox: later sends go behind it.
    pub(crate) fn begin_call(&self) {
        self.calls_in_flight.fetch_add(1, AcqRel);
    }

    /// A call was carried out, and its bytes have left.
    pub(crate) fn end_call(&self) {
        self.calls_in_flight.fetch_sub(1, AcqRel);
    }

    pub(crate) fn lock(&self) -> SharedWriterGuard<'_, W> {
        self.writer.lock()
    }

    /// Where to write, if the path is open and free.
    #[inline]
    pub(crate) fn writer<'a>(&self, guard: &'a SharedWriterGuard<'_, W>) -> Option<&'a W> {
        let writer = guard.as_ref()?;
        (self.calls_in_flight.load(Acquire) == 0).then_some(writer)
    }

    pub(crate) fn open(&self, writer: W) {
        *self.lock() = Some(writer);
    }

    /// Nothing is written past the queue any more when this returns.
    pub(crate) fn close(&self) -> Option<W> {
        self.lock().take()
    }
}
