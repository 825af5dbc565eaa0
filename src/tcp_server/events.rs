//! What `chrome.sockets.tcpServer` raises.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::AcceptAction;
use crate::events::redelivery;
use crate::events::redelivery::InFlightEvent;
use crate::tcp_server::accept::failure::Failure;
use actix::Message;
use parking_lot::{Mutex, MutexGuard};

use crate::error::Error;
use crate::events::{DeliveryProbe, Event, Fate, Listeners, MAX_PANICS};
use crate::ids::{ClientSocketId, ServerSocketId};
use crate::net_error::{AcceptErrorClass, NetError};
use crate::sync::InFlight;
use crate::tcp::{AcceptNotifier, ClientSocket, Timeouts};

/// `tcpServer.onAccept`: a connection was accepted.
///
/// It is a paused client socket: nothing is received on it before
/// `setPaused(false)`. The event has reached its listener when the listener
/// drops it (the end of the handler does) or does anything with the client.
/// If it is dropped unread because its listener died, it is raised again for
/// the next one. If listeners panic at it, it is held back for 100 ms before
/// it is raised again, behind the others; when
/// [`MAX_PANICS`](crate::MAX_PANICS) have, it is dropped, its client is closed,
/// and [`AcceptCounts::dropped_events`](super::AcceptCounts::dropped_events)
/// counts it. A server socket goes on accepting while fewer than
/// [`UNHANDLED_ACCEPTS`] of its events are on their way.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct AcceptInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The new client socket, for `chrome.sockets.tcp` alone.
    pub client_socket_id: ClientSocketId,
    #[debug(skip)]
    delivery: Delivery,
}

impl AcceptInfo {
    /// The handle of the new client socket.
    pub fn client(&self) -> &ClientSocket {
        &self.delivery.pending_accept.client
    }
}

impl Event for AcceptInfo {}

/// `tcpServer.onAcceptError`: the network failed while waiting for a
/// connection. The socket is paused and `setPaused(false)` tries again, unless
/// its [`AcceptPolicy`](super::AcceptPolicy) says otherwise. If it reached
/// nobody because its listeners died, it is told again, unless
/// [`MAX_PANICS`](crate::MAX_PANICS) listeners have panicked at it.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct AcceptErrorInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// What the network said, for instance
    /// [`INSUFFICIENT_RESOURCES`](NetError::INSUFFICIENT_RESOURCES) when the
    /// process has no descriptor left.
    pub result_code: NetError,
    /// Beyond Chrome: the number that the OS gave, if it did.
    pub errno: Option<i32>,
    /// Beyond Chrome: what is affected.
    pub class: AcceptErrorClass,
    /// Beyond Chrome: what was done.
    pub action: AcceptAction,
    /// Beyond Chrome: how many errors there were in a row, with this one.
    pub attempt: u32,
    /// Beyond Chrome: after how long it is tried again, 0 for at once; `None`
    /// if that waits for the app.
    pub next_try: Option<Duration>,
    /// Beyond Chrome: how many errors before this one were not told, because
    /// listeners had [`UNHANDLED_ACCEPT_ERRORS`] events to handle.
    pub missed: u64,
    #[debug(skip)]
    pub(super) _unhandled: InFlightEvent<AcceptErrorInfo, Failure>,
}

impl Event for AcceptErrorInfo {}

/// The most `onAcceptError` events of one server socket that listeners have
/// not handled, and as many that wait; beyond it errors are only counted.
pub const UNHANDLED_ACCEPT_ERRORS: usize = redelivery::MAX_UNHANDLED;

/// The most `onAccept` events of one server socket that listeners have not
/// handled; beyond it connections wait in the kernel's backlog.
pub const UNHANDLED_ACCEPTS: usize = 64;

/// The `onAccept` events of one server socket that are on their way.
#[derive(Default)]
pub(super) struct AcceptsInFlight {
    in_flight: InFlight,
    /// Clients whose event reached nobody, in the order in which they came
    /// back.
    returned: Mutex<Vec<Arc<PendingAccept>>>,
    /// Whether the server socket is gone.
    closed: AtomicBool,
    /// How many clients have reached a listener.
    delivered: AtomicU64,
    /// How many clients were closed because listeners panicked at their event.
    dropped: AtomicU64,
    /// Of what is accepted.
    timeouts: Mutex<Timeouts>,
}

impl AcceptsInFlight {
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(SeqCst)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(SeqCst)
    }

    /// For information: what decides whether the actor waits is
    /// [`has_room`](Self::has_room) and [`are_handled`](Self::are_handled).
    pub(super) fn count(&self) -> usize {
        self.in_flight.count()
    }

    /// Whether one more event may be raised; if not, the actor is woken when
    /// an event was handled.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.is_below(UNHANDLED_ACCEPTS)
    }

    /// Whether every event was handled; if not, the actor is woken when one
    /// more was.
    pub(super) fn are_handled(&self) -> bool {
        self.in_flight.is_below(1)
    }

    /// The actor has a turn: has it woken for what comes back.
    pub(super) fn begin_turn(&self, cx: &std::task::Context<'_>) {
        self.in_flight.register(cx);
    }

    /// Wakes the actor.
    pub(super) fn nudge(&self) {
        self.in_flight.wake();
    }

    pub(super) fn set_timeouts(&self, timeouts: Timeouts) -> Result<(), Error> {
        *self.timeouts.lock() = timeouts.checked()?;
        Ok(())
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        *self.timeouts.lock()
    }

    pub(super) fn take_returned(&self) -> Vec<Arc<PendingAccept>> {
        let mut returned = self.returned.lock();
        std::mem::take(&mut *returned)
    }

    /// Nobody takes back what reaches nobody from now on: it is closed.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        for pending_accept in self.take_returned() {
            pending_accept.discard();
        }
    }
}

