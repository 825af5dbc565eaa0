//! The actor of all client sockets of an arbiter: each socket is an entry in a slab, not a task.
//!
//! The actor's command queue wakes it. Handles put calls into the queue; wakers and credits put the
//! slots of sockets into it that are ready.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::prelude::*;
use futures::FutureExt;
use slab::Slab;

use crate::answer::Reply;
use crate::app_activity::PendingCall;
use crate::error::Error;
use crate::net_error::NetError;
use crate::os::{ArbiterPoller, Network, Stream, without_budget};
use crate::supervision::RecoveryState;
use crate::tcp::command::{Command, QueuedCall};
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::connection::buffer_pool::BufferPool;
use crate::tcp::connection::connect::{Connected, Target, connect};
use crate::tcp::connection::ending::CallsAhead;
use crate::tcp::connection::linger::{LingerCount, Lingering};
use crate::tcp::connection::read::ListenerCache;
use crate::tcp::connection::secure::Secure;
use crate::tcp::connection::state::SocketState;
use crate::tcp::connection::timeouts::TimerQueue;
use crate::tcp::connection::write::PendingSend;
use crate::tcp::connection::{Connecting, Connection, Link};
use crate::tcp::handover::PendingHandover;
use crate::tcp::recovery::CompletionGuard;
use crate::tcp::socket::ClientSocket;
use crate::tcp::{CreateInfo, Timeouts, WINDOW};
use crate::telemetry::{ArbiterStats, Outcome};
use crate::tls;

/// How many sockets the actor polls before listeners and sends have their turn. With all of a
/// thousand sockets in one turn, what the actor and the kernel keep of a connection has left the
/// processor's cache before the answer is sent: by measurement an echo costs a fifth more.
pub(super) const SOCKETS_PER_TURN: usize = 32;

/// How many bytes the actor receives before listeners and sends have their turn, and what the last
/// socket has beyond that. The OS keeps them once for receiving and once for sending, and all three
/// copies stay in the processor's second-level cache: by measurement an echo of 1 MiB costs 3 %
/// less than with as many as [`SOCKETS_PER_TURN`] allows.
const BYTES_PER_TURN: usize = 2 * WINDOW;

/// All client sockets of one arbiter.
pub(crate) struct SocketTable {
    pub(super) entries: Slab<Entry>,
    pub(super) command_queue: Arc<CommandQueue>,
    /// The calls of this turn that are not carried out yet.
    pub(super) calls: VecDeque<QueuedCall>,
    /// How often the calls were taken out of the command queue.
    dequeues: u64,
    /// The slots of the sockets that are ready.
    ready_slots: VecDeque<u32>,
    pub(super) stats: Arc<ArbiterStats>,
    pub(super) pool: BufferPool,
    /// Watches the connections, but for the first few.
    pub(super) poller: ArbiterPoller,
    pub(super) network: Arc<dyn Network>,
    pub(super) tls: tls::Client,
    pub(super) attempts: u64,
    pub(super) timers: Arc<TimerQueue>,
    /// The closed connections here whose peers have not acknowledged everything.
    pub(super) lingering: LingerCount,
    /// The handover that is in progress, and the calls that wait for its end.
    pub(super) handover: Option<PendingHandover>,
    pub(super) recovery: RecoveryState<SocketTable>,
}

pub(super) enum Entry {
    Socket(SocketState),
    /// A connection that its app has closed, and that still delivers what was sent.
    Lingering(Lingering),
}

/// So many connections of an arbiter are watched by tokio's event loop.
const UNPOLLED: usize = 4;

impl Entry {
    pub(super) fn stream(&mut self) -> Option<&mut dyn Stream> {
        match self {
            Entry::Socket(state) => state.stream_mut(),
            Entry::Lingering(lingering) => Some(&mut *lingering.stream),
        }
    }
}

