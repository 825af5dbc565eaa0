//! Restarts actors with their state: after a panic, a stop, or the end of their arbiter.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context as TaskContext, Poll};
use std::thread::ThreadId;

use actix::WeakAddr;
use actix::dev::ContextFut;
use actix::dev::channel::channel;
use actix::prelude::*;
use actix_rt::time::Instant;
use futures::FutureExt;
use futures::future::join_all;
use parking_lot::{Mutex, RwLock};

use crate::ids::AppId;
use crate::supervision::registry_link::{ActorFailed, RegistryLink, RegistryMessage};
use crate::supervision::types::{ActorKind, Cause, RestartLimit};

/// How many bytes of a panic's message are reported.
const MAX_MESSAGE: usize = 1024;

/// Tells an actor that it has failed too often: it closes what it owns, reports
/// that, and ends.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Terminate;

/// An actor whose value is its whole state, so that it can be restarted with it.
pub(crate) trait Recoverable:
    Actor<Context = Context<Self>> + actix::Supervised + Handler<Terminate> + Send
{
    /// The actor is restarted in another thread. The event loop that it was
    /// registered with is gone.
    fn thread_changed(&mut self);

    /// The actor is not restarted: it closes what it owns, and reports that.
    fn abandon(&mut self);
}

/// Counts the failures of one actor, and reports them to the registry.
pub(crate) struct RestartCounter {
    actor: ActorKind,
    app: Option<AppId>,
    registry_link: RegistryLink,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    total: u64,
    /// The failures within the period of the limit; the oldest is first.
    recent: VecDeque<Instant>,
}

impl RestartCounter {
    pub(crate) fn new(actor: ActorKind, app: Option<AppId>, registry_link: RegistryLink) -> Self {
        RestartCounter {
            actor,
            app,
            registry_link,
            failures: Mutex::default(),
        }
    }

    /// Counts and reports a failure. Returns whether the actor may be restarted.
    pub(crate) fn record_failure(&self, cause: Cause) -> bool {
        let (restarts, gave_up) = self.count();
        let telemetry = &self.registry_link.telemetry;
        telemetry.actor_failed(self.actor.label(), cause.label(), !gave_up);
        if gave_up {
            log::error!("{}: {cause}, too often: it ends", self.actor);
        } else if let Cause::Panicked(_) = cause {
            // The registry logs restarts for other causes, by `log_restart`,
            // since they may be part of an ordinary end.
            log::error!("{}: {cause}; it was restarted", self.actor);
        }
        let failed = ActorFailed {
            actor: self.actor,
            app: self.app.clone(),
            cause,
            restarts,
            gave_up,
        };
        self.registry_link
            .send(RegistryMessage::ActorFailed(failed));
        !gave_up
    }

    /// Counts a failure: how many there were, and whether that is too often.
    fn count(&self) -> (u64, bool) {
        let limit = self.registry_link.limit;
        let mut failures = self.failures.lock();
        failures.total += 1;
        // Without a limit, no times are kept: they would grow without bound.
        if limit == RestartLimit::UNLIMITED {
            return (failures.total, false);
        }
        let now = Instant::now();
        let is_past = |time: &Instant| now.saturating_duration_since(*time) > limit.within;
        while failures.recent.front().is_some_and(is_past) {
            failures.recent.pop_front();
        }
        failures.recent.push_back(now);
        (failures.total, failures.recent.len() > limit.most as usize)
    }
}

/// The current address of an actor that may be restarted elsewhere.
#[derive(Debug)]
pub(crate) struct StableAddr<A: Actor>(RwLock<Addr<A>>);

impl<A: Actor> StableAddr<A> {
    pub(crate) fn new(address: Addr<A>) -> Self {
        StableAddr(RwLock::new(address))
    }

    pub(crate) fn set(&self, address: Addr<A>) {
        *self.0.write() = address;
    }

    pub(crate) fn address(&self) -> Addr<A> {
        self.0.read().clone()
    }

    /// Sends a message now, and again if the actor panics while it handles it;
    /// so the message must be one that may be handled twice. `None` if the actor
    /// has ended.
    pub(crate) fn ask<M>(
        self: &Arc<Self>,
        message: M,
    ) -> impl Future<Output = Option<M::Result>> + use<A, M>
    where
        A: Handler<M> + Actor<Context = Context<A>>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
    {
        let this = self.clone();
        let mut answer = this.address().send(message.clone());
        async move {
            loop {
                if let Ok(answer) = answer.await {
                    return Some(answer);
                }
                let address = this.address();
                if !address.connected() {
                    return None;
                }
                answer = address.send(message.clone());
            }
        }
    }
}

