//! Models of a listener of a shared port and the server socket that consumes its connections.

use std::task::Poll;

use futures::future::poll_fn;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::ahead_queue::AheadQueue;

/// Accepts `connections`, at most one ahead, and ends.
fn accept(ahead: &AheadQueue<u8, ()>, connections: u8) {
    let mut next = 1;
    block_on(poll_fn(|cx| {
        ahead.register_acceptor(cx);
        while next <= connections {
            if ahead.may_accept(1).is_none() {
                return Poll::Pending;
            }
            ahead.push(next);
            ahead.wake_consumer();
            next += 1;
        }
        Poll::Ready(())
    }));
    ahead.acceptor_ended();
}

#[test]
fn connections_accepted_ahead_are_taken_in_order() {
    crate::every_interleaving(|| {
        const CONNECTIONS: u8 = 3;
        let ahead = Arc::new(AheadQueue::new());
        let mut acceptor = None;
        let mut taken = Vec::new();
        block_on(poll_fn(|cx| {
            ahead.register_consumer(cx);
            while let Some(next) = ahead.pop() {
                taken.push(next.expect("it does not fail"));
            }
            if taken.len() == usize::from(CONNECTIONS) {
                return Poll::Ready(());
            }
            if ahead.request() && acceptor.is_none() {
                let ahead = ahead.clone();
                acceptor = Some(thread::spawn(move || accept(&ahead, CONNECTIONS)));
            }
            Poll::Pending
        }));
        assert_eq!(taken, [1, 2, 3]);
        let acceptor = acceptor.expect("it was started");
        acceptor.join().expect("it accepts");
    });
}

#[test]
fn a_failure_is_reported_once_and_the_next_request_accepts_more() {
    crate::every_interleaving(|| {
        let ahead = Arc::new(AheadQueue::<u8, ()>::new());
        let mut acceptor = None;
        let mut failures = 0;
        block_on(poll_fn(|cx| {
            ahead.register_consumer(cx);
            match ahead.pop() {
                Some(Ok(1)) => return Poll::Ready(()),
                Some(Ok(other)) => panic!("{other} was not accepted"),
                Some(Err(())) => failures += 1,
                None => {}
            }
            if ahead.request() && acceptor.is_none() {
                let ahead = ahead.clone();
                acceptor = Some(thread::spawn(move || {
                    let mut has_failed = false;
                    block_on(poll_fn(|cx| {
                        ahead.register_acceptor(cx);
                        while ahead.may_accept(1).is_some() {
                            if has_failed {
                                ahead.push(1);
                                ahead.wake_consumer();
                                return Poll::Ready(());
                            }
                            has_failed = true;
                            ahead.push_error(());
                            ahead.wake_consumer();
                        }
                        Poll::Pending
                    }));
                }));
            }
            Poll::Pending
        }));
        assert_eq!(failures, 1);
        let acceptor = acceptor.expect("it was started");
        acceptor.join().expect("it accepts");
    });
}
