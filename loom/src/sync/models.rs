//! Sleeping and waking, and the queue of an actor.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use futures::future::poll_fn;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::{AtomicUsize, InFlight, ReadyFlag, WorkQueue};

#[test]
fn a_task_that_waits_for_room_is_woken() {
    crate::every_interleaving(|| {
        let in_flight = Arc::new(InFlight::default());
        in_flight.add();
        let handler = {
            let in_flight = in_flight.clone();
            thread::spawn(move || in_flight.remove())
        };
        block_on(poll_fn(|cx| {
            in_flight.register(cx);
            match in_flight.is_below(1) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
        handler.join().expect("a handler");
    });
}

#[test]
fn a_task_at_the_limit_is_woken_for_each_event() {
    crate::every_interleaving(|| {
        let in_flight = Arc::new(InFlight::default());
        let (mut raised, mut handlers) = (0, Vec::new());
        block_on(poll_fn(|cx| {
            in_flight.register(cx);
            while raised < 2 {
                if !in_flight.is_below(1) {
                    return Poll::Pending;
                }
                in_flight.add();
                raised += 1;
                let in_flight = in_flight.clone();
                handlers.push(thread::spawn(move || in_flight.remove()));
            }
            match in_flight.is_below(1) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
        for handler in handlers {
            handler.join().expect("a handler");
        }
    });
}

#[test]
fn the_consumer_of_an_entry_sees_every_earlier_change() {
    crate::every_interleaving(|| {
        let queue = Arc::new(WorkQueue::<()>::default());
        let flag = Arc::new(ReadyFlag::default());
        let cells = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let changers = [0, 1].map(|which| {
            let (queue, flag, cells) = (queue.clone(), flag.clone(), cells.clone());
            thread::spawn(move || {
                // Only the flag orders this store.
                cells[which].store(1, Relaxed);
                if flag.set() {
                    queue.push_ready(0);
                }
            })
        });
        let (mut calls, mut slots) = (VecDeque::new(), VecDeque::new());
        block_on(poll_fn(|cx| {
            queue.drain_into(&mut calls, &mut slots, cx);
            for _ in slots.drain(..) {
                flag.clear();
                if cells.iter().all(|cell| cell.load(Relaxed) == 1) {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        }));
        for changer in changers {
            changer.join().expect("a changer");
        }
    });
}

#[test]
fn a_call_that_was_pushed_without_a_wake_is_drained_after_the_wake() {
    crate::every_interleaving(|| {
        let queue = Arc::new(WorkQueue::<u8>::default());
        let callers = [1, 2].map(|caller| {
            let queue = queue.clone();
            thread::spawn(move || {
                // The second finds the call of the first, or its own is the first.
                if caller == 2 {
                    assert!(queue.push_call(caller).is_none());
                } else if queue.push_call_unwoken(caller) {
                    queue.wake_actor();
                }
            })
        });
        let (mut calls, mut slots) = (VecDeque::new(), VecDeque::new());
        let mut seen = 0;
        block_on(poll_fn(|cx| {
            queue.drain_into(&mut calls, &mut slots, cx);
            seen += calls.drain(..).count();
            match seen {
                2 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        for caller in callers {
            caller.join().expect("a caller");
        }
    });
}

#[test]
fn calls_of_each_thread_are_drained_in_order() {
    crate::every_interleaving(|| {
        let queue = Arc::new(WorkQueue::<(u8, u8)>::default());
        let callers = [1, 2].map(|caller| {
            let queue = queue.clone();
            thread::spawn(move || {
                for number in [1, 2] {
                    assert!(queue.push_call((caller, number)).is_none());
                }
            })
        });
        let (mut calls, mut slots) = (VecDeque::new(), VecDeque::new());
        let mut seen = Vec::new();
        block_on(poll_fn(|cx| {
            queue.drain_into(&mut calls, &mut slots, cx);
            seen.extend(calls.drain(..));
            match seen.len() {
                4 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        for caller in [1, 2] {
            let numbers: Vec<_> = seen.iter().filter(|(by, _)| *by == caller).collect();
            assert_eq!(numbers, [&(caller, 1), &(caller, 2)]);
        }
        for caller in callers {
            caller.join().expect("a caller");
        }
    });
}
