//! What a listener that died has left: it goes back to its row, and is raised
//! again.

use std::sync::Arc;

use actix_rt::time::Instant;
use bytes::Bytes;

use super::actor::{Op, Rows, later};
use super::lane::Lane;
use super::read::Audible;
use super::row::{Hold, Link, Row};
use super::socket::{ClientSocket, Credit};
use crate::PAUSE_GRACE;
use crate::error::Error;
use crate::events::{Event, Listeners, Snapshot};
use crate::net_error::NetError;
use crate::tcp::ReceiveInfo;

/// What the events of one connection are numbered below: a returned one of an
/// earlier connection is known by what it has above.
const CONNECTION: u64 = 1 << 48;

/// An event that has reached nobody.
pub(crate) enum Returned {
    Data(Data),
    /// With the number of `connect` calls before.
    End(NetError, u32),
}

pub(crate) struct Data {
    /// The number of its event.
    pub(super) sequence: u64,
    pub(super) bytes: Bytes,
    /// Its bytes still take room in the window.
    pub(super) credit: Credit,
}

/// What has come back of one socket, and is waited for.
pub(super) struct Recovery {
    data: Vec<Data>,
    /// An end that was told to nobody.
    end: Option<NetError>,
    /// How long is waited for what may still come back.
    until: Instant,
    kept: Kept,
}

/// Bytes that hold back the other sockets of their app, as they are to be
/// raised again.
struct Kept {
    lane: Arc<Lane>,
    bytes: usize,
}

