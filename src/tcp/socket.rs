//! The handle of a client socket, and what the handle shares with the socket's state and its
//! events.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};

use actix_rt::Arbiter;
use bytes::Bytes;
use futures::task::{ArcWake, WakerRef, waker_ref};

use crate::address::Endpoint;
use crate::answer::{Answer, Reply};
use crate::error::Error;
use crate::ids::{AppId, ClientSocketId};
use crate::os::Writer;
use crate::sync::{ReadyFlag, SharedWriter};
use crate::tcp::command::{Command, QueuedCall};
use crate::tcp::connection::connect::Target;
use crate::tcp::connection::fast_path::{InFlightCall, WriteAttempt, try_write};
use crate::tcp::connection::redelivery::Undelivered;
use crate::tcp::connection::secure::Secure;
use crate::tcp::connection::write::PendingSend;
use crate::tcp::events::ReceiveInfo;
use crate::tcp::shards::receive_windows::{EVENT, SocketWindow, Starving};
use crate::tcp::shards::shard::AppShard;
use crate::tcp::socket_listeners::OwnListeners;
use crate::tcp::{
    ConnectOptions, DnsQueryType, SecureOptions, SendInfo, SocketInfo, SocketListeners,
    SocketProperties, Timeouts,
};

/// The handle of a client socket: calls through it bypass the [`Registry`](crate::Registry).
///
/// The events `onAccept`, `onReceive` and `onReceiveError` carry it, and
/// [`Tcp::socket`](crate::Tcp::socket) returns it. A clone costs one reference count.
///
/// Calls through handles are carried out in the order in which they are made, whether or not their
/// [`Answer`] is awaited. A call whose outcome does not matter has a form without an answer, which
/// costs less: `do_close` and so on. Calls by id keep their order among themselves too. A call through a
/// handle may overtake an earlier call by id: await the answer of that call first.
///
/// The method of [`Tcp`](crate::Tcp) with the same name documents each call. A handle does not keep
/// its socket open. After `close` every call answers [`Error::SocketNotFound`].
#[derive(Clone)]
pub struct ClientSocket(Arc<Shared>);

struct Shared {
    id: ClientSocketId,
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
    fast_path: SharedWriter<Arc<dyn Writer>>,
    app_shard: Arc<AppShard>,
}

