//! `onAccept` and `onAcceptError`, and the `onAccept` events in flight.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::time::Duration;

use actix::Message;
use parking_lot::Mutex;

use crate::address::{Address, PeerCredentials};
use crate::error::Error;
use crate::events::redelivery::{self, InFlightEvent};
use crate::events::{DeliveryProbe, Event, Fate, Listeners, MAX_PANICS};
use crate::ids::{ClientSocketId, ServerSocketId};
use crate::net_error::{AcceptErrorClass, NetError};
use crate::os::Stream;
#[cfg(feature = "tls")]
use crate::os::TlsInfo;
use crate::proxy_protocol::ProxyPeer;
use crate::sync::InFlight;
use crate::tcp::{AcceptNotifier, ClientSocket, Timeouts};
use crate::tcp_server::AcceptAction;
use crate::tcp_server::accept::failure::Failure;

/// `tcpServer.onAccept`: a connection was accepted.
///
/// The connection is a paused client socket: it receives nothing before
/// `setPaused(false)`. The event is handled when its listener drops it, which the
/// end of the handler does, or makes any call on the client.
///
/// If all listeners died before they handled the event, it is raised again for
/// the next listener. If a listener panicked at it, it is held back for 100 ms
/// first, and raised after the others. After
/// [`MAX_PANICS`](crate::MAX_PANICS) panics the event is dropped, the client is closed,
/// and [`AcceptCounts::dropped_events`](super::AcceptCounts::dropped_events)
/// counts it. A server socket accepts while fewer than [`UNHANDLED_ACCEPTS`] of
/// its events are unhandled.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct AcceptInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The new client socket, an id of `chrome.sockets.tcp`.
    pub client_socket_id: ClientSocketId,
    #[debug(skip)]
    copy: AcceptCopy,
}

impl AcceptInfo {
    /// The handle of the new client socket.
    pub fn client(&self) -> &ClientSocket {
        &self.copy.pending_accept.client
    }

    /// Counts the event as handled: the client is the app's.
    pub(super) fn acknowledge(&self) {
        self.copy.pending_accept.clone().acknowledged();
    }

    /// Drops the event unhandled, though its listener lives: it is raised again.
    pub(super) fn return_unread(mut self) {
        self.copy.is_unread = true;
    }

    /// Beyond Chrome: the address of the peer. For an IPv4 client of a `::` socket it
    /// is IPv4-mapped, as in `getInfo`. The client of a Unix socket rarely has a name. If a
    /// proxy has named the client, it is the address that the proxy has written.
    pub fn peer(&self) -> Address {
        self.copy.pending_accept.ends.peer.clone()
    }

    /// Beyond Chrome: who the peer at a Unix socket is. `None` for other connections,
    /// or if the OS does not tell it.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        let details = self.copy.pending_accept.ends.details.as_deref();
        details.and_then(|it| it.credentials)
    }

    /// Beyond Chrome: the local address that the peer has connected to; `None` if the
    /// OS does not tell it, because the connection is gone.
    ///
    /// A server socket that listens on one address knows it. One that listens on all
    /// addresses (`0.0.0.0` or `::`) asks the OS when it accepts, which is one short
    /// system call (`getsockname`, well below a microsecond) for each connection.
    pub fn local(&self) -> Option<Address> {
        self.copy.pending_accept.ends.local.clone()
    }

    /// Beyond Chrome: what the TLS handshake has agreed on; `None` if the server socket
    /// did not encrypt the connection.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&TlsInfo> {
        let details = self.copy.pending_accept.ends.details.as_deref();
        details.and_then(|it| it.tls.as_deref())
    }

    /// Beyond Chrome: the proxy that has made the connection, and its header; `None` if the
    /// server socket expected no header of this peer
    /// ([`set_proxy_protocol`](crate::TcpServer::set_proxy_protocol)). If the header names a
    /// client, that is [`peer`](Self::peer).
    pub fn proxy_peer(&self) -> Option<&ProxyPeer> {
        self.copy.pending_accept.ends.proxy()
    }
}

impl Event for AcceptInfo {}

