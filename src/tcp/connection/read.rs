//! Reads from the OS and raises `onReceive`, no faster than listeners handle it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::events::{Alone, Dispatcher, FanOut, NumberedCopy};
use crate::net_error::{self, NetError};
use crate::os::retry_if_spurious;
use crate::tcp::WINDOW;
use crate::tcp::connection::buffer_pool::BufferPool;
use crate::tcp::connection::redelivery::{Undelivered, UndeliveredData};
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::connection::{Connection, Link, Peeked, ReadEnd, ReadSide, ReportedBy, WriteSide};
use crate::tcp::events::ReceiveInfo;
use crate::tcp::shards::receive_windows::MIN_EVENT_CHARGE;
use crate::tcp::shards::shard::AppShard;
use crate::tcp::socket::Credit;
use crate::tcp::socket_listeners::{DataRoute, Receivers};
use crate::telemetry::FullWindow;

/// One read makes at most this many events.
const EVENTS_PER_READ: usize = 16;

/// How often one socket is read before the next socket has its turn.
const READS_PER_TURN: usize = 2;

impl SocketState {
    /// Reads data and raises `onReceive`, as far as pauses, windows and listeners allow. A socket
    /// that may not read becomes ready again by the OS's waker, a credit, `setPaused(false)` or a
    /// new listener.
    pub(in crate::tcp) fn read(&mut self, pool: &mut BufferPool, listeners: &mut ListenerCache) {
        let is_open = self
            .connection()
            .is_some_and(|it| it.read_side == ReadSide::Open);
        let is_blocked = self.transfer != Transfer::None || self.redelivery.is_some();
        if !is_open || self.paused || is_blocked {
            return self.release_if_gone();
        }
        if self.own.is_some() && self.read_for_own_listeners(pool) {
            return;
        }
        let Some(cached) = listeners.get(self.socket.app_shard()) else {
            let app_shard = self.socket.app_shard();
            let may_load = self.may_load(&app_shard.on_receive);
            return self.peek_without_listeners(may_load);
        };
        // A listener has died. Its events may return, and later data must not be raised before
        // them.
        if self.deaths != cached.deaths {
            self.count_deaths(cached.deaths);
            if self.redelivery.is_some() {
                return;
            }
            return self.socket.make_ready();
        }
        let chunk = self.chunk();
        self.read_available(pool, chunk, |state, pool, count| {
            pool.each_piece(count, chunk, |piece| {
                state.raise(piece, &mut cached.listeners)
            });
        });
    }

    /// Reads for the socket's own listeners. `false` if they are not for data: the app's listeners
    /// get it.
    #[inline(never)]
    fn read_for_own_listeners(&mut self, pool: &mut BufferPool) -> bool {
        let app_shard = self.socket.app_shard();
        match self.data_route() {
            DataRoute::App => return false,
            DataRoute::Own(_) | DataRoute::Dead(_) if app_shard.activity.is_suspended() => {
                self.peek_without_listeners(self.may_load(&app_shard.on_receive));
            }
            // No page of the app adds other listeners of this socket.
            DataRoute::Dead(_) => self.peek_without_listeners(false),
            DataRoute::Own(Receivers::Stream) => {
                self.read_available(pool, WINDOW, |state, pool, count| {
                    state.push_to_stream(pool.filled(count));
                });
            }
            DataRoute::Own(Receivers::Listeners(to)) => {
                let chunk = self.chunk();
                let mut to = Dispatcher::new(to);
                self.read_available(pool, chunk, |state, pool, count| {
                    pool.each_piece(count, chunk, |piece| state.raise(piece, &mut to));
                });
            }
        }
        true
    }

