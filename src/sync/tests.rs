//! What the queue to an actor promises, with real threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Context;

use futures::task::{ArcWake, waker};

use super::WorkQueue;

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
    let inbox = WorkQueue::<()>::default();
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
    let inbox = Arc::new(WorkQueue::<()>::default());
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
