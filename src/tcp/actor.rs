//! The actor of an arbiter's client sockets: each is a row, none is a task.
//!
//! Its inbox moves it, which handles fill with calls, and the wakers and
//! credits of the rows with rows to look at.

use crate::tcp::command::Command;
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::prelude::*;
use slab::Slab;
use tokio::task::unconstrained;

use super::socket::ClientSocket;
use super::{CreateInfo, Timeouts};
use crate::answer::Reply;
use crate::app_activity::PendingCall;
use crate::error::Error;
use crate::net_error::NetError;
use crate::os::Network;
use crate::tcp::command::QueuedCall;
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::connection::buffer_pool::Pool;
use crate::tcp::connection::connect::{Connected, Target, connect};
use crate::tcp::connection::ending::CallsAhead;
use crate::tcp::connection::linger::{LingerCount, Lingering};
use crate::tcp::connection::read::ListenerCache;
use crate::tcp::connection::state::SocketState;
use crate::tcp::connection::timeouts::TimerQueue;
use crate::tcp::connection::write::PendingSend;
use crate::tcp::connection::{Connecting, Connection, Link};
use crate::tcp::handover::Waiting;
use crate::tcp::recovery::{CompletionGuard, RecoveryState};
use crate::tls;

/// How many rows are looked at before listeners and sends have their turn.
/// With all of a thousand at once, what a row and the kernel keep of a
/// connection has left the processor's cache before the answer is sent:
/// measured, an echo costs a fifth more.
pub(super) const ROWS_A_TURN: usize = 32;

pub(crate) struct SocketTable {
    pub(super) entries: Slab<Entry>,
    pub(super) command_queue: Arc<CommandQueue>,
    /// The calls of the turn.
    pub(super) calls: VecDeque<QueuedCall>,
    /// How often the calls were taken out of the inbox.
    takes: u64,
    /// The slots that are to be looked at.
    batch: VecDeque<u32>,
    pub(super) pool: Pool,
    pub(super) network: Arc<dyn Network>,
    pub(super) tls: tls::Client,
    pub(super) attempts: u64,
    pub(super) timers: Arc<TimerQueue>,
    /// The connections here whose peers do not have what was sent.
    pub(super) lingering: LingerCount,
    /// What waits for the end of a handover, while there is one.
    pub(super) waiting: Option<Waiting>,
    pub(super) fall: RecoveryState,
}

pub(super) enum Entry {
    Socket(SocketState),
    /// A connection that its app is done with.
    Lingering(Lingering),
}

impl SocketTable {
    pub(super) fn new(
        network: Arc<dyn Network>,
        tls: tls::Client,
        command_queue: Arc<CommandQueue>,
    ) -> Self {
        SocketTable {
            entries: Slab::new(),
            command_queue,
            calls: VecDeque::new(),
            takes: 0,
            batch: VecDeque::new(),
            pool: Pool::new(),
            network,
            tls,
            attempts: 0,
            timers: Arc::default(),
            lingering: LingerCount::default(),
            waiting: None,
            fall: RecoveryState::default(),
        }
    }

    /// Carries out the calls, in order.
    pub(super) fn answer(&mut self) {
        while let Some(call) = self.calls.front() {
            let slot = call.socket().slot();
            self.begin(slot);
            let call = self.calls.pop_front();
            match call.and_then(|call| self.unless_taken(call)) {
                Some(QueuedCall::Send(outgoing)) => self.send(outgoing),
                Some(QueuedCall::Command(ticket, op)) => {
                    self.carry_out(ticket.socket().clone(), op);
                    self.settle(ticket.socket());
                }
                None => {}
            }
            self.is_sound(slot);
        }
        self.fall.at = None;
    }

    /// Carries out every call that has come, for what is to see it.
    pub(super) fn catch_up(&mut self) {
        self.recover_after_panic();
        self.calls
            .append(&mut self.command_queue.queue.take_calls());
        self.takes += 1;
        freely(|| self.answer());
    }

    fn send(&mut self, outgoing: PendingSend) {
        match self.entries.get_mut(outgoing.socket().slot() as usize) {
            Some(Entry::Socket(row)) if row.socket == *outgoing.socket() => {
                row.acknowledge();
                row.send(outgoing);
            }
            _ => outgoing.fail(Error::SocketNotFound),
        }
    }