/// Sends a message to each of these actors now, as [`StableAddr::ask`] does. The
/// future has the answers of those that have not ended.
pub(crate) fn ask_all<A, M>(
    actors: &[Arc<StableAddr<A>>],
    message: &M,
) -> impl Future<Output = Vec<M::Result>> + use<A, M>
where
    A: Handler<M> + Actor<Context = Context<A>>,
    M: Message + Clone + Send + 'static,
    M::Result: Send,
{
    let answers: Vec<_> = actors.iter().map(|it| it.ask(message.clone())).collect();
    join_all(answers).map(|answers| answers.into_iter().flatten().collect())
}

/// An actor with its restarter.
pub(crate) struct SupervisedActor<A: Actor> {
    pub(crate) stable_addr: Arc<StableAddr<A>>,
    restarter: Arc<Restarter<A>>,
}

impl<A: Recoverable> SupervisedActor<A> {
    /// Starts the actor that `make` makes in this arbiter; `None` for the current
    /// one.
    pub(crate) fn start(
        restart_counter: RestartCounter,
        arbiter: Option<&ArbiterHandle>,
        make: impl FnOnce(Weak<Restarter<A>>) -> A,
    ) -> Self {
        let restarter = Restarter::new(restart_counter);
        let actor = make(Arc::downgrade(&restarter));
        let address = restarter.start(actor, arbiter);
        SupervisedActor {
            stable_addr: Arc::new(StableAddr::new(address)),
            restarter,
        }
    }

    /// Restarts the actor, if it was dropped, in the arbiter that `find` returns;
    /// `None` for the current one.
    pub(crate) fn restart_if_dropped(&self, find: impl FnOnce() -> Option<ArbiterHandle>) {
        // Taken in a statement of its own, so that the lock is released before
        // the actor starts.
        let salvaged = self.restarter.salvaged.lock().take();
        if let Some(actor) = salvaged {
            let address = self.restarter.start(*actor, find().as_ref());
            self.stable_addr.set(address);
        }
    }

    pub(crate) fn address(&self) -> Addr<A> {
        self.stable_addr.address()
    }
}

/// Keeps the state of an actor that was dropped until the actor is restarted.
pub(crate) struct Restarter<A> {
    restart_counter: Arc<RestartCounter>,
    /// Boxed, because it is nearly always empty.
    salvaged: Mutex<Option<Box<A>>>,
    /// The thread that the actor was last started in.
    thread: Mutex<Option<ThreadId>>,
}

impl<A: Recoverable> Restarter<A> {
    fn new(restart_counter: RestartCounter) -> Arc<Self> {
        Arc::new(Restarter {
            restart_counter: Arc::new(restart_counter),
            salvaged: Mutex::default(),
            thread: Mutex::default(),
        })
    }

    /// Starts the actor in this arbiter; `None` for the current one. If the
    /// arbiter has ended, the actor is dropped, and so fails at once.
    fn start(self: &Arc<Self>, actor: A, arbiter: Option<&ArbiterHandle>) -> Addr<A> {
        let Some(arbiter) = arbiter else {
            return self.run(actor, Context::new());
        };
        // The address is needed before the actor runs. 0 makes the mailbox
        // unbounded.
        let (sender, receiver) = channel(0);
        let restarter = self.clone();
        arbiter.spawn_fn(move || {
            restarter.run(actor, Context::with_receiver(receiver));
        });
        Addr::new(sender)
    }

    fn run(&self, mut actor: A, context: Context<A>) -> Addr<A> {
        let here = std::thread::current().id();
        let before = self.thread.lock().replace(here);
        if before.is_some_and(|before| before != here) {
            actor.thread_changed();
        }
        supervise(actor, context, self.restart_counter.clone())
    }

    /// Called by the `Drop` of the actor: keeps its state for a restart.
    pub(crate) fn salvage(&self, actor: A) {
        *self.salvaged.lock() = Some(Box::new(actor));
        let arbiter = Arbiter::try_current();
        let cause = match arbiter.is_some_and(|arbiter| arbiter.alive()) {
            true => Cause::Stopped,
            false => Cause::ArbiterEnded,
        };
        // The report has the registry restart the actor.
        if !self.restart_counter.record_failure(cause) {
            // The lock is released first: the registry may take it meanwhile.
            let salvaged = self.salvaged.lock().take();
            if let Some(mut actor) = salvaged {
                actor.abandon();
            }
        }
    }
}

