//! The handle of a socket, and what the handle shares with the socket's state and its events.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};

use bytes::Bytes;
use futures::task::{ArcWake, WakerRef, waker_ref};

use crate::answer::{Answer, Reply};
use crate::app_activity::AppActivity;
use crate::error::Error;
use crate::ids::{AppId, UdpSocketId};
use crate::os::DatagramSender;
use crate::sync::{ReadyFlag, SharedWriter};
use crate::tcp::{EVENT, SocketWindow, Starving};
#[cfg(feature = "metrics")]
use crate::telemetry::Traffic;
use crate::telemetry::{SocketTraffic, Span};
use crate::udp::binding::destination::Destination;
use crate::udp::binding::redelivery::Undelivered;
use crate::udp::binding::write::{InFlightCall, PendingSend};
use crate::udp::command::{Command, QueuedCall};
use crate::udp::shards::AppShard;
use crate::udp::{DnsQueryType, SendInfo, SocketInfo, SocketProperties};

/// The handle of a socket: calls through it bypass the [`Registry`](crate::Registry).
///
/// The events `onReceive` and `onReceiveError` carry it, and [`Udp::socket`](crate::Udp::socket)
/// returns it. A clone costs one reference count.
///
/// Calls through handles are carried out in the order in which they are made, whether or not their
/// [`Answer`] is awaited. Two things take longer and may be overtaken: the look-up of a name, and a
/// call by id. After `close` every call answers [`Error::SocketNotFound`]. The method of
/// [`Udp`](crate::Udp) with the same name documents each call. A handle does not keep its socket
/// open.
#[derive(Clone)]
pub struct Socket(Arc<Shared>);

struct Shared {
    id: UdpSocketId,
    /// The slot of the socket's state. The actor sets it before it carries out any call.
    slot: AtomicU32,
    /// Whether the slot is in the queue of ready sockets.
    ready: ReadyFlag,
    /// Whether the socket is in its app's list of starved sockets.
    starved: ReadyFlag,
    /// Whether the id is gone.
    closed: AtomicBool,
    /// The events and bytes that listeners have not handled.
    unhandled: SocketWindow,
    fast_path: SharedWriter<Arc<dyn DatagramSender>>,
    app_shard: Arc<AppShard>,
    /// Nothing without the feature `metrics`.
    traffic: SocketTraffic,
}

impl Socket {
    pub(crate) fn new(id: UdpSocketId, app_shard: Arc<AppShard>) -> Self {
        Socket(Arc::new(Shared {
            id,
            slot: AtomicU32::new(u32::MAX),
            ready: ReadyFlag::default(),
            starved: ReadyFlag::default(),
            closed: AtomicBool::new(false),
            unhandled: SocketWindow::default(),
            fast_path: SharedWriter::new(),
            app_shard,
            traffic: SocketTraffic::default(),
        }))
    }

    /// `socketId`.
    pub fn id(&self) -> UdpSocketId {
        self.0.id
    }

    /// The app that owns the socket.
    pub fn app(&self) -> &AppId {
        &self.0.app_shard.app_context.app
    }

    /// `udp.update`.
    pub fn update(&self, properties: SocketProperties) -> Answer<()> {
        self.call(|reply| Command::Update(Box::new(properties), reply))
    }

    /// `udp.setPaused`.
    pub fn set_paused(&self, paused: bool) -> Answer<()> {
        self.call(|reply| Command::SetPaused(paused, reply))
    }

    /// [`set_paused`](Self::set_paused) without an answer. A closed socket is unchanged. Handlers
    /// may still be called after `do_set_paused(true)`: only an answer tells when none is.
    pub fn do_set_paused(&self, paused: bool) {
        if !self.is_closed() {
            self.do_send(Command::SetPaused(paused, Reply::discard()));
        }
    }

    /// `udp.bind`.
    pub fn bind(&self, address: &str, port: i32) -> Answer<()> {
        self.call(|reply| Command::Bind(address.into(), port, reply))
    }