    fn carry_out(&mut self, socket: ClientSocket, op: Command) {
        match op {
            Command::Create(properties, reply) => {
                let mut row = SocketState::new(socket.clone());
                match row.update(*properties) {
                    Ok(()) => {
                        let socket_id = socket.id();
                        self.insert(&socket, Entry::Socket(row));
                        reply.send(Ok(CreateInfo { socket_id }));
                    }
                    Err(error) => {
                        socket.app_shard().table.remove(socket.id());
                        reply.send(Err(error));
                    }
                }
            }
            Command::Adopt(stream, ends, offer) => {
                let timeouts = offer.timeouts();
                let row = SocketState::accepted(socket.clone(), stream, ends, offer);
                self.insert(&socket, Entry::Socket(row));
                self.set_timeouts(&socket, timeouts);
                // It is paused: its peer may be gone before it is resumed.
                self.look_at(socket.slot(), &mut ListenerCache::default());
            }
            Command::Inherit(inherited) => {
                let timeouts = inherited.timeouts();
                let row = SocketState::inherited(socket.clone(), *inherited);
                self.insert(&socket, Entry::Socket(row));
                self.set_timeouts(&socket, timeouts);
                socket.make_ready();
            }
            Command::Connect(target, reply) => self.connect(&socket, *target, reply),
            Command::Connected(attempt, made) => self.connected(&socket, attempt, *made),
            Command::Secure(step) => self.secure(&socket, *step),
            Command::Close(reply) => {
                self.fall.closing = true;
                let closed = self.close(&socket);
                self.fall.closing = false;
                reply.send(closed);
            }
            Command::GetInfo(reply) => {
                reply.send(
                    self.row(&socket)
                        .map(|row| row.info())
                        .ok_or(Error::SocketNotFound),
                );
            }
            Command::Update(properties, reply) => {
                self.change(&socket, reply, |row| {
                    // Persistent now, it may have a suspended app loaded.
                    row.socket.make_ready();
                    row.update(*properties)
                });
            }
            Command::SetPaused(paused, reply) => self.set_paused(&socket, paused, reply),
            Command::SetKeepAlive(enable, delay, reply) => {
                self.change(&socket, reply, |row| row.set_keep_alive(enable, delay));
            }
            Command::SetNoDelay(no_delay, reply) => {
                self.change(&socket, reply, |row| row.set_no_delay(no_delay));
            }
            Command::SetTimeouts(timeouts, reply) => {
                let timers = self.timers.clone();
                self.change(&socket, reply, |row| {
                    row.set_timeouts(timeouts.checked()?, &timers);
                    Ok(())
                });
            }
            Command::Disconnect(reply) => {
                let mut ended = None;
                self.change(&socket, reply, |row| {
                    ended = row.disconnect();
                    Ok(())
                });
                self.linger(ended, &socket);
            }
            Command::Undelivered(returned) => self.requeue(&socket, *returned),
            Command::CallsPassed(last) => {
                if let Some(row) = self.row(&socket) {
                    row.ending.answered(last);
                    socket.make_ready();
                }
            }
            Command::PauseGraceIsOver => self.grace_is_over(&socket),
            Command::LookAgain => self.look_again(&socket),
        }
    }

    /// One look at a slot: writes, reads, tells.
    fn look_at(&mut self, slot: u32, audible: &mut ListenerCache) {
        self.begin(slot);
        let key = slot as usize;
        match self.entries.get_mut(key) {
            None => {}
            Some(Entry::Lingering(_)) => self.look_at_lingering(slot),
            Some(Entry::Socket(row)) => {
                row.socket.looked_at();
                row.socket.unhandled().begin_look();
                row.flush();
                let given_up = row.redeliver(audible);
                let given_up = given_up.map(|ended| (ended, row.socket.clone()));
                row.read(&mut self.pool, audible);
                row.settle();
                if row.waits_for_listeners() {
                    let mut ended = None;
                    if row.socket.unhandled().are_handled() {
                        row.pausing.answer_all(Ok(()));
                        ended = row.finish(CallsAhead {
                            takes: self.takes,
                            in_hand: !self.calls.is_empty(),
                            in_inbox: self.command_queue.queue.has_calls(),
                        });
                    }
                    // The end may not be told yet.
                    row.watch();
                    let socket = row.socket.clone();
                    self.linger(ended, &socket);
                }
                if let Some((ended, socket)) = given_up {
                    self.linger(Some(ended), &socket);
                }
            }
        }
    }

    fn insert(&mut self, socket: &ClientSocket, entry: Entry) {
        let slot = self.entries.insert(entry);
        socket.set_slot(u32::try_from(slot).unwrap_or(u32::MAX));
    }

    fn set_timeouts(&mut self, socket: &ClientSocket, timeouts: Timeouts) {
        let timers = self.timers.clone();
        if let Some(row) = self.row(socket) {
            row.set_timeouts(timeouts, &timers);
        }
    }

    pub(super) fn row(&mut self, socket: &ClientSocket) -> Option<&mut SocketState> {
        match self.entries.get_mut(socket.slot() as usize) {
            Some(Entry::Socket(row)) if row.socket == *socket => Some(row),
            _ => None,
        }
    }