impl SocketTable {
    pub(super) fn new(
        network: Arc<dyn Network>,
        tls: tls::Client,
        command_queue: Arc<CommandQueue>,
        stats: Arc<ArbiterStats>,
    ) -> Self {
        SocketTable {
            entries: Slab::new(),
            command_queue,
            calls: VecDeque::new(),
            dequeues: 0,
            ready_slots: VecDeque::new(),
            stats,
            pool: BufferPool::new(),
            poller: ArbiterPoller::default(),
            network,
            tls,
            attempts: 0,
            timers: Arc::default(),
            lingering: LingerCount::default(),
            handover: None,
            recovery: RecoveryState::default(),
        }
    }

    /// Carries out the calls of this turn, in order.
    pub(super) fn run_calls(&mut self) {
        while let Some(call) = self.calls.front() {
            let slot = call.socket().slot();
            self.begin_slot(slot);
            let call = match self.handover.is_some() {
                false => self.calls.pop_front(),
                true => self.pop_unless_frozen(),
            };
            match call {
                Some(QueuedCall::Send(pending)) => self.send(pending),
                Some(QueuedCall::Command(in_flight, command)) => {
                    let socket = in_flight.socket();
                    self.execute(socket, command);
                    self.with(socket, SocketState::update_fast_path);
                }
                None => {}
            }
            self.recovery.clear_suspect(slot);
        }
        self.recovery.slot = None;
    }

    /// Has a socket polled behind the calls: once, though several of them need it, and with the
    /// listeners that the turn looks up for all sockets. Waking the actor would cost a turn.
    fn poll_behind_calls(&mut self, socket: &ClientSocket) {
        if socket.mark_ready() {
            self.ready_slots.push_back(socket.slot());
        }
    }

    /// Carries out every call that was queued before a message, so that the message sees their
    /// effect.
    pub(super) fn flush_calls(&mut self) {
        self.recover_after_panic();
        self.calls
            .append(&mut self.command_queue.queue.take_calls());
        self.dequeues += 1;
        without_budget(|| self.run_calls());
    }

    fn send(&mut self, pending: PendingSend) {
        match self.entries.get_mut(pending.socket().slot() as usize) {
            Some(Entry::Socket(state)) if state.socket == *pending.socket() => {
                state.acknowledge();
                state.send(pending);
            }
            _ => pending.fail(Error::SocketNotFound),
        }
    }