    /// `udp.send`.
    pub fn send(
        &self,
        data: impl Into<Bytes>,
        address: &str,
        port: i32,
        dns_query_type: DnsQueryType,
    ) -> Answer<SendInfo> {
        self.send_datagram(data.into(), Destination::new(address, port, dns_query_type))
    }

    /// As [`send`](Self::send), to an address of Rust (beyond Chrome), for instance
    /// [`ReceiveInfo::remote_addr`](super::ReceiveInfo::remote_addr). It is faster, and reaches
    /// link-local addresses by their scope.
    pub fn send_to(&self, data: impl Into<Bytes>, to: SocketAddr) -> Answer<SendInfo> {
        self.send_datagram(data.into(), Destination::from(to))
    }

    /// [`send_to`](Self::send_to) without an answer: it reports only what is known at once. A
    /// datagram that the OS refuses later is lost, as others on the way are.
    ///
    /// # Errors
    /// [`Error::WriteQuotaExceeded`], [`Error::SocketNotFound`] or [`Error::Stopped`].
    pub fn try_send_to(&self, data: impl Into<Bytes>, to: SocketAddr) -> Result<(), Error> {
        self.write(data.into(), Destination::from(to), Reply::discard)
    }

    fn send_datagram(&self, data: Bytes, to: Destination) -> Answer<SendInfo> {
        let bytes_sent = data.len();
        let span = self.call_span(Some("udp.send"));
        let mut answer = Answer::ready(Ok(SendInfo { bytes_sent }));
        let written = self.write(data, to, || {
            let (pending, reply) = Answer::pair();
            answer = pending;
            reply.in_span(&span)
        });
        match written {
            Ok(()) => answer,
            Err(error) => {
                span.set_error(error);
                Answer::ready(Err(error))
            }
        }
    }

    /// `udp.joinGroup`.
    pub fn join_group(&self, address: &str) -> Answer<()> {
        self.call(|reply| Command::JoinGroup(address.into(), reply))
    }

    /// `udp.leaveGroup`.
    pub fn leave_group(&self, address: &str) -> Answer<()> {
        self.call(|reply| Command::LeaveGroup(address.into(), reply))
    }

    /// `udp.getJoinedGroups`.
    pub fn get_joined_groups(&self) -> Answer<Vec<IpAddr>> {
        self.call(Command::GetJoinedGroups)
    }

    /// `udp.setMulticastTimeToLive`.
    pub fn set_multicast_time_to_live(&self, ttl: i32) -> Answer<()> {
        self.call(|reply| Command::SetMulticastTimeToLive(ttl, reply))
    }

    /// `udp.setMulticastLoopbackMode`.
    pub fn set_multicast_loopback_mode(&self, enabled: bool) -> Answer<()> {
        self.call(|reply| Command::SetMulticastLoopbackMode(enabled, reply))
    }

    /// `udp.setBroadcast`.
    pub fn set_broadcast(&self, enabled: bool) -> Answer<()> {
        self.call(|reply| Command::SetBroadcast(enabled, reply))
    }

    /// `udp.close`.
    pub fn close(&self) -> Answer<()> {
        let (answer, reply) = Answer::pair();
        self.close_with_reply(reply.in_span(&self.call_span(Some("udp.close"))));
        answer
    }

    /// [`close`](Self::close) without an answer. A socket that is closed already is unchanged.
    pub fn do_close(&self) {
        self.close_with_reply(Reply::discard());
    }

    /// `udp.getInfo`.
    pub fn get_info(&self) -> Answer<SocketInfo> {
        self.call(Command::GetInfo)
    }

    fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<T> {
        if self.is_closed() {
            return Answer::ready(Err(Error::SocketNotFound));
        }
        let (answer, reply) = Answer::pair();
        let span = self.call_span(None);
        let command = command(reply.in_span(&span));
        span.set_call(command.call());
        self.do_send(command);
        answer
    }

    /// The span of a call.
    fn call_span(&self, call: Option<&str>) -> Span {
        let span = Span::call(self.app(), call);
        span.set_socket(self.id());
        span
    }

