//! Lingering close: delivers what was sent before a closed connection's descriptor is closed.
//!
//! Linux answers a close with unread input, and input after a close, by a reset, which makes the
//! peer lose data that it has not read yet. So a connection is closed in this order (RFC 9112,
//! section 9.6): write waiting data, shut the write side, discard input until the peer's end, close
//! the descriptor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::Instant;
use parking_lot::Mutex;

use crate::connections::{ConnectionCounter, ConnectionGuard};
use crate::net_error::{self, NetError};
use crate::os::{Stream, retry_if_spurious, try_close_gracefully};
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::connection::Connection;
use crate::tcp::connection::timeouts::Timer;
use crate::tcp::connection::write::WriteQueue;
use crate::tcp::shards::shard::AppShard;
use crate::tcp::socket::ClientSocket;

/// How long a peer may acknowledge nothing before its connection is reset.
pub(in crate::tcp) const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// The most input of one connection that is discarded. A connection with more is reset.
const MAX_DISCARDED: usize = 1024 * 1024;

/// How often one connection is read before the next one has its turn.
const READS_PER_TURN: usize = 2;

/// When the OS is first asked what the peer has acknowledged: after a round trip to most peers, and
/// after the 40 ms by which Linux delays an acknowledgement. The time doubles with each check.
const FIRST_CHECK: Duration = Duration::from_millis(100);

/// The most lingering connections of one app, in equal parts for its arbiters. It allows 2,500
/// closes a second with peers 100 ms away, and is a quarter of the descriptors that a process has
/// by default.
const MAX_LINGERING: usize = 256;

/// The smallest part of an arbiter.
const MIN_LINGERING: usize = 32;

/// A connection that is closed for its app, and may have data to deliver.
pub(in crate::tcp) struct Closing {
    pub(in crate::tcp) stream: Box<dyn Stream>,
    pub(in crate::tcp) queue: WriteQueue,
    pub(in crate::tcp) connection_guard: Option<ConnectionGuard>,
    /// Whether nothing was ever written that the peer could lose.
    pub(in crate::tcp) never_written: bool,
}

impl From<Connection> for Closing {
    #[inline]
    fn from(connection: Connection) -> Self {
        Closing {
            stream: connection.stream,
            queue: connection.queue,
            connection_guard: connection.meta.connection_guard,
            never_written: !connection.maybe_written,
        }
    }
}

impl Closing {
    /// For a connection that has to end now: resets it if data waits to be sent, and returns it
    /// otherwise.
    pub(in crate::tcp) fn reset_if_unsent(connection: Connection) -> Option<Self> {
        let mut closed = Closing::from(connection);
        if closed.queue.is_empty() {
            return Some(closed);
        }
        closed.queue.fail(NetError::ABORTED.into());
        closed.stream.reset();
        None
    }

    /// Whether closing it at once loses nothing. If the peer has ended its side, no input can come
    /// that would turn the close into a reset.
    fn can_close_now(&self) -> bool {
        self.queue.is_empty() && self.stream.reached_eof()
    }
}

pub(in crate::tcp) struct Lingering {
    /// A handle that is only used to wake the slot.
    pub(in crate::tcp) socket: ClientSocket,
    pub(in crate::tcp) stream: Box<dyn Stream>,
    queue: WriteQueue,
    /// Dropped when the peer has acknowledged everything, the end included.
    undelivered: Option<UndeliveredGuard>,
    /// Whether the write side is shut.
    is_write_shut: bool,
    /// Whether reading is over: the peer has ended its side, or a read has failed.
    is_read_ended: bool,
    discarded: usize,
    /// Since when the peer has acknowledged nothing.
    progress_at: Instant,
    check_interval: Duration,
    /// How much the peer had not acknowledged at the last check.
    last_unacknowledged: Option<usize>,
    timer: Timer,
    _list_entry: LingerListEntry,
}