    fn execute(&mut self, socket: &ClientSocket, command: Command) {
        match command {
            Command::Create(properties, reply) => {
                let mut state = SocketState::new(socket.clone());
                match state.update(*properties) {
                    Ok(()) => {
                        let socket_id = socket.id();
                        self.insert(state, None);
                        reply.send(Ok(CreateInfo { socket_id }));
                    }
                    Err(error) => {
                        socket.app_shard().id_table.remove(socket.id());
                        reply.send(Err(error));
                    }
                }
            }
            Command::Adopt(stream, meta, notifier) => {
                let timeouts = notifier.timeouts();
                let state = SocketState::accepted(socket.clone(), stream, meta, notifier);
                self.insert(state, timeouts);
                // The app does not hear of a paused socket: if its peer is gone already, it must
                // not count in limits.
                self.poll_behind_calls(socket);
            }
            Command::Inherit(inherited) => {
                let timeouts = Some(inherited.timeouts());
                let state = SocketState::inherited(socket.clone(), *inherited);
                self.insert(state, timeouts);
                socket.make_ready();
            }
            Command::Connect(target, reply) => self.connect(socket, *target, reply),
            Command::Connected(attempt, result) => self.connect_finished(socket, attempt, *result),
            Command::Secure(step) => match *step {
                Secure::Start(secure_as, reply) => self.start_securing(socket, secure_as, reply),
                Secure::Done(attempt, result) => self.secure_finished(socket, attempt, result),
            },
            Command::Close(reply) => {
                self.recovery.is_closing = true;
                let closed = self.close(socket);
                self.recovery.is_closing = false;
                reply.send(closed);
            }
            Command::GetInfo(reply) => {
                let info = self.get(socket).map(|state| state.info());
                reply.send(info.ok_or(Error::SocketNotFound));
            }
            Command::IntoStream(reply) => self.start_stream(socket, reply),
            Command::EndStream(unread) => {
                self.with(socket, |state| state.take_from_stream(unread));
            }
            Command::Update(properties, reply) => {
                self.modify(socket, reply, |state| {
                    // A socket that is persistent from now on may have its suspended app loaded.
                    state.socket.make_ready();
                    state.update(*properties)
                });
            }
            Command::SetPaused(paused, reply) => self.set_paused(socket, paused, reply),
            Command::Resume(options, reply) => self.resume_with(socket, options, reply),
            Command::SetKeepAlive(enable, delay, reply) => {
                self.modify(socket, reply, |state| state.set_keep_alive(enable, delay));
            }
            Command::SetNoDelay(no_delay, reply) => {
                self.modify(socket, reply, |state| state.set_no_delay(no_delay));
            }
            Command::SetTimeouts(timeouts, reply) => {
                let timers = self.timers.clone();
                self.modify(socket, reply, |state| {
                    state.set_timeouts(timeouts.checked()?, &timers);
                    Ok(())
                });
            }
            Command::SetListeners(own, reply) => {
                self.modify(socket, reply, |state| state.replace_listeners(own));
            }
            Command::ShutdownWrite(reply) => self.shutdown_write(socket, reply),
            Command::Disconnect(reply) => {
                let mut closed = None;
                self.modify(socket, reply, |state| {
                    closed = state.disconnect(NetError::ABORTED);
                    Ok(())
                });
                self.linger(closed, socket);
            }
            Command::Reset(reply) => {
                self.modify(socket, reply, |state| {
                    if let Some(mut connection) = state.disconnect(NetError::ABORTED) {
                        connection.queue.fail(NetError::ABORTED.into());
                        connection.stream.reset();
                    }
                    Ok(())
                });
            }
            Command::Spawn(work) => drop(actix_rt::spawn(async move { work() })),
            Command::HandlerStarted => self.handler_started(socket),
            Command::HandlerEnded(end) => self.handler_ended(socket, end),
            Command::Undelivered(undelivered) => {
                self.with(socket, |state| state.requeue(*undelivered));
            }
            Command::CallsForwarded(last) => self.with(socket, |state| {
                state.ending.forwarding_done(last);
                state.socket.make_ready();
            }),
            Command::PauseGraceElapsed => self.with(socket, SocketState::pause_grace_elapsed),
            Command::Recheck => self.with(socket, |state| state.socket.make_ready()),
        }
    }

    /// Polls one slot: writes, reads, and reports the end of the connection.
    pub(super) fn poll_slot(&mut self, slot: u32, listeners: &mut ListenerCache) {
        self.begin_slot(slot);
        let key = slot as usize;
        match self.entries.get_mut(key) {
            None => {}
            Some(Entry::Lingering(_)) => self.poll_lingering(slot),
            Some(Entry::Socket(state)) => {
                let _entered = state.span().enter();
                state.socket.clear_ready();
                state.socket.unhandled().begin_poll();
                state.flush();
                state.raise_send_queue();
                // Before reading: returned events precede what is still unread.
                let terminated = state.redeliver(listeners);
                let terminated = terminated.map(|closed| (closed, state.socket.clone()));
                state.read(&mut self.pool, listeners);
                state.update_fast_path();
                if state.waits_for_listeners() {
                    let mut closed = state.take_if_over();
                    if state.socket.unhandled().are_handled() {
                        state.pausing.answer_all(Ok(()));
                        let ended = state.report_end_if_due(CallsAhead {
                            dequeues: self.dequeues,
                            has_unexecuted: !self.calls.is_empty(),
                            has_queued: self.command_queue.queue.has_calls(),
                        });
                        closed = closed.or(ended);
                    }
                    // The end may have to wait for listeners; the descriptor of a connection that
                    // is gone need not.
                    state.release_if_gone();
                    let socket = state.socket.clone();
                    self.linger(closed, &socket);
                }
                if let Some((closed, socket)) = terminated {
                    self.linger(Some(closed), &socket);
                }
            }
        }
    }

    fn insert(&mut self, mut state: SocketState, timeouts: Option<Timeouts>) {
        let entry = self.entries.vacant_entry();
        let slot = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        state.socket.set_slot(slot);
        // The slot has to be set: timers find the socket by it.
        if let Some(timeouts) = timeouts {
            state.set_timeouts(timeouts, &self.timers);
        }
        entry.insert(Entry::Socket(state));
        self.watch(slot);
    }

