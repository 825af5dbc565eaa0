//! Windows: count what listeners have not handled, per socket and per app, and wake sockets that
//! wait for it.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use crate::sync::{AtomicU64, AtomicUsize, Mutex, WaitFlag};
use crate::tcp::{RESUME_BELOW, WINDOW};

/// An event takes at least this many bytes of a window, about its size in memory. So tiny events
/// are bounded too.
pub(crate) const MIN_EVENT_CHARGE: usize = 256;

/// One event in the word of [`SocketWindow`].
pub(crate) const EVENT: u64 = 1 << 32;

/// The events of one socket that listeners have not handled.
///
/// The socket's actor calls [`begin_poll`](Self::begin_poll) first, and then decides by
/// [`has_window`](Self::has_window) and [`are_handled`](Self::are_handled) only. If one of them is
/// false, the `release` that changes it returns `true`, and the socket is polled again.
#[derive(Default)]
pub(crate) struct SocketWindow {
    /// Events in the upper half, bytes in the lower. One word, so that both change together.
    word: AtomicU64,
    awaited: WaitFlag,
}

impl SocketWindow {
    #[inline]
    pub(crate) fn acquire(&self, amount: u64) {
        self.word.fetch_add(amount, AcqRel);
    }

    /// Releases events, bytes or both. `true` if the socket waits for this.
    #[inline]
    pub(crate) fn release(&self, amount: u64) -> bool {
        let left = self.word.fetch_sub(amount, SeqCst) - amount;
        (left / EVENT == 0 || left % EVENT <= RESUME_BELOW as u64)
            && self.awaited.is_set_after_rmw()
    }

    /// The number of events, for information.
    pub(crate) fn events(&self) -> u64 {
        self.word.load(Acquire) / EVENT
    }

    fn bytes(&self) -> usize {
        (self.word.load(Acquire) % EVENT) as usize
    }

    /// The socket is polled: it does not wait until it says so again.
    #[inline]
    pub(crate) fn begin_poll(&self) {
        self.awaited.clear();
    }

    /// Whether every event was handled. If not, the socket waits for that.
    pub(crate) fn are_handled(&self) -> bool {
        self.events() == 0 || self.awaited.set_and_check(|| self.events() == 0)
    }

    /// Whether listeners hold a window, for information: the socket does not wait.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= WINDOW
    }

    /// Whether listeners hold less than a window. If not, the socket waits until they hold no more
    /// than [`RESUME_BELOW`].
    #[inline]
    pub(crate) fn has_window(&self) -> bool {
        self.bytes() < WINDOW || self.awaited.set_and_check(|| self.bytes() <= RESUME_BELOW)
    }
}

/// A socket that may have to wait for room in its app's window.
pub(crate) trait Starving: Clone {
    /// `true` if the socket was not in the list of starved sockets.
    fn mark_starved(&self) -> bool;

    fn clear_starved(&self);

    /// Has the socket polled.
    fn make_ready(&self);
}

/// The bytes of one app in one arbiter that listeners have not handled, and the sockets that wait
/// for room.
pub(crate) struct AppWindow<S> {
    limit: usize,
    /// All bytes that were ever raised here. Only the thread of the sockets' actor writes it, so
    /// raising needs no locked instruction. Sums wrap around; differences are right.
    raised: AtomicUsize,
    /// Those of them that are handled.
    handled: AtomicUsize,
    /// Bytes that have returned from dead listeners and are not raised again yet.
    returned: AtomicUsize,
    /// Sockets with something to read.
    starved: Mutex<Vec<S>>,
    has_starved: WaitFlag,
}

impl<S: Starving> AppWindow<S> {
    pub(crate) fn new(limit: usize) -> Self {
        AppWindow {
            limit,
            raised: AtomicUsize::new(0),
            handled: AtomicUsize::new(0),
            returned: AtomicUsize::new(0),
            starved: Mutex::new(Vec::new()),
            has_starved: WaitFlag::default(),
        }
    }

    /// Whether a socket may be read. If not, it becomes ready again when listeners have handled
    /// enough.
    #[inline]
    pub(crate) fn may_read(&self, socket: &S) -> bool {
        self.held() < self.limit || self.await_room(socket)
    }

    #[cold]
    fn await_room(&self, socket: &S) -> bool {
        if socket.mark_starved() {
            self.starved.lock().push(socket.clone());
        }
        // Room may have come before the flag was set: then this call wakes.
        if self.has_starved.set_and_check(|| self.has_room_again()) {
            self.wake_starved();
        }
        false
    }

    /// Whether every event of the app here is handled.
    pub(crate) fn is_quiet(&self) -> bool {
        self.unhandled() == 0
    }

    /// The bytes that listeners have not handled, for information.
    #[inline]
    pub(crate) fn unhandled(&self) -> usize {
        // In this order: what is handled by then was raised before. `SeqCst`, because the wait for a
        // suspended app relies on it ([`crate::app_activity`]).
        let handled = self.handled.load(SeqCst);
        self.raised.load(Acquire).wrapping_sub(handled)
    }

    /// The sockets' actor raises an event.
    #[inline]
    pub(crate) fn acquire(&self, bytes: usize) {
        let raised = self.raised.load(Relaxed);
        self.raised.store(raised.wrapping_add(bytes), Release);
    }

    /// Any thread makes a copy of an event, whose credit it has.
    pub(crate) fn acquire_copy(&self, bytes: usize) {
        self.handled.fetch_sub(bytes, SeqCst);
    }

    /// Releases bytes. `true` if none are left. `SeqCst`, because the wait for a suspended app
    /// relies on it ([`crate::app_activity`]).
    #[inline]
    pub(crate) fn release(&self, bytes: usize) -> bool {
        self.handled.fetch_add(bytes, SeqCst);
        self.wake_starved();
        self.is_quiet()
    }

    pub(crate) fn add_returned(&self, bytes: usize) {
        self.returned.fetch_add(bytes, AcqRel);
    }

    pub(crate) fn remove_returned(&self, bytes: usize) {
        self.returned.fetch_sub(bytes, SeqCst);
        self.wake_starved();
    }

    /// `SeqCst`: of two threads that lower one count each, one sees both.
    #[inline]
    fn held(&self) -> usize {
        self.unhandled() + self.returned.load(SeqCst)
    }

    #[inline]
    fn has_room_again(&self) -> bool {
        self.held() <= self.limit / 2
    }

    #[inline]
    fn wake_starved(&self) {
        if self.has_room_again() && self.has_starved.take_after_rmw() {
            self.wake_all_starved();
        }
    }

    #[cold]
    fn wake_all_starved(&self) {
        let starved = std::mem::take(&mut *self.starved.lock());
        for socket in starved {
            // In this order: a socket that is neither marked nor in the list is polled once more.
            socket.clear_starved();
            socket.make_ready();
        }
    }
}
