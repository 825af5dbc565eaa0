//! A listener of a shared port, which accepts ahead, and its server socket.

use std::task::Poll;

use futures::future::poll_fn;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::accepted_ahead::Ahead;

/// Accepts this many connections, one ahead, and ends.
fn accept(ahead: &Ahead<u8, ()>, connections: u8) {
    let mut next = 1;
    block_on(poll_fn(|cx| {
        ahead.begin_accepting(cx);
        while next <= connections {
            if !ahead.may_accept(1) {
                return Poll::Pending;
            }
            ahead.accepted(next);
            ahead.wake_taker();
            next += 1;
        }
        Poll::Ready(())
    }));
    ahead.ended();
}

#[test]
fn connections_that_are_accepted_ahead_are_taken_in_order() {
    crate::every_interleaving(|| {
        const CONNECTIONS: u8 = 3;
        let ahead = Arc::new(Ahead::new());
        let mut acceptor = None;
        let mut taken = Vec::new();
        block_on(poll_fn(|cx| {
            ahead.begin_taking(cx);
            while let Some(next) = ahead.take() {
                taken.push(next.expect("it does not fail"));
            }
            if taken.len() == usize::from(CONNECTIONS) {
                return Poll::Ready(());
            }
            if ahead.want() && acceptor.is_none() {
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
fn a_failure_is_reported_once_and_accepting_goes_on_on_demand() {
    crate::every_interleaving(|| {
        let ahead = Arc::new(Ahead::<u8, ()>::new());
        let mut acceptor = None;
        let mut failures = 0;
        block_on(poll_fn(|cx| {
            ahead.begin_taking(cx);
            match ahead.take() {
                Some(Ok(1)) => return Poll::Ready(()),
                Some(Ok(other)) => panic!("{other} was not accepted"),
                Some(Err(())) => failures += 1,
                None => {}
            }
            if ahead.want() && acceptor.is_none() {
                let ahead = ahead.clone();
                acceptor = Some(thread::spawn(move || {
                    let mut has_failed = false;
                    block_on(poll_fn(|cx| {
                        ahead.begin_accepting(cx);
                        while ahead.may_accept(1) {
                            if has_failed {
                                ahead.accepted(1);
                                ahead.wake_taker();
                                return Poll::Ready(());
                            }
                            has_failed = true;
                            ahead.failed(());
                            ahead.wake_taker();
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