    /// `udp.close`, for a caller that has a reply already.
    pub(crate) fn close_with_reply(&self, reply: Reply<()>) {
        // The first `close` frees the id at once, so later calls find no socket.
        if self.mark_closed() {
            self.do_send(Command::Close(reply));
        } else {
            reply.send(Err(Error::SocketNotFound));
        }
    }

    /// `udp.send`, for a caller that has a reply already.
    pub(crate) fn send_with_reply(&self, data: Bytes, to: Destination, reply: Reply<SendInfo>) {
        let bytes_sent = data.len();
        let mut reply = Some(reply);
        let take_reply = || reply.take().unwrap_or_else(Reply::discard);
        let written = self.write(data, to, take_reply);
        // Otherwise the datagram is queued, with its reply.
        if let Some(reply) = reply {
            reply.send(written.map(|()| SendInfo { bytes_sent }));
        }
    }

    /// Sends by the fast path, if it is open: a system call in this thread. A datagram that it
    /// cannot send goes through the command queue, and counts in the app's quota until it is sent.
    fn write(
        &self,
        data: Bytes,
        to: Destination,
        reply: impl FnOnce() -> Reply<SendInfo>,
    ) -> Result<(), Error> {
        let app_shard = &self.0.app_shard;
        if self.is_closed() {
            return Err(Error::SocketNotFound);
        }
        let queue = &app_shard.shard.command_queue;
        if !queue.is_open() {
            return Err(Error::Stopped);
        }
        app_shard.activity.mark_active();
        let guard = self.fast_path().lock();
        if let Some(sender) = self.fast_path().writer(&guard)
            && let Some(address) = to.address()
            && app_shard.app_context.permits(|it| to.is_permitted(it))
            // Any error is reported by the actor, which tries again.
            && sender.try_send(&data, address).is_ok()
        {
            self.count_sent(data.len());
            return Ok(());
        }
        let charge = app_shard.app_context.write_quota.charge(data.len())?;
        let pending = PendingSend::new(self.clone(), data, to, charge, reply());
        // Under the lock, so that no later send overtakes it.
        let refused = queue.push_call(QueuedCall::Send(pending));
        // Its drop may call the socket again, which takes the lock.
        drop(guard);
        drop(refused);
        Ok(())
    }
}

/// For the actor, the wakers and the credits.
impl Socket {
    pub(crate) fn do_send(&self, command: Command) {
        self.0.app_shard.activity.mark_active();
        let call = QueuedCall::Command(InFlightCall::new(self.clone()), command);
        self.0.app_shard.shard.command_queue.push_call(call);
    }

    /// Returns an unhandled event to its socket.
    pub(super) fn return_event(&self, undelivered: Undelivered) {
        self.do_send(Command::Undelivered(Box::new(undelivered)));
    }

    pub(super) fn fast_path(&self) -> &SharedWriter<Arc<dyn DatagramSender>> {
        &self.0.fast_path
    }

    pub(crate) fn app_shard(&self) -> &Arc<AppShard> {
        &self.0.app_shard
    }

    /// The socket was bound.
    pub(super) fn begin_traffic(&self) {
        self.0.traffic.begin(&self.0.app_shard.shard.stats);
    }

    /// The actor has received a datagram.
    pub(super) fn count_received(&self, bytes: usize) {
        let stats = &self.0.app_shard.shard.stats;
        self.0.traffic.datagram_received(stats, bytes);
    }

    /// The OS has accepted a datagram, from the actor or under the lock of the fast path.
    pub(super) fn count_sent(&self, bytes: usize) {
        let stats = &self.0.app_shard.shard.stats;
        self.0.traffic.datagram_sent(stats, bytes);
    }

