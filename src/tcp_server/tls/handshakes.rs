//! TLS handshakes of accepted connections, each in a task of its own.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep_until, timeout};
use tokio::task::{AbortHandle, JoinSet};

use crate::address::Address;
use crate::answer::Reply;
use crate::net_error::NetError;
use crate::os::Stream;
use crate::tcp::ConnectionMeta;
use crate::tcp_server::tls::handshake_errors::HandshakeErrors;
use crate::telemetry::{Outcome, ServerStats, Side, Telemetry};
use crate::tls::Server;

/// At the limit of its handshakes, a server socket aborts the oldest for a newer
/// one, but none that is younger than this: an honest client needs a few round
/// trips.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);

/// A connection and its metadata.
pub(in crate::tcp_server) type AcceptedStream = (Box<dyn Stream>, Box<ConnectionMeta>);

#[derive(Default)]
pub(in crate::tcp_server) struct Handshakes {
    /// How connections that are accepted from now on are encrypted; `None`: they
    /// are not.
    server: Option<Server>,
    /// The previous process encrypted connections, and the app has not called
    /// `setTls` in this one. No connection may become a client without TLS.
    awaits_set_tls: bool,
    /// Running handshakes by number, so the oldest is first.
    running: BTreeMap<u64, Handshake>,
    tasks: JoinSet<TaskResult>,
    last_number: u64,
    /// A connection that was accepted and waits for room, or for `setTls`.
    waiting: Option<AcceptedStream>,
    /// Wakes the accept loop when the oldest handshake may be aborted.
    grace_timer: Option<Pin<Box<Sleep>>>,
    /// Connections whose handshake succeeded and that are no clients yet.
    finished: VecDeque<AcceptedStream>,
    pub(in crate::tcp_server) errors: HandshakeErrors,
    telemetry: Telemetry,
    /// Calls that wait until there is nothing left of all that.
    idle_replies: Vec<Reply<()>>,
}

/// The number of a handshake, and its result.
type TaskResult = (u64, Result<AcceptedStream, NetError>);

struct Handshake {
    started_at: Instant,
    peer: Address,
    task: AbortHandle,
}

/// What the deadline of a drain ended before `onAccept`.
#[derive(Default)]
pub(crate) struct AbortedHandshakes {
    /// Handshakes that were not finished.
    pub(crate) unfinished: usize,
    /// Connections whose handshake was finished.
    pub(crate) undelivered: usize,
}

impl Handshakes {
    /// For a server socket whose connections the previous process encrypted.
    pub(in crate::tcp_server) fn awaiting_set_tls(
        stats: ServerStats,
        telemetry: Telemetry,
    ) -> Self {
        Handshakes {
            awaits_set_tls: true,
            ..Handshakes::new(stats, telemetry)
        }
    }

    pub(in crate::tcp_server) fn new(stats: ServerStats, telemetry: Telemetry) -> Self {
        Handshakes {
            errors: HandshakeErrors {
                stats,
                ..HandshakeErrors::default()
            },
            telemetry,
            ..Handshakes::default()
        }
    }

    #[cfg(feature = "tls")]
    pub(in crate::tcp_server) fn set_server(&mut self, server: Option<Server>) {
        self.awaits_set_tls = false;
        self.server = server;
    }

    pub(in crate::tcp_server) fn awaits_set_tls(&self) -> bool {
        self.awaits_set_tls
    }

    /// Whether accepted connections are encrypted.
    pub(in crate::tcp_server) fn uses_tls(&self) -> bool {
        self.awaits_set_tls || self.server.is_some()
    }

    /// Replies when no handshake is running or waiting, and every finished one
    /// has become a client.
    pub(in crate::tcp_server) fn reply_when_idle(&mut self, reply: Reply<()>) {
        self.idle_replies.push(reply);
    }

    /// Fails every handshake that is not finished, and closes the connections of
    /// those that are.
    pub(in crate::tcp_server) fn abort_all(&mut self) -> AbortedHandshakes {
        self.tasks.abort_all();
        let mut unfinished = 0;
        for handshake in mem::take(&mut self.running).into_values() {
            self.fail(handshake, NetError::ABORTED);
            unfinished += 1;
        }
        if let Some((_, meta)) = self.waiting.take() {
            self.errors.push(meta.peer().clone(), NetError::ABORTED);
            unfinished += 1;
        }
        AbortedHandshakes {
            unfinished,
            undelivered: mem::take(&mut self.finished).len(),
        }
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_none() && self.finished.is_empty()
    }

    /// Moves to the current thread. Running handshakes are lost with the thread
    /// of their tasks; waiting and finished connections register here.
    pub(in crate::tcp_server) fn reregister(&mut self) {
        self.grace_timer = None;
        self.errors.event_queue.reset_hold_back();
        self.tasks = JoinSet::new();
        for handshake in mem::take(&mut self.running).into_values() {
            self.fail(handshake, NetError::FAILED);
        }
        let errors = &mut self.errors;
        let mut reregister = |(stream, meta): &mut AcceptedStream| {
            let is_registered = stream.reregister().is_ok();
            if !is_registered {
                errors.push(meta.peer().clone(), NetError::FAILED);
            }
            is_registered
        };
        self.waiting = self.waiting.take_if(&mut reregister);
        self.finished.retain_mut(reregister);
    }

