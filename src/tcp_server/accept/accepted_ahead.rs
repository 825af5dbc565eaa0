//! Connections that one listener of a shared port has accepted ahead, between
//! its task and the server socket.

use std::collections::VecDeque;
use std::task::Context;

use crate::sync::{AtomicWaker, Mutex};

/// A bounded queue from a task that accepts to the server socket that takes.
///
/// The task sleeps when nothing is wanted or enough was accepted, and says so
/// under the same lock under which [`want`](Self::want) looks. Each side registers
/// its waker before it looks, so what comes after the look wakes it.
pub(in crate::tcp_server) struct Ahead<T, E> {
    state: Mutex<State<T, E>>,
    taker: AtomicWaker,
    acceptor: AtomicWaker,
}

struct State<T, E> {
    accepted: VecDeque<T>,
    /// Nothing is accepted after it, until it was taken and more is wanted.
    error: Option<E>,
    is_wanted: bool,
    /// Whether the task is there, and whether it waits to be wanted.
    runs: bool,
    is_backing_off: bool,
}

impl<T, E> Ahead<T, E> {
    pub(in crate::tcp_server) fn new() -> Self {
        Ahead {
            state: Mutex::new(State {
                accepted: VecDeque::new(),
                error: None,
                is_wanted: false,
                runs: false,
                is_backing_off: false,
            }),
            taker: AtomicWaker::new(),
            acceptor: AtomicWaker::new(),
        }
    }
}

/// For the server socket.
impl<T, E> Ahead<T, E> {
    /// Has `cx` woken for what is accepted from here on.
    pub(in crate::tcp_server) fn begin_taking(&self, cx: &Context<'_>) {
        self.taker.register(cx.waker());
    }

    pub(in crate::tcp_server) fn take(&self) -> Option<Result<T, E>> {
        let mut state = self.state.lock();
        match state.accepted.pop_front() {
            Some(accepted) => Some(Ok(accepted)),
            None => state.error.take().map(Err),
        }
    }

    /// What was accepted alone.
    pub(in crate::tcp_server) fn take_accepted(&self) -> Option<T> {
        self.state.lock().accepted.pop_front()
    }

    /// More is wanted. `true`: the caller starts the task, which is not there.
    pub(in crate::tcp_server) fn want(&self) -> bool {
        let mut state = self.state.lock();
        if state.error.is_some() {
            // It has come since the caller looked, and wakes it.
            return false;
        }
        state.is_wanted = true;
        if !std::mem::replace(&mut state.runs, true) {
            return true;
        }
        if std::mem::take(&mut state.is_backing_off) {
            drop(state);
            self.acceptor.wake();
        }
        false
    }

    /// Nothing is wanted, and no error is told.
    pub(in crate::tcp_server) fn want_nothing(&self) {
        let mut state = self.state.lock();
        state.is_wanted = false;
        state.error = None;
    }

    pub(in crate::tcp_server) fn count(&self) -> usize {
        self.state.lock().accepted.len()
    }

    /// Everything that was accepted.
    pub(in crate::tcp_server) fn take_all(&self) -> VecDeque<T> {
        std::mem::take(&mut self.state.lock().accepted)
    }

    /// Has the task look at its listener.
    pub(in crate::tcp_server) fn wake_acceptor(&self) {
        self.acceptor.wake();
    }
}

/// For the task.
impl<T, E> Ahead<T, E> {
    /// Has `cx` woken when more is wanted.
    pub(in crate::tcp_server) fn begin_accepting(&self, cx: &Context<'_>) {
        self.acceptor.register(cx.waker());
    }

    /// Whether to accept one more, if fewer than `most` wait. If not, the task
    /// rests until more is wanted.
    pub(in crate::tcp_server) fn may_accept(&self, most: usize) -> bool {
        let mut state = self.state.lock();
        let may = state.is_wanted && state.accepted.len() < most;
        if !may {
            state.is_backing_off = true;
            state.is_wanted = false;
        }
        may
    }

    pub(in crate::tcp_server) fn accepted(&self, accepted: T) {
        self.state.lock().accepted.push_back(accepted);
    }

    pub(in crate::tcp_server) fn failed(&self, error: E) {
        let mut state = self.state.lock();
        // If not, another one has failed meanwhile, which is told.
        if std::mem::take(&mut state.is_wanted) {
            state.error = Some(error);
        }
    }

    /// Wakes the server socket for what was accepted, or failed.
    pub(in crate::tcp_server) fn wake_taker(&self) {
        self.taker.wake();
    }

    /// The task ends.
    pub(in crate::tcp_server) fn ended(&self) {
        self.state.lock().runs = false;
        self.taker.wake();
    }
}
