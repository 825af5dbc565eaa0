//! Redelivery: events that a dead listener left unhandled return to their socket and are raised
//! again.

use std::sync::Arc;

use actix_rt::time::Instant;
use bytes::Bytes;

use crate::events::{Dispatcher, Event, HOLD_BACK, Listeners, MAX_PANICS};
use crate::net_error::NetError;
use crate::pending_pauses::PAUSE_GRACE;
use crate::tcp::command::{Command, send_later};
use crate::tcp::connection::Link;
use crate::tcp::connection::buffer_pool::Filled;
use crate::tcp::connection::linger::Closing;
use crate::tcp::connection::read::ListenerCache;
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::shards::shard::AppShard;
use crate::tcp::socket::Credit;
use crate::tcp::socket_listeners::{DataRoute, Receivers};

/// Event numbers of one connection are below this; the part above counts the connections. So a
/// returned event of an earlier connection is recognised.
const EPOCH_SIZE: u64 = 1 << 48;

/// An event that no listener has handled.
pub(crate) enum Undelivered {
    Data(UndeliveredData),
    /// The result code, the number of `connect` calls before, and how many listeners panicked at
    /// the event.
    End(NetError, u32, u32),
    /// A listener took the data out of the event with this number, and then panicked.
    Consumed(u64),
}

/// The data of an unhandled event.
pub(crate) struct UndeliveredData {
    /// The number of the event.
    pub(in crate::tcp) sequence: u64,
    pub(in crate::tcp) bytes: Bytes,
    /// The data still counts in the window.
    pub(in crate::tcp) credit: Credit,
    /// How many listeners have panicked at it since it was raised.
    pub(in crate::tcp) panics: u32,
}

/// The panics of listeners at the events of one socket.
#[derive(Default)]
pub(in crate::tcp) struct Panics {
    /// How many listeners in a row have panicked while they handled data.
    data: u32,
    /// The number of the event that continues this row. A panic at another event starts a new row.
    next_sequence: u64,
    /// How many have panicked at the end of this connection.
    end: u32,
    /// How many `onReceiveError` events were dropped because of panics.
    dropped: u64,
}

/// The returned events of one socket, until they are raised again.
pub(in crate::tcp) struct Redelivery {
    data: Vec<UndeliveredData>,
    /// An `onReceiveError` that has returned.
    end: Option<NetError>,
    /// Until when the socket waits for more returned events.
    until: Instant,
    /// After a panic: until when the events are held back, and how many listeners had died by then.
    held_back: Option<(Instant, u64)>,
    returned_bytes: ReturnedBytes,
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
    /// Takes an event back.
    pub(in crate::tcp) fn requeue(&mut self, undelivered: Undelivered) {
        match undelivered {
            Undelivered::Data(data) if !self.is_current(data.sequence) => {
                log::debug!(
                    "client socket {}: {} unhandled bytes of an earlier connection are dropped",
                    self.socket.id(),
                    data.bytes.len()
                );
            }
            Undelivered::Data(mut data) => {
                let paused = self.paused;
                let redelivery = self.start_redelivery();
                if !paused {
                    // Before `mark_handled` gives the room in the window free: other sockets would
                    // take it.
                    let bytes = redelivery.returned_bytes.bytes + data.bytes.len();
                    redelivery.returned_bytes.set(bytes);
                }
                data.credit.mark_handled();
                let (sequence, panics) = (data.sequence, data.panics);
                redelivery.data.push(data);
                self.count_panics(sequence, sequence, panics);
            }
            Undelivered::End(end, connect_count, _) if connect_count != self.connect_count => {
                log::debug!(
                    "client socket {}: the unhandled end {end} of an earlier connection is dropped",
                    self.socket.id()
                );
            }
            Undelivered::End(end, _, panics) => self.requeue_end(end, panics),
            // The listener has used the data, so only its panic counts.
            Undelivered::Consumed(sequence) => {
                if self.is_current(sequence) {
                    self.start_redelivery();
                    self.count_panics(sequence, sequence + 1, 1);
                }
            }
        }
        self.socket.make_ready();
    }

    /// Whether the event with this number is of the current connection.
    fn is_current(&self, sequence: u64) -> bool {
        sequence / EPOCH_SIZE == self.last_raised / EPOCH_SIZE
    }

    /// Listeners have died. Events in flight may return, so later data has to wait.
    pub(in crate::tcp) fn count_deaths(&mut self, deaths: u64) {
        self.deaths = deaths;
        if self.socket.unhandled().events() > 0 {
            self.start_redelivery();
            self.socket.make_ready();
        }
    }

    /// Counts `panics` listeners that panicked at the event `sequence`. A panic at the event `next`
    /// continues the row.
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

    /// Whether returned events have to wait for the [`HOLD_BACK`] time, because a listener has
    /// panicked at them. The time runs once for each number of `deaths`.
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

