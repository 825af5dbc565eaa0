//! What a listener that died has left: it goes back to its row, and is raised
//! again.

use std::sync::Arc;

use actix_rt::time::Instant;
use bytes::Bytes;

use crate::events::{Event, HOLD_BACK, Listeners, MAX_PANICS, Snapshot};
use crate::net_error::NetError;
use crate::pending_pauses::PAUSE_GRACE;
use crate::tcp::ReceiveInfo;
use crate::tcp::actor::send_later;
use crate::tcp::command::Command;
use crate::tcp::connection::Link;
use crate::tcp::connection::linger::Ended;
use crate::tcp::connection::read::ListenerCache;
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::shards::shard::AppShard;
use crate::tcp::socket::Credit;

/// What the events of one connection are numbered below: a returned one of an
/// earlier connection is known by what it has above.
const EPOCH_SIZE: u64 = 1 << 48;

/// An event that has reached nobody.
pub(crate) enum Undelivered {
    Data(UndeliveredData),
    /// With the number of `connect` calls before, and of listeners that have
    /// panicked at it.
    End(NetError, u32, u32),
    /// The data of this event was taken out by a listener that then panicked.
    Consumed(u64),
}

pub(crate) struct UndeliveredData {
    /// The number of its event.
    pub(in crate::tcp) sequence: u64,
    pub(in crate::tcp) bytes: Bytes,
    /// Its bytes still take room in the window.
    pub(in crate::tcp) credit: Credit,
    /// How many listeners have panicked at it since it was raised.
    pub(in crate::tcp) panics: u32,
}

/// The panics of listeners at the events of one socket.
#[derive(Default)]
pub(in crate::tcp) struct Panics {
    /// How many listeners in a row have panicked while they handled data.
    data: u32,
    /// The event whose handling, and no other's, goes on with that row.
    next_sequence: u64,
    /// How many have panicked at the end of this connection.
    end: u32,
    /// How many ends were dropped because of that.
    dropped: u64,
}

/// What has come back of one socket, and is waited for.
pub(in crate::tcp) struct Redelivery {
    data: Vec<UndeliveredData>,
    /// An end that was told to nobody.
    end: Option<NetError>,
    /// How long is waited for what may still come back.
    until: Instant,
    /// Until when it is held back as listeners have panicked at it, and how
    /// many listeners had died then.
    held_back: Option<(Instant, u64)>,
    returned_bytes: ReturnedBytes,
}

