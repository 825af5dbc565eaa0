//! What waits for the rows actor: calls on its sockets, and rows to look at.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;

use super::actor::Op;
use super::socket::ClientSocket;
use super::write::Outgoing;

/// Memory that the queue of calls keeps when it is empty, in calls.
const KEPT: usize = 1024;

/// A call on one socket.
pub(super) enum Call {
    Send(Outgoing),
    Op(ClientSocket, Op),
}

/// The queue from every handle and waker to the rows actor. It is not the
/// actor's mailbox, because a mailbox costs two allocations a message and a
/// wake each: here one lock takes in a call, and whoever finds the queue empty
/// wakes the actor. Calls keep their order; what bounds them are the app's
/// write quota and its credits.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    actor: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    slots: Vec<u32>,
    closed: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.slots.is_empty()
    }
}

impl Inbox {
    /// Takes a call in; after the actor's end it is dropped, which answers it
    /// with [`Error::Stopped`](crate::Error::Stopped).
    pub(super) fn call(&self, call: Call) {
        let mut waiting = self.lock();
        if waiting.closed {
            drop(waiting);
            drop(call);
            return;
        }
        let first = waiting.is_empty();
        waiting.calls.push_back(call);
        drop(waiting);
        if first {
            self.actor.wake();
        }
    }

    /// Has the actor look at the row in this slot.
    pub(super) fn look_at(&self, slot: u32) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        let first = waiting.is_empty();
        waiting.slots.push(slot);
        drop(waiting);
        if first {
            self.actor.wake();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lock().closed
    }

    /// Moves the rows to the end of `slots`, and has `cx` woken for what comes.
    /// The calls are taken by [`calls`](Self::calls).
    pub(super) fn rows(&self, slots: &mut VecDeque<u32>, cx: &Context<'_>) {
        self.actor.register(cx.waker());
        slots.extend(self.lock().slots.drain(..));
    }

    /// Exchanges the calls for `empty`.
    pub(super) fn calls(&self, empty: &mut VecDeque<Call>) {
        if empty.capacity() > KEPT {
            *empty = VecDeque::new();
        }
        std::mem::swap(&mut self.lock().calls, empty);
    }

    /// The actor's end: nothing is taken in any more.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let rest = std::mem::take(&mut waiting.calls);
        drop(waiting);
        // What drops here may call: not under the lock.
        drop(rest);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