    /// The socket in this slot has a new connection, which is watched from now on.
    pub(super) fn watch(&mut self, slot: u32) {
        // Polling the poller costs a system call a turn, more than it saves a few connections.
        // They stay with tokio's event loop.
        let is_polled = self.entries.len() > UNPOLLED;
        #[cfg(feature = "testing")]
        let is_polled = is_polled || self.network.polls_every_connection();
        match self.entries.get_mut(slot as usize).and_then(Entry::stream) {
            Some(stream) if is_polled => self.poller.attach(stream, slot),
            Some(stream) => stream.register(),
            None => {}
        }
    }

    /// Takes the connections that became ready from the poller.
    fn poll_poller(&mut self, cx: &mut TaskContext<'_>) {
        let (entries, ready_slots) = (&mut self.entries, &mut self.ready_slots);
        let works = self.poller.poll(cx, |token, readiness| {
            let entry = entries.get_mut(token.slot() as usize);
            if let Some(stream) = entry.and_then(Entry::stream)
                && stream.add_readiness(token, readiness)
            {
                ready_slots.push_back(token.slot());
            }
        });
        if !works {
            self.detach_all();
        }
    }

    /// There is no poller any more: tokio's event loop watches all connections.
    pub(super) fn detach_all(&mut self) {
        for (slot, entry) in &mut self.entries {
            if let Some(stream) = entry.stream() {
                stream.detach();
                self.ready_slots.extend(u32::try_from(slot));
            }
        }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &SocketState> {
        self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Socket(state) => Some(state),
            Entry::Lingering(_) => None,
        })
    }

    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut SocketState> {
        let entries = self.entries.iter_mut();
        entries.filter_map(|(_, entry)| match entry {
            Entry::Socket(state) => Some(state),
            Entry::Lingering(_) => None,
        })
    }

    /// Calls `change` with a socket's state, unless the socket is closed.
    fn with(&mut self, socket: &ClientSocket, change: impl FnOnce(&mut SocketState)) {
        if let Some(state) = self.get(socket) {
            change(state);
        }
    }

    /// The state of a socket, unless it is closed.
    pub(super) fn get(&mut self, socket: &ClientSocket) -> Option<&mut SocketState> {
        match self.entries.get_mut(socket.slot() as usize) {
            Some(Entry::Socket(state)) if state.socket == *socket => Some(state),
            _ => None,
        }
    }

    fn connect(&mut self, socket: &ClientSocket, target: Target, reply: Reply<()>) {
        self.attempts += 1;
        let attempt = self.attempts;
        let network = self.network.clone();
        let Some(state) = self.get(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        let permissions = socket.app_shard().app_context.permissions();
        if let Err(error) = target.check_permitted(&permissions) {
            return reply.send(Err(error));
        }
        match state.link {
            Link::Connected(_) | Link::Securing(_) => {
                reply.send(Err(NetError::SOCKET_IS_CONNECTED.into()));
            }
            // Chromium's answer to a second attempt.
            Link::Connecting(_) => reply.send(Err(NetError::CONNECTION_FAILED.into())),
            Link::None => {
                if let Err(error) = target.check() {
                    return reply.send(Err(error));
                }
                // The app knows that the earlier connection has ended, since it connects again.
                state.discard_end();
                let report = move |result| Command::Connected(attempt, Box::new(result));
                let guard = CompletionGuard::new(socket, report(Err(NetError::FAILED.into())));
                let work = connect(network, target, socket.clone()).map(report);
                let task = actix_rt::spawn(guard.run(work));
                state.link = Link::Connecting(Box::new(Connecting {
                    attempt,
                    task,
                    reply,
                    _pending: PendingCall::new(&state.socket.app_shard().activity),
                }));
            }
        }
    }

    fn connect_finished(
        &mut self,
        socket: &ClientSocket,
        attempt: u64,
        result: Result<Connected, Error>,
    ) {
        let Some(state) = self.get(socket) else {
            return;
        };
        match std::mem::replace(&mut state.link, Link::None) {
            Link::Connecting(connecting) if connecting.attempt == attempt => match result {
                Ok(result) => {
                    socket.begin_traffic();
                    socket.telemetry().connect_ended(Outcome::Success);
                    state.link = Link::Connected(Connection::outbound(result, socket));
                    state.reset_send_level();
                    state.apply_user_timeout();
                    state.restart_timeouts();
                    connecting.reply.send(Ok(()));
                    self.watch(socket.slot());
                    socket.make_ready();
                }
                Err(error) => {
                    socket.telemetry().connect_ended(Outcome::Failure);
                    connecting.reply.send(Err(error));
                }
            },
            // The attempt was cancelled just before it finished.
            other => state.link = other,
        }
    }

    pub(super) fn close(&mut self, socket: &ClientSocket) -> Result<(), Error> {
        let state = self.get(socket).ok_or(Error::SocketNotFound)?;
        state.acknowledge();
        // The pauses wait for these events, which may still return from a dead listener.
        let is_handled = socket.unhandled().events() == 0;
        let answer = is_handled.then_some(()).ok_or(Error::EventsInFlight);
        state.pausing.answer_all(answer);
        let closed = state.disconnect(NetError::ABORTED);
        self.entries.remove(socket.slot() as usize);
        self.linger(closed, socket);
        Ok(())
    }

    pub(super) fn set_paused(&mut self, socket: &ClientSocket, paused: bool, reply: Reply<()>) {
        let Some(state) = self.get(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        state.acknowledge();
        if paused && let Some(handler) = state.handler() {
            handler.keep_paused();
        }
        let is_resumed = state.paused && !paused;
        state.paused = paused;
        if is_resumed {
            state.mark_claimed();
            state.restart_timeouts();
        }
        // The answer means that no event of the socket is in flight any more.
        if paused && socket.unhandled().events() > 0 {
            state.answer_when_handled(reply);
        } else {
            state.pausing.answer_all(Ok(()));
            reply.send(Ok(()));
            self.poll_behind_calls(socket);
        }
    }

    fn modify(
        &mut self,
        socket: &ClientSocket,
        reply: Reply<()>,
        modify: impl FnOnce(&mut SocketState) -> Result<(), Error>,
    ) {
        let answer = match self.get(socket) {
            Some(state) => {
                state.acknowledge();
                modify(state)
            }
            None => Err(Error::SocketNotFound),
        };
        reply.send(answer);
    }
}

impl Actor for SocketTable {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.command_queue.set_current_thread();
        ctx.spawn(Turn);
        self.await_outcome(ctx);
    }
}

