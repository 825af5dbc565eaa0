//! The queue of an actor, with real threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Wake, Waker};

use super::WorkQueue;

/// A waker that counts its wakes.
#[derive(Default)]
pub(crate) struct WakeCounter(AtomicUsize);

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl WakeCounter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    pub(crate) fn reset(&self) {
        self.0.store(0, SeqCst);
    }

    /// Polls with this waker.
    pub(crate) fn with<R>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }
}

#[test]
fn only_a_push_to_an_empty_queue_wakes_the_actor() {
    let wakes = WakeCounter::new();
    let waker = Waker::from(wakes.clone());
    let cx = Context::from_waker(&waker);
    let queue = WorkQueue::<()>::default();
    let (mut calls, mut slots) = (VecDeque::new(), VecDeque::new());
    queue.drain_into(&mut calls, &mut slots, &cx);
    queue.push_ready(1);
    queue.push_ready(2);
    assert_eq!(wakes.count(), 1);
    queue.drain_into(&mut calls, &mut slots, &cx);
    assert_eq!(slots, [1, 2]);
    queue.push_ready(3);
    assert_eq!(wakes.count(), 2, "it was empty again");
    queue.close();
    queue.push_ready(4);
    queue.drain_into(&mut calls, &mut slots, &cx);
    assert_eq!(slots, [1, 2, 3], "no slot is accepted after the end");
    assert!(!queue.is_open());
}

#[test]
fn no_slot_is_lost_while_threads_push() {
    const EACH: u32 = 20_000;
    let wakes = WakeCounter::new();
    let waker = Waker::from(wakes.clone());
    let cx = Context::from_waker(&waker);
    let queue = Arc::new(WorkQueue::<()>::default());
    let (mut calls, mut slots) = (VecDeque::new(), VecDeque::new());
    queue.drain_into(&mut calls, &mut slots, &cx);
    let pushers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || (0..EACH).for_each(|slot| queue.push_ready(slot)))
        })
        .collect();
    let mut woken = 0;
    while slots.len() < 4 * EACH as usize {
        // Like the actor, it drains only after a wake.
        while wakes.count() == woken {
            std::thread::yield_now();
        }
        woken = wakes.count();
        queue.drain_into(&mut calls, &mut slots, &cx);
    }
    for pusher in pushers {
        pusher.join().expect("a thread that pushes");
    }
}
