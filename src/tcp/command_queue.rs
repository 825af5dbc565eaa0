//! The queue to the actor of the client sockets: calls, and sockets that are ready.

use std::thread::{self, ThreadId};

use parking_lot::RwLock;

use crate::sync::WorkQueue;
use crate::tcp::command::QueuedCall;

/// The queue from every handle and waker to a [`SocketTable`](crate::tcp::SocketTable). It is not
/// the actor's mailbox, because a mailbox costs two allocations and one wake-up per message. The
/// app's write quota and its credits bound the calls. After the actor's end a call is dropped,
/// which answers [`Error::Stopped`](crate::Error::Stopped).
#[derive(Default)]
pub(crate) struct CommandQueue {
    pub(super) queue: WorkQueue<QueuedCall>,
    /// The actor's thread.
    thread: RwLock<Option<ThreadId>>,
}

impl CommandQueue {
    /// The actor has started in the current thread.
    pub(super) fn set_current_thread(&self) {
        let mut thread = self.thread.write();
        *thread = Some(thread::current().id());
    }

    /// Whether the actor runs in the current thread. If so, its next turn comes after what this
    /// thread is doing.
    pub(super) fn is_current_thread(&self) -> bool {
        let thread = self.thread.read();
        *thread == Some(thread::current().id())
    }
}