    fn connect(&mut self, socket: &ClientSocket, target: Target, reply: Reply<()>) {
        self.attempts += 1;
        let attempt = self.attempts;
        let network = self.network.clone();
        let Some(row) = self.row(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        if !target.is_permitted(&socket.app_shard().app_context.permissions()) {
            return reply.send(Err(Error::PermissionDenied));
        }
        match row.link {
            Link::Connected(_) | Link::Securing(_) => {
                reply.send(Err(NetError::SOCKET_IS_CONNECTED.into()));
            }
            // Chromium's answer to a second attempt.
            Link::Connecting(_) => reply.send(Err(NetError::CONNECTION_FAILED.into())),
            Link::None => {
                row.forget_end();
                let over = CompletionGuard::new(socket, move |made| {
                    Command::Connected(attempt, Box::new(made))
                });
                let task = actix_rt::spawn(over.with(connect(network, target, socket.clone())));
                row.link = Link::Connecting(Box::new(Connecting {
                    attempt,
                    task,
                    reply,
                    _pending: PendingCall::new(&row.socket.app_shard().activity),
                }));
            }
        }
    }

    fn connected(
        &mut self,
        socket: &ClientSocket,
        attempt: u64,
        made: Result<Connected, NetError>,
    ) {
        let Some(row) = self.row(socket) else { return };
        match std::mem::replace(&mut row.link, Link::None) {
            Link::Connecting(connecting) if connecting.attempt == attempt => match made {
                Ok(made) => {
                    row.link =
                        Link::Connected(Connection::dialled(made, &socket.app_shard().counter));
                    row.restart_time_outs();
                    connecting.reply.send(Ok(()));
                    socket.make_ready();
                }
                Err(error) => connecting.reply.send(Err(error.into())),
            },
            // The attempt was given up just before it was over.
            other => row.link = other,
        }
    }

    pub(super) fn close(&mut self, socket: &ClientSocket) -> Result<(), Error> {
        let row = self.row(socket).ok_or(Error::SocketNotFound)?;
        row.acknowledge();
        // What they wait for may still come.
        let handled = socket.unhandled_events() == 0;
        let answer = handled.then_some(()).ok_or(Error::EventsInFlight);
        row.pausing.answer_all(answer);
        let ended = row.disconnect();
        self.entries.remove(socket.slot() as usize);
        self.linger(ended, socket);
        Ok(())
    }

    fn set_paused(&mut self, socket: &ClientSocket, paused: bool, reply: Reply<()>) {
        let Some(row) = self.row(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        row.acknowledge();
        let resumed = row.paused && !paused;
        row.paused = paused;
        if resumed {
            row.claimed();
            row.restart_time_outs();
        }
        if paused && socket.unhandled_events() > 0 {
            row.when_handled(reply);
        } else {
            row.pausing.answer_all(Ok(()));
            reply.send(Ok(()));
            self.look_at(socket.slot(), &mut ListenerCache::default());
        }
    }

    fn change(
        &mut self,
        socket: &ClientSocket,
        reply: Reply<()>,
        change: impl FnOnce(&mut SocketState) -> Result<(), Error>,
    ) {
        let answer = match self.row(socket) {
            Some(row) => {
                row.acknowledge();
                change(row)
            }
            None => Err(Error::SocketNotFound),
        };
        reply.send(answer);
    }
}

impl Actor for SocketTable {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.command_queue.now_in_this_thread();
        ctx.spawn(Turn);
        self.wait_for_verdict(ctx);
    }
}

/// Carries out the calls, then looks at the rows that are ready; the rest has the next turn, after the
/// listeners and the sends that this one gives rise to.
struct Turn;

impl ActorFuture<SocketTable> for Turn {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        rows: &mut SocketTable,
        ctx: &mut Context<SocketTable>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        rows.timers.turn();
        rows.recover_after_panic();
        if rows.calls.is_empty() {
            rows.command_queue
                .queue
                .drain_into(&mut rows.calls, &mut rows.batch, cx);
            rows.takes += 1;
        } else {
            // They came before what is in the inbox.
            cx.waker().wake_by_ref();
        }
        freely(|| {
            rows.answer();
            let mut audible = ListenerCache::default();
            for _ in 0..ROWS_A_TURN {
                let Some(slot) = rows.batch.pop_front() else {
                    return;
                };
                rows.look_at(slot, &mut audible);
                rows.is_sound(slot);
            }
        });
        rows.fall.at = None;
        if rows.fall.stops {
            ctx.stop();
            return Poll::Pending;
        }
        rows.look_at_clock(cx);
        rows.timers.turn();
        if !rows.batch.is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Runs `turn` outside tokio's budget of 128 operations a task: it would make
/// this task, which has the work of all connections, put most of them off.
/// Each row has a bound of its own.
fn freely(turn: impl FnOnce()) {
    let mut turn = Some(turn);
    let once = unconstrained(std::future::poll_fn(|_| {
        if let Some(turn) = turn.take() {
            turn();
        }
        Poll::Ready(())
    }));
    let mut cx = TaskContext::from_waker(std::task::Waker::noop());
    let _ = pin!(once).poll(&mut cx);
}

pub(super) fn later(delay: Duration, socket: ClientSocket, op: Command) {
    actix_rt::spawn(async move {
        actix_rt::time::sleep(delay).await;
        socket.do_send(op);
    });
}