/// `tcpServer.onAcceptError`: accepting a connection failed.
///
/// The socket is paused, and `setPaused(false)` tries again, unless its
/// [`AcceptPolicy`](super::AcceptPolicy) says otherwise. If all listeners died
/// before they handled the event, it is raised again, unless
/// [`MAX_PANICS`](crate::MAX_PANICS) listeners have panicked at it.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct AcceptErrorInfo {
    /// The server socket.
    pub socket_id: ServerSocketId,
    /// The error, for instance
    /// [`INSUFFICIENT_RESOURCES`](NetError::INSUFFICIENT_RESOURCES) if the
    /// process has no descriptor left.
    pub result_code: NetError,
    /// Beyond Chrome: the error number of the OS, if the error came from it.
    pub errno: Option<i32>,
    /// Beyond Chrome: what the error affects.
    pub class: AcceptErrorClass,
    /// Beyond Chrome: what the server socket did about it.
    pub action: AcceptAction,
    /// Beyond Chrome: how many errors there were in a row, with this one.
    pub attempt: u32,
    /// Beyond Chrome: after how long the socket tries again, 0 for at once; `None`
    /// if it waits for the app.
    pub next_try: Option<Duration>,
    /// Beyond Chrome: how many errors before this one raised no event, because
    /// listeners had [`UNHANDLED_ACCEPT_ERRORS`] events to handle.
    pub missed: u64,
    #[debug(skip)]
    pub(super) _token: InFlightEvent<AcceptErrorInfo, Failure>,
}

impl Event for AcceptErrorInfo {}

/// How many `onAcceptError` events of one server socket may be unhandled by
/// listeners, and how many more may be queued. Errors beyond that are only
/// counted.
pub const UNHANDLED_ACCEPT_ERRORS: usize = redelivery::MAX_UNHANDLED;

/// How many `onAccept` events of one server socket may be unhandled by listeners:
/// 64. Beyond that, connections wait in the kernel's backlog.
pub const UNHANDLED_ACCEPTS: usize = 64;

/// What a server socket shares with its `onAccept` events in flight.
#[derive(Default)]
pub(super) struct AcceptsInFlight {
    in_flight: InFlight,
    /// Clients whose event reached no listener, in the order of their return.
    returned: Mutex<Vec<Arc<PendingAccept>>>,
    /// Whether the server socket is closed.
    is_closed: AtomicBool,
    /// How many clients a listener has heard of.
    delivered: AtomicU64,
    /// How many clients were closed because listeners panicked at their event.
    dropped: AtomicU64,
    /// The timeouts of accepted clients, if there are any.
    timeouts: Mutex<Option<Box<Timeouts>>>,
}

impl AcceptsInFlight {
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(SeqCst)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(SeqCst)
    }

    /// For information only: a decision to wait needs
    /// [`has_room`](Self::has_room) or [`are_handled`](Self::are_handled).
    pub(super) fn count(&self) -> usize {
        self.in_flight.count()
    }

    /// Whether one more event may be raised. If not, the actor is woken when an
    /// event is handled.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.is_below(UNHANDLED_ACCEPTS)
    }

    /// Whether all events are handled. If not, the actor is woken when one more
    /// is.
    pub(super) fn are_handled(&self) -> bool {
        self.in_flight.is_below(1)
    }

    /// Begins a turn of the actor, which is woken when events return.
    pub(super) fn begin_turn(&self, cx: &std::task::Context<'_>) {
        self.in_flight.register(cx);
    }

    /// Wakes the actor.
    pub(super) fn wake(&self) {
        self.in_flight.wake();
    }

    pub(super) fn set_timeouts(&self, timeouts: Timeouts) -> Result<(), Error> {
        let timeouts = timeouts.checked()?;
        *self.timeouts.lock() = (timeouts != Timeouts::default()).then(|| Box::new(timeouts));
        Ok(())
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts.lock().as_deref().copied().unwrap_or_default()
    }

    pub(super) fn has_returned(&self) -> bool {
        !self.returned.lock().is_empty()
    }

    pub(super) fn take_returned(&self) -> Vec<Arc<PendingAccept>> {
        std::mem::take(&mut *self.returned.lock())
    }

    /// The server socket closes: clients whose event returns are closed from now
    /// on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, SeqCst);
        for pending_accept in self.take_returned() {
            pending_accept.discard();
        }
    }
}

