//! From the OS to the listeners, no faster than they take it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::events::ReceiveInfo;
use super::lane::Lane;
use super::pool::Pool;
use super::row::{Link, Row};
use super::socket::{ClientSocket, Credit};
use super::{RESUME_BELOW, WINDOW};
use crate::net_error::{self, NetError};

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
    pub(super) fn read(&mut self, pool: &mut Pool, heard: &mut Heard) {
        let chunk = self.chunk();
        let most = chunk.saturating_mul(EVENTS_A_READ);
        let socket = &self.socket;
        for _ in 0..READS_A_TURN {
            let Link::Connected(connection) = &mut self.link else {
                return;
            };
            if self.paused || connection.end.is_some() || !may_take_more(socket, heard) {
                return;
            }
            let waker = socket.waker();
            let mut cx = Context::from_waker(&waker);
            match connection.stream.poll_read(&mut cx, pool.buffer(most)) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => {
                    connection.end = Some(NetError::CONNECTION_CLOSED);
                    return;
                }
                Poll::Ready(Ok(count)) => {
                    for piece in pool.pieces(count, chunk) {
                        deliver(socket, piece);
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

/// Whether anybody listens to a lane's `onReceive`, asked once a turn: the
/// rows of a turn are nearly always one app's.
#[derive(Default)]
pub(super) struct Heard(Option<(*const Lane, bool)>);

impl Heard {
    fn by_anyone(&mut self, lane: &Arc<Lane>) -> bool {
        let this = Arc::as_ptr(lane);
        match self.0 {
            Some((known, heard)) if known == this => heard,
            _ => {
                let heard = lane.audience.on_receive.has(None);
                self.0 = Some((this, heard));
                heard
            }
        }
    }
}

/// Whether there are listeners, and they can take more.
fn may_take_more(socket: &ClientSocket, heard: &mut Heard) -> bool {
    heard.by_anyone(socket.lane()) && has_window(socket) && socket.lane().may_read(socket)
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

fn deliver(socket: &ClientSocket, mut data: Bytes) {
    let takes = data.len().max(MIN_EVENT);
    let on_receive = &socket.lane().audience.on_receive;
    on_receive.dispatch(|_, more| ReceiveInfo {
        socket_id: socket.id(),
        data: if more {
            data.clone()
        } else {
            std::mem::take(&mut data)
        },
        credit: Credit::take(socket, takes),
    });
}
