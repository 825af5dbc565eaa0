//! The handle of a client socket, and what the handle shares with the socket's state and its
//! events.

mod calls;
mod credit;
mod resume;
mod send;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicU32};

use futures::task::{ArcWake, WakerRef, waker_ref};

use crate::events::FirstProbe;
use crate::ids::{AppId, ClientSocketId};
use crate::os::Writer;
use crate::sync::{ReadyFlag, SharedWriter};
use crate::tcp::command::{Command, QueuedCall};
use crate::tcp::connection::fast_path::InFlightCall;
use crate::tcp::connection::redelivery::Undelivered;
use crate::tcp::shards::receive_windows::{SocketWindow, Starving};
use crate::tcp::shards::shard::AppShard;
#[cfg(feature = "metrics")]
use crate::telemetry::Traffic;
use crate::telemetry::{SocketTraffic, Telemetry};

pub(in crate::tcp) use credit::Credit;
pub(crate) use resume::ResumeCall;
pub use resume::ResumeOptions;

/// The handle of a client socket: calls through it bypass the [`Registry`](crate::Registry).
///
/// The events `onAccept`, `onReceive` and `onReceiveError` carry it, and
/// [`Tcp::socket`](crate::Tcp::socket) returns it. A clone costs one reference count.
///
/// Calls through handles are carried out in the order in which they are made, whether or not their
/// [`Answer`](crate::Answer) is awaited. A call whose outcome does not matter has a form without an answer, which
/// costs less: `do_close` and so on. Calls by id keep their order among themselves too. A call through a
/// handle may overtake an earlier call by id: await the answer of that call first.
///
/// A handle does not keep its socket open. After `close` every call answers [`Error::SocketNotFound`](crate::Error::SocketNotFound).
#[derive(Clone)]
pub struct ClientSocket(Arc<Shared>);

/// The id is gone.
const CLOSED: u8 = 1;

/// The socket has a send limit.
const LIMITED: u8 = 2;

struct Shared {
    id: ClientSocketId,
    /// The slot of the socket's state. The actor sets it before it carries out any call.
    slot: AtomicU32,
    /// Whether the slot is in the queue of ready sockets.
    ready: ReadyFlag,
    /// Whether the socket is in its app's list of starved sockets.
    starved: ReadyFlag,
    /// [`CLOSED`] and [`LIMITED`].
    flags: AtomicU8,
    /// The events and bytes that listeners have not handled.
    unhandled: SocketWindow,
    fast_path: SharedWriter<Arc<dyn Writer>>,
    app_shard: Arc<AppShard>,
    /// Of `onReceive`.
    first_probe: FirstProbe,
    /// Nothing without the feature `metrics`.
    traffic: SocketTraffic,
}

impl ClientSocket {
    pub(crate) fn new(id: ClientSocketId, app_shard: Arc<AppShard>) -> Self {
        ClientSocket(Arc::new(Shared {
            id,
            slot: AtomicU32::new(u32::MAX),
            ready: ReadyFlag::default(),
            starved: ReadyFlag::default(),
            flags: AtomicU8::new(0),
            unhandled: SocketWindow::default(),
            fast_path: SharedWriter::new(),
            app_shard,
            first_probe: FirstProbe::default(),
            traffic: SocketTraffic::default(),
        }))
    }

    /// `socketId`.
    pub fn id(&self) -> ClientSocketId {
        self.0.id
    }

    /// The app that owns the socket.
    pub fn app(&self) -> &AppId {
        &self.0.app_shard.app_context.app
    }
}

/// For the actor, the wakers and the credits.
impl ClientSocket {
    pub(crate) fn do_send(&self, command: Command) {
        let call = QueuedCall::Command(InFlightCall::new(self.clone()), command);
        self.0.app_shard.command_queue.queue.push_call(call);
    }

    /// Queues a call as [`do_send`](Self::do_send) does, but does not wake the actor. If this is
    /// `true`, the caller has to, by [`AppShard::wake_actor`].
    #[must_use = "the actor has to be woken"]
    pub(crate) fn do_send_unwoken(&self, command: Command) -> bool {
        let call = QueuedCall::Command(InFlightCall::new(self.clone()), command);
        self.0.app_shard.command_queue.queue.push_call_unwoken(call)
    }

