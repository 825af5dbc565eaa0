//! Connections that one listener of a shared port has accepted ahead of the server socket.

use std::collections::VecDeque;
use std::task::Context;

use crate::sync::{AtomicWaker, Mutex};

/// A bounded queue from the task that accepts (the acceptor) to the server
/// socket (the consumer).
///
/// The acceptor goes idle when nothing is requested or the queue is full, and
/// records it under the lock under which [`request`](Self::request) looks. Each side registers
/// its waker before it looks, so what comes after the look wakes it.
pub(in crate::tcp_server) struct AheadQueue<T, E> {
    state: Mutex<State<T, E>>,
    consumer: AtomicWaker,
    acceptor: AtomicWaker,
}

struct State<T, E> {
    accepted: VecDeque<T>,
    /// Why accepting failed. Nothing is accepted after it until the consumer
    /// has it and makes another request.
    error: Option<E>,
    is_requested: bool,
    /// Whether the acceptor exists.
    is_running: bool,
    /// Whether the acceptor waits for a request.
    is_idle: bool,
}

impl<T, E> AheadQueue<T, E> {
    pub(in crate::tcp_server) fn new() -> Self {
        AheadQueue {
            state: Mutex::new(State {
                accepted: VecDeque::new(),
                error: None,
                is_requested: false,
                is_running: false,
                is_idle: false,
            }),
            consumer: AtomicWaker::new(),
            acceptor: AtomicWaker::new(),
        }
    }
}

/// For the consumer.
impl<T, E> AheadQueue<T, E> {
    /// Has `cx` woken for what is accepted from here on.
    pub(in crate::tcp_server) fn register_consumer(&self, cx: &Context<'_>) {
        self.consumer.register(cx.waker());
    }

    /// The next connection, or the error after the last one.
    pub(in crate::tcp_server) fn pop(&self) -> Option<Result<T, E>> {
        let mut state = self.state.lock();
        match state.accepted.pop_front() {
            Some(accepted) => Some(Ok(accepted)),
            None => state.error.take().map(Err),
        }
    }

    /// The next connection. An error stays.
    pub(in crate::tcp_server) fn pop_accepted(&self) -> Option<T> {
        self.state.lock().accepted.pop_front()
    }

    /// Requests more connections. If this is `true`, the caller has to start the
    /// acceptor, which does not exist.
    pub(in crate::tcp_server) fn request(&self) -> bool {
        let mut state = self.state.lock();
        if state.error.is_some() {
            // It came after the caller looked, and has woken the caller.
            return false;
        }
        state.is_requested = true;
        if !std::mem::replace(&mut state.is_running, true) {
            return true;
        }
        if std::mem::take(&mut state.is_idle) {
            drop(state);
            self.acceptor.wake();
        }
        false
    }

    /// Takes the request back, and drops an error that is not reported yet.
    pub(in crate::tcp_server) fn cancel_request(&self) {
        let mut state = self.state.lock();
        state.is_requested = false;
        state.error = None;
    }

    pub(in crate::tcp_server) fn count(&self) -> usize {
        self.state.lock().accepted.len()
    }

    pub(in crate::tcp_server) fn take_all(&self) -> VecDeque<T> {
        std::mem::take(&mut self.state.lock().accepted)
    }

    pub(in crate::tcp_server) fn wake_acceptor(&self) {
        self.acceptor.wake();
    }
}

/// For the acceptor.
impl<T, E> AheadQueue<T, E> {
    /// Has `cx` woken by the next request.
    pub(in crate::tcp_server) fn register_acceptor(&self, cx: &Context<'_>) {
        self.acceptor.register(cx.waker());
    }

    /// How many wait, if fewer than `most` do and one more is to be accepted. If
    /// `None`, the acceptor is idle until the next request.
    pub(in crate::tcp_server) fn may_accept(&self, most: usize) -> Option<usize> {
        let mut state = self.state.lock();
        let waiting = state.accepted.len();
        let may = state.is_requested && waiting < most;
        if !may {
            state.is_idle = true;
            state.is_requested = false;
        }
        may.then_some(waiting)
    }

    pub(in crate::tcp_server) fn push(&self, accepted: T) {
        self.state.lock().accepted.push_back(accepted);
    }

    pub(in crate::tcp_server) fn push_error(&self, error: E) {
        let mut state = self.state.lock();
        // Without a request, another listener has failed meanwhile, and its error
        // is reported for all.
        if std::mem::take(&mut state.is_requested) {
            state.error = Some(error);
        }
    }

    pub(in crate::tcp_server) fn wake_consumer(&self) {
        self.consumer.wake();
    }

    /// The acceptor has ended: the next request starts another one.
    pub(in crate::tcp_server) fn acceptor_ended(&self) {
        self.state.lock().is_running = false;
        self.consumer.wake();
    }
}
