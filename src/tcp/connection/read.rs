//! From the OS to the listeners, no faster than they take it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::events::{EventCopy, FanOut, Snapshot, dispatch};
use crate::net_error::{self, NetError};
use crate::os::retry_if_spurious;
use crate::tcp::connection::buffer_pool::Pool;
use crate::tcp::connection::redelivery::{Data, Undelivered};
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::connection::{Connection, FailureReport, Link, Peeked, ReadSide, WriteSide};
use crate::tcp::events::ReceiveInfo;
use crate::tcp::shards::shard::AppShard;
use crate::tcp::socket::Credit;

/// An event takes at least this much of a window, whatever it carries: about
/// what it costs in memory. So tiny events are bounded too.
const MIN_EVENT: usize = 256;

/// One read gives at most this many events.
const EVENTS_A_READ: usize = 16;

/// How often a row reads before the next one has its turn.
const READS_A_TURN: usize = 2;

impl SocketState {
    /// Reads what is there and may be read. Whatever stops it makes the row
    /// ready again when it is over: the OS's waker, a credit,
    /// `setPaused(false)` or a new listener.
    pub(in crate::tcp) fn read(&mut self, pool: &mut Pool, audible: &mut ListenerCache) {
        let is_open = self.connection().is_some_and(|it| it.end().is_none());
        let is_held = self.transfer != Transfer::None || self.recovery.is_some();
        if !is_open || self.paused || is_held {
            return self.watch();
        }
        let Some(heard) = audible.on(self.socket.app_shard()) else {
            return self.look_ahead();
        };
        if self.deaths != heard.deaths {
            self.count_deaths(heard.deaths);
            if self.recovery.is_some() {
                return;
            }
            return self.socket.make_ready();
        }
        let chunk = self.chunk();
        let most = chunk.saturating_mul(EVENTS_A_READ);
        for _ in 0..READS_A_TURN {
            let Link::Connected(connection) = &mut self.link else {
                return;
            };
            let socket = &self.socket;
            if !socket.unhandled().has_window() || !socket.app_shard().may_read(socket) {
                return self.watch();
            }
            let waker = socket.waker();
            let mut cx = Context::from_waker(&waker);
            let read = connection.stream.poll_read(&mut cx, pool.buffer(most));
            match retry_if_spurious(read, &mut cx) {
                Poll::Pending => return connection.nothing_more_comes(),
                Poll::Ready(Ok(0)) => {
                    connection.read_side = ReadSide::Ended(NetError::CONNECTION_CLOSED);
                    return;
                }
                Poll::Ready(Ok(count)) => {
                    self.in_hand = true;
                    if let Some(timing) = &mut self.timing {
                        timing.received();
                    }
                    for piece in pool.pieces(count, chunk) {
                        self.raise(piece, &heard.listeners);
                    }
                    self.in_hand = false;
                    if self.recovery.is_some() {
                        return;
                    }
                }
                Poll::Ready(Err(error)) => {
                    connection.read_side = ReadSide::Ended(net_error::read(&error));
                    return;
                }
            }
        }
        // There may be more: after the others.
        self.socket.make_ready();
    }
}

impl SocketState {
    /// Nobody can hear `onReceive` now. What has come stays where it is, and
    /// has an app loaded that is suspended, or whose listeners have died; an
    /// end with nothing before it is told to whoever hears of that.
    fn look_ahead(&mut self) {
        let app_shard = self.socket.app_shard();
        let may_load = self.may_load(&app_shard.on_receive);
        if app_shard.activity.is_suspended() && !may_load {
            return self.watch();
        }
        let Link::Connected(connection) = &mut self.link else {
            return;
        };
        match connection.peek(&self.socket) {
            Peeked::Nothing => connection.nothing_more_comes(),
            Peeked::Data => {
                if may_load {
                    app_shard.activity.request_load();
                }
                self.watch();
            }
            Peeked::End(why) => connection.read_side = ReadSide::Ended(why),
        }
    }

