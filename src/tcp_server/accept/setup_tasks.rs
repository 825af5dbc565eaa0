//! What has to succeed before an accepted connection becomes a client (a PROXY header, a TLS
//! handshake): a bounded number of tasks, one per connection.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep_until, timeout};
use tokio::task::{AbortHandle, JoinSet};

use crate::address::Address;
use crate::answer::Reply;
use crate::events::redelivery::EventQueue;
use crate::net_error::NetError;
use crate::os::Stream;
use crate::proxy_protocol::ProxyPeer;
use crate::tcp::ConnectionMeta;
use crate::telemetry::{LostBy, Outcome, ServerStats, Side, Telemetry};

/// At the limit of its tasks, a server socket aborts the oldest for a newer one, but none that is
/// younger than this: an honest client needs a few round trips.
const GRACE: Duration = Duration::from_secs(1);

/// A connection that is no client yet.
pub(in crate::tcp_server) struct AcceptedStream {
    pub(in crate::tcp_server) stream: Box<dyn Stream>,
    pub(in crate::tcp_server) meta: Box<ConnectionMeta>,
    /// If its header has named one.
    pub(in crate::tcp_server) proxy: Option<Box<ProxyPeer>>,
}

/// The tasks of one server socket and one kind, and what became of them. `E` is why one fails.
pub(in crate::tcp_server) struct SetupTasks<E> {
    /// Running tasks by number, so the oldest is first.
    running: BTreeMap<u64, Running>,
    tasks: JoinSet<TaskResult<E>>,
    last_number: u64,
    /// A connection that was accepted and has no task yet.
    waiting: Option<AcceptedStream>,
    /// Wakes the accept loop when the oldest task may be aborted.
    grace_timer: Option<Pin<Box<Sleep>>>,
    /// Connections whose task has succeeded, which are no clients yet.
    finished: VecDeque<AcceptedStream>,
    /// Why tasks have failed, for events that are not raised yet.
    pub(in crate::tcp_server) event_queue: EventQueue<(Address, E)>,
    /// How many tasks have failed, reported or not.
    pub(in crate::tcp_server) failures: u64,
    /// Calls that wait until nothing is running, waiting or finished.
    idle_replies: Vec<Reply<()>>,
    lost_by: LostBy,
    stats: ServerStats,
    telemetry: Telemetry,
}

/// The number of a task, and its result.
type TaskResult<E> = (u64, Result<AcceptedStream, E>);

struct Running {
    started_at: Instant,
    peer: Address,
    task: AbortHandle,
}

/// What the deadline of a drain ended before `onAccept`.
#[derive(Default)]
pub(crate) struct AbortedSetups {
    /// Connections whose task was not finished.
    pub(crate) unfinished: usize,
    /// Connections whose task was finished.
    pub(crate) undelivered: usize,
}

