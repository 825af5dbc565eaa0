//! From the OS to the listeners, no faster than they take it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::events::ReceiveInfo;
use super::lane::Lane;
use super::pool::Pool;
use super::row::{Hold, Link, Row};
use super::socket::{ClientSocket, Credit};
use super::{RESUME_BELOW, WINDOW};
use crate::events::{Snapshot, dispatch};
use crate::net_error::{self, NetError};
use crate::os::again;

/// An event takes at least this much of a window, whatever it carries: about
/// what it costs in memory. So tiny events are bounded too.
const MIN_EVENT: usize = 256;

/// One read gives at most this many events.
const EVENTS_A_READ: usize = 16;

/// How often a row reads before the next one has its turn.
const READS_A_TURN: usize = 2;

impl Row {
    /// Reads what is there and may be read. Whatever stops it makes the row
    /// ready again when it is over: the OS's waker, a credit,
    /// `setPaused(false)` or a new listener.
    pub(super) fn read(&mut self, pool: &mut Pool, audible: &mut Audible) {
        let chunk = self.chunk();
        let most = chunk.saturating_mul(EVENTS_A_READ);
        let socket = &self.socket;
        for _ in 0..READS_A_TURN {
            let Link::Connected(connection) = &mut self.link else {
                return;
            };
            if self.paused || self.hold != Hold::No || connection.end.is_some() {
                return;
            }
            let Some(listeners) = audible.on(socket.lane()) else {
                return self.knock();
            };
            if !has_window(socket) || !socket.lane().may_read(socket) {
                return;
            }
            let waker = socket.waker();
            let mut cx = Context::from_waker(&waker);
            let read = connection.stream.poll_read(&mut cx, pool.buffer(most));
            match again(read, &mut cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => {
                    connection.end = Some(NetError::CONNECTION_CLOSED);
                    return;
                }
                Poll::Ready(Ok(count)) => {
                    if let Some(timing) = &mut self.timing {
                        timing.received();
                    }
                    for piece in pool.pieces(count, chunk) {
                        deliver(socket, piece, listeners);
                    }
                }
                Poll::Ready(Err(error)) => {
                    connection.end = Some(net_error::read(&error));
                    return;
                }
            }
        }
        // There may be more: after the others.
        self.socket.make_ready();
    }
}

impl Row {
    /// Has a suspended app loaded if there is something for it to receive.
    fn knock(&mut self) {
        let socket = &self.socket;
        let life = &socket.lane().life;
        if !self.persistent || !life.is_suspended() {
            return;
        }
        if let Link::Connected(connection) = &mut self.link {
            let waker = socket.waker();
            let mut cx = Context::from_waker(&waker);
            if connection.stream.poll_peek(&mut cx).is_ready() {
                life.want();
            }
        }
    }
}

/// The listeners of a lane's `onReceive`, asked for once a turn: the rows of a
/// turn are nearly always one app's.
#[derive(Default)]
pub(super) struct Audible(Option<(Arc<Lane>, Snapshot<ReceiveInfo>)>);

impl Audible {
    /// The listeners, if any lives and may hear something.
    fn on(&mut self, lane: &Arc<Lane>) -> Option<&Snapshot<ReceiveInfo>> {
        let known = |(known, _): &(Arc<Lane>, _)| Arc::ptr_eq(known, lane);
        if !self.0.as_ref().is_some_and(known) {
            self.0 = Some((lane.clone(), lane.audience.on_receive.snapshot()));
        }
        if lane.life.is_suspended() {
            return None;
        }
        let (_, listeners) = self.0.as_ref()?;
        listeners
            .iter()
            .any(|listener| listener.connected())
            .then_some(listeners)
    }
}

/// Whether listeners hold less than a window; if not, their credits make the
/// row ready.
fn has_window(socket: &ClientSocket) -> bool {
    if socket.unhandled_bytes() < WINDOW {
        return true;
    }
    socket.want_credit(true);
    socket.unhandled_bytes() <= RESUME_BELOW
}

fn deliver(socket: &ClientSocket, mut data: Bytes, listeners: &Snapshot<ReceiveInfo>) {
    let takes = data.len().max(MIN_EVENT);
    dispatch(listeners, |_, more| ReceiveInfo {
        socket_id: socket.id(),
        data: if more {
            data.clone()
        } else {
            std::mem::take(&mut data)
        },
        credit: Credit::take(socket, takes),
    });
}