    /// It is not read now, and may not be for long. If the OS reports meanwhile
    /// that the connection is gone, it is none of those that are open any more;
    /// its descriptor is kept only for what is unread in it.
    pub(in crate::tcp) fn watch(&mut self) {
        let Link::Connected(connection) = &mut self.link else {
            return;
        };
        let is_released = matches!(connection.read_side, ReadSide::Released(_));
        if is_released || self.transfer == Transfer::Frozen {
            return;
        }
        let waker = self.socket.waker();
        let mut cx = Context::from_waker(&waker);
        if !connection.has_lost_peer() && connection.stream.poll_error_ready(&mut cx).is_pending() {
            return;
        }
        let end = match (connection.end(), connection.peek(&self.socket)) {
            (Some(end), _) | (None, Peeked::End(end)) => Some(end),
            (None, Peeked::Data) => None,
            // It is not gone for reading.
            (None, Peeked::Nothing) => return,
        };
        connection.ends.connection_guard = None;
        if let Some(end) = end {
            let sends = match end {
                NetError::CONNECTION_CLOSED => NetError::CONNECTION_RESET,
                end => end,
            };
            connection.let_go(end, connection.write_error().unwrap_or(sends));
        }
    }
}

impl Connection {
    /// All that came was read: if a send has failed of which the app hears only
    /// by the end, this is it.
    fn nothing_more_comes(&mut self) {
        if let WriteSide::Failed(error, FailureReport::ByEnd) = self.write_side {
            self.read_side = ReadSide::Ended(error);
        }
    }
}

/// The listeners of a lane's `onReceive`, asked for once a turn: the rows of a
/// turn are nearly always one app's. One that dies meanwhile is not sent to, and
/// what would have reached nobody else is kept.
#[derive(Default)]
pub(in crate::tcp) struct ListenerCache(Option<CachedListeners>);

pub(in crate::tcp) struct CachedListeners {
    app_shard: Arc<AppShard>,
    pub(in crate::tcp) listeners: Snapshot<ReceiveInfo>,
    pub(in crate::tcp) deaths: u64,
}

impl ListenerCache {
    /// The listeners, if any lives and may hear something.
    pub(in crate::tcp) fn on(&mut self, app_shard: &Arc<AppShard>) -> Option<&CachedListeners> {
        let known = self.0.as_ref();
        let is_known = known.is_some_and(|known| Arc::ptr_eq(&known.app_shard, app_shard));
        if !is_known {
            let (listeners, deaths) = app_shard.on_receive.snapshot();
            self.0 = Some(CachedListeners {
                app_shard: app_shard.clone(),
                listeners,
                deaths,
            });
        }
        if app_shard.activity.is_suspended() {
            return None;
        }
        self.0.as_ref().filter(|heard| !heard.listeners.is_empty())
    }
}

impl SocketState {
    /// Raises `onReceive`.
    #[inline(always)]
    pub(in crate::tcp) fn raise(&mut self, mut data: Bytes, listeners: &Snapshot<ReceiveInfo>) {
        let socket = &self.socket;
        let takes = data.len().max(MIN_EVENT);
        self.raised += 1;
        let sequence = self.raised;
        let copies = FanOut::for_listeners(listeners.len());
        let sent = dispatch(listeners, |ear| ReceiveInfo {
            socket_id: socket.id(),
            data: match copies {
                Some(_) => data.clone(),
                None => std::mem::take(&mut data),
            },
            credit: Credit::take(socket, takes),
            sequence,
            delivery: EventCopy::new(ear, copies.as_ref()),
        });
        let lost = match copies {
            None => (sent == 0).then_some(0),
            Some(copies) => copies.finish_copy(),
        };
        if let Some(panics) = lost {
            self.keep(data, panics);
        }
    }

    /// Those who listened have died meanwhile.
    #[cold]
    fn keep(&mut self, bytes: Bytes, panics: u32) {
        let takes = bytes.len().max(MIN_EVENT);
        self.requeue(Undelivered::Data(Data {
            sequence: self.raised,
            credit: Credit::take(&self.socket, takes),
            bytes,
            panics,
        }));
    }
}
