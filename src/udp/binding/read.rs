//! Receives from the OS and raises `onReceive`, no faster than listeners handle it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::events::{Alone, Dispatcher, EventCopy, FanOut};
use crate::net_error::{self, NetError};
use crate::os::retry_if_spurious;
use crate::tcp::{MIN_EVENT_CHARGE, SmallPieces};
use crate::udp::binding::redelivery::Undelivered;
use crate::udp::binding::state::{SocketState, Transfer};
use crate::udp::events::ReceiveInfo;
use crate::udp::shards::AppShard;
use crate::udp::socket::{Credit, Socket};

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
    pub(in crate::udp) fn read(
        &mut self,
        buffer: &mut [u8],
        pieces: &mut SmallPieces,
        listeners: &mut ListenerCache,
    ) {
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
                    let data = pieces.copy(&buffer[..length]);
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
    #[inline]
    pub(in crate::udp) fn raise(
        &mut self,
        data: Bytes,
        from: SocketAddr,
        panics: u32,
        to: &mut Dispatcher<ReceiveInfo>,
    ) {
        self.last_raised += 1;
        let datagram = Datagram { data, from, panics };
        match to.alone() {
            Alone::Alive => {
                let (socket, sequence) = (&self.socket, self.last_raised);
                to.send_alone(|probe| {
                    datagram.into_event(socket, sequence, EventCopy::new(probe, None))
                });
            }
            Alone::Dead => self.requeue_unsent(datagram, 0),
            Alone::No => self.raise_for_several(datagram, to),
        }
    }

    #[cold]
    fn raise_for_several(&mut self, datagram: Datagram, to: &mut Dispatcher<ReceiveInfo>) {
        let (socket, sequence) = (&self.socket, self.last_raised);
        let copies = FanOut::for_listeners(to.listeners().len());
        let sent = to.dispatch(|probe| {
            let delivery = EventCopy::new(probe, copies.as_ref());
            datagram.clone().into_event(socket, sequence, delivery)
        });
        let lost = match copies {
            None => (sent == 0).then_some(0),
            Some(copies) => copies.finish_copy(),
        };
        if let Some(panics) = lost {
            self.requeue_unsent(datagram, panics);
        }
    }

    /// All listeners died during the turn, `panics` of them at this datagram.
    #[cold]
    fn requeue_unsent(&mut self, datagram: Datagram, panics: u32) {
        let charge = charge(&datagram.data);
        self.requeue(Undelivered {
            sequence: self.last_raised,
            data: datagram.data,
            from: datagram.from,
            panics: datagram.panics + panics,
            credit: Credit::acquire(&self.socket, charge),
        });
    }
}

/// What an event is made of.
#[derive(Clone)]
struct Datagram {
    data: Bytes,
    from: SocketAddr,
    /// How many listeners have panicked at it before.
    panics: u32,
}

impl Datagram {
    #[inline(always)]
    fn into_event(self, socket: &Socket, sequence: u64, delivery: EventCopy) -> ReceiveInfo {
        ReceiveInfo {
            socket_id: socket.id(),
            remote_address: self.from.ip(),
            remote_port: self.from.port(),
            remote: self.from,
            length: self.data.len(),
            credit: Credit::acquire(socket, charge(&self.data)),
            data: self.data,
            sequence,
            panics: self.panics,
            delivery,
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