    /// The socket is in another thread now. The timers of the old one are gone.
    pub(in crate::tcp) fn restart_redelivery_timers(&mut self) {
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.until = Instant::now() + PAUSE_GRACE;
            redelivery.held_back = None;
            send_later(PAUSE_GRACE, self.socket.clone(), Command::Recheck);
        }
    }

    /// Starts to collect returned events, with a timer for the end of the grace.
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

    /// Whether events have returned that are not raised again yet.
    pub(in crate::tcp) fn has_returned(&self) -> bool {
        let redelivery = self.redelivery.as_ref();
        redelivery.is_some_and(|it| !it.data.is_empty() || it.end.is_some())
    }

    pub(in crate::tcp) fn has_returned_data(&self) -> bool {
        let redelivery = self.redelivery.as_ref();
        redelivery.is_some_and(|it| !it.data.is_empty())
    }

    /// Events raised before this belong to an earlier connection. They are not raised again.
    pub(in crate::tcp) fn next_epoch(&mut self) {
        self.last_raised = (self.last_raised | (EPOCH_SIZE - 1)).wrapping_add(1);
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.data.clear();
        }
        if let Some(panics) = &mut self.panics {
            (panics.data, panics.end) = (0, 0);
        }
    }

    /// `connect` was called: the end of the earlier connection is not raised again.
    pub(in crate::tcp) fn discard_end(&mut self) {
        self.connect_count = self.connect_count.wrapping_add(1);
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.end = None;
        }
        if let Some(panics) = &mut self.panics {
            panics.end = 0;
        }
    }

    /// Raises returned events again, when all of them have returned and a listener is there. If
    /// that ends the connection, returns what has to be delivered.
    #[inline]
    #[must_use]
    pub(in crate::tcp) fn redeliver(&mut self, listeners: &mut ListenerCache) -> Option<Closing> {
        if self.redelivery.is_none() && self.own.is_none() {
            return None;
        }
        self.redeliver_pending(listeners)
    }

    fn redeliver_pending(&mut self, listeners: &mut ListenerCache) -> Option<Closing> {
        if self.own.is_some()
            && self.stream().is_none()
            && let Some(closed) = self.end_if_unheard()
        {
            return Some(closed);
        }
        let redelivery = self.redelivery.as_mut()?;
        // While the socket is paused, its returned data must not hold back the app's other sockets.
        let bytes = match self.paused {
            true => 0,
            false => redelivery.data.iter().map(|data| data.bytes.len()).sum(),
        };
        redelivery.returned_bytes.set(bytes);
        let end = redelivery.end;
        // During a handover no events are raised.
        if self.transfer != Transfer::None {
            return None;
        }
        // Raised again, this data would make the next listener panic too.
        let panics = self.panics.as_ref();
        if panics.is_some_and(|panics| panics.data >= MAX_PANICS) {
            return self.end_poisoned();
        }
        // `onReceiveError` does not wait for other events: all data of its connection was handled
        // before.
        if end.is_some_and(|end| !self.redeliver_end(end)) {
            return None;
        }
        // Events in flight may still return, and only together can they be put in order.
        if !self.has_all_returned() {
            return None;
        }
        // Listeners have handled everything: reading goes on.
        if !self.has_returned() {
            self.redelivery = None;
            return None;
        }
        // `setPaused(false)` polls the socket again.
        if self.paused {
            return None;
        }
        let (receivers, deaths) = self.receivers(listeners)?;
        // A listener has panicked at this data. The next one handles the events of other sockets
        // first.
        if self.is_held_back(deaths) {
            return None;
        }
        let redelivery = self.redelivery.take()?;
        self.redeliver_data(redelivery.data, receivers)
    }

    /// Who gets returned data, and how many listeners have died before. `None` if it has to wait: a
    /// new listener makes the socket ready.
    fn receivers(&self, listeners: &mut ListenerCache) -> Option<(Receivers, u64)> {
        let app_shard = self.socket.app_shard();
        match self.data_route() {
            DataRoute::App => match listeners.get(app_shard) {
                Some(cached) => {
                    let to = Receivers::Listeners(cached.listeners.listeners().clone());
                    Some((to, cached.deaths))
                }
                None => {
                    self.want_listeners(&app_shard.on_receive);
                    None
                }
            },
            // The app is suspended: it has other listeners when it is loaded again.
            DataRoute::Own(_) | DataRoute::Dead(_) if app_shard.activity.is_suspended() => {
                self.want_listeners(&app_shard.on_receive);
                None
            }
            DataRoute::Own(receivers) => Some((receivers, 0)),
            DataRoute::Dead(_) => None,
        }
    }

    /// The socket has other listeners from now on: they get nothing before the events in flight are
    /// handled, or have returned. The time for which returned events are held back starts anew.
    pub(in crate::tcp) fn wait_for_events_in_flight(&mut self) {
        if self.socket.unhandled().events() > 0 {
            self.start_redelivery();
        }
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.held_back = None;
        }
    }

    /// Whether no more events can return: all were handled, or the grace has elapsed.
    fn has_all_returned(&self) -> bool {
        let until = self.redelivery.as_ref().map(|redelivery| redelivery.until);
        self.socket.unhandled().are_handled() || until.is_none_or(|until| until <= Instant::now())
    }

    fn redeliver_data(
        &mut self,
        mut data: Vec<UndeliveredData>,
        receivers: Receivers,
    ) -> Option<Closing> {
        data.sort_by_key(|data| data.sequence);
        let after = self.last_raised + 1;
        let first = after.saturating_sub(data.len() as u64);
        // The data can be raised again only if nothing later was handled, and nothing is missing.
        let in_order = (first..after).eq(data.iter().map(|data| data.sequence));
        if !in_order {
            return self.abort_on_gap(data.len());
        }
        self.ending.reset();
        match receivers {
            Receivers::Listeners(to) => {
                // A batch is sent at once, before what is read next is collected.
                let mut to = Dispatcher::new(to);
                self.raise_again(data, |state, piece| state.raise(piece, &mut to));
            }
            Receivers::Stream => self.raise_again(data, |state, piece| {
                state.push_to_stream(Filled::Lent(piece));
            }),
        }
        None
    }

    fn raise_again(&mut self, data: Vec<UndeliveredData>, mut raise: impl FnMut(&mut Self, Bytes)) {
        let chunk = self.chunk();
        for mut data in data {
            if let Some(panics) = &mut self.panics
                && panics.next_sequence == data.sequence
            {
                // The event gets a new number, and a row of panics goes on with it.
                panics.next_sequence = self.last_raised + 1;
            }
            // The app may have reduced `bufferSize` since the data was read.
            while !data.bytes.is_empty() {
                let piece = chunk.min(data.bytes.len());
                raise(self, data.bytes.split_to(piece));
            }
        }
    }

    /// [`MAX_PANICS`] listeners in a row have panicked at this socket's data. Ends the connection;
    /// its events are not raised again.
    fn end_poisoned(&mut self) -> Option<Closing> {
        log::error!(
            "client socket {}: connection ended, {MAX_PANICS} listeners in a row panicked at its data",
            self.socket.id()
        );
        self.next_epoch();
        self.end_connection(NetError::FAILED)
    }

    /// A later event was handled. Raising the earlier ones now would give the app a stream with a
    /// gap, or in the wrong order.
    fn abort_on_gap(&mut self, events: usize) -> Option<Closing> {
        log::warn!(
            "client socket {}: connection ended, {events} events were not handled and later ones were",
            self.socket.id()
        );
        self.end_connection(NetError::CONNECTION_ABORTED)
    }

    /// Ends the connection. The next poll of the socket reports the end.
    pub(in crate::tcp) fn end_connection(&mut self, why: NetError) -> Option<Closing> {
        self.socket.make_ready();
        match &mut self.link {
            Link::Connected(connection) => connection.terminate(why),
            _ => None,
        }
    }

    /// Raises a returned `onReceiveError`. `false` if it has to wait, or has returned at once. The
    /// socket's state does not change, since the app may have resumed it after the first time.
    fn redeliver_end(&mut self, end: NetError) -> bool {
        let app_shard = self.socket.app_shard().clone();
        let on_receive_error = &app_shard.on_receive_error;
        let is_suspended = app_shard.activity.is_suspended();
        let deaths = match self.own_on_receive_error() {
            // No page of the app adds other listeners of this socket.
            Some(own) if !is_suspended && !own.contains(None) => return false,
            Some(_) if !is_suspended => 0,
            None if !is_suspended && self.stream().is_some() => 0,
            _ if is_suspended || !on_receive_error.contains(None) => {
                self.want_listeners(on_receive_error);
                return false;
            }
            _ => on_receive_error.liveness().1,
        };
        if self.is_held_back(deaths) {
            return false;
        }
        if let Some(redelivery) = &mut self.redelivery {
            redelivery.end = None;
        }
        self.raise_receive_error(end);
        !self.has_returned()
    }

    /// Events wait for a listener: has the app loaded, if its listeners have died.
    pub(in crate::tcp) fn want_listeners<E: Event>(&self, listeners: &Listeners<E>) {
        if self.may_load(listeners) {
            self.socket.app_shard().activity.request_load();
        }
    }

    /// Whether the app may be loaded for events that wait for these listeners.
    pub(in crate::tcp) fn may_load<E: Event>(&self, listeners: &Listeners<E>) -> bool {
        let activity = &self.socket.app_shard().activity;
        match activity.is_suspended() {
            // A suspended app is loaded for persistent sockets only.
            true => self.persistent,
            false => activity.needs_reload(listeners),
        }
    }
}