/// What lingers counts in the send queue of its socket, whose next connection compares the queue
/// with its marks. So that socket is polled when the queue has changed.
fn wake_owner(owner: Option<ClientSocket>) {
    if let Some(owner) = owner {
        owner.make_ready();
    }
}

/// Counts the connection until the peer has everything.
struct UndeliveredGuard {
    connection_guard: Option<ConnectionGuard>,
    /// For a shutdown or a handover, which waits for all lingering connections.
    _counted: ConnectionGuard,
}

impl Lingering {
    /// Writes what waits and discards what comes. `true` when the connection can be closed.
    pub(in crate::tcp) fn write_and_discard(&mut self, buffer: &mut [u8]) -> bool {
        let socket = self.socket.clone();
        socket.clear_ready();
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        if !self.is_write_shut {
            let owner = self.queue.socket();
            let flushed = self.queue.poll_flush(&mut *self.stream, &mut cx);
            wake_owner(owner);
            match flushed {
                Poll::Pending => {}
                // No input can come any more, so a close is no reset.
                Poll::Ready(Ok(())) if self.stream.reached_eof() => return true,
                Poll::Ready(Ok(())) => match self.stream.poll_shutdown(&mut cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => self.mark_write_shut(),
                    // The connection is broken, or its write side cannot be shut.
                    Poll::Ready(Err(_)) => return true,
                },
                Poll::Ready(Err(error)) => {
                    self.reset(net_error::write(&error));
                    return true;
                }
            }
        }
        self.discard(&mut cx, buffer)
    }

    /// The OS has all data, so another connection may take this one's place in limits. Lingering
    /// connections have a limit of their own.
    fn mark_write_shut(&mut self) {
        self.is_write_shut = true;
        let undelivered = self.undelivered.as_mut();
        if let Some(guard) = undelivered.and_then(|it| it.connection_guard.as_mut()) {
            guard.release_limits();
        }
    }

