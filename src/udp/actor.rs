//! The actor of all sockets of an arbiter: each socket is an entry in a slab, not a task.
//!
//! The actor's command queue wakes it. Handles put calls into the queue; wakers and credits put the
//! slots of sockets into it that are ready.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::prelude::*;
use slab::Slab;

use crate::answer::Reply;
use crate::error::Error;
use crate::net_error::NetError;
use crate::os::{Network, without_budget};
use crate::supervision::RecoveryState;
use crate::tcp::SmallPieces;
use crate::udp::CreateInfo;
use crate::udp::binding::read::{BUFFER_SIZE, ListenerCache};
use crate::udp::binding::state::SocketState;
use crate::udp::binding::write::PendingSend;
use crate::udp::command::{Command, CommandQueue, QueuedCall};
use crate::udp::handover::PendingHandover;
use crate::udp::socket::Socket;

/// How many sockets the actor polls before listeners and sends have their turn.
const SOCKETS_PER_TURN: usize = 32;

/// All sockets of `chrome.sockets.udp` of one arbiter.
pub(crate) struct SocketTable {
    pub(super) entries: Slab<SocketState>,
    pub(super) command_queue: Arc<CommandQueue>,
    /// The calls of this turn that are not carried out yet.
    pub(super) calls: VecDeque<QueuedCall>,
    /// The slots of the sockets that are ready.
    ready_slots: VecDeque<u32>,
    /// For receiving; empty until the first socket exists.
    buffer: Vec<u8>,
    pieces: SmallPieces,
    pub(super) network: Arc<dyn Network>,
    /// The handover that is in progress, and the calls that wait for its end.
    pub(super) handover: Option<PendingHandover>,
    pub(super) recovery: RecoveryState<SocketTable>,
}

impl SocketTable {
    pub(super) fn new(network: Arc<dyn Network>, command_queue: Arc<CommandQueue>) -> Self {
        SocketTable {
            entries: Slab::new(),
            command_queue,
            calls: VecDeque::new(),
            ready_slots: VecDeque::new(),
            buffer: Vec::new(),
            pieces: SmallPieces::new(),
            network,
            handover: None,
            recovery: RecoveryState::default(),
        }
    }

    /// Carries out the calls of this turn, in order.
    pub(super) fn run_calls(&mut self) {
        while let Some(call) = self.calls.front() {
            let slot = call.socket().slot();
            self.begin_slot(slot);
            let call = self.calls.pop_front();
            match call.and_then(|call| self.defer_if_frozen(call)) {
                Some(QueuedCall::Send(pending)) => self.send(pending),
                Some(QueuedCall::Command(in_flight, command)) => {
                    self.execute(in_flight.socket().clone(), command);
                    self.with(in_flight.socket(), SocketState::update_fast_path);
                }
                None => {}
            }
            self.recovery.clear_suspect(slot);
        }
        self.recovery.slot = None;
    }

    /// Carries out every call that was queued before a message, so that the message sees their
    /// effect.
    pub(super) fn flush_calls(&mut self) {
        self.recover_after_panic();
        self.calls.append(&mut self.command_queue.take_calls());
        without_budget(|| self.run_calls());
    }

    fn send(&mut self, pending: PendingSend) {
        let network = &self.network;
        match self.entries.get_mut(pending.socket().slot() as usize) {
            Some(state) if state.socket == *pending.socket() => state.send(pending, network),
            _ => pending.fail(Error::SocketNotFound),
        }
    }

    fn execute(&mut self, socket: Socket, command: Command) {
        let network = self.network.clone();
        match command {
            Command::Create(properties, reply) => {
                let mut state = SocketState::new(socket.clone());
                let created = state.update(*properties);
                match created {
                    Ok(()) => self.insert(state),
                    Err(_) => {
                        socket.mark_closed();
                    }
                }
                let socket_id = socket.id();
                reply.send(created.map(|()| CreateInfo { socket_id }));
            }
            Command::Inherit(inherited) => {
                self.insert(SocketState::inherited(socket.clone(), *inherited));
                socket.make_ready();
            }
            Command::Update(properties, reply) => self.modify(&socket, reply, |state| {
                // A socket that is persistent from now on may have its suspended app loaded.
                state.socket.make_ready();
                state.update(*properties)
            }),
            Command::SetPaused(paused, reply) => self.set_paused(&socket, paused, reply),
            Command::Bind(address, port, reply) => {
                self.modify(&socket, reply, |state| state.bind(&address, port, &network));
            }
            Command::Resolved(resolved) => match self.get(&socket) {
                Some(state) => state.send_resolved(*resolved),
                None => resolved.pending.fail(Error::SocketNotFound),
            },
            Command::JoinGroup(address, reply) => {
                self.modify(&socket, reply, |state| state.join_group(&address));
            }
            Command::LeaveGroup(address, reply) => {
                self.modify(&socket, reply, |state| state.leave_group(&address));
            }
            Command::GetJoinedGroups(reply) => {
                self.modify(&socket, reply, |state| Ok(state.joined_groups()));
            }
            Command::SetMulticastTimeToLive(ttl, reply) => {
                self.modify(&socket, reply, |state| state.set_time_to_live(ttl));
            }
            Command::SetMulticastLoopbackMode(enabled, reply) => {
                self.modify(&socket, reply, |state| state.set_loopback(enabled));
            }
            Command::SetBroadcast(enabled, reply) => {
                self.modify(&socket, reply, |state| state.set_broadcast(enabled));
            }
            Command::Close(reply) => {
                self.recovery.is_closing = true;
                let closed = self.close(&socket);
                self.recovery.is_closing = false;
                reply.send(closed);
            }
            Command::GetInfo(reply) => self.modify(&socket, reply, |state| Ok(state.info())),
            Command::Undelivered(undelivered) => {
                self.with(&socket, |state| state.requeue(*undelivered));
            }
            Command::PauseGraceElapsed => self.with(&socket, SocketState::pause_grace_elapsed),
            Command::Recheck => self.with(&socket, |state| state.socket.make_ready()),
        }
    }