impl<E> SetupTasks<E>
where
    E: Copy + From<NetError> + Send + 'static,
{
    /// `lost_by` is what connections are lost by if their task fails.
    pub(in crate::tcp_server) fn new(
        lost_by: LostBy,
        stats: ServerStats,
        telemetry: Telemetry,
    ) -> Self {
        SetupTasks {
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            last_number: 0,
            waiting: None,
            grace_timer: None,
            finished: VecDeque::new(),
            event_queue: EventQueue::default(),
            failures: 0,
            idle_replies: Vec::new(),
            lost_by,
            stats,
            telemetry,
        }
    }

    /// Replies when no task is running or waiting, and every finished connection was taken.
    pub(in crate::tcp_server) fn reply_when_idle(&mut self, reply: Reply<()>) {
        self.idle_replies.push(reply);
    }

    /// The calls that wait, if nothing is running, waiting or finished.
    pub(in crate::tcp_server) fn take_idle_replies(&mut self) -> Vec<Reply<()>> {
        match self.is_idle() {
            true => mem::take(&mut self.idle_replies),
            false => Vec::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_none() && self.finished.is_empty()
    }

    pub(in crate::tcp_server) fn has_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(in crate::tcp_server) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Whether another connection may be accepted. If all tasks are finished, none can be aborted
    /// for a newer one: only listeners make room.
    pub(in crate::tcp_server) fn has_room(&self, most: usize) -> bool {
        self.waiting.is_none() && self.finished.len() < most
    }

    pub(in crate::tcp_server) fn record_failure(&mut self, peer: Address, error: E) {
        self.failures += 1;
        self.stats.failed(self.lost_by);
        self.event_queue.push((peer, error));
    }

    /// Counts and reports a task that has failed.
    fn fail(&mut self, running: Running, error: E) {
        self.count_end(Outcome::Failure, running.started_at);
        self.record_failure(running.peer, error);
    }

    fn count_end(&self, outcome: Outcome, began: Instant) {
        if self.lost_by == LostBy::Handshake {
            self.telemetry.handshake_ended(Side::Server, outcome, began);
        }
    }

    /// Fails every connection whose task is not finished, and closes those whose task is.
    pub(in crate::tcp_server) fn abort_all(&mut self) -> AbortedSetups {
        self.tasks.abort_all();
        let mut unfinished = 0;
        for running in mem::take(&mut self.running).into_values() {
            self.fail(running, NetError::ABORTED.into());
            unfinished += 1;
        }
        if let Some(waiting) = self.waiting.take() {
            self.record_failure(waiting.meta.peer().clone(), NetError::ABORTED.into());
            unfinished += 1;
        }
        AbortedSetups {
            unfinished,
            undelivered: mem::take(&mut self.finished).len(),
        }
    }

    /// Moves to the current thread. Running tasks are lost with their thread; waiting and
    /// finished connections register here.
    pub(in crate::tcp_server) fn reregister(&mut self) {
        self.grace_timer = None;
        self.event_queue.reset_hold_back();
        self.tasks = JoinSet::new();
        for lost in mem::take(&mut self.running).into_values() {
            self.fail(lost, NetError::FAILED.into());
        }
        let mut lost = Vec::new();
        let mut reregister = |it: &mut AcceptedStream| {
            let is_registered = it.stream.reregister().is_ok();
            if !is_registered {
                lost.push(it.meta.peer().clone());
            }
            is_registered
        };
        self.waiting = self.waiting.take_if(&mut reregister);
        self.finished.retain_mut(reregister);
        for peer in lost {
            self.record_failure(peer, NetError::FAILED.into());
        }
    }

    /// Collects the results of tasks. Called in every turn. `admit` gets each connection whose
    /// task has succeeded, and returns it unless it refuses it.
    pub(in crate::tcp_server) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut admit: impl FnMut(AcceptedStream) -> Option<AcceptedStream>,
    ) {
        while let Poll::Ready(Some(joined)) = self.tasks.poll_join_next(cx) {
            let (number, result) = match joined {
                Ok(result) => result,
                // Aborted by this server socket, which has reported it.
                Err(error) if error.is_cancelled() => continue,
                // The task panicked, and its number is lost with its result.
                Err(error) => match self.number_of(error.id()) {
                    Some(number) => (number, Err(NetError::FAILED.into())),
                    None => continue,
                },
            };
            // A task that was aborted just when it finished is not in the map, and its failure
            // is already reported.
            if let Some(running) = self.running.remove(&number) {
                match result {
                    Ok(accepted) => {
                        self.count_end(Outcome::Success, running.started_at);
                        self.finished.extend(admit(accepted));
                    }
                    Err(error) => self.fail(running, error),
                }
            }
        }
    }

    fn number_of(&self, id: tokio::task::Id) -> Option<u64> {
        let mut running = self.running.iter();
        let found = running.find(|(_, it)| it.task.id() == id);
        found.map(|(number, _)| *number)
    }

    /// The next connection whose task has succeeded.
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

    /// Has an accepted connection wait for its task.
    pub(in crate::tcp_server) fn push(&mut self, accepted: AcceptedStream) {
        self.waiting = Some(accepted);
    }

    /// Needs no task for the connection that waits.
    pub(in crate::tcp_server) fn skip_waiting(&mut self) {
        self.finished.extend(self.waiting.take());
    }

    /// Starts the task of the connection that waits, if there is one, and fewer than `most` are
    /// running or finished. The task fails after `limit`.
    pub(in crate::tcp_server) fn start_waiting<F>(
        &mut self,
        most: usize,
        limit: Duration,
        task: impl FnOnce(AcceptedStream) -> F,
        cx: &mut Context<'_>,
    ) where
        F: Future<Output = Result<AcceptedStream, E>> + Send + 'static,
    {
        if self.waiting.is_none() || !self.make_room(most, cx) {
            return;
        }
        let Some(accepted) = self.waiting.take() else {
            return;
        };
        self.last_number += 1;
        let number = self.last_number;
        let peer = accepted.meta.peer().clone();
        let span = accepted.meta.span().clone();
        let task = task(accepted);
        let task = self.tasks.spawn(span.around(async move {
            let result = timeout(limit, task).await;
            let result = result.unwrap_or_else(|_| Err(NetError::TIMED_OUT.into()));
            (number, result)
        }));
        let running = Running {
            started_at: Instant::now(),
            peer,
            task,
        };
        self.running.insert(number, running);
        // A `JoinSet` wakes the waker of its last poll only. This turn has polled it, perhaps
        // without a task, so it needs another turn.
        cx.waker().wake_by_ref();
    }

    /// Whether one more task may run. Aborts the oldest for it if that one had its [`GRACE`].
    fn make_room(&mut self, most: usize, cx: &mut Context<'_>) -> bool {
        if self.running.len() + self.finished.len() < most {
            return true;
        }
        let Some(oldest) = self.running.first_entry() else {
            return false;
        };
        let due = oldest.get().started_at + GRACE;
        if due <= Instant::now() {
            let running = oldest.remove();
            running.task.abort();
            self.fail(running, NetError::INSUFFICIENT_RESOURCES.into());
            return true;
        }
        let mut timer = Box::pin(sleep_until(due));
        // The poll registers `cx`. If the time has passed since, another turn aborts the task.
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.grace_timer = Some(timer);
        false
    }
}