    /// Discards input. `true` when the connection can be closed.
    fn discard(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> bool {
        for _ in 0..READS_PER_TURN {
            if self.is_read_ended {
                break;
            }
            match retry_if_spurious(self.stream.poll_discard(cx, buffer), cx) {
                Poll::Pending => return false,
                // Waiting data can still be written, if the peer has only ended its side. Otherwise
                // the next write reports the error.
                Poll::Ready(Ok(0) | Err(_)) => self.is_read_ended = true,
                Poll::Ready(Ok(count)) => self.discarded += count,
            }
            if self.discarded > MAX_DISCARDED {
                log::debug!("a closed connection is reset, its peer sends too much");
                self.reset(NetError::ABORTED);
                return true;
            }
        }
        if !self.is_read_ended {
            // There may be more, after the other sockets.
            self.socket.make_ready();
        }
        self.is_read_ended && self.is_write_shut
    }

    fn fail(&mut self, why: NetError) {
        let owner = self.queue.socket();
        self.queue.fail(why.into());
        wake_owner(owner);
    }

    /// Fails waiting data, and has the close reset the connection.
    fn reset(&mut self, why: NetError) {
        self.fail(why);
        self.stream.set_reset_on_drop();
    }

    /// For a connection that is closed at its time limit. The peer sees a reset if it does not have
    /// everything.
    pub(in crate::tcp) fn abort_unless_delivered(&mut self, why: NetError) {
        if !self.queue.is_empty() || self.unacknowledged() > 0 {
            self.reset(why);
        }
    }

    /// For a connection that is closed to make room, or by a drain. The kernel goes on to deliver
    /// what it has taken.
    fn close_now(&mut self, why: NetError) {
        if !self.queue.is_empty() {
            self.reset(why);
        }
    }

    /// How many bytes the peer has not acknowledged, as far as the OS tells.
    fn unacknowledged(&self) -> usize {
        match self.undelivered {
            Some(_) => self.stream.unacknowledged().unwrap_or(0),
            None => 0,
        }
    }

    /// The deadline of a drain. `true` if the connection is counted by `counter` and has to be
    /// closed.
    pub(in crate::tcp) fn force_close(&mut self, counter: &Arc<ConnectionCounter>) -> bool {
        let undelivered = self.undelivered.as_ref();
        let guard = undelivered.and_then(|it| it.connection_guard.as_ref());
        let Some(guard) = guard.filter(|guard| guard.belongs_to(counter)) else {
            return false;
        };
        guard.record_forced(self.socket.id());
        if self.queue.is_empty() {
            // The drain no longer waits for it. The kernel still delivers what was answered as
            // sent.
            self.undelivered = None;
            return false;
        }
        self.close_now(NetError::ABORTED);
        true
    }

    /// The connection is in another thread now. If it cannot register there, its waiting data
    /// fails.
    pub(in crate::tcp) fn reregister(&mut self) {
        if self.stream.reregister().is_err() {
            self.fail(NetError::FAILED);
        }
    }

    /// A check is due. `true` when the connection has used up its time.
    pub(in crate::tcp) fn check_timeout(&mut self, now: Instant) -> bool {
        self.timer.mark_fired();
        if self.undelivered.is_some() {
            // The OS may have taken bytes from the queue since: only the sum shows progress.
            let reported = self.stream.unacknowledged();
            let unacknowledged = self.queue.bytes() + reported.unwrap_or(0);
            let before = self.last_unacknowledged.replace(unacknowledged);
            if before.is_some_and(|before| unacknowledged < before) {
                self.progress_at = now;
            }
            if self.is_write_shut && reported == Some(0) {
                self.undelivered = None;
            }
        }
        let end = self.progress_at + LINGER_TIMEOUT;
        if end <= now {
            return true;
        }
        let next = match self.undelivered {
            Some(_) => end.min(now + self.check_interval),
            None => end,
        };
        self.check_interval *= 2;
        self.timer.set(Some(next));
        false
    }
}

/// Counts the lingering connections of one actor whose peers do not have everything.
pub(in crate::tcp) struct LingerCount {
    pub(in crate::tcp) all: Arc<ConnectionCounter>,
    /// Connections that were closed after the last wait.
    current: Arc<ConnectionCounter>,
}

impl Default for LingerCount {
    fn default() -> Self {
        let all = Arc::default();
        LingerCount {
            current: Arc::new(ConnectionCounter::with_parent(&all)),
            all,
        }
    }
}

impl LingerCount {
    fn guard(&self) -> ConnectionGuard {
        ConnectionGuard::opened(self.current.clone(), false)
    }

    /// The connections that linger now. A wait for them ends, even if others are closed meanwhile.
    pub(in crate::tcp) fn take_current(&mut self) -> Arc<ConnectionCounter> {
        let next = Arc::new(ConnectionCounter::with_parent(&self.all));
        std::mem::replace(&mut self.current, next)
    }
}

/// The lingering connections of an app in one arbiter, by age.
pub(in crate::tcp) struct LingerList {
    limit: usize,
    state: Mutex<ListState>,
}

#[derive(Default)]
struct ListState {
    last: u64,
    slots: BTreeMap<u64, u32>,
}

impl LingerList {
    /// The list of one of so many arbiters.
    pub(in crate::tcp) fn for_shards(arbiters: usize) -> Self {
        LingerList {
            limit: (MAX_LINGERING / arbiters.max(1)).max(MIN_LINGERING),
            state: Mutex::default(),
        }
    }

    /// Removes the oldest connection if the list is full.
    fn evict_oldest(&self) -> Option<u32> {
        let mut state = self.state.lock();
        if state.slots.len() < self.limit {
            return None;
        }
        state.slots.pop_first().map(|(_, slot)| slot)
    }