/// What `onAccept` tells about the two ends of a connection.
pub(super) struct Ends {
    peer: Address,
    local: Option<Address>,
    details: Option<Box<Details>>,
}

/// What few connections have.
struct Details {
    /// Of a Unix socket.
    credentials: Option<PeerCredentials>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<TlsInfo>>,
    proxy: Option<Box<ProxyPeer>>,
}

impl Ends {
    /// `local` is the local address, if it is known; otherwise the OS is asked. `may_encrypt`:
    /// whether the server socket may have encrypted the connection.
    pub(super) fn of(
        stream: &dyn Stream,
        peer: Address,
        local: Option<Address>,
        may_encrypt: bool,
        proxy: Option<Box<ProxyPeer>>,
    ) -> Self {
        // A proxy at a Unix socket names clients of another kind.
        let real_peer = proxy.as_deref().map_or(&peer, |it| &it.address);
        let is_unix = real_peer.unix().is_some();
        let details = (is_unix || may_encrypt || proxy.is_some()).then(|| {
            Box::new(Details {
                credentials: is_unix.then(|| stream.peer_credentials()).flatten(),
                #[cfg(feature = "tls")]
                tls: stream.tls_info(),
                proxy,
            })
        });
        Ends {
            peer,
            local: local.or_else(|| stream.local_addr().ok()),
            details,
        }
    }

    fn proxy(&self) -> Option<&ProxyPeer> {
        self.details.as_ref()?.proxy.as_deref()
    }
}

/// An accepted client until the app has taken it.
pub(super) struct PendingAccept {
    pub(super) client: ClientSocket,
    ends: Ends,
    accepts_in_flight: Arc<AcceptsInFlight>,
    /// How many copies of its event exist. The dispatch counts as one.
    copies: AtomicUsize,
    /// Whether a listener has handled its event or used the client.
    is_delivered: AtomicBool,
    /// How many listeners have panicked at its event.
    panics: AtomicU32,
    /// Whether its event counts as in flight.
    is_in_flight: AtomicBool,
    /// Locked while its event is sent to each listener. A client in another thread
    /// could answer the first listener's call, and raise `onReceive`, before the
    /// last listener has its `onAccept`. So its first call waits for this lock.
    dispatch_lock: Mutex<()>,
}

impl PendingAccept {
    pub(super) fn new(
        client: ClientSocket,
        ends: Ends,
        accepts_in_flight: Arc<AcceptsInFlight>,
    ) -> Arc<Self> {
        Arc::new(PendingAccept {
            client,
            ends,
            accepts_in_flight,
            copies: AtomicUsize::new(0),
            is_delivered: AtomicBool::new(false),
            panics: AtomicU32::new(0),
            is_in_flight: AtomicBool::new(false),
            dispatch_lock: Mutex::default(),
        })
    }

