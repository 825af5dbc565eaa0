//! What waits for the rows actor: calls on its sockets, and rows to look at.

use std::thread::{self, ThreadId};

use parking_lot::RwLock;

use crate::sync::WorkQueue;
use crate::tcp::command::QueuedCall;

/// The queue from every handle and waker to the rows actor. It is not the
/// actor's mailbox, because a mailbox costs two allocations a message and a
/// wake each. What bounds the calls are the app's write quota and its credits; one
/// that comes back, after the actor's end, answers
/// [`Error::Stopped`](crate::Error::Stopped) when it is dropped.
#[derive(Default)]
pub(crate) struct CommandQueue {
    pub(super) queue: WorkQueue<QueuedCall>,
    /// Where the actor is.
    thread: RwLock<Option<ThreadId>>,
}

impl CommandQueue {
    /// The actor is in the current thread.
    pub(super) fn set_current_thread(&self) {
        let mut thread = self.thread.write();
        *thread = Some(thread::current().id());
    }

    /// Whether the actor is in the current thread, so that its next turn comes
    /// after what this thread is doing.
    pub(super) fn runs_in_this_thread(&self) -> bool {
        let thread = self.thread.read();
        *thread == Some(thread::current().id())
    }
}
