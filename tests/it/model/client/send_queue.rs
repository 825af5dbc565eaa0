//! The limit and the marks of a client socket's send queue.

use chrome_sockets::tcp::{SendMarks, SocketInfo};

use super::super::app::Kind;
use super::super::event_log::ObservedEvent;
use super::super::possible_states::{Seen, raise};
use super::{Client, Connection};

/// What the app has set, and what it was told.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SendQueue {
    limit: Option<usize>,
    marks: Option<SendMarks>,
    /// The level of the last event of this connection.
    is_high: bool,
    /// An event that waits for a listener, because the last one has died.
    waiting: Option<(bool, usize)>,
}

impl SendQueue {
    pub fn set(&mut self, limit: Option<usize>, marks: Option<SendMarks>) {
        if let Some(limit) = limit {
            self.limit = Some(limit).filter(|limit| *limit < usize::MAX);
        }
        self.marks = marks.or(self.marks);
    }

    /// A new connection begins.
    pub fn begin(&mut self) {
        self.is_high = false;
        self.waiting = None;
    }

    pub fn allows_info(&self, info: &SocketInfo) -> bool {
        info.send_limit == self.limit && info.send_marks == self.marks
    }
}

impl Client {
    /// Bytes of all its sends that the OS has not accepted.
    pub fn queued_bytes(&self) -> usize {
        let waiting = self.connection().into_iter().chain(&self.leaving);
        waiting.map(Connection::queued_bytes).sum()
    }

    /// Whether a limit or marks are set.
    pub fn watches_send_queue(&self) -> bool {
        self.send_queue.limit.is_some() || self.send_queue.marks.is_some()
    }

    /// Whether a send of so many bytes would exceed the limit.
    pub fn exceeds_limit(&self, bytes: usize) -> bool {
        let limit = self.send_queue.limit;
        limit.is_some_and(|limit| self.queued_bytes() + bytes > limit)
    }

    /// Whether the socket reports levels now.
    fn reports_levels(&self) -> bool {
        let is_writable = self.connection().is_some_and(|c| !c.is_broken());
        self.open && is_writable && !self.app.suspended
    }

    /// The level that is to be reported: above the high-water mark, or not.
    fn next_level(&self) -> Option<bool> {
        let marks = self.send_queue.marks?;
        let queued = self.queued_bytes();
        let is_high = match self.send_queue.is_high {
            false => queued > marks.high,
            true => queued > marks.low,
        };
        (is_high != self.send_queue.is_high).then_some(is_high)
    }

    /// Whether something is to be reported about the send queue.
    pub fn crosses_mark(&self) -> bool {
        let has_listener = self.listeners(Kind::SendQueue) != 0;
        let keeps = self.keeps_event(Kind::SendQueue);
        let is_due = match self.send_queue.waiting {
            Some(_) => has_listener || !keeps,
            None => self.next_level().is_some() && (has_listener || keeps),
        };
        self.reports_levels() && is_due
    }

    /// Reports the level of the send queue.
    pub fn report_level(&self, seen: &Seen) -> Option<Self> {
        if !self.crosses_mark() {
            return None;
        }
        let mut state = self.clone();
        let queue = &mut state.send_queue;
        let (is_high, queued) = match queue.waiting.take() {
            Some(waiting) => waiting,
            None => {
                queue.is_high = self.next_level()?;
                (queue.is_high, self.queued_bytes())
            }
        };
        if self.keeps_event(Kind::SendQueue) {
            queue.waiting = Some((is_high, queued));
            return Some(state);
        }
        let listeners = self.listeners(Kind::SendQueue);
        raise(
            state,
            listeners,
            seen,
            |event| matches!(event, ObservedEvent::SendQueue(high, bytes) if (*high, *bytes) == (is_high, queued)),
        )
    }
}
