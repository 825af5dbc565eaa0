//! A listener: who waits to be accepted, and the faults in between.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use crate::testing::scripted::connection::End;
use crate::testing::scripted::{Listener, ScriptedNetwork, Stream, os_error};

/// What a listener's `accept` is going to answer.
#[derive(Debug)]
pub(super) struct Backlog {
    line: VecDeque<Waiting>,
    most: u32,
    acceptor: Option<Waker>,
}

#[derive(Debug)]
enum Waiting {
    Client(End, SocketAddr),
    Error(i32),
}

impl Backlog {
    pub(super) fn new(most: u32) -> Self {
        Backlog {
            line: VecDeque::new(),
            most,
            acceptor: None,
        }
    }

    pub(super) fn clients(&self) -> usize {
        let clients = self
            .line
            .iter()
            .filter(|waiting| matches!(waiting, Waiting::Client(..)));
        clients.count()
    }

    pub(super) fn is_full(&self) -> bool {
        usize::try_from(self.most).is_ok_and(|most| self.clients() >= most)
    }

    pub(super) fn push_client(&mut self, end: End, from: SocketAddr) -> Option<Waker> {
        self.line.push_back(Waiting::Client(end, from));
        self.acceptor.take()
    }

    pub(super) fn push_error(&mut self, errno: i32) -> Option<Waker> {
        self.line.push_back(Waiting::Error(errno));
        self.acceptor.take()
    }
}

/// The listeners of one address: one, or several that share it.
#[derive(Debug)]
pub(super) struct Backlogs {
    shared: bool,
    /// By the number of the listener. Never empty.
    all: Vec<(u64, Backlog)>,
    /// Which one gets the next connection.
    next: usize,
}

impl Backlogs {
    pub(super) fn new(shared: bool) -> Self {
        Backlogs {
            shared,
            all: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    pub(super) fn add(&mut self, listener: u64, most: u32) {
        self.all.push((listener, Backlog::new(most)));
    }

    pub(super) fn clients(&self) -> usize {
        self.all.iter().map(|(_, backlog)| backlog.clients()).sum()
    }

    /// Takes its listeners in turn, past those that are full. `None`: all are.
    pub(super) fn next_with_room(&mut self) -> Option<&mut Backlog> {
        let count = self.all.len();
        let turns = (0..count).map(|turn| (self.next + turn) % count);
        let place = turns.clone().find(|place| !self.all[*place].1.is_full())?;
        self.next = (place + 1) % count;
        Some(&mut self.all[place].1)
    }

    /// The listener whose turn it is.
    pub(super) fn next(&mut self) -> &mut Backlog {
        let place = self.next % self.all.len();
        self.next = place + 1;
        &mut self.all[place].1
    }

    fn of(&mut self, listener: u64) -> Option<&mut Backlog> {
        let mut all = self.all.iter_mut();
        let found = all.find(|(number, _)| *number == listener);
        found.map(|(_, backlog)| backlog)
    }

    /// The backlog of a listener that is dropped, and whether it was the last.
    pub(super) fn remove(&mut self, listener: u64) -> (Option<Backlog>, bool) {
        let place = self.all.iter().position(|(number, _)| *number == listener);
        let removed = place.map(|place| self.all.remove(place).1);
        (removed, self.all.is_empty())
    }
}

/// The app's side of a [`Backlog`], which the network keeps by its address.
pub(super) struct ScriptedListener {
    network: ScriptedNetwork,
    address: SocketAddr,
    number: u64,
}

impl ScriptedListener {
    pub(super) fn new(network: ScriptedNetwork, address: SocketAddr, number: u64) -> Self {
        ScriptedListener {
            network,
            address,
            number,
        }
    }
}

impl Listener for ScriptedListener {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let mut state = self.network.state();
        let backlogs = state.listeners.get_mut(&self.address);
        let Some(backlog) = backlogs.and_then(|all| all.of(self.number)) else {
            return Poll::Ready(Err(os_error(libc::EINVAL)));
        };
        match backlog.line.pop_front() {
            Some(Waiting::Client(end, from)) => Poll::Ready(Ok((Box::new(end), from))),
            Some(Waiting::Error(errno)) => Poll::Ready(Err(os_error(errno))),
            None => {
                backlog.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn backlog(&self) -> Option<u32> {
        let mut state = self.network.state();
        let backlog = state.listeners.get_mut(&self.address)?.of(self.number)?;
        u32::try_from(backlog.clients()).ok()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for ScriptedListener {
    fn drop(&mut self) {
        let backlog = self.network.state().forget(self.address, self.number);
        // The clients are told when the network is no longer locked: they may
        // be woken, and wakers may use the network.
        for waiting in backlog.into_iter().flat_map(|backlog| backlog.line) {
            if let Waiting::Client(end, _) = waiting {
                end.reset();
            }
        }
    }
}
