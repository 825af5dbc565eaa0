//! A listener: who waits to be accepted, and the faults in between.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use super::connection::End;
use super::{Listener, ScriptedNetwork, Stream, os_error};

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

/// The app's side of a [`Backlog`], which the network keeps by its address.
pub(super) struct ScriptedListener {
    network: ScriptedNetwork,
    address: SocketAddr,
}

impl ScriptedListener {
    pub(super) fn new(network: ScriptedNetwork, address: SocketAddr) -> Self {
        ScriptedListener { network, address }
    }
}

impl Listener for ScriptedListener {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let mut state = self.network.state();
        let Some(backlog) = state.listeners.get_mut(&self.address) else {
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
        let state = self.network.state();
        let backlog = state.listeners.get(&self.address)?;
        u32::try_from(backlog.clients()).ok()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for ScriptedListener {
    fn drop(&mut self) {
        let backlog = self.network.state().listeners.remove(&self.address);
        // The clients are told when the network is no longer locked: they may
        // be woken, and wakers may use the network.
        for waiting in backlog.into_iter().flat_map(|backlog| backlog.line) {
            if let Waiting::Client(end, _) = waiting {
                end.reset();
            }
        }
    }
}
