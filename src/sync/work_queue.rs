//! The queue to an actor: calls, and entries that it is to look at.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::Context;

use super::{AtomicBool, AtomicWaker, Mutex};

/// Memory that the queue of calls keeps when it is empty, in calls.
const KEPT: usize = 1024;

/// One lock takes in a call or an entry, and whoever finds the queue empty wakes
/// the actor. The actor registers its waker before it takes what is there, so
/// what comes later wakes it. Calls keep their order, and an entry is taken no
/// earlier than the calls before it.
pub(crate) struct WorkQueue<C> {
    waiting: Mutex<Waiting<C>>,
    /// Whether calls are refused, for those who only look.
    closed: AtomicBool,
    actor: AtomicWaker,
}

struct Waiting<C> {
    /// A call that was in hand when a turn panicked.
    in_hand: Option<C>,
    calls: VecDeque<C>,
    slots: Vec<u32>,
    /// Whether calls are refused.
    closed: bool,
    /// Whether the actor is gone.
    ended: bool,
}

impl<C> Waiting<C> {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.slots.is_empty()
    }
}

impl<C> Default for WorkQueue<C> {
    fn default() -> Self {
        WorkQueue {
            waiting: Mutex::new(Waiting {
                in_hand: None,
                calls: VecDeque::new(),
                slots: Vec::new(),
                closed: false,
                ended: false,
            }),
            closed: AtomicBool::new(false),
            actor: AtomicWaker::new(),
        }
    }
}

impl<C> WorkQueue<C> {
    /// Takes a call in; after the actor's end it comes back.
    pub(crate) fn call(&self, call: C) -> Option<C> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Some(call);
        }
        let first = waiting.is_empty();
        waiting.calls.push_back(call);
        drop(waiting);
        if first {
            self.actor.wake();
        }
        None
    }

    /// Has the actor look at the entry in this slot.
    pub(crate) fn look_at(&self, slot: u32) {
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            return;
        }
        let first = waiting.is_empty();
        waiting.slots.push(slot);
        drop(waiting);
        if first {
            self.actor.wake();
        }
    }

    /// Whether a call waits that has not been taken.
    pub(crate) fn has_calls(&self) -> bool {
        !self.waiting.lock().calls.is_empty()
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Acquire)
    }

    /// Exchanges the calls for `calls`, which is empty, moves the entries to the
    /// end of `slots`, and has `cx` woken for what comes. Both at once: what
    /// is left in the queue has woken nobody but this turn.
    pub(crate) fn take(
        &self,
        calls: &mut VecDeque<C>,
        slots: &mut VecDeque<u32>,
        cx: &Context<'_>,
    ) {
        self.actor.register(cx.waker());
        if calls.capacity() > KEPT {
            *calls = VecDeque::new();
        }
        let mut waiting = self.waiting.lock();
        std::mem::swap(&mut waiting.calls, calls);
        slots.extend(waiting.slots.drain(..));
    }

    /// A turn panics that had this in hand: it comes before everything else.
    pub(crate) fn put_back(&self, in_hand: C) {
        let mut waiting = self.waiting.lock();
        if !waiting.closed {
            waiting.in_hand = Some(in_hand);
        }
    }

    /// What a turn that has panicked had in hand.
    pub(crate) fn take_in_hand(&self) -> Option<C> {
        self.waiting.lock().in_hand.take()
    }

    /// The calls alone; the entries are taken by the turn that follows, for
    /// which the actor has been woken if there are any.
    pub(crate) fn take_calls(&self) -> VecDeque<C> {
        std::mem::take(&mut self.waiting.lock().calls)
    }

    /// The actor's end: nothing is taken in any more.
    pub(crate) fn close(&self) {
        self.waiting.lock().ended = true;
        self.refuse_calls();
    }

    /// No calls are taken in any more; entries are, until the actor's end.
    pub(crate) fn refuse_calls(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        self.closed.store(true, Release);
        let rest = std::mem::take(&mut waiting.calls);
        let in_hand = waiting.in_hand.take();
        drop(waiting);
        // What drops here may call: not under the lock.
        drop((rest, in_hand));
    }
}