    /// Queues a call that was made already, or returns it if calls are refused.
    pub(super) fn queue_call(&self, call: QueuedCall) -> Option<QueuedCall> {
        self.0.app_shard.activity.mark_active();
        self.0.app_shard.command_queue.queue.push_call(call)
    }

    /// Returns an unhandled event to its socket.
    pub(super) fn return_event(&self, undelivered: Undelivered) {
        self.do_send(Command::Undelivered(Box::new(undelivered)));
    }

    pub(super) fn fast_path(&self) -> &SharedWriter<Arc<dyn Writer>> {
        &self.0.fast_path
    }

    pub(crate) fn app_shard(&self) -> &Arc<AppShard> {
        &self.0.app_shard
    }

    /// Of the listeners of its `onReceive`.
    #[inline]
    pub(super) fn first_probe(&self) -> &FirstProbe {
        &self.0.first_probe
    }

    pub(super) fn slot(&self) -> u32 {
        self.0.slot.load(SeqCst)
    }

    pub(super) fn set_slot(&self, slot: u32) {
        self.0.slot.store(slot, SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.flags.load(SeqCst) & CLOSED != 0
    }

    /// Marks the id as gone. `false` if it was gone already.
    pub(super) fn mark_closed(&self) -> bool {
        self.0.flags.fetch_or(CLOSED, SeqCst) & CLOSED == 0
    }

    /// Has every send check the socket's limit.
    pub(super) fn set_limited(&self, is_limited: bool) {
        match is_limited {
            true => self.0.flags.fetch_or(LIMITED, SeqCst),
            false => self.0.flags.fetch_and(!LIMITED, SeqCst),
        };
    }

    /// Has the actor poll the socket.
    pub(super) fn make_ready(&self) {
        self.0.make_ready();
    }

    /// Marks the socket as ready. If this is `true`, the actor has to put its slot into the queue.
    pub(super) fn mark_ready(&self) -> bool {
        self.0.ready.set()
    }

    /// The actor polls the socket now. A change from here on makes it ready again.
    pub(super) fn clear_ready(&self) {
        self.0.ready.clear();
    }

    pub(super) fn waker(&self) -> WakerRef<'_> {
        waker_ref(&self.0)
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.0.app_shard.activity.registry_link().telemetry
    }

    /// A connection begins.
    pub(super) fn begin_traffic(&self) {
        self.0.traffic.begin(&self.0.app_shard.stats);
    }

    /// The actor has read so many bytes from the OS.
    #[inline]
    pub(super) fn count_received(&self, bytes: usize) {
        self.0.traffic.received(&self.0.app_shard.stats, bytes);
    }

    /// The OS has accepted so many bytes, from the actor or under the lock of the fast path.
    #[inline]
    pub(super) fn count_sent(&self, bytes: usize) {
        self.0.traffic.sent(&self.0.app_shard.stats, bytes);
    }

    #[cfg(feature = "metrics")]
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.0.traffic.read(&self.0.app_shard.stats)
    }

    /// The window of what listeners have not handled; the socket's actor waits by it.
    pub(super) fn unhandled(&self) -> &SocketWindow {
        &self.0.unhandled
    }
}

impl Starving for ClientSocket {
    fn mark_starved(&self) -> bool {
        self.0.starved.set()
    }

    fn clear_starved(&self) {
        self.0.starved.clear();
    }

    fn make_ready(&self) {
        ClientSocket::make_ready(self);
    }
}

impl PartialEq for ClientSocket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ClientSocket {}

impl std::fmt::Debug for ClientSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientSocket({}, app {:?})", self.id(), self.app())
    }
}

impl Shared {
    fn make_ready(&self) {
        if self.ready.set() {
            let slot = self.slot.load(SeqCst);
            self.app_shard.command_queue.queue.push_ready(slot);
        }
    }
}

impl ArcWake for Shared {
    fn wake_by_ref(this: &Arc<Self>) {
        this.make_ready();
    }
}