/// One accepted client, offered to the listeners.
pub(super) struct PendingAccept {
    pub(super) client: ClientSocket,
    accepts_in_flight: Arc<AcceptsInFlight>,
    /// The copies of its event that have not been dropped, and one for the
    /// time of the dispatch.
    copies: AtomicUsize,
    /// Whether a listener has had it.
    reached: AtomicBool,
    /// How many listeners have panicked at its event.
    panics: AtomicU32,
    /// Whether it counts no more among those on their way.
    settled: AtomicBool,
    /// While its event is on the way to each of the listeners. The client lives
    /// in another thread, perhaps: what the first of them asks of it waits until
    /// the last has been told, so that nobody hears of its data before.
    dispatch_lock: Mutex<()>,
}

impl PendingAccept {
    pub(super) fn new(client: ClientSocket, accepts_in_flight: Arc<AcceptsInFlight>) -> Arc<Self> {
        Arc::new(PendingAccept {
            client,
            accepts_in_flight,
            copies: AtomicUsize::new(0),
            reached: AtomicBool::new(false),
            panics: AtomicU32::new(0),
            settled: AtomicBool::new(true),
            dispatch_lock: Mutex::default(),
        })
    }

    /// Raises `onAccept` for it.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        socket_id: ServerSocketId,
        on_accept: &Listeners<AcceptInfo>,
    ) {
        self.settled.store(false, SeqCst);
        self.accepts_in_flight.in_flight.add();
        self.client.app_shard().activity.event_raised();
        self.copies.fetch_add(1, SeqCst);
        let is_remote = self.client.app_shard().shard.is_remote;
        let dispatch_lock = is_remote.then(|| self.dispatch_lock());
        on_accept.dispatch(|ear| {
            self.copies.fetch_add(1, SeqCst);
            AcceptInfo {
                socket_id,
                client_socket_id: self.client.id(),
                delivery: Delivery {
                    pending_accept: self.clone(),
                    ear: ear.clone(),
                },
            }
        });
        drop(dispatch_lock);
        self.drop_copy();
    }

    /// Whether a listener has panicked at its event.
    pub(super) fn is_suspect(&self) -> bool {
        self.panics.load(SeqCst) > 0
    }

    /// Too many listeners have panicked at its event.
    fn drop_event(&self) {
        log::error!(
            "client socket {}: closed, {MAX_PANICS} listeners panicked at its onAccept",
            self.client.id()
        );
        self.accepts_in_flight.dropped.fetch_add(1, SeqCst);
        self.discard();
    }

    /// Closes a client that nobody has heard of.
    pub(super) fn discard(&self) {
        if self.is_open() {
            log::debug!(
                "client socket {}: closed, nobody heard of it",
                self.client.id()
            );
            // Before the call, which claims it as every call does.
            self.reached.store(true, SeqCst);
            self.client.close();
        }
    }

    fn dispatch_lock(&self) -> MutexGuard<'_, ()> {
        self.dispatch_lock.lock()
    }

    fn reached(&self) {
        if !self.reached.swap(true, SeqCst) {
            self.accepts_in_flight.delivered.fetch_add(1, SeqCst);
        }
    }

    fn drop_copy(self: &Arc<Self>) {
        if self.copies.fetch_sub(1, SeqCst) == 1 {
            self.settle();
        }
    }

    fn settle(self: &Arc<Self>) {
        if self.settled.swap(true, SeqCst) {
            return;
        }
        let way = &self.accepts_in_flight;
        let lost = self.is_open();
        if lost && self.panics.load(SeqCst) >= MAX_PANICS {
            self.drop_event();
        } else if lost {
            let mut returned = way.returned.lock();
            returned.push(self.clone());
            drop(returned);
            if way.closed.load(SeqCst) {
                way.close();
            }
        }
        way.in_flight.remove();
        self.client.app_shard().activity.event_handled();
        if lost {
            way.nudge();
        }
    }
}

impl AcceptNotifier for PendingAccept {
    fn acknowledged(self: Arc<Self>) {
        if self.client.app_shard().shard.is_remote {
            drop(self.dispatch_lock());
        }
        self.reached();
        self.settle();
    }

    fn is_open(&self) -> bool {
        !self.reached.load(SeqCst) && !self.client.is_closed()
    }

    fn timeouts(&self) -> Timeouts {
        self.accepts_in_flight.timeouts()
    }
}

/// One listener's copy of an event.
struct Delivery {
    pending_accept: Arc<PendingAccept>,
    ear: Arc<DeliveryProbe<AcceptInfo>>,
}

impl Clone for Delivery {
    fn clone(&self) -> Self {
        self.pending_accept.copies.fetch_add(1, SeqCst);
        Delivery {
            pending_accept: self.pending_accept.clone(),
            ear: self.ear.clone(),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match self.ear.fate() {
            Fate::Handled => self.pending_accept.reached(),
            Fate::Panicked => {
                self.pending_accept.panics.fetch_add(1, SeqCst);
            }
            Fate::Unread => {}
        }
        self.pending_accept.drop_copy();
    }
}
