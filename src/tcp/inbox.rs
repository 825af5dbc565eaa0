//! What waits for the rows actor: calls on its sockets, and rows to look at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Context;
use std::thread::{self, ThreadId};

use futures::task::AtomicWaker;

use super::actor::Op;
use super::shortcut::Ticket;
use super::socket::ClientSocket;
use super::write::Outgoing;

/// Memory that the queue of calls keeps when it is empty, in calls.
const KEPT: usize = 1024;

/// A call on one socket.
pub(super) enum Call {
    Send(Outgoing),
    Op(Ticket, Op),
}

impl Call {
    pub(super) fn socket(&self) -> &ClientSocket {
        match self {
            Call::Send(outgoing) => outgoing.socket(),
            Call::Op(ticket, _) => ticket.socket(),
        }
    }
}

/// The queue from every handle and waker to the rows actor. It is not the
/// actor's mailbox, because a mailbox costs two allocations a message and a
/// wake each: here one lock takes in a call, and whoever finds the queue empty
/// wakes the actor. Calls keep their order; what bounds them are the app's
/// write quota and its credits.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    /// Whether calls are refused, for those who only look.
    closed: AtomicBool,
    actor: AtomicWaker,
    /// Where the actor is.
    thread: RwLock<Option<ThreadId>>,
}

#[derive(Default)]
struct Waiting {
    /// A send that was in hand when a turn panicked.
    in_hand: Option<Outgoing>,
    calls: VecDeque<Call>,
    slots: Vec<u32>,
    /// Whether calls are refused.
    closed: bool,
    /// Whether the actor is gone.
    ended: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.slots.is_empty()
    }
}

impl Inbox {
    /// Takes a call in; after the actor's end it comes back, and dropping it
    /// answers it with [`Error::Stopped`](crate::Error::Stopped).
    pub(super) fn call(&self, call: Call) -> Option<Call> {
        let mut waiting = self.lock();
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

    /// Has the actor look at the row in this slot.
    pub(super) fn look_at(&self, slot: u32) {
        let mut waiting = self.lock();
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

    /// The actor is in the current thread.
    pub(super) fn moved_here(&self) {
        let mut thread = self.thread.write().unwrap_or_else(PoisonError::into_inner);
        *thread = Some(thread::current().id());
    }

    /// Whether the actor is in the current thread, so that its next turn comes
    /// after what this thread is doing.
    pub(super) fn is_here(&self) -> bool {
        let thread = self.thread.read().unwrap_or_else(PoisonError::into_inner);
        *thread == Some(thread::current().id())
    }

    /// Whether a call waits that has not been taken.
    pub(super) fn has_calls(&self) -> bool {
        !self.lock().calls.is_empty()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed.load(SeqCst)
    }

    /// Exchanges the calls for `calls`, which is empty, moves the rows to the
    /// end of `slots`, and has `cx` woken for what comes. Both at once: what
    /// is left in the queue has woken nobody but this turn.
    pub(super) fn take(
        &self,
        calls: &mut VecDeque<Call>,
        slots: &mut VecDeque<u32>,
        cx: &Context<'_>,
    ) {
        self.actor.register(cx.waker());
        if calls.capacity() > KEPT {
            *calls = VecDeque::new();
        }
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.calls, calls);
        slots.extend(waiting.slots.drain(..));
    }

    /// A turn panics that had this in hand: it comes before everything else.
    pub(super) fn put_back(&self, in_hand: Outgoing) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.in_hand = Some(in_hand);
        }
    }

    /// What a turn that has panicked had in hand.
    pub(super) fn take_in_hand(&self) -> Option<Call> {
        self.lock().in_hand.take().map(Call::Send)
    }

    /// The calls alone; the rows are taken by the turn that follows.
    pub(super) fn take_calls(&self) -> VecDeque<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// The actor's end: nothing is taken in any more.
    pub(super) fn close(&self) {
        self.lock().ended = true;
        self.refuse_calls();
    }

    /// The actor ends when its connections have lingered: it looks at them, and
    /// no calls are taken in any more.
    pub(super) fn refuse_calls(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        self.closed.store(true, SeqCst);
        let rest = std::mem::take(&mut waiting.calls);
        let in_hand = waiting.in_hand.take();
        drop(waiting);
        // What drops here may call: not under the lock.
        drop((rest, in_hand));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn only_what_finds_the_inbox_empty_wakes_the_actor() {
        let wakes = Arc::new(Wakes::default());
        let waker = waker(wakes.clone());
        let cx = Context::from_waker(&waker);
        let inbox = Inbox::default();
        let (mut calls, mut slots) = (VecDeque::new(), VecDeque::new());
        inbox.take(&mut calls, &mut slots, &cx);
        inbox.look_at(1);
        inbox.look_at(2);
        assert_eq!(wakes.0.load(SeqCst), 1);
        inbox.take(&mut calls, &mut slots, &cx);
        assert_eq!(slots, [1, 2]);
        inbox.look_at(3);
        assert_eq!(wakes.0.load(SeqCst), 2, "it was empty again");
        inbox.close();
        inbox.look_at(4);
        inbox.take(&mut calls, &mut slots, &cx);
        assert_eq!(slots, [1, 2, 3], "nothing comes after the end");
        assert!(!inbox.is_open());
    }

    #[test]
    fn no_row_is_forgotten_while_others_push() {
        const EACH: u32 = 20_000;
        let wakes = Arc::new(Wakes::default());
        let waker = waker(wakes.clone());
        let cx = Context::from_waker(&waker);
        let inbox = Arc::new(Inbox::default());
        let (mut calls, mut slots) = (VecDeque::new(), VecDeque::new());
        inbox.take(&mut calls, &mut slots, &cx);
        let pushers: Vec<_> = (0..4)
            .map(|_| {
                let inbox = inbox.clone();
                std::thread::spawn(move || (0..EACH).for_each(|slot| inbox.look_at(slot)))
            })
            .collect();
        let mut woken = 0;
        while slots.len() < 4 * EACH as usize {
            // As the actor: only a wake makes it look.
            while wakes.0.load(SeqCst) == woken {
                std::thread::yield_now();
            }
            woken = wakes.0.load(SeqCst);
            inbox.take(&mut calls, &mut slots, &cx);
        }
        for pusher in pushers {
            pusher.join().expect("it pushes");
        }
    }
}