    fn add(&self, slot: u32) -> u64 {
        let mut state = self.state.lock();
        state.last += 1;
        let age = state.last;
        state.slots.insert(age, slot);
        age
    }
}

/// An entry of the list, until this is dropped.
struct LingerListEntry {
    app_shard: Arc<AppShard>,
    age: u64,
}

impl Drop for LingerListEntry {
    fn drop(&mut self) {
        let mut state = self.app_shard.lingering.state.lock();
        state.slots.remove(&self.age);
    }
}

impl SocketTable {
    /// Closes a connection when the peer has acknowledged what was sent.
    #[inline]
    pub(in crate::tcp) fn linger(
        &mut self,
        closed: Option<impl Into<Closing>>,
        owner: &ClientSocket,
    ) {
        let closed = closed
            .map(Into::into)
            .filter(|closed| !closed.can_close_now());
        if let Some(closed) = closed {
            self.linger_until_delivered(closed, owner);
        }
    }

    #[inline(never)]
    fn linger_until_delivered(&mut self, mut closed: Closing, owner: &ClientSocket) {
        // The peer can lose nothing, so the connection need not linger.
        if closed.never_written
            && closed.queue.is_empty()
            && try_close_gracefully(&mut *closed.stream)
        {
            return;
        }
        let app_shard = owner.app_shard().clone();
        while let Some(oldest) = app_shard.lingering.evict_oldest() {
            log::debug!("too many connections linger, the oldest is closed");
            if let Some(Entry::Lingering(oldest)) = self.entries.get_mut(oldest as usize) {
                oldest.close_now(NetError::ABORTED);
            }
            self.stop_lingering(oldest);
        }
        let entry = self.entries.vacant_entry();
        let slot = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let socket = ClientSocket::new(owner.id(), app_shard.clone());
        socket.set_slot(slot);
        self.poller.change_slot(&mut *closed.stream, slot);
        let now = self.timers.now();
        let mut timer = Timer::new(&self.timers, slot);
        timer.set(Some(now + FIRST_CHECK));
        entry.insert(Entry::Lingering(Lingering {
            socket,
            stream: closed.stream,
            queue: closed.queue,
            undelivered: Some(UndeliveredGuard {
                connection_guard: closed.connection_guard,
                _counted: self.lingering.guard(),
            }),
            is_write_shut: false,
            is_read_ended: false,
            discarded: 0,
            progress_at: now,
            check_interval: FIRST_CHECK,
            last_unacknowledged: None,
            timer,
            _list_entry: LingerListEntry {
                age: app_shard.lingering.add(slot),
                app_shard,
            },
        }));
        // If this panics, the new slot is the cause.
        let previous = self.recovery.slot.replace(slot);
        self.poll_lingering(slot);
        self.recovery.slot = previous;
    }

    /// Writes and discards once.
    pub(in crate::tcp) fn poll_lingering(&mut self, slot: u32) {
        if let Some(Entry::Lingering(lingering)) = self.entries.get_mut(slot as usize)
            && lingering.write_and_discard(self.pool.buffer(usize::MAX))
        {
            self.stop_lingering(slot);
        }
    }

    /// The timer of this slot has fired.
    pub(in crate::tcp) fn check_lingering(&mut self, slot: u32, now: Instant) {
        if let Some(Entry::Lingering(lingering)) = self.entries.get_mut(slot as usize)
            && lingering.check_timeout(now)
        {
            log::debug!("a lingering connection is closed, its peer acknowledges nothing");
            lingering.abort_unless_delivered(NetError::TIMED_OUT);
            self.stop_lingering(slot);
        }
    }

    fn stop_lingering(&mut self, slot: u32) {
        let slot = slot as usize;
        if matches!(self.entries.get(slot), Some(Entry::Lingering(_))) {
            drop(self.entries.remove(slot));
        }
    }

    /// Ends all lingering connections.
    pub(in crate::tcp) fn abort_all_lingering(&mut self, why: NetError) {
        self.entries.retain(|_, entry| match entry {
            Entry::Lingering(lingering) => {
                lingering.abort_unless_delivered(why);
                false
            }
            Entry::Socket(_) => true,
        });
    }
}