    /// Raises `onAccept` for the client.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        socket_id: ServerSocketId,
        on_accept: &Listeners<AcceptInfo>,
    ) {
        self.begin_flight();
        let is_remote = self.client.app_shard().shard.is_remote;
        let dispatch_lock = is_remote.then(|| self.dispatch_lock.lock());
        on_accept.dispatch(|probe| AcceptInfo {
            socket_id,
            client_socket_id: self.client.id(),
            copy: AcceptCopy::new(self, Some(probe)),
        });
        drop(dispatch_lock);
        self.copy_dropped();
    }

    /// Raises `onAccept` without a listener: gives it to `take`.
    pub(super) fn give(self: &Arc<Self>, socket_id: ServerSocketId, take: impl FnOnce(AcceptInfo)) {
        self.begin_flight();
        take(AcceptInfo {
            socket_id,
            client_socket_id: self.client.id(),
            copy: AcceptCopy::new(self, None),
        });
        self.copy_dropped();
    }

    /// The event is in flight. The caller counts as a copy, so that a listener that drops its copy
    /// at once does not make it the last one.
    fn begin_flight(&self) {
        self.is_in_flight.store(true, SeqCst);
        self.accepts_in_flight.in_flight.add();
        self.client.app_shard().activity.event_raised();
        self.copies.fetch_add(1, SeqCst);
    }

    /// Whether a listener has panicked at its event.
    pub(super) fn is_suspect(&self) -> bool {
        self.panics.load(SeqCst) > 0
    }

    /// Gives up a client at whose event too many listeners have panicked.
    fn drop_event(&self) {
        log::error!(
            "client socket {}: closed because {MAX_PANICS} listeners panicked at its onAccept",
            self.client.id()
        );
        self.accepts_in_flight.dropped.fetch_add(1, SeqCst);
        self.discard();
    }

    /// Closes the client if no listener has heard of it.
    pub(super) fn discard(&self) {
        if self.is_open() {
            log::debug!(
                "client socket {}: closed before any listener heard of it",
                self.client.id()
            );
            // Set before the call, because every call claims the client, and this
            // one must not count as a delivery.
            self.is_delivered.store(true, SeqCst);
            self.client.do_close();
        }
    }

    fn mark_delivered(&self) {
        if !self.is_delivered.swap(true, SeqCst) {
            self.accepts_in_flight.delivered.fetch_add(1, SeqCst);
        }
    }

    fn copy_dropped(self: &Arc<Self>) {
        if self.copies.fetch_sub(1, SeqCst) == 1 {
            self.end_flight();
        }
    }

    /// The event is no longer in flight: the app uses the client, or the last copy
    /// was dropped. An event that reached no listener returns.
    fn end_flight(self: &Arc<Self>) {
        if !self.is_in_flight.swap(false, SeqCst) {
            return;
        }
        let shared = &self.accepts_in_flight;
        let is_returned = self.is_open();
        if is_returned && self.panics.load(SeqCst) >= MAX_PANICS {
            self.drop_event();
        } else if is_returned {
            shared.returned.lock().push(self.clone());
            // Closed in the meantime: `close` may not have seen this one.
            if shared.is_closed.load(SeqCst) {
                shared.close();
            }
        }
        // After the return, so that the actor finds it once all are handled.
        shared.in_flight.remove();
        self.client.app_shard().activity.event_handled();
        if is_returned {
            shared.wake();
        }
    }
}

impl AcceptNotifier for PendingAccept {
    fn acknowledged(self: Arc<Self>) {
        // Waits until every listener has its `onAccept`.
        if self.client.app_shard().shard.is_remote {
            drop(self.dispatch_lock.lock());
        }
        self.mark_delivered();
        self.end_flight();
    }

    fn is_open(&self) -> bool {
        !self.is_delivered.load(SeqCst) && !self.client.is_closed()
    }

    fn timeouts(&self) -> Option<Timeouts> {
        self.accepts_in_flight.timeouts.lock().as_deref().copied()
    }

    fn proxy_peer(&self) -> Option<&ProxyPeer> {
        self.ends.proxy()
    }
}

/// The part of a listener's copy of `onAccept` that follows what becomes of it.
struct AcceptCopy {
    pending_accept: Arc<PendingAccept>,
    /// `None` if it has no listener: then it is handled, unless it is returned.
    probe: Option<Arc<DeliveryProbe>>,
    /// Whether it is returned, though its listener lives.
    is_unread: bool,
}

impl AcceptCopy {
    fn new(pending_accept: &Arc<PendingAccept>, probe: Option<&Arc<DeliveryProbe>>) -> Self {
        pending_accept.copies.fetch_add(1, SeqCst);
        AcceptCopy {
            pending_accept: pending_accept.clone(),
            probe: probe.cloned(),
            is_unread: false,
        }
    }
}

impl Clone for AcceptCopy {
    fn clone(&self) -> Self {
        AcceptCopy::new(&self.pending_accept, self.probe.as_ref())
    }
}

impl Drop for AcceptCopy {
    fn drop(&mut self) {
        let fate = match &self.probe {
            _ if self.is_unread => Fate::Unread,
            Some(probe) => probe.fate(),
            None => Fate::Handled,
        };
        match fate {
            Fate::Handled => self.pending_accept.mark_delivered(),
            Fate::Panicked => {
                self.pending_accept.panics.fetch_add(1, SeqCst);
            }
            Fate::Unread => {}
        }
        self.pending_accept.copy_dropped();
    }
}
