//! The backlogs of listeners: clients that wait to be accepted, and accept errors between them.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use crate::address::Address;
use crate::testing::scripted::connection::{Endpoint, os_error};

/// The results of one listener's next accepts.
#[derive(Debug)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    /// How many clients it holds; errors do not count.
    capacity: u32,
    acceptor: Option<Waker>,
}

#[derive(Debug)]
enum Entry {
    Client(Endpoint, Address),
    Error(i32),
}

impl Backlog {
    fn new(capacity: u32) -> Self {
        Backlog {
            entries: VecDeque::new(),
            capacity,
            acceptor: None,
        }
    }

    pub(super) fn clients(&self) -> usize {
        let is_client = |entry: &&Entry| matches!(entry, Entry::Client(..));
        self.entries.iter().filter(is_client).count()
    }

    fn is_full(&self) -> bool {
        usize::try_from(self.capacity).is_ok_and(|capacity| self.clients() >= capacity)
    }

    #[must_use = "the waker is woken when the network is unlocked"]
    pub(super) fn push_client(&mut self, client: Endpoint, from: Address) -> Option<Waker> {
        self.entries.push_back(Entry::Client(client, from));
        self.acceptor.take()
    }

    #[must_use = "the waker is woken when the network is unlocked"]
    pub(super) fn push_error(&mut self, errno: i32) -> Option<Waker> {
        self.entries.push_back(Entry::Error(errno));
        self.acceptor.take()
    }

    pub(super) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Endpoint, Address)>> {
        match self.entries.pop_front() {
            Some(Entry::Client(client, from)) => Poll::Ready(Ok((client, from))),
            Some(Entry::Error(errno)) => Poll::Ready(Err(os_error(errno))),
            None => {
                self.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Resets the clients. Not while the network is locked: it may wake tasks, whose wakers may
    /// use the network.
    pub(super) fn reset(self) {
        for entry in self.entries {
            if let Entry::Client(client, _) = entry {
                client.reset_peer();
            }
        }
    }
}

/// What a listener shares with others on its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sharing {
    /// Connections are spread over all listeners of the address.
    pub(super) port: bool,
    /// IPv4 connections belong to other listeners.
    pub(super) ipv6_only: bool,
}

/// The listeners of one address: one, or several that share it.
#[derive(Debug)]
pub(super) struct ListenerGroup {
    sharing: Sharing,
    /// By the id of the listener. Never empty.
    backlogs: Vec<(u64, Backlog)>,
    /// The index of the backlog that gets the next connection.
    next: usize,
}

impl ListenerGroup {
    pub(super) fn new(sharing: Sharing) -> Self {
        ListenerGroup {
            sharing,
            backlogs: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn sharing(&self) -> Sharing {
        self.sharing
    }

    pub(super) fn add(&mut self, listener: u64, capacity: u32) {
        self.backlogs.push((listener, Backlog::new(capacity)));
    }

    pub(super) fn clients(&self) -> usize {
        let backlogs = self.backlogs.iter();
        backlogs.map(|(_, backlog)| backlog.clients()).sum()
    }

    /// The next backlog in turn that is not full.
    pub(super) fn next_with_room(&mut self) -> Option<&mut Backlog> {
        let count = self.backlogs.len();
        let mut turns = (0..count).map(|turn| (self.next + turn) % count);
        let index = turns.find(|index| !self.backlogs[*index].1.is_full())?;
        self.next = (index + 1) % count;
        Some(&mut self.backlogs[index].1)
    }

    /// The next backlog in turn.
    pub(super) fn next(&mut self) -> &mut Backlog {
        let index = self.next % self.backlogs.len();
        self.next = index + 1;
        &mut self.backlogs[index].1
    }

    pub(super) fn get_mut(&mut self, listener: u64) -> Option<&mut Backlog> {
        let mut backlogs = self.backlogs.iter_mut();
        let (_, backlog) = backlogs.find(|(id, _)| *id == listener)?;
        Some(backlog)
    }

    /// Removes the backlog of a listener. The group may be empty then.
    pub(super) fn remove(&mut self, listener: u64) -> Option<Backlog> {
        let index = self.backlogs.iter().position(|(id, _)| *id == listener)?;
        Some(self.backlogs.remove(index).1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.backlogs.is_empty()
    }
}