    /// Collects the results of tasks, and starts the handshake that waits. Called
    /// in every turn.
    pub(in crate::tcp_server) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(joined)) = self.tasks.poll_join_next(cx) {
            let (number, result) = match joined {
                Ok(result) => result,
                // Aborted by this server socket, which has reported it.
                Err(error) if error.is_cancelled() => continue,
                // The task panicked, and its number is lost with its result.
                Err(error) => match self.number_of(error.id()) {
                    Some(number) => (number, Err(NetError::FAILED)),
                    None => continue,
                },
            };
            // A handshake that was aborted just when it finished is not in the
            // map, and its failure is already reported.
            if let Some(handshake) = self.running.remove(&number) {
                match result {
                    Ok(accepted) => {
                        let began = handshake.started_at;
                        let telemetry = &self.telemetry;
                        telemetry.handshake_ended(Side::Server, Outcome::Success, began);
                        self.finished.push_back(accepted);
                    }
                    Err(error) => self.fail(handshake, error),
                }
            }
        }
        self.start_waiting(cx);
        if self.is_idle() {
            for reply in self.idle_replies.drain(..) {
                reply.send(Ok(()));
            }
        }
    }

    /// Counts and reports a handshake that has failed.
    fn fail(&mut self, handshake: Handshake, error: NetError) {
        let began = handshake.started_at;
        self.telemetry
            .handshake_ended(Side::Server, Outcome::Failure, began);
        self.errors.push(handshake.peer, error);
    }

    fn number_of(&self, id: tokio::task::Id) -> Option<u64> {
        let mut running = self.running.iter();
        let found = running.find(|(_, handshake)| handshake.task.id() == id);
        found.map(|(number, _)| *number)
    }

    /// The next connection that can become a client.
    pub(in crate::tcp_server) fn pop_finished(
        &mut self,
        cx: &Context<'_>,
    ) -> Option<AcceptedStream> {
        let finished = self.finished.pop_front();
        // If it was the last one, the next turn answers the calls that wait.
        if !self.idle_replies.is_empty() && self.finished.is_empty() {
            cx.waker().wake_by_ref();
        }
        finished
    }

    /// Whether the app has to be loaded: for a client that it can hear of, or
    /// because a connection waits for its `setTls`.
    pub(in crate::tcp_server) fn needs_app(&self) -> bool {
        !self.finished.is_empty() || (self.awaits_set_tls && self.waiting.is_some())
    }

    /// Whether another connection may be accepted.
    pub(in crate::tcp_server) fn has_room(&mut self, cx: &mut Context<'_>) -> bool {
        self.start_waiting(cx);
        // If all handshakes are finished, none can be aborted for a newer one:
        // only listeners make room.
        let most = self
            .server
            .as_ref()
            .map_or(usize::MAX, Server::max_handshakes);
        self.waiting.is_none() && self.finished.len() < most
    }

    /// Starts the handshake of an accepted connection, or has it wait for room.
    pub(in crate::tcp_server) fn push(&mut self, accepted: AcceptedStream, cx: &mut Context<'_>) {
        self.waiting = Some(accepted);
        self.start_waiting(cx);
    }

    fn start_waiting(&mut self, cx: &mut Context<'_>) {
        if self.awaits_set_tls || self.waiting.is_none() {
            return;
        }
        let Some(server) = self.server.clone() else {
            // The app has turned TLS off since the connection was accepted.
            return self.finished.extend(self.waiting.take());
        };
        if self.make_room(server.max_handshakes(), cx)
            && let Some((stream, meta)) = self.waiting.take()
        {
            self.start(stream, meta, server);
            // A `JoinSet` wakes the waker of its last poll only. This turn has
            // polled it, perhaps without a task, so it needs another turn.
            cx.waker().wake_by_ref();
        }
    }

    /// Whether one more handshake may run. Aborts the oldest for it if that one
    /// had its [`HANDSHAKE_GRACE`].
    fn make_room(&mut self, most: usize, cx: &mut Context<'_>) -> bool {
        if self.running.len() + self.finished.len() < most {
            return true;
        }
        let Some(oldest) = self.running.first_entry() else {
            return false;
        };
        let due = oldest.get().started_at + HANDSHAKE_GRACE;
        if due <= Instant::now() {
            let handshake = oldest.remove();
            handshake.task.abort();
            self.fail(handshake, NetError::INSUFFICIENT_RESOURCES);
            return true;
        }
        let mut timer = Box::pin(sleep_until(due));
        // The poll registers `cx`. If the time has passed since, another turn
        // aborts the handshake.
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.grace_timer = Some(timer);
        false
    }

    fn start(&mut self, stream: Box<dyn Stream>, mut meta: Box<ConnectionMeta>, server: Server) {
        self.last_number += 1;
        let number = self.last_number;
        let peer = meta.peer().clone();
        let span = meta.span().clone();
        let task = self.tasks.spawn(span.around(async move {
            let result = timeout(server.handshake_timeout(), server.handshake(stream)).await;
            let result = result.unwrap_or(Err(NetError::TIMED_OUT));
            meta.mark_encrypted();
            (number, result.map(|stream| (stream, meta)))
        }));
        let handshake = Handshake {
            started_at: Instant::now(),
            peer,
            task,
        };
        self.running.insert(number, handshake);
    }
}
