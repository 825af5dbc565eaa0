//! Receives from the OS and raises `onReceive`, no faster than listeners handle it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::events::{Dispatcher, EventCopy, FanOut};
use crate::net_error::{self, NetError};
use crate::os::retry_if_spurious;
use crate::udp::binding::redelivery::Undelivered;
use crate::udp::binding::state::{SocketState, Transfer};
use crate::udp::events::ReceiveInfo;
use crate::udp::shards::AppShard;
use crate::udp::socket::Credit;

/// An event takes at least this many bytes of a window, about its size in memory. So tiny datagrams
/// are bounded too.
const MIN_EVENT_CHARGE: usize = 256;

/// How many datagrams of one socket are received before the next socket has its turn.
const READS_PER_TURN: usize = 16;

/// Longer than any datagram, so that one that exceeds `bufferSize` is recognized by its length.
pub(in crate::udp) const BUFFER_SIZE: usize = 64 * 1024;

/// How many bytes a datagram takes of a window.
pub(in crate::udp) fn charge(data: &[u8]) -> usize {
    data.len().max(MIN_EVENT_CHARGE)
}

impl SocketState {
    /// Receives datagrams and raises `onReceive`, as far as pauses, windows and listeners allow. A
    /// socket that may not receive becomes ready again by the OS's waker, a credit,
    /// `setPaused(false)` or a new listener.
    pub(in crate::udp) fn read(&mut self, buffer: &mut [u8], listeners: &mut ListenerCache) {
        let is_blocked = self.transfer != Transfer::None || self.redelivery.is_some();
        if self.paused || is_blocked || self.binding.is_none() {
            return;
        }
        let Some(cached) = listeners.get(self.socket.app_shard()) else {
            return self.wait_without_listeners();
        };
        // A listener has died. Its events may return, and come before what is still unread.
        if self.deaths != cached.deaths {
            return self.count_deaths(cached.deaths);
        }
        let longest = self.max_length();
        for _ in 0..READS_PER_TURN {
            let Some(binding) = &mut self.binding else {
                return;
            };
            let socket = &self.socket;
            // Both checks register the socket, so that freed room makes it ready.
            if !socket.unhandled().has_window() || !socket.app_shard().window.may_read(socket) {
                return;
            }
            let waker = socket.waker();
            let mut cx = Context::from_waker(&waker);
            let received = binding.datagrams.poll_receive(&mut cx, buffer);
            match retry_if_spurious(received, &mut cx) {
                Poll::Pending => return,
                Poll::Ready(Ok((length, _))) if length > longest => {
                    return self.receiving_failed(NetError::MSG_TOO_BIG);
                }
                Poll::Ready(Ok((length, from))) => {
                    socket.count_received(length);
                    let data = Bytes::copy_from_slice(&buffer[..length]);
                    self.raise(data, from, 0, &mut cached.listeners);
                }
                Poll::Ready(Err(error)) => {
                    return self.receiving_failed(net_error::datagram(&error));
                }
            }
        }
        // There may be more, after the other sockets.
        self.socket.make_ready();
    }

    /// No listener can receive `onReceive` now. Datagrams stay in the OS. One has the app loaded if
    /// the app is suspended or its listeners have died.
    fn wait_without_listeners(&mut self) {
        let on_receive = &self.socket.app_shard().on_receive;
        if !self.may_load(on_receive) {
            return;
        }
        let Some(binding) = &mut self.binding else {
            return;
        };
        let waker = self.socket.waker();
        let mut cx = Context::from_waker(&waker);
        let waiting = binding.datagrams.poll_waiting(&mut cx);
        // An error is reported by the read.
        if retry_if_spurious(waiting, &mut cx).is_ready() {
            self.socket.app_shard().activity.request_load();
        }
    }

    /// Raises `onReceive`. `panics` listeners have panicked at the datagram before.
    pub(in crate::udp) fn raise(
        &mut self,
        mut data: Bytes,
        from: SocketAddr,
        panics: u32,
        to: &mut Dispatcher<ReceiveInfo>,
    ) {
        let socket = &self.socket;
        let charge = charge(&data);
        self.last_raised += 1;
        let sequence = self.last_raised;
        let length = data.len();
        let copies = FanOut::for_listeners(to.listeners().len());
        let sent = to.dispatch(|probe| ReceiveInfo {
            socket_id: socket.id(),
            data: match copies {
                Some(_) => data.clone(),
                None => std::mem::take(&mut data),
            },
            remote_address: from.ip(),
            remote_port: from.port(),
            remote: from,
            length,
            credit: Credit::acquire(socket, charge),
            sequence,
            panics,
            delivery: EventCopy::new(probe, copies.as_ref()),
        });
        let lost = match copies {
            None => (sent == 0).then_some(0),
            Some(copies) => copies.finish_copy(),
        };
        // All listeners died during the turn.
        if let Some(more) = lost {
            self.requeue(Undelivered {
                sequence,
                data,
                from,
                panics: panics + more,
                credit: Credit::acquire(&self.socket, charge),
            });
        }
    }
}

/// The listeners of an app's `onReceive`, looked up once a turn. A listener that dies during the
/// turn receives nothing more; an event that reaches no other one returns to its socket. Batches are
/// sent when this is dropped.
#[derive(Default)]
pub(in crate::udp) struct ListenerCache(Option<CachedListeners>);

pub(in crate::udp) struct CachedListeners {
    app_shard: Arc<AppShard>,
    pub(in crate::udp) listeners: Dispatcher<ReceiveInfo>,
    pub(in crate::udp) deaths: u64,
}

impl ListenerCache {
    /// The listeners, if the app is not suspended and has one.
    pub(in crate::udp) fn get(
        &mut self,
        app_shard: &Arc<AppShard>,
    ) -> Option<&mut CachedListeners> {
        let cached = self.0.as_ref();
        let is_cached = cached.is_some_and(|cached| Arc::ptr_eq(&cached.app_shard, app_shard));
        if !is_cached {
            let (listeners, deaths) = app_shard.on_receive.snapshot();
            self.0 = Some(CachedListeners {
                app_shard: app_shard.clone(),
                listeners: Dispatcher::new(listeners),
                deaths,
            });
        }
        if app_shard.activity.is_suspended() {
            return None;
        }
        let cached = self.0.as_mut();
        cached.filter(|cached| !cached.listeners.listeners().is_empty())
    }
}