/// The actor's only future: it carries out the calls, then polls the sockets that are ready. The
/// sockets that are left have the next turn, after the listeners and the sends that this turn
/// wakes.
struct Turn;

impl ActorFuture<SocketTable> for Turn {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        table: &mut SocketTable,
        ctx: &mut Context<SocketTable>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        table.timers.clear_now();
        table.pool.begin_turn();
        table.recover_after_panic();
        if table.calls.is_empty() {
            table
                .command_queue
                .queue
                .drain_into(&mut table.calls, &mut table.ready_slots, cx);
            table.dequeues += 1;
            let (calls, ready) = (table.calls.len(), table.ready_slots.len());
            table.stats.begin_turn(calls, ready);
        } else {
            // These calls came before those in the command queue.
            cx.waker().wake_by_ref();
        }
        table.poll_poller(cx);
        without_budget(|| {
            table.run_calls();
            let mut listeners = ListenerCache::default();
            for _ in 0..SOCKETS_PER_TURN {
                let Some(slot) = table.ready_slots.pop_front() else {
                    return;
                };
                table.poll_slot(slot, &mut listeners);
                table.recovery.clear_suspect(slot);
                if table.pool.turn_bytes() >= BYTES_PER_TURN {
                    return;
                }
            }
        });
        table.recovery.slot = None;
        // An injected fault: the actor stops, and its restarter starts another one.
        if table.recovery.stop_requested {
            ctx.stop();
            return Poll::Pending;
        }
        table.poll_timeouts(cx);
        table.timers.clear_now();
        if table.entries.is_empty() {
            table.poller.release();
        }
        if !table.ready_slots.is_empty() || table.poller.is_unpolled() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