    /// Polls one slot: sends, receives, and raises events.
    fn poll_slot(&mut self, slot: u32, listeners: &mut ListenerCache) {
        self.begin_slot(slot);
        let Some(state) = self.entries.get_mut(slot as usize) else {
            return;
        };
        state.socket.clear_ready();
        state.socket.unhandled().begin_poll();
        state.flush();
        state.raise_errors();
        // Before receiving: returned datagrams precede what is still unread.
        state.redeliver(listeners);
        state.read(&mut self.buffer, &mut self.pieces, listeners);
        state.update_fast_path();
        if !state.pausing.is_empty() && state.socket.unhandled().are_handled() {
            state.pausing.answer_all(Ok(()));
        }
    }

    fn insert(&mut self, state: SocketState) {
        self.buffer.resize(BUFFER_SIZE, 0);
        let entry = self.entries.vacant_entry();
        let slot = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        state.socket.set_slot(slot);
        entry.insert(state);
    }

    /// Calls `change` with a socket's state, unless the socket is closed.
    fn with(&mut self, socket: &Socket, change: impl FnOnce(&mut SocketState)) {
        if let Some(state) = self.get(socket) {
            change(state);
        }
    }

    /// The state of a socket, unless it is closed.
    pub(super) fn get(&mut self, socket: &Socket) -> Option<&mut SocketState> {
        let state = self.entries.get_mut(socket.slot() as usize);
        state.filter(|state| state.socket == *socket)
    }

    pub(super) fn close(&mut self, socket: &Socket) -> Result<(), Error> {
        let state = self.get(socket).ok_or(Error::SocketNotFound)?;
        // The pauses wait for these events, which may still return from a dead listener.
        let is_handled = socket.unhandled().events() == 0;
        let answer = is_handled.then_some(()).ok_or(Error::EventsInFlight);
        state.pausing.answer_all(answer);
        state.unbind(NetError::CONNECTION_CLOSED);
        self.entries.remove(socket.slot() as usize);
        Ok(())
    }

    fn set_paused(&mut self, socket: &Socket, paused: bool, reply: Reply<()>) {
        let Some(state) = self.get(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        state.paused = paused;
        // The answer means that no event of the socket is in flight any more.
        if paused && socket.unhandled().events() > 0 {
            state.answer_when_handled(reply);
        } else {
            state.pausing.answer_all(Ok(()));
            reply.send(Ok(()));
            self.poll_slot(socket.slot(), &mut ListenerCache::default());
        }
    }

    fn modify<T>(
        &mut self,
        socket: &Socket,
        reply: Reply<T>,
        modify: impl FnOnce(&mut SocketState) -> Result<T, Error>,
    ) {
        let state = self.get(socket).ok_or(Error::SocketNotFound);
        let answer = state.and_then(modify);
        reply.send(answer);
    }
}

impl Actor for SocketTable {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
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
        table.pieces.begin_turn();
        table.recover_after_panic();
        if table.calls.is_empty() {
            table
                .command_queue
                .drain_into(&mut table.calls, &mut table.ready_slots, cx);
        } else {
            // These calls came before those in the command queue.
            cx.waker().wake_by_ref();
        }
        without_budget(|| {
            table.run_calls();
            let mut listeners = ListenerCache::default();
            for _ in 0..SOCKETS_PER_TURN {
                let Some(slot) = table.ready_slots.pop_front() else {
                    return;
                };
                table.poll_slot(slot, &mut listeners);
                table.recovery.clear_suspect(slot);
            }
        });
        table.recovery.slot = None;
        // An injected fault: the actor stops, and its restarter starts another one.
        if table.recovery.stop_requested {
            ctx.stop();
            return Poll::Pending;
        }
        if !table.ready_slots.is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

pub(super) fn send_later(delay: Duration, socket: Socket, command: Command) {
    actix_rt::spawn(async move {
        actix_rt::time::sleep(delay).await;
        socket.do_send(command);
    });
}