/// Bytes that hold back the other sockets of their app, as they are to be
/// raised again.
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
    /// Takes back what has reached nobody.
    pub(in crate::tcp) fn requeue(&mut self, undelivered: Undelivered) {
        match undelivered {
            Undelivered::Data(data) if data.sequence / EPOCH_SIZE != self.raised / EPOCH_SIZE => {
                log::debug!(
                    "client socket {}: {} bytes of a connection that was ended reached nobody",
                    self.socket.id(),
                    data.bytes.len()
                );
            }
            Undelivered::Data(mut data) => {
                let paused = self.paused;
                let redelivery = self.start_redelivery();
                if !paused {
                    // Before the app has its room again: others would take it.
                    let bytes = redelivery.returned_bytes.bytes + data.bytes.len();
                    redelivery.returned_bytes.set(bytes);
                }
                data.credit.mark_handled();
                let (sequence, panics) = (data.sequence, data.panics);
                redelivery.data.push(data);
                self.count_panics(sequence, sequence, panics);
            }
            Undelivered::End(end, connects, _) if connects != self.connects => {
                log::debug!(
                    "client socket {}: {end} of an earlier connection reached nobody",
                    self.socket.id()
                );
            }
            Undelivered::End(end, _, panics) => self.requeue_end(end, panics),
            Undelivered::Consumed(sequence) => {
                if sequence / EPOCH_SIZE == self.raised / EPOCH_SIZE {
                    self.start_redelivery();
                    self.count_panics(sequence, sequence + 1, 1);
                }
            }
        }
        self.socket.make_ready();
    }

    /// A listener has died: what is on its way may come back, before anything
    /// later is raised.
    pub(in crate::tcp) fn count_deaths(&mut self, deaths: u64) {
        self.deaths = deaths;
        if self.socket.unhandled().events() > 0 {
            self.start_redelivery();
            self.socket.make_ready();
        }
    }

    /// So many listeners have panicked while they handled this event; if `next`
    /// is the next one that is handled, it belongs to the same row.
    fn count_panics(&mut self, sequence: u64, next: u64, panics: u32) {
        if panics > 0 {
            let counted = self.panics.get_or_insert_default();
            if counted.next_sequence != sequence {
                counted.data = 0;
            }
            counted.data = counted.data.saturating_add(panics);
            counted.next_sequence = next;
        }
    }

    fn requeue_end(&mut self, end: NetError, panics: u32) {
        if panics > 0 {
            let counted = self.panics.get_or_insert_default();
            counted.end = counted.end.saturating_add(panics);
            if counted.end >= MAX_PANICS {
                counted.end = 0;
                counted.dropped += 1;
                log::error!(
                    "client socket {}: onReceiveError {end} is dropped, {MAX_PANICS} listeners panicked at it",
                    self.socket.id()
                );
                return;
            }
        }
        self.start_redelivery().end = Some(end);
    }

    pub(in crate::tcp) fn dropped_events(&self) -> u64 {
        self.panics.as_ref().map_or(0, |panics| panics.dropped)
    }

    /// Whether what has come back may be raised to the listeners of now, before
    /// whom so many have died: not at once if a listener has panicked at it.
    fn is_held_back(&mut self, deaths: u64) -> bool {
        let panics = self.panics.as_ref();
        if !panics.is_some_and(|panics| panics.data > 0 || panics.end > 0) {
            return false;
        }
        let now = Instant::now();
        let Some(redelivery) = &mut self.redelivery else {
            return false;
        };
        match redelivery.held_back {
            Some((until, before)) if before == deaths => until > now,
            _ => {
                redelivery.held_back = Some((now + HOLD_BACK, deaths));
                send_later(HOLD_BACK, self.socket.clone(), Command::Recheck);
                true
            }
        }
    }

    /// Its thread is another one, and the timers of the last one are gone.
    pub(in crate::tcp) fn restart_redelivery_timers(&mut self) {
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.until = Instant::now() + PAUSE_GRACE;
            redelivery.held_back = None;
            send_later(PAUSE_GRACE, self.socket.clone(), Command::Recheck);
        }
    }

    fn start_redelivery(&mut self) -> &mut Redelivery {
        let socket = &self.socket;
        self.redelivery.get_or_insert_with(|| {
            send_later(PAUSE_GRACE, socket.clone(), Command::Recheck);
            Box::new(Redelivery {
                data: Vec::new(),
                end: None,
                until: Instant::now() + PAUSE_GRACE,
                held_back: None,
                returned_bytes: ReturnedBytes {
                    app_shard: socket.app_shard().clone(),
                    bytes: 0,
                },
            })
        })
    }

    /// Whether something has come back that nobody has heard yet.
    pub(in crate::tcp) fn has_returned(&self) -> bool {
        let redelivery = self.redelivery.as_ref();
        redelivery.is_some_and(|it| !it.data.is_empty() || it.end.is_some())
    }

    pub(in crate::tcp) fn has_returned_data(&self) -> bool {
        let redelivery = self.redelivery.as_ref();
        redelivery.is_some_and(|it| !it.data.is_empty())
    }

    /// What was raised before is of another connection: if it comes back, it
    /// is raised no more.
    pub(in crate::tcp) fn next_epoch(&mut self) {
        self.raised = (self.raised | (EPOCH_SIZE - 1)).wrapping_add(1);
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.data.clear();
        }
        if let Some(panics) = &mut self.panics {
            (panics.data, panics.end) = (0, 0);
        }
    }

    /// `connect` is called: the end of the connection before is no news, even
    /// if it comes back only now.
    pub(in crate::tcp) fn discard_end(&mut self) {
        self.connects = self.connects.wrapping_add(1);
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.end = None;
        }
        if let Some(panics) = &mut self.panics {
            panics.end = 0;
        }
    }

    /// Raises again what has come back, when all has that may, and somebody
    /// listens. Returns what is left of the connection if this ends it.
    #[inline]
    #[must_use]
    pub(in crate::tcp) fn redeliver(&mut self, listeners: &mut ListenerCache) -> Option<Ended> {
        self.redelivery.as_ref()?;
        self.redeliver_pending(listeners)
    }

    fn redeliver_pending(&mut self, listeners: &mut ListenerCache) -> Option<Ended> {
        let redelivery = self.redelivery.as_mut()?;
        let bytes = redelivery.data.iter().map(|data| data.bytes.len()).sum();
        redelivery
            .returned_bytes
            .set(if self.paused { 0 } else { bytes });
        if self.transfer != Transfer::None {
            return None;
        }
        let panics = self.panics.as_ref();
        if panics.is_some_and(|panics| panics.data >= MAX_PANICS) {
            return self.end_poisoned();
        }
        let redelivery = self.redelivery.as_ref()?;
        if let Some(end) = redelivery.end
            && !self.redeliver_end(end)
        {
            return None;
        }
        if !self.has_all_returned() {
            return None;
        }
        if !self.has_returned() {
            self.redelivery = None;
            return None;
        }
        if self.paused {
            return None;
        }
        let app_shard = self.socket.app_shard().clone();
        let Some(cached) = listeners.get(&app_shard) else {
            self.want_listeners(&app_shard.on_receive);
            return None;
        };
        if self.is_held_back(cached.deaths) {
            return None;
        }
        let redelivery = self.redelivery.take()?;
        self.redeliver_data(redelivery.data, &cached.listeners)
    }

    /// Whether all is back that may come back.
    fn has_all_returned(&self) -> bool {
        let until = self.redelivery.as_ref().map(|redelivery| redelivery.until);
        self.socket.unhandled().are_handled() || until.is_none_or(|until| until <= Instant::now())
    }

    fn redeliver_data(
        &mut self,
        mut data: Vec<UndeliveredData>,
        listeners: &Snapshot<ReceiveInfo>,
    ) -> Option<Ended> {
        data.sort_by_key(|data| data.sequence);
        let after = self.raised + 1;
        let first = after.saturating_sub(data.len() as u64);
        let in_order = (first..after).eq(data.iter().map(|data| data.sequence));
        if !in_order {
            return self.abort_on_gap(data.len());
        }
        self.ending.reset();
        let chunk = self.chunk();
        for mut data in data {
            if let Some(panics) = &mut self.panics
                && panics.next_sequence == data.sequence
            {
                panics.next_sequence = self.raised + 1;
            }
            // It may be less than when they were read.
            while !data.bytes.is_empty() {
                let piece = chunk.min(data.bytes.len());
                self.raise(data.bytes.split_to(piece), listeners);
            }
        }
        None
    }

    /// Too many listeners in a row have panicked at its data: the connection
    /// ends, and what has come back of it is raised no more.
    fn end_poisoned(&mut self) -> Option<Ended> {
        log::error!(
            "client socket {}: ended, {MAX_PANICS} listeners in a row panicked at its data",
            self.socket.id()
        );
        self.next_epoch();
        self.end_connection(NetError::FAILED)
    }

    /// Somebody has handled what came later: what has come back would be a hole
    /// in what the app receives, or come in the wrong place.
    fn abort_on_gap(&mut self, events: usize) -> Option<Ended> {
        log::warn!(
            "client socket {}: ended, {events} events reached nobody and later ones did",
            self.socket.id()
        );
        self.end_connection(NetError::CONNECTION_ABORTED)
    }

    /// The end is reported when the actor next looks at the row.
    fn end_connection(&mut self, why: NetError) -> Option<Ended> {
        self.socket.make_ready();
        match &mut self.link {
            Link::Connected(connection) => connection.terminate(why),
            _ => None,
        }
    }

    /// Whether nothing of that is left to do. The socket stays as it is: the
    /// app may have resumed it since its end was told first.
    fn redeliver_end(&mut self, end: NetError) -> bool {
        let app_shard = self.socket.app_shard().clone();
        let on_receive_error = &app_shard.on_receive_error;
        if app_shard.activity.is_suspended() || !on_receive_error.contains(None) {
            self.want_listeners(on_receive_error);
            return false;
        }
        if self.is_held_back(on_receive_error.liveness().1) {
            return false;
        }
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.end = None;
        }
        self.raise_receive_error(end);
        !self.has_returned()
    }

    /// Something waits for somebody to hear it: has the app loaded, if its
    /// listeners are gone by themselves.
    pub(in crate::tcp) fn want_listeners<E: Event>(&self, listeners: &Listeners<E>) {
        if self.may_load(listeners) {
            self.socket.app_shard().activity.request_load();
        }
    }

    /// Whether its app is loaded for what waits for these listeners.
    pub(in crate::tcp) fn may_load<E: Event>(&self, listeners: &Listeners<E>) -> bool {
        let activity = &self.socket.app_shard().activity;
        match activity.is_suspended() {
            true => self.persistent,
            false => activity.needs_reload(listeners),
        }
    }
}
