//! Datagrams that a dead listener left unhandled return to their socket and are raised again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;

use actix_rt::time::Instant;
use bytes::Bytes;

use crate::events::{HoldBack, MAX_PANICS};
use crate::pending_pauses::PAUSE_GRACE;
use crate::udp::actor::send_later;
use crate::udp::binding::read::ListenerCache;
use crate::udp::binding::state::{SocketState, Transfer};
use crate::udp::command::Command;
use crate::udp::shards::AppShard;
use crate::udp::socket::Credit;

/// A datagram that no listener has handled.
pub(crate) struct Undelivered {
    /// The number of the event.
    pub(in crate::udp) sequence: u64,
    pub(in crate::udp) data: Bytes,
    pub(in crate::udp) from: SocketAddr,
    /// How many listeners have panicked at it.
    pub(in crate::udp) panics: u32,
    /// It still counts in the socket's window.
    pub(in crate::udp) credit: Credit,
}

/// The returned datagrams of one socket, until they are raised again.
pub(in crate::udp) struct Redelivery {
    waiting: Vec<Undelivered>,
    /// Until when the socket waits for events in flight, which may return too.
    until: Instant,
    hold_back: HoldBack,
    returned: ReturnedBytes,
}

/// Returned bytes that count in the app's window, so that other sockets do not fill it before they
/// are raised again.
struct ReturnedBytes {
    app_shard: Arc<AppShard>,
    bytes: usize,
}

impl ReturnedBytes {
    fn set(&mut self, bytes: usize) {
        if self.bytes != bytes {
            self.app_shard.window.add_returned(bytes);
            let before = std::mem::replace(&mut self.bytes, bytes);
            self.app_shard.window.remove_returned(before);
        }
    }
}

impl Drop for ReturnedBytes {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl SocketState {
    /// Takes a datagram back.
    pub(in crate::udp) fn requeue(&mut self, mut undelivered: Undelivered) {
        if undelivered.panics >= MAX_PANICS {
            self.dropped_events += 1;
            log::error!(
                "udp socket {}: a datagram is dropped, {} listeners panicked at it",
                self.socket.id(),
                undelivered.panics
            );
            return;
        }
        let paused = self.paused;
        let redelivery = self.start_redelivery();
        if !paused {
            // Before `mark_handled` gives the room in the window free: other sockets would take it.
            let bytes = redelivery.returned.bytes + undelivered.credit.bytes();
            redelivery.returned.set(bytes);
        }
        undelivered.credit.mark_handled();
        redelivery.waiting.push(undelivered);
        self.socket.make_ready();
    }

    /// Listeners have died. Events in flight may return, so later datagrams wait.
    pub(in crate::udp) fn count_deaths(&mut self, deaths: u64) {
        self.deaths = deaths;
        if self.socket.unhandled().events() > 0 {
            self.start_redelivery();
        }
        self.socket.make_ready();
    }

    fn start_redelivery(&mut self) -> &mut Redelivery {
        let socket = &self.socket;
        self.redelivery.get_or_insert_with(|| {
            send_later(PAUSE_GRACE, socket.clone(), Command::Recheck);
            Box::new(Redelivery {
                waiting: Vec::new(),
                until: Instant::now() + PAUSE_GRACE,
                hold_back: HoldBack::default(),
                returned: ReturnedBytes {
                    app_shard: socket.app_shard().clone(),
                    bytes: 0,
                },
            })
        })
    }

    /// The socket is in another thread now. The timers of the old one are gone.
    pub(in crate::udp) fn restart_redelivery_timers(&mut self) {
        self.errors.reset_hold_back();
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.until = Instant::now() + PAUSE_GRACE;
            redelivery.hold_back.reset();
            send_later(PAUSE_GRACE, self.socket.clone(), Command::Recheck);
        }
    }

    /// Whether datagrams have returned that are not raised again yet.
    pub(in crate::udp) fn has_returned(&self) -> bool {
        let redelivery = self.redelivery.as_ref();
        redelivery.is_some_and(|it| !it.waiting.is_empty())
    }

    /// Raises returned datagrams again, when all of them have returned and a listener is there.
    pub(in crate::udp) fn redeliver(&mut self, listeners: &mut ListenerCache) {
        let Some(redelivery) = &mut self.redelivery else {
            return;
        };
        // While the socket is paused, they must not hold back the app's other sockets.
        let bytes = match self.paused {
            true => 0,
            false => redelivery.waiting.iter().map(|it| it.credit.bytes()).sum(),
        };
        redelivery.returned.set(bytes);
        // During a handover no events are raised.
        if self.transfer != Transfer::None {
            return;
        }
        // Events in flight may still return, and only together can they be put in order.
        if !self.socket.unhandled().are_handled() && redelivery.until > Instant::now() {
            return;
        }
        if redelivery.waiting.is_empty() {
            self.redelivery = None;
            return;
        }
        if self.paused {
            return;
        }
        let app_shard = self.socket.app_shard();
        // A new listener makes the socket ready.
        let Some(cached) = listeners.get(app_shard) else {
            return self.want_listeners(&app_shard.on_receive);
        };
        redelivery.waiting.sort_by_key(|it| it.sequence);
        let is_clean = |it: &mut Undelivered| it.panics == 0;
        let mut raised: Vec<_> = redelivery.waiting.extract_if(.., is_clean).collect();
        if !redelivery.waiting.is_empty() {
            // A listener has panicked at these. The next one handles the others first.
            let waker = self.socket.waker();
            let mut cx = Context::from_waker(&waker);
            if redelivery.hold_back.is_elapsed(cached.deaths, &mut cx) {
                raised.append(&mut redelivery.waiting);
            }
        }
        // What is unread waits for those that are held back.
        if redelivery.waiting.is_empty() {
            self.redelivery = None;
        }
        for it in raised {
            self.raise(it.data, it.from, it.panics, &mut cached.listeners);
        }
    }
}