    #[cfg(feature = "metrics")]
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.0.traffic.read(&self.0.app_shard.shard.stats)
    }

    pub(super) fn slot(&self) -> u32 {
        self.0.slot.load(SeqCst)
    }

    pub(super) fn set_slot(&self, slot: u32) {
        self.0.slot.store(slot, SeqCst);
    }

    fn is_closed(&self) -> bool {
        self.0.closed.load(SeqCst)
    }

    /// Removes the id. `false` if it was gone already.
    pub(super) fn mark_closed(&self) -> bool {
        let is_first = !self.0.closed.swap(true, SeqCst);
        if is_first {
            self.0.app_shard.id_table.remove(self.0.id);
        }
        is_first
    }

    /// Has the actor poll the socket.
    pub(super) fn make_ready(&self) {
        self.0.make_ready();
    }

    /// The actor polls the socket now. A change from here on makes it ready again.
    pub(super) fn clear_ready(&self) {
        self.0.ready.clear();
    }

    pub(super) fn waker(&self) -> WakerRef<'_> {
        waker_ref(&self.0)
    }

    /// The window of what listeners have not handled; the socket's actor waits by it.
    pub(super) fn unhandled(&self) -> &SocketWindow {
        &self.0.unhandled
    }
}

impl Starving for Socket {
    fn mark_starved(&self) -> bool {
        self.0.starved.set()
    }

    fn clear_starved(&self) {
        self.0.starved.clear();
    }

    fn make_ready(&self) {
        Socket::make_ready(self);
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "udp::Socket({}, app {:?})", self.id(), self.app())
    }
}

impl Shared {
    fn make_ready(&self) {
        if self.ready.set() {
            let slot = self.slot.load(SeqCst);
            self.app_shard.shard.command_queue.push_ready(slot);
        }
    }
}

impl ArcWake for Shared {
    fn wake_by_ref(this: &Arc<Self>) {
        this.make_ready();
    }
}

/// Counts an event in flight for its app, which is not idle and whose suspension waits meanwhile.
pub(super) struct ActiveEvent(Arc<AppActivity>);

impl ActiveEvent {
    pub(super) fn new(activity: &Arc<AppActivity>) -> Self {
        activity.event_raised();
        ActiveEvent(activity.clone())
    }
}

impl Clone for ActiveEvent {
    fn clone(&self) -> Self {
        ActiveEvent::new(&self.0)
    }
}

impl Drop for ActiveEvent {
    fn drop(&mut self) {
        self.0.event_handled();
    }
}

/// The part of a socket's window that one event takes. Dropping the credit releases it.
pub(super) struct Credit {
    socket: Socket,
    /// Bytes, and one [`EVENT`] until the event is handled: as in [`SocketWindow`].
    amount: u64,
}

impl Credit {
    pub(super) fn acquire(socket: &Socket, bytes: usize) -> Self {
        let amount = EVENT + bytes as u64;
        let app_shard = socket.app_shard();
        socket.unhandled().acquire(amount);
        app_shard.activity.event_raised();
        app_shard.window.acquire(bytes);
        Credit {
            socket: socket.clone(),
            amount,
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Moves the amount into another credit.
    pub(super) fn take(&mut self) -> Credit {
        Credit {
            socket: self.socket.clone(),
            amount: std::mem::take(&mut self.amount),
        }
    }

    /// The event is handled, but its bytes are still in memory. From now on they count for their
    /// own socket only.
    pub(super) fn mark_handled(&mut self) {
        if self.amount >= EVENT {
            self.amount -= EVENT;
            self.release(EVENT, self.amount);
        }
    }

    /// The bytes that it still holds.
    pub(super) fn bytes(&self) -> usize {
        (self.amount % EVENT) as usize
    }

    /// Releases part of the socket's window. If that has an event in it, the app is released too.
    fn release(&self, amount: u64, bytes: u64) {
        if self.socket.unhandled().release(amount) {
            self.socket.make_ready();
        }
        if amount >= EVENT {
            let app_shard = self.socket.app_shard();
            app_shard.window.release(bytes as usize);
            app_shard.activity.event_handled();
        }
    }
}

impl Clone for Credit {
    fn clone(&self) -> Self {
        let app_shard = self.socket.app_shard();
        self.socket.unhandled().acquire(self.amount);
        if self.amount >= EVENT {
            app_shard.activity.event_raised();
            app_shard.window.acquire_copy(self.bytes());
        }
        Credit {
            socket: self.socket.clone(),
            amount: self.amount,
        }
    }
}

impl Drop for Credit {
    #[inline]
    fn drop(&mut self) {
        if self.amount > 0 {
            self.release(self.amount, self.amount % EVENT);
        }
    }
}