    /// Reads what the OS has, and has it raised: as many bytes at the beginning of the buffer.
    #[inline(always)]
    fn read_available(
        &mut self,
        pool: &mut BufferPool,
        chunk: usize,
        mut raise: impl FnMut(&mut Self, &mut BufferPool, usize),
    ) {
        let limit = chunk.saturating_mul(EVENTS_PER_READ);
        for reads in 0..READS_PER_TURN {
            let Link::Connected(connection) = &mut self.link else {
                return;
            };
            let socket = &self.socket;
            // What this poll has raised fills the window. Its listeners have their turn first:
            // mostly they handle it, and then to wait for the end of the connection meanwhile would
            // cost more than to look again.
            if reads > 0 && socket.unhandled().is_full() {
                break;
            }
            // Both checks register the socket, so that freed room makes it ready.
            let has_window = socket.unhandled().has_window();
            if !has_window || !socket.app_shard().window.may_read(socket) {
                socket.app_shard().stats.window_full(match has_window {
                    true => FullWindow::App,
                    false => FullWindow::Socket,
                });
                return self.release_if_gone();
            }
            let waker = socket.waker();
            let mut cx = Context::from_waker(&waker);
            let read = connection.stream.poll_read(&mut cx, pool.buffer(limit));
            match retry_if_spurious(read, &mut cx) {
                Poll::Pending => return connection.end_if_write_failed(),
                Poll::Ready(Ok(0)) => {
                    connection.read_side = ReadSide::Ended(ReadEnd::Fin);
                    return;
                }
                Poll::Ready(Ok(count)) => {
                    self.is_raising = true;
                    self.socket.count_received(count);
                    if let Some(timeout_state) = &mut self.timeout_state {
                        timeout_state.record_received();
                    }
                    raise(self, pool, count);
                    // From here on a panic loses no bytes.
                    self.is_raising = false;
                    // All listeners died during this turn, so an event returned at once.
                    if self.redelivery.is_some() {
                        return;
                    }
                    if let Link::Connected(connection) = &mut self.link
                        && connection.stream.awaits_input()
                    {
                        return connection.end_if_write_failed();
                    }
                }
                Poll::Ready(Err(error)) => {
                    let end = ReadEnd::Error(net_error::read(&error));
                    connection.read_side = ReadSide::Ended(end);
                    return;
                }
            }
        }
        // There may be more, after the other sockets.
        self.socket.make_ready();
    }
}

impl SocketState {
    /// No listener can receive `onReceive` now. Data stays in the kernel. If it `may_load` the app,
    /// because the app is suspended or its listeners have died, it has the app loaded. An end with
    /// no data before it needs no `onReceive` listener, so it is noted.
    fn peek_without_listeners(&mut self, may_load: bool) {
        let app_shard = self.socket.app_shard();
        // Only persistent sockets have a suspended app loaded.
        if app_shard.activity.is_suspended() && !may_load {
            return self.release_if_gone();
        }
        let Link::Connected(connection) = &mut self.link else {
            return;
        };
        match connection.peek(&self.socket) {
            Peeked::Nothing => connection.end_if_write_failed(),
            Peeked::Data => {
                if may_load {
                    app_shard.activity.request_load();
                }
                self.release_if_gone();
            }
            Peeked::End(why) => connection.read_side = ReadSide::Ended(why),
        }
    }

    /// The socket is not read now, perhaps for long. If the OS reports that the connection is gone
    /// both ways, it stops counting as open. Its descriptor is kept only if input is unread.
    pub(in crate::tcp) fn release_if_gone(&mut self) {
        let Link::Connected(connection) = &mut self.link else {
            return;
        };
        let is_released = matches!(connection.read_side, ReadSide::Released(_));
        // There is nothing to release, or another process may use the connection.
        if is_released || self.transfer == Transfer::Frozen {
            return;
        }
        let waker = self.socket.waker();
        let mut cx = Context::from_waker(&waker);
        if !connection.has_lost_peer() && connection.stream.poll_error_ready(&mut cx).is_pending() {
            return;
        }
        let peeked = connection.peek(&self.socket);
        if connection.read_side == ReadSide::HalfClosed {
            connection.release_half_closed(&peeked);
            // The next poll takes it.
            return self.socket.make_ready();
        }
        let end = match (connection.unreported_end(), peeked) {
            (Some(end), _) => Some(end),
            (None, Peeked::End(end)) => Some(end),
            (None, Peeked::Data) => None,
            // A write has met the end, but a read has not.
            (None, Peeked::Nothing) => return,
        };
        // The peer is gone, so another connection may take its place in limits.
        connection.meta.connection_guard = None;
        if let Some(end) = end {
            // After an orderly end, the OS would answer a write by a reset.
            let send_error = match end.code() {
                NetError::CONNECTION_CLOSED => NetError::CONNECTION_RESET,
                end => end,
            };
            connection.release(end, connection.write_error().unwrap_or(send_error));
        }
    }
}

