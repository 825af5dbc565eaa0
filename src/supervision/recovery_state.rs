//! What an actor of many sockets works on, for its recovery after a panic.

use std::mem;
use std::sync::Weak;

use crate::supervision::restarter::{Recoverable, Restarter};

/// If the actor panics this often in a row while it works on one socket, that socket is taken for
/// the cause. It is ended, so that the others go on.
const MAX_PANICS_PER_SOCKET: u32 = 3;

/// What an actor works on whose sockets are entries of a slab.
pub(crate) struct RecoveryState<A: Recoverable> {
    /// The slot of the socket that it works on.
    pub(crate) slot: Option<u32>,
    /// The slot at which it panicked last, and how often it did so in a row.
    suspect: Option<(u32, u32)>,
    /// Whether it is closing that socket, whose id is gone already.
    pub(crate) is_closing: bool,
    /// Whether an injected fault stops the actor.
    pub(crate) stop_requested: bool,
    /// Whether the actor ends for good: no other one takes its sockets over.
    pub(crate) has_ended: bool,
    pub(crate) restarter: Weak<Restarter<A>>,
}

/// The actor has panicked while it worked on a socket.
pub(crate) struct SlotPanic {
    pub(crate) slot: u32,
    pub(crate) was_closing: bool,
    /// Whether the socket is taken for the cause.
    pub(crate) is_suspect: bool,
}

impl<A: Recoverable> Default for RecoveryState<A> {
    fn default() -> Self {
        RecoveryState {
            slot: None,
            suspect: None,
            is_closing: false,
            stop_requested: false,
            has_ended: false,
            restarter: Weak::new(),
        }
    }
}

impl<A: Recoverable> RecoveryState<A> {
    /// The actor has worked on this slot without a panic.
    #[inline]
    pub(crate) fn clear_suspect(&mut self, slot: u32) {
        if self.suspect.is_some_and(|(suspect, _)| suspect == slot) {
            self.suspect = None;
        }
    }

    /// The panic of the last turn, if it has panicked.
    pub(crate) fn take_panic(&mut self) -> Option<SlotPanic> {
        let slot = self.slot.take()?;
        let panics = match self.suspect {
            Some((suspect, panics)) if suspect == slot => panics + 1,
            _ => 1,
        };
        self.suspect = Some((slot, panics));
        Some(SlotPanic {
            slot,
            was_closing: mem::take(&mut self.is_closing),
            is_suspect: panics >= MAX_PANICS_PER_SOCKET,
        })
    }
}
