//! A connection that the app is done with, while its last sends leave.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::row::{Connection, Ends};
use super::socket::ClientSocket;
use super::write::WriteQueue;
use crate::guests::Guests;
use crate::net_error::{self, NetError};
use crate::os::Stream;

/// How long a peer may leave the last sends unread before they are dropped.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Drain {
    /// Nobody's handle: it only wakes the slot.
    pub(super) socket: ClientSocket,
    stream: Box<dyn Stream>,
    queue: WriteQueue,
    /// It is still one of those that are open.
    ends: Box<Ends>,
    waiting: usize,
}

impl Drain {
    pub(super) fn new(connection: Connection, of: &ClientSocket) -> Self {
        let Connection {
            stream,
            queue,
            ends,
            ..
        } = connection;
        Drain {
            socket: ClientSocket::new(of.id(), of.lane().clone()),
            stream,
            ends,
            waiting: queue.bytes(),
            queue,
        }
    }

    /// Sends what the OS takes; `true` when all is sent, or cannot be.
    pub(super) fn is_done(&mut self) -> bool {
        self.socket.looked_at();
        let waker = self.socket.waker();
        let mut cx = Context::from_waker(&waker);
        match self.queue.poll_flush(&mut *self.stream, &mut cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                self.queue.fail(net_error::write(&error).into());
                true
            }
        }
    }

    /// Whether it is one of those, and what it has left to send has failed.
    pub(super) fn force(&mut self, guests: &Arc<Guests>) -> bool {
        let guest = self.ends.guest.as_ref();
        let Some(guest) = guest.filter(|guest| guest.is_of(guests)) else {
            return false;
        };
        guest.force(self.socket.id());
        self.queue.fail(NetError::ABORTED.into());
        true
    }

    /// What is left to send has failed: the peer takes nothing of it.
    pub(super) fn give_up(&mut self) {
        self.queue.fail(NetError::TIMED_OUT.into());
    }

    /// Its thread is another one; what it has left to send fails if that
    /// cannot be.
    pub(super) fn moved(&mut self) {
        if self.stream.moved().is_err() {
            self.queue.fail(NetError::FAILED.into());
        }
    }

    /// Whether anything was sent since this was last asked.
    pub(super) fn has_moved(&mut self) -> bool {
        let before = std::mem::replace(&mut self.waiting, self.queue.bytes());
        self.waiting < before
    }
}