impl ClientSocket {
    pub(crate) fn new(id: ClientSocketId, app_shard: Arc<AppShard>) -> Self {
        ClientSocket(Arc::new(Shared {
            id,
            slot: AtomicU32::new(u32::MAX),
            ready: ReadyFlag::default(),
            starved: ReadyFlag::default(),
            closed: AtomicBool::new(false),
            unhandled: SocketWindow::default(),
            fast_path: SharedWriter::new(),
            app_shard,
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

    /// `tcp.update`.
    pub fn update(&self, properties: SocketProperties) -> Answer<()> {
        self.call(|reply| Command::Update(Box::new(properties), reply))
    }

    /// `tcp.setPaused`.
    pub fn set_paused(&self, paused: bool) -> Answer<()> {
        self.call(|reply| Command::SetPaused(paused, reply))
    }

    /// `tcp.setKeepAlive`.
    pub fn set_keep_alive(&self, enable: bool, delay: Option<i32>) -> Answer<()> {
        self.call(|reply| Command::SetKeepAlive(enable, delay.unwrap_or(0), reply))
    }

    /// `tcp.setNoDelay`.
    pub fn set_no_delay(&self, no_delay: bool) -> Answer<()> {
        self.call(|reply| Command::SetNoDelay(no_delay, reply))
    }

    /// `setTimeouts` (beyond Chrome).
    pub fn set_timeouts(&self, timeouts: Timeouts) -> Answer<()> {
        self.call(|reply| Command::SetTimeouts(Box::new(timeouts), reply))
    }

    /// Sets the socket's own listeners (beyond Chrome): see
    /// [`Tcp::set_listeners`](crate::Tcp::set_listeners).
    pub fn set_listeners(&self, listeners: impl Into<Option<SocketListeners>>) -> Answer<()> {
        let own = OwnListeners::boxed(listeners.into());
        self.call(|reply| Command::SetListeners(own, reply))
    }

    /// `tcp.connect`.
    pub fn connect(
        &self,
        peer_address: &str,
        peer_port: i32,
        dns_query_type: DnsQueryType,
    ) -> Answer<()> {
        let target = Target::new(peer_address, peer_port, dns_query_type);
        self.call(|reply| Command::Connect(Box::new(target), reply))
    }

    /// Connects to an address or a host (beyond Chrome): see
    /// [`Tcp::connect_to`](crate::Tcp::connect_to).
    pub fn connect_to(&self, endpoint: impl Into<Endpoint>, options: ConnectOptions) -> Answer<()> {
        let target = Target::of(endpoint.into(), options);
        self.call(|reply| Command::Connect(Box::new(target), reply))
    }

    /// `tcp.disconnect`.
    pub fn disconnect(&self) -> Answer<()> {
        self.call(Command::Disconnect)
    }

    /// `shutdownWrite` (beyond Chrome).
    pub fn shutdown_write(&self) -> Answer<()> {
        self.call(Command::ShutdownWrite)
    }

    /// Resets the connection (beyond Chrome): see [`Tcp::reset`](crate::Tcp::reset).
    pub fn reset(&self) -> Answer<()> {
        self.call(Command::Reset)
    }

    /// `tcp.secure`.
    pub fn secure(&self, options: SecureOptions) -> Answer<()> {
        self.call(|reply| Command::Secure(Box::new(Secure::Start(options, reply))))
    }

    /// `tcp.send`.
    pub fn send(&self, data: impl Into<Bytes>) -> Answer<SendInfo> {
        let data = data.into();
        let charge = match self.charge(data.len()) {
            Ok(charge) => charge,
            Err(error) => return Answer::ready(Err(error)),
        };
        let bytes_sent = data.len();
        let mut answer = Answer::ready(Ok(SendInfo { bytes_sent }));
        let make_reply = || {
            let (pending, reply) = Answer::pair();
            answer = pending;
            reply
        };
        self.write(data, charge, || None, make_reply);
        answer
    }

    /// `tcp.send` without an answer: it reports only what is known at once. If the send fails
    /// later, `onReceiveError` reports the end of the connection. No form of `send` ignores all
    /// errors: a send that the quota refuses is a gap in the stream.
    ///
    /// # Errors
    /// [`Error::WriteQuotaExceeded`], [`Error::SocketNotFound`] or [`Error::Stopped`]. Nothing of
    /// `data` is sent then.
    pub fn try_send(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        let charge = self.charge(data.len())?;
        self.write(data, charge, || None, Reply::discard);
        Ok(())
    }

    /// Sends received data, on this socket or another one, and keeps the event's credit until the
    /// kernel has taken all of it. So a peer that does not read slows the sender down, and at most
    /// [`WINDOW`](super::WINDOW) bytes lie between the two. The echo of `info` is
    /// `info.client().clone().forward(info)`.
    ///
    /// What the kernel does not take at once counts in the app's write quota.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn forward(&self, mut info: ReceiveInfo) -> Result<(), Error> {
        let data = std::mem::take(&mut info.data);
        self.check_open()?;
        // Forwarded data is charged only if it has to wait, so only a full quota refuses it.
        self.0.app_shard.app_context.write_quota.may_send()?;
        self.write(data, 0, || Some(info.credit.take()), Reply::discard);
        Ok(())
    }

    /// `tcp.close`.
    pub fn close(&self) -> Answer<()> {
        let (answer, reply) = Answer::pair();
        self.close_with_reply(reply);
        answer
    }

    /// [`close`](Self::close) without an answer. A socket that is closed already is unchanged.
    pub fn do_close(&self) {
        self.close_with_reply(Reply::discard());
    }

    /// [`disconnect`](Self::disconnect) without an answer. A closed socket is unchanged.
    pub fn do_disconnect(&self) {
        self.do_call(Command::Disconnect);
    }

    /// [`set_paused`](Self::set_paused) without an answer. A closed socket is unchanged. Handlers
    /// may still be called after `do_set_paused(true)`: only an answer tells when none is.
    pub fn do_set_paused(&self, paused: bool) {
        self.do_call(|reply| Command::SetPaused(paused, reply));
    }

    /// [`update`](Self::update) without an answer. A closed socket is unchanged. Nothing changes
    /// if the name is too long.
    pub fn do_update(&self, properties: SocketProperties) {
        self.do_call(|reply| Command::Update(Box::new(properties), reply));
    }

    /// [`set_keep_alive`](Self::set_keep_alive) without an answer. Nothing changes if the socket is
    /// not connected, and if the OS refuses the delay.
    pub fn do_set_keep_alive(&self, enable: bool, delay: Option<i32>) {
        self.do_call(|reply| Command::SetKeepAlive(enable, delay.unwrap_or(0), reply));
    }

    /// [`set_no_delay`](Self::set_no_delay) without an answer. Nothing changes if the socket is not
    /// connected.
    pub fn do_set_no_delay(&self, no_delay: bool) {
        self.do_call(|reply| Command::SetNoDelay(no_delay, reply));
    }

    /// [`set_timeouts`](Self::set_timeouts) without an answer. A closed socket is unchanged.
    /// Nothing changes if one of the timeouts is zero.
    pub fn do_set_timeouts(&self, timeouts: Timeouts) {
        self.do_call(|reply| Command::SetTimeouts(Box::new(timeouts), reply));
    }

    /// [`set_listeners`](Self::set_listeners) without an answer. A closed socket is unchanged.
    pub fn do_set_listeners(&self, listeners: impl Into<Option<SocketListeners>>) {
        let own = OwnListeners::boxed(listeners.into());
        self.do_call(|reply| Command::SetListeners(own, reply));
    }

    /// `tcp.getInfo`.
    pub fn get_info(&self) -> Answer<SocketInfo> {
        self.call(Command::GetInfo)
    }

    fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<T> {
        if self.is_closed() {
            return Answer::ready(Err(Error::SocketNotFound));
        }
        let (answer, reply) = Answer::pair();
        self.0.app_shard.activity.mark_active();
        self.do_send(command(reply));
        answer
    }

    fn do_call(&self, command: impl FnOnce(Reply<()>) -> Command) {
        if !self.is_closed() {
            self.0.app_shard.activity.mark_active();
            self.do_send(command(Reply::discard()));
        }
    }

    /// `setListeners`, for a caller that has a reply already.
    pub(crate) fn set_listeners_with_reply(
        &self,
        listeners: Option<SocketListeners>,
        reply: Reply<()>,
    ) {
        self.do_send(Command::SetListeners(OwnListeners::boxed(listeners), reply));
    }

    /// `tcp.close`, for a caller that has a reply already.
    pub(crate) fn close_with_reply(&self, reply: Reply<()>) {
        // The first `close` frees the id at once, so later calls find no socket.
        if self.mark_closed() {
            self.0.app_shard.id_table.remove(self.0.id);
            self.do_send(Command::Close(reply));
        } else {
            reply.send(Err(Error::SocketNotFound));
        }
    }

    /// `tcp.send`, for a caller that has a reply already.
    pub(crate) fn send_with_reply(&self, data: Bytes, reply: Reply<SendInfo>) {
        match self.charge(data.len()) {
            Ok(charge) => {
                let bytes_sent = data.len();
                let mut reply = Some(reply);
                let take_reply = || reply.take().unwrap_or_else(Reply::discard);
                self.write(data, charge, || None, take_reply);
                // The fast path has sent everything, and taken no reply.
                if let Some(reply) = reply {
                    reply.send(Ok(SendInfo { bytes_sent }));
                }
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    /// Writes through the fast path, if it is open. The rest, with its credit and its reply, goes
    /// through the command queue.
    #[inline]
    fn write(
        &self,
        mut data: Bytes,
        charge: usize,
        credit: impl FnOnce() -> Option<Credit>,
        reply: impl FnOnce() -> Reply<SendInfo>,
    ) {
        self.0.app_shard.activity.mark_active();
        let bytes = data.len();
        let guard = self.fast_path().lock();
        match try_write(&guard, self, &mut data) {
            WriteAttempt::Complete => {
                drop(guard);
                if charge > 0 {
                    self.0.app_shard.app_context.write_quota.refund(charge);
                }
            }
            WriteAttempt::Partial(error) => {
                let rest = PendingSend::new(self.clone(), data, charge, credit(), reply());
                let rest = QueuedCall::Send(rest.with_progress(bytes, error));
                // Under the lock, so that no later send overtakes the rest.
                let refused = self.0.app_shard.command_queue.queue.push_call(rest);
                // These drops may call the socket again, which takes the lock.
                drop(guard);
                drop(refused);
            }
        }
    }

    fn charge(&self, bytes: usize) -> Result<usize, Error> {
        self.check_open()?;
        self.0.app_shard.app_context.write_quota.charge(bytes)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::SocketNotFound);
        }
        if !self.0.app_shard.command_queue.queue.is_open() {
            return Err(Error::Stopped);
        }
        Ok(())
    }
}

/// For the actor, the wakers and the credits.
impl ClientSocket {
    pub(crate) fn do_send(&self, command: Command) {
        let call = QueuedCall::Command(InFlightCall::new(self.clone()), command);
        self.0.app_shard.command_queue.queue.push_call(call);
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

    pub(super) fn slot(&self) -> u32 {
        self.0.slot.load(SeqCst)
    }

    pub(super) fn set_slot(&self, slot: u32) {
        self.0.slot.store(slot, SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(SeqCst)
    }

    /// Marks the id as gone. `false` if it was gone already.
    pub(super) fn mark_closed(&self) -> bool {
        !self.0.closed.swap(true, SeqCst)
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

/// The part of a socket's window that one event takes. Dropping the credit releases it.
pub(crate) struct Credit {
    socket: ClientSocket,
    /// Bytes, and one [`EVENT`] until the event is handled: as in [`SocketWindow`].
    amount: u64,
}

impl Credit {
    pub(super) fn acquire(socket: &ClientSocket, bytes: usize) -> Self {
        let amount = EVENT + bytes as u64;
        socket.0.unhandled.acquire(amount);
        socket.0.app_shard.acquire(bytes);
        Credit {
            socket: socket.clone(),
            amount,
        }
    }

    pub(super) fn socket(&self) -> &ClientSocket {
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
    /// own socket only: a peer that does not read must not stop the app's other sockets.
    pub(super) fn mark_handled(&mut self) {
        if self.amount >= EVENT {
            self.amount -= EVENT;
            self.release(EVENT);
            self.socket.0.app_shard.release(self.amount as usize);
        }
    }

    /// Releases the credit when the current handler returns, if this thread has an arbiter.
    pub(super) fn release_after_handler(self) {
        if let Some(arbiter) = Arbiter::try_current() {
            // An arbiter that has ended runs no handler.
            arbiter.spawn(async move { drop(self) });
        }
    }

    fn release(&self, amount: u64) {
        if self.socket.0.unhandled.release(amount) {
            self.socket.make_ready();
        }
    }

    fn give_back(&self) {
        self.release(self.amount);
        if self.amount >= EVENT {
            self.socket
                .0
                .app_shard
                .release((self.amount % EVENT) as usize);
        }
    }
}

impl Clone for Credit {
    fn clone(&self) -> Self {
        let shared = &self.socket.0;
        shared.unhandled.acquire(self.amount);
        if self.amount >= EVENT {
            shared.app_shard.acquire((self.amount % EVENT) as usize);
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
            self.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::connection::write::tests::socket;

    #[actix_rt::test]
    async fn a_call_without_an_answer_has_no_channel_for_one() {
        let (socket, command_queue, _actor) = socket();
        socket.do_set_paused(false);
        socket.do_update(SocketProperties::default());
        socket.do_set_keep_alive(true, None);
        socket.do_set_no_delay(true);
        socket.do_set_timeouts(Timeouts::default());
        socket.do_set_listeners(None);
        socket.do_disconnect();
        socket.do_close();
        let calls = command_queue.queue.take_calls();
        assert_eq!(calls.len(), 8);
        for call in calls {
            let QueuedCall::Command(_, command) = call else {
                unreachable!("none of them is a send");
            };
            let has_caller = match &command {
                Command::SetPaused(_, reply)
                | Command::Update(_, reply)
                | Command::SetKeepAlive(_, _, reply)
                | Command::SetNoDelay(_, reply)
                | Command::SetTimeouts(_, reply)
                | Command::SetListeners(_, reply)
                | Command::Disconnect(reply)
                | Command::Close(reply) => reply.has_caller(),
                _ => unreachable!("no such call was made"),
            };
            assert!(!has_caller);
        }
        // It closes nothing again.
        socket.do_close();
        socket.do_disconnect();
        assert!(!command_queue.queue.has_calls());
    }
}