impl Connection {
    /// All input was read. If a fire-and-forget send has failed, this reports it.
    fn end_if_write_failed(&mut self) {
        if let WriteSide::Failed(error, ReportedBy::End) = self.write_side {
            self.read_side = ReadSide::Ended(ReadEnd::Error(error));
        }
    }
}

/// The listeners of an app's `onReceive`, looked up once a turn: the sockets of one turn are nearly
/// always one app's. A listener that dies during the turn receives nothing more; an event that
/// reaches no other one returns to its socket. Batches are sent when this is dropped.
#[derive(Default)]
pub(in crate::tcp) struct ListenerCache(Option<CachedListeners>);

pub(in crate::tcp) struct CachedListeners {
    app_shard: Arc<AppShard>,
    pub(in crate::tcp) listeners: Dispatcher<ReceiveInfo>,
    pub(in crate::tcp) deaths: u64,
}

impl ListenerCache {
    /// The listeners, if the app is not suspended and has one.
    #[inline]
    pub(in crate::tcp) fn get(
        &mut self,
        app_shard: &Arc<AppShard>,
    ) -> Option<&mut CachedListeners> {
        let cached = self.0.as_ref();
        let is_cached = cached.is_some_and(|cached| Arc::ptr_eq(&cached.app_shard, app_shard));
        if !is_cached {
            self.look_up(app_shard);
        }
        if app_shard.activity.is_suspended() {
            return None;
        }
        let cached = self.0.as_mut();
        cached.filter(|cached| !cached.listeners.listeners().is_empty())
    }

    #[cold]
    fn look_up(&mut self, app_shard: &Arc<AppShard>) {
        let (listeners, deaths) = app_shard.on_receive.snapshot();
        self.0 = Some(CachedListeners {
            app_shard: app_shard.clone(),
            listeners: Dispatcher::new(listeners),
            deaths,
        });
    }
}

impl SocketState {
    /// Raises `onReceive`.
    #[inline(always)]
    pub(in crate::tcp) fn raise(&mut self, data: Bytes, to: &mut Dispatcher<ReceiveInfo>) {
        self.last_raised += 1;
        match to.alone() {
            Alone::Alive => {
                let (socket, sequence) = (&self.socket, self.last_raised);
                to.send_alone(|probe| ReceiveInfo {
                    socket_id: socket.id(),
                    credit: Credit::acquire(socket, data.len().max(MIN_EVENT_CHARGE)),
                    data,
                    copy: NumberedCopy::new(sequence, probe, None, socket.first_probe()),
                });
            }
            Alone::Dead => self.requeue_unsent(data, 0),
            Alone::No => self.raise_for_several(&data, to),
        }
    }

    #[cold]
    fn raise_for_several(&mut self, data: &Bytes, to: &mut Dispatcher<ReceiveInfo>) {
        let (socket, sequence) = (&self.socket, self.last_raised);
        let charge = data.len().max(MIN_EVENT_CHARGE);
        let copies = FanOut::for_listeners(to.listeners().len());
        let sent = to.dispatch(|probe| ReceiveInfo {
            socket_id: socket.id(),
            data: data.clone(),
            credit: Credit::acquire(socket, charge),
            copy: NumberedCopy::new(sequence, probe, copies.as_ref(), socket.first_probe()),
        });
        let lost = match copies {
            None => (sent == 0).then_some(0),
            Some(copies) => copies.finish_copy(),
        };
        if let Some(panics) = lost {
            self.requeue_unsent(data.clone(), panics);
        }
    }

    /// All listeners died during the turn, so the event returns to its socket.
    #[cold]
    fn requeue_unsent(&mut self, bytes: Bytes, panics: u32) {
        let charge = bytes.len().max(MIN_EVENT_CHARGE);
        self.requeue(Undelivered::Data(UndeliveredData {
            sequence: self.last_raised,
            credit: Credit::acquire(&self.socket, charge),
            bytes,
            panics,
        }));
    }
}
