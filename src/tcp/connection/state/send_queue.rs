//! The limit and the marks of a socket's send queue.

use std::task::Context;

use crate::app_activity::UnhandledEvent;
use crate::events::redelivery::EventQueue;
use crate::tcp::SendMarks;
use crate::tcp::connection::Link;
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::events::{SendQueueInfo, SendQueueLevel};
use crate::tcp::socket::ClientSocket;
use crate::tcp::socket_listeners::OwnListeners;

/// What an app has set for a send queue, and the events about it.
pub(in crate::tcp) struct SendQueue {
    limit: Option<SendLimit>,
    marks: Option<SendMarks>,
    /// The level that was raised last, on this connection.
    level: SendQueueLevel,
    events: EventQueue<(SendQueueLevel, usize)>,
}

impl Default for SendQueue {
    fn default() -> Self {
        SendQueue {
            limit: None,
            marks: None,
            level: SendQueueLevel::Low,
            events: EventQueue::default(),
        }
    }
}

/// The limit of one socket, until this is dropped.
struct SendLimit {
    socket: ClientSocket,
    bytes: usize,
}

impl SendLimit {
    fn new(socket: &ClientSocket, bytes: usize) -> Self {
        let mut limit = SendLimit {
            socket: socket.clone(),
            bytes,
        };
        limit.set(bytes);
        // Behind the entry, which every send looks up from now on.
        socket.set_limited(true);
        limit
    }

    fn set(&mut self, bytes: usize) {
        let limits = &self.socket.app_shard().send_limits;
        limits.set(self.socket.id(), bytes);
        self.bytes = bytes;
    }
}

impl Drop for SendLimit {
    fn drop(&mut self) {
        self.socket.set_limited(false);
        let limits = &self.socket.app_shard().send_limits;
        limits.remove(self.socket.id());
    }
}

impl SocketState {
    pub(super) fn set_send_limit(&mut self, bytes: usize) {
        if bytes == usize::MAX {
            if let Some(queue) = &mut self.send_queue {
                queue.limit = None;
            }
            return;
        }
        let queue = self.send_queue.get_or_insert_default();
        match &mut queue.limit {
            Some(limit) => limit.set(bytes),
            None => queue.limit = Some(SendLimit::new(&self.socket, bytes)),
        }
    }

    pub(in crate::tcp) fn send_limit(&self) -> Option<usize> {
        let limit = self.send_queue.as_ref()?.limit.as_ref();
        limit.map(|limit| limit.bytes)
    }

    pub(super) fn set_send_marks(&mut self, marks: SendMarks) {
        self.send_queue.get_or_insert_default().marks = Some(marks);
    }

    pub(in crate::tcp) fn send_marks(&self) -> Option<SendMarks> {
        self.send_queue.as_ref()?.marks
    }

    /// A new connection: events of an earlier one are not raised again.
    pub(in crate::tcp) fn reset_send_level(&mut self) {
        if let Some(queue) = &mut self.send_queue {
            queue.level = SendQueueLevel::Low;
            queue.events = EventQueue::default();
        }
    }

    /// The socket is in another thread now. The timers of the old one are gone.
    pub(in crate::tcp) fn restart_send_queue_timer(&mut self) {
        if let Some(queue) = &mut self.send_queue {
            queue.events.reset_hold_back();
        }
    }

    /// Raises `onSendQueue` if the queue has crossed a mark. Called after each change of the queue.
    #[inline]
    pub(in crate::tcp) fn raise_send_queue(&mut self) {
        if self.send_queue.is_some() {
            self.raise_send_level();
        }
    }

    #[cold]
    fn raise_send_level(&mut self) {
        let is_writable = match &self.link {
            Link::Connected(connection) => connection.write_error().is_none(),
            Link::Securing(_) => true,
            Link::None | Link::Connecting(_) => false,
        };
        // The next connection begins anew.
        if !is_writable {
            return;
        }
        let socket = &self.socket;
        let app_shard = socket.app_shard();
        if self.transfer != Transfer::None || app_shard.activity.is_suspended() {
            return;
        }
        let Some(queue) = &mut self.send_queue else {
            return;
        };
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        let own = self.own.as_deref().and_then(OwnListeners::on_send_queue);
        let listeners = own.unwrap_or(&app_shard.on_send_queue);
        let event = |(level, queued_bytes), _missed, _token| SendQueueInfo {
            socket_id: socket.id(),
            level,
            queued_bytes,
            client: socket.clone(),
            _token,
            _unhandled: UnhandledEvent::new(&app_shard.activity),
        };
        // Events that have returned from a dead listener come first.
        queue.events.raise(listeners, &mut cx, event);
        let Some(marks) = queue.marks else { return };
        let queued = socket.queued_bytes();
        let level = match queue.level {
            SendQueueLevel::Low if queued > marks.high => SendQueueLevel::High,
            SendQueueLevel::High if queued <= marks.low => SendQueueLevel::Low,
            _ => return,
        };
        // Without a listener, the level counts as not raised.
        let has_listener = listeners.contains(None) || listeners.is_orphaned();
        if has_listener && queue.events.is_idle(&cx) {
            queue.level = level;
            queue.events.push((level, queued));
            queue.events.raise(listeners, &mut cx, event);
        }
    }
}