impl Kept {
    fn set(&mut self, bytes: usize) {
        if self.bytes != bytes {
            self.lane.keep(bytes);
            self.lane.let_go(std::mem::replace(&mut self.bytes, bytes));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Rows {
    pub(super) fn take_back(&mut self, socket: &ClientSocket, returned: Returned) {
        if let Some(row) = self.row(socket) {
            row.take_back(returned);
        }
    }

    pub(super) fn grace_is_over(&mut self, socket: &ClientSocket) {
        if let Some(row) = self.row(socket) {
            let now = Instant::now();
            row.answer_pausing(|until| until <= now, Err(Error::EventsInFlight));
            socket.make_ready();
        }
    }
}

impl Row {
    /// Takes back what has reached nobody.
    pub(super) fn take_back(&mut self, returned: Returned) {
        match returned {
            Returned::Data(data) if data.sequence / CONNECTION != self.raised / CONNECTION => {
                log::debug!(
                    "client socket {}: {} bytes of a connection that was ended reached nobody",
                    self.socket.id(),
                    data.bytes.len()
                );
            }
            Returned::Data(mut data) => {
                let paused = self.paused;
                let recovery = self.recover();
                if !paused {
                    // Before the app has its room again: others would take it.
                    let bytes = recovery.kept.bytes + data.bytes.len();
                    recovery.kept.set(bytes);
                }
                data.credit.handled();
                recovery.data.push(data);
            }
            Returned::End(end, connects) if connects != self.connects => {
                log::debug!(
                    "client socket {}: {end} of an earlier connection reached nobody",
                    self.socket.id()
                );
            }
            Returned::End(end, _) => self.recover().end = Some(end),
        }
        self.socket.make_ready();
    }

    /// A listener has died: what is on its way may come back, before anything
    /// later is raised.
    pub(super) fn count_deaths(&mut self, deaths: u64) {
        self.deaths = deaths;
        if self.socket.unhandled_events() > 0 {
            self.recover();
            self.socket.make_ready();
        }
    }

    fn recover(&mut self) -> &mut Recovery {
        let socket = &self.socket;
        self.recovery.get_or_insert_with(|| {
            later(PAUSE_GRACE, socket.clone(), Op::PauseGraceIsOver);
            Box::new(Recovery {
                data: Vec::new(),
                end: None,
                until: Instant::now() + PAUSE_GRACE,
                kept: Kept {
                    lane: socket.lane().clone(),
                    bytes: 0,
                },
            })
        })
    }

    /// Whether something has come back that nobody has heard yet.
    pub(super) fn has_returned(&self) -> bool {
        let recovery = self.recovery.as_ref();
        recovery.is_some_and(|it| !it.data.is_empty() || it.end.is_some())
    }

    pub(super) fn has_returned_data(&self) -> bool {
        let recovery = self.recovery.as_ref();
        recovery.is_some_and(|it| !it.data.is_empty())
    }

    /// What was raised before is of another connection: if it comes back, it
    /// is raised no more.
    pub(super) fn begin_anew(&mut self) {
        self.raised = (self.raised | (CONNECTION - 1)).wrapping_add(1);
        if let Some(recovery) = &mut self.recovery {
            recovery.data.clear();
        }
    }

    /// `connect` is called: the end of the connection before is no news, even
    /// if it comes back only now.
    pub(super) fn forget_end(&mut self) {
        self.connects = self.connects.wrapping_add(1);
        if let Some(recovery) = &mut self.recovery {
            recovery.end = None;
        }
    }

    /// Raises again what has come back, when all has that may, and somebody
    /// listens.
    #[inline]
    pub(super) fn raise_again(&mut self, audible: &mut Audible) {
        if self.recovery.is_some() {
            self.go_on_recovering(audible);
        }
    }

    fn go_on_recovering(&mut self, audible: &mut Audible) {
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        let bytes = recovery.data.iter().map(|data| data.bytes.len()).sum();
        recovery.kept.set(if self.paused { 0 } else { bytes });
        if self.hold != Hold::No {
            return;
        }
        if let Some(end) = recovery.end
            && !self.tell_end_again(end)
        {
            return;
        }
        if !self.is_all_back() {
            return;
        }
        if !self.has_returned() {
            self.recovery = None;
            return;
        }
        if self.paused {
            return;
        }
        let lane = self.socket.lane().clone();
        let Some(heard) = audible.on(&lane) else {
            return self.want_listeners(&lane.on_receive);
        };
        let Some(recovery) = self.recovery.take() else {
            return;
        };
        self.raise_data_again(recovery.data, &heard.listeners);
    }

    /// Whether all is back that may come back.
    fn is_all_back(&self) -> bool {
        let until = self.recovery.as_ref().map(|recovery| recovery.until);
        self.socket.unhandled().are_handled() || until.is_none_or(|until| until <= Instant::now())
    }

    fn raise_data_again(&mut self, mut data: Vec<Data>, listeners: &Snapshot<ReceiveInfo>) {
        data.sort_by_key(|data| data.sequence);
        let after = self.raised + 1;
        let first = after.saturating_sub(data.len() as u64);
        let in_order = (first..after).eq(data.iter().map(|data| data.sequence));
        if !in_order {
            return self.give_up_order(data.len());
        }
        self.ending.begin_anew();
        let chunk = self.chunk();
        for mut data in data {
            // It may be less than when they were read.
            while !data.bytes.is_empty() {
                let piece = chunk.min(data.bytes.len());
                self.raise(data.bytes.split_to(piece), listeners);
            }
        }
    }

    /// Somebody has handled what came later: what has come back would be a hole
    /// in what the app receives, or come in the wrong place.
    fn give_up_order(&mut self, events: usize) {
        log::warn!(
            "client socket {}: ended, {events} events reached nobody and later ones did",
            self.socket.id()
        );
        if let Link::Connected(connection) = &mut self.link {
            connection.give_up(NetError::CONNECTION_ABORTED);
            self.socket.make_ready();
        }
    }

    /// Whether nothing of that is left to do. The socket stays as it is: the
    /// app may have resumed it since its end was told first.
    fn tell_end_again(&mut self, end: NetError) -> bool {
        let lane = self.socket.lane().clone();
        let on_receive_error = &lane.on_receive_error;
        if lane.life.is_suspended() || !on_receive_error.has(None) {
            self.want_listeners(on_receive_error);
            return false;
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.end = None;
        }
        self.raise_end(end);
        !self.has_returned()
    }

    /// Something waits for somebody to hear it: has the app loaded, if its
    /// listeners are gone by themselves.
    pub(super) fn want_listeners<E: Event>(&self, listeners: &Listeners<E>) {
        if self.may_load(listeners) {
            self.socket.lane().life.want();
        }
    }

    /// Whether its app is loaded for what waits for these listeners.
    pub(super) fn may_load<E: Event>(&self, listeners: &Listeners<E>) -> bool {
        let life = &self.socket.lane().life;
        match life.is_suspended() {
            true => self.persistent,
            false => life.is_missing(listeners),
        }
    }
}