/// Starts an actor in the current arbiter that survives its panics. A panic drops
/// what the actor was doing; its mailbox and the futures that it has spawned stay.
pub(crate) fn supervise<A>(
    actor: A,
    mut context: Context<A>,
    restart_counter: Arc<RestartCounter>,
) -> Addr<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised + Handler<Terminate>,
{
    // Unbounded: calls are never refused and never overtake each other.
    context.set_mailbox_capacity(0);
    let address = context.address();
    actix_rt::spawn(Supervisor {
        actor: context.into_future(actor),
        address: address.downgrade(),
        restart_counter,
        last_turn: Turn::Completed,
    });
    address
}

/// Polls an actor and catches its panics.
struct Supervisor<A: Actor<Context = Context<A>>> {
    actor: ContextFut<A, Context<A>>,
    address: WeakAddr<A>,
    restart_counter: Arc<RestartCounter>,
    last_turn: Turn,
}

/// How the actor's last turn ended.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Completed,
    Panicked,
    /// It panicked once too often, and was told to terminate.
    Terminating,
}

impl<A> Future for Supervisor<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised + Handler<Terminate>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Unwind safe because each actor notes what it is working on, and
        // repairs that after a panic.
        let turn = AssertUnwindSafe(|| Pin::new(&mut this.actor).poll(cx));
        let panic = match catch_unwind(turn) {
            Ok(poll) => {
                if this.last_turn == Turn::Panicked {
                    this.last_turn = Turn::Completed;
                }
                return poll;
            }
            Err(panic) => panic,
        };
        cx.waker().wake_by_ref();
        let cause = Cause::Panicked(panic_message(&*panic));
        let may_restart = this.restart_counter.record_failure(cause);
        match this.last_turn {
            // It panicked again while it terminated.
            Turn::Terminating if !may_restart => return Poll::Ready(()),
            _ if !may_restart => {
                this.last_turn = Turn::Terminating;
                let Some(address) = this.address.upgrade() else {
                    return Poll::Ready(());
                };
                address.do_send(Terminate);
            }
            // Two panics without a complete turn between them: the cause may be
            // a spawned future, which would panic in every turn. `restart` drops
            // the spawned futures.
            Turn::Panicked => {
                if !this.actor.restart() {
                    return Poll::Ready(());
                }
            }
            Turn::Completed | Turn::Terminating => this.last_turn = Turn::Panicked,
        }
        Poll::Pending
    }
}

