//! The queue of an actor: calls, and slots of entries that are ready.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::Context;

use super::{AtomicBool, AtomicWaker, Mutex};

/// The capacity that an empty queue of calls keeps.
const MAX_KEPT_CAPACITY: usize = 1024;

/// A thread that pushes to an empty queue wakes the actor. The actor registers its waker before it
/// drains the queue, so every later push wakes it. Calls keep their order, and a slot is drained no
/// earlier than the calls that were pushed before it.
pub(crate) struct WorkQueue<C> {
    state: Mutex<QueueState<C>>,
    /// A copy of [`QueueState::closed`], which is read without the lock.
    closed: AtomicBool,
    actor: AtomicWaker,
}

struct QueueState<C> {
    /// The call that a turn was carrying out when it panicked.
    interrupted: Option<C>,
    calls: VecDeque<C>,
    /// The slots of ready entries.
    slots: Vec<u32>,
    /// Whether calls are refused.
    closed: bool,
    /// Whether the actor has ended: slots are dropped.
    ended: bool,
}

impl<C> QueueState<C> {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.slots.is_empty()
    }
}

impl<C> Default for WorkQueue<C> {
    fn default() -> Self {
        WorkQueue {
            state: Mutex::new(QueueState {
                interrupted: None,
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
    /// Pushes a call, or returns it if calls are refused.
    pub(crate) fn push_call(&self, call: C) -> Option<C> {
        match self.push(call) {
            Ok(was_empty) => {
                if was_empty {
                    self.actor.wake();
                }
                None
            }
            Err(refused) => Some(refused),
        }
    }

    /// Pushes a call without waking the actor, or drops it if calls are refused. If this is `true`,
    /// the caller has to [wake](Self::wake_actor) the actor soon: later pushes find a queue that is
    /// not empty, and rely on that.
    #[must_use = "the actor has to be woken"]
    pub(crate) fn push_call_unwoken(&self, call: C) -> bool {
        self.push(call).unwrap_or(false)
    }

    /// Wakes the actor.
    pub(crate) fn wake_actor(&self) {
        self.actor.wake();
    }

    /// Pushes a call, and returns whether the queue was empty.
    #[inline]
    fn push(&self, call: C) -> Result<bool, C> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(call);
        }
        let was_empty = state.is_empty();
        state.calls.push_back(call);
        Ok(was_empty)
    }

    /// Pushes the slot of a ready entry.
    pub(crate) fn push_ready(&self, slot: u32) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        let was_empty = state.is_empty();
        state.slots.push(slot);
        drop(state);
        if was_empty {
            self.actor.wake();
        }
    }

    /// Whether there is a call in the queue.
    pub(crate) fn has_calls(&self) -> bool {
        !self.state.lock().calls.is_empty()
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Acquire)
    }

    /// Exchanges the calls for `calls`, which is empty, moves the slots to the end of `slots`, and
    /// has `cx` woken for later pushes. Both under one lock: a push to a queue that is not empty
    /// wakes no task.
    pub(crate) fn drain_into(
        &self,
        calls: &mut VecDeque<C>,
        slots: &mut VecDeque<u32>,
        cx: &Context<'_>,
    ) {
        self.actor.register(cx.waker());
        if calls.capacity() > MAX_KEPT_CAPACITY {
            *calls = VecDeque::new();
        }
        let mut state = self.state.lock();
        std::mem::swap(&mut state.calls, calls);
        slots.extend(state.slots.drain(..));
    }

    /// Keeps the call of a turn that panics, to be carried out before all others.
    pub(crate) fn set_interrupted(&self, call: C) {
        let mut state = self.state.lock();
        if !state.closed {
            state.interrupted = Some(call);
        }
    }

    /// Takes the call of a turn that has panicked.
    pub(crate) fn take_interrupted(&self) -> Option<C> {
        self.state.lock().interrupted.take()
    }

    /// Takes only the calls. The next turn drains the slots; if there are any, the actor was woken
    /// for them already.
    pub(crate) fn take_calls(&self) -> VecDeque<C> {
        std::mem::take(&mut self.state.lock().calls)
    }

    /// The actor ends: calls are refused, and slots are dropped.
    pub(crate) fn close(&self) {
        self.state.lock().ended = true;
        self.refuse_calls();
    }

    /// Refuses calls from now on. Slots are accepted until the actor ends.
    pub(crate) fn refuse_calls(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.closed.store(true, Release);
        let rest = std::mem::take(&mut state.calls);
        let interrupted = state.interrupted.take();
        drop(state);
        // Dropping a call may push to this queue: not under the lock.
        drop((rest, interrupted));
    }
}