/// Runs a future that is not an actor. A panic is reported as a failure of
/// `actor`, and returns `None`.
pub(crate) async fn catch_task_panic<T>(
    work: impl Future<Output = T>,
    actor: ActorKind,
    app: &AppId,
    registry_link: &RegistryLink,
) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            RestartCounter::new(actor, Some(app.clone()), registry_link.clone())
                .record_failure(Cause::Panicked(panic_message(&*panic)));
            None
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let mut ends = (0..=text.len().min(MAX_MESSAGE)).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    fn restart_counter(most: u32, within: Duration) -> RestartCounter {
        let limit = RestartLimit { most, within };
        let mut registry_link = RegistryLink::default();
        registry_link.limit = limit;
        RestartCounter::new(ActorKind::Registry, None, registry_link)
    }

    #[actix_rt::test]
    async fn only_failures_within_the_period_count() {
        tokio::time::pause();
        let restart_counter = restart_counter(2, Duration::from_secs(10));
        assert!(restart_counter.record_failure(Cause::Stopped));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(restart_counter.record_failure(Cause::Stopped));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(
            restart_counter.record_failure(Cause::Stopped),
            "the first is past"
        );
        assert!(!restart_counter.record_failure(Cause::Stopped));
    }

    #[actix_rt::test]
    async fn without_a_limit_no_failure_times_are_kept() {
        let restart_counter = restart_counter(u32::MAX, Duration::ZERO);
        for _ in 0..1000 {
            assert!(restart_counter.record_failure(Cause::Stopped));
        }
        assert_eq!(restart_counter.failures.lock().recent.capacity(), 0);
        assert_eq!(restart_counter.count(), (1001, false));
    }

    /// Forwards the failures that are reported to it.
    struct Registry(UnboundedSender<ActorFailed>);

    impl Actor for Registry {
        type Context = Context<Self>;
    }

    impl Handler<RegistryMessage> for Registry {
        type Result = ();

        fn handle(&mut self, message: RegistryMessage, _: &mut Self::Context) {
            if let RegistryMessage::ActorFailed(failed) = message {
                let _ = self.0.send(failed);
            }
        }
    }

    /// Panics on request. actix calls `started` again when its spawned futures
    /// are dropped.
    #[derive(Default)]
    struct Panicking {
        starts: u32,
        terminated: bool,
    }

    impl Actor for Panicking {
        type Context = Context<Self>;

        fn started(&mut self, _: &mut Self::Context) {
            self.starts += 1;
        }
    }

    impl actix::Supervised for Panicking {}

    impl Handler<Terminate> for Panicking {
        type Result = ();

        fn handle(&mut self, _: Terminate, _: &mut Self::Context) {
            self.terminated = true;
        }
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Panic;

    impl Handler<Panic> for Panicking {
        type Result = ();

        fn handle(&mut self, _: Panic, _: &mut Self::Context) {
            panic!("on request");
        }
    }

    /// How often it was started, and whether it was told to terminate.
    #[derive(Message)]
    #[rtype(result = "(u32, bool)")]
    struct GetState;

    impl Handler<GetState> for Panicking {
        type Result = MessageResult<GetState>;

        fn handle(&mut self, _: GetState, _: &mut Self::Context) -> Self::Result {
            MessageResult((self.starts, self.terminated))
        }
    }

    async fn next(failures: &mut UnboundedReceiver<ActorFailed>) -> ActorFailed {
        let next = tokio::time::timeout(Duration::from_secs(20), failures.recv());
        next.await.expect("it is reported").expect("it runs")
    }

    fn start_panicking(
        most: u32,
    ) -> (
        Addr<Panicking>,
        UnboundedReceiver<ActorFailed>,
        Addr<Registry>,
    ) {
        let (sender, failures) = unbounded_channel();
        let registry = Registry(sender).start();
        let within = Duration::from_secs(3600);
        let mut registry_link = RegistryLink::default();
        registry_link.limit = RestartLimit { most, within };
        registry_link.set_registry(&registry);
        let restart_counter = RestartCounter::new(ActorKind::Registry, None, registry_link);
        let address = supervise(
            Panicking::default(),
            Context::new(),
            Arc::new(restart_counter),
        );
        (address, failures, registry)
    }

    #[actix_rt::test]
    async fn spawned_futures_are_dropped_only_after_two_panics_without_a_complete_turn_between() {
        let (actor, mut failures, _registry) = start_panicking(100);
        for restarts in 1..4 {
            assert!(actor.send(Panic).await.is_err());
            assert_eq!(next(&mut failures).await.restarts, restarts);
            let asked = actor.send(GetState).await;
            assert_eq!(asked, Ok((1, false)), "after {restarts} panics");
        }
        // Without one, a spawned future may be the cause.
        let panics = [actor.send(Panic), actor.send(Panic)];
        for panic in panics {
            assert!(panic.await.is_err());
        }
        assert_eq!(actor.send(GetState).await, Ok((2, false)));
    }

    #[actix_rt::test]
    async fn the_registry_and_the_actor_learn_that_it_failed_too_often() {
        let (actor, mut failures, _registry) = start_panicking(2);
        for restarts in 1..4 {
            assert!(actor.send(Panic).await.is_err());
            let failed = next(&mut failures).await;
            assert_eq!((failed.restarts, failed.gave_up), (restarts, restarts > 2));
            let (_, terminated) = actor.send(GetState).await.expect("it ends by itself");
            assert_eq!(terminated, restarts > 2);
        }
        assert!(actor.send(Panic).await.is_err());
        assert!(next(&mut failures).await.gave_up);
        // A panic after it was told to terminate ends it.
        let ends = async {
            while actor.connected() {
                actix_rt::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), ends).await;
        ended.expect("it ends");
    }

    #[test]
    fn the_reported_message_of_a_panic_is_bounded() {
        assert_eq!(&*panic_message(&"text"), "text");
        assert_eq!(&*panic_message(&"ä".repeat(1000)), "ä".repeat(512));
        assert_eq!(&*panic_message(&7), "no message");
    }
}
