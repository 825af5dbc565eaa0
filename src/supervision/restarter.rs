//! What an actor leaves, and what goes on with it.

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
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::ids::AppId;
use crate::supervision::registry_link::{ActorFailed, RegistryLink};
use crate::supervision::types::{Cause, RestartLimit, Supervised};

/// The longest message of a panic that is told, in bytes.
const MAX_MESSAGE: usize = 1024;

/// It has fallen too often: it is to end, and to tell what ends with it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Terminate;

/// An actor that is worth keeping: its value is all that it knows.
pub(crate) trait Recoverable:
    Actor<Context = Context<Self>> + actix::Supervised + Handler<Terminate> + Send
{
    /// It goes on in a thread that is not the one it comes from, whose event
    /// loop is gone.
    fn thread_changed(&mut self);

    /// Nobody goes on with it: it closes what it has, and says so.
    fn lost(&mut self);
}

/// How often something has fallen, and who is told.
pub(crate) struct RestartCounter {
    actor: Supervised,
    app: Option<AppId>,
    registry_link: RegistryLink,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    all: u64,
    /// Of those within the time of the limit.
    times: VecDeque<Instant>,
}

impl RestartCounter {
    pub(crate) fn new(actor: Supervised, app: Option<AppId>, registry_link: RegistryLink) -> Self {
        RestartCounter {
            actor,
            app,
            registry_link,
            counted: Mutex::default(),
        }
    }

    /// It has fallen: tells so, and whether it may go on. That a stopped one
    /// goes on is logged by the registry ([`log_restart`](super::log_restart)).
    pub(crate) fn fell(&self, cause: Cause) -> bool {
        let (restarts, gave_up) = self.count();
        if gave_up {
            log::error!("{}: {cause}, once too often: it ends", self.actor);
        } else if let Cause::Panicked(_) = cause {
            log::error!("{}: {cause}; it goes on", self.actor);
        }
        self.registry_link.fell(ActorFailed {
            actor: self.actor,
            app: self.app.clone(),
            cause,
            restarts,
            gave_up,
        });
        !gave_up
    }

    /// How often it has, and whether that is too often.
    fn count(&self) -> (u64, bool) {
        let limit = self.registry_link.limit;
        let mut counted = lock(&self.counted);
        counted.all += 1;
        if limit == RestartLimit::UNLIMITED {
            return (counted.all, false);
        }
        let now = Instant::now();
        let is_past = |time: &Instant| now.saturating_duration_since(*time) > limit.within;
        while counted.times.front().is_some_and(is_past) {
            counted.times.pop_front();
        }
        counted.times.push_back(now);
        (counted.all, counted.times.len() > limit.most as usize)
    }
}

/// Where an actor is to be found now.
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

    /// Sends it something that may be done twice, now; it is sent again if the
    /// actor panics in its hands. `None`: it has ended.
    pub(crate) fn ask<M>(
        self: &Arc<Self>,
        message: M,
    ) -> impl Future<Output = Option<M::Result>> + use<A, M>
    where
        A: Handler<M> + Actor<Context = Context<A>>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
    {
        let place = self.clone();
        let mut asked = place.address().send(message.clone());
        async move {
            loop {
                if let Ok(answer) = asked.await {
                    return Some(answer);
                }
                let address = place.address();
                if !address.connected() {
                    return None;
                }
                asked = address.send(message.clone());
            }
        }
    }
}

/// An actor, and who keeps it going.
pub(crate) struct Child<A: Actor> {
    pub(crate) place: Arc<StableAddr<A>>,
    restarter: Arc<Restarter<A>>,
}

impl<A: Recoverable> Child<A> {
    /// Starts the actor that `make` makes, in the current arbiter.
    pub(crate) fn start(
        restart_counter: RestartCounter,
        make: impl FnOnce(Weak<Restarter<A>>) -> A,
    ) -> Self {
        Self::start_in(restart_counter, None, make)
    }

    /// Starts the actor in this arbiter; `None`: the current one.
    pub(crate) fn start_in(
        restart_counter: RestartCounter,
        arbiter: Option<&ArbiterHandle>,
        make: impl FnOnce(Weak<Restarter<A>>) -> A,
    ) -> Self {
        let restarter = Restarter::new(restart_counter);
        let actor = make(Arc::downgrade(&restarter));
        Child {
            place: Arc::new(StableAddr::new(restarter.start(actor, arbiter))),
            restarter,
        }
    }

    /// Goes on with what it has left, if it has fallen.
    pub(crate) fn go_on(&self) {
        self.go_on_in(|| None);
    }

    /// As [`go_on`](Self::go_on), in the arbiter that `find` finds for it.
    pub(crate) fn go_on_in(&self, find: impl FnOnce() -> Option<ArbiterHandle>) {
        if let Some(address) = self.restarter.go_on(find) {
            self.place.set(address);
        }
    }

    pub(crate) fn address(&self) -> Addr<A> {
        self.place.address()
    }
}

/// Keeps one actor going.
pub(crate) struct Restarter<A> {
    restart_counter: Arc<RestartCounter>,
    remains: Mutex<Option<Salvage<A>>>,
    thread: Mutex<Option<ThreadId>>,
}

struct Salvage<A>(A);

impl<A: Recoverable> Restarter<A> {
    fn new(restart_counter: RestartCounter) -> Arc<Self> {
        Arc::new(Restarter {
            restart_counter: Arc::new(restart_counter),
            remains: Mutex::default(),
            thread: Mutex::default(),
        })
    }

    /// Starts it in this arbiter; `None`: the current one. If the arbiter has
    /// ended it falls at once.
    fn start(self: &Arc<Self>, actor: A, arbiter: Option<&ArbiterHandle>) -> Addr<A> {
        let Some(arbiter) = arbiter else {
            return self.run(actor, Context::new());
        };
        // As many messages as come.
        let (sender, receiver) = channel(0);
        let restarter = self.clone();
        arbiter.spawn_fn(move || {
            restarter.run(actor, Context::with_receiver(receiver));
        });
        Addr::new(sender)
    }

    fn run(&self, mut actor: A, context: Context<A>) -> Addr<A> {
        let here = std::thread::current().id();
        let before = lock(&self.thread).replace(here);
        if before.is_some_and(|before| before != here) {
            actor.thread_changed();
        }
        run(actor, context, self.restart_counter.clone())
    }

    /// What the actor leaves that is being dropped.
    pub(crate) fn leave(&self, remains: A) {
        *lock(&self.remains) = Some(Salvage(remains));
        let arbiter = Arbiter::try_current();
        let cause = match arbiter.is_some_and(|arbiter| arbiter.alive()) {
            true => Cause::Stopped,
            false => Cause::ArbiterEnded,
        };
        if !self.restart_counter.fell(cause) {
            // Not under the lock.
            let remains = lock(&self.remains).take();
            if let Some(Salvage(mut actor)) = remains {
                actor.lost();
            }
        }
    }

    /// Goes on with what was left, if something was.
    fn go_on(self: &Arc<Self>, find: impl FnOnce() -> Option<ArbiterHandle>) -> Option<Addr<A>> {
        // Not under the lock.
        let remains = lock(&self.remains).take();
        let Salvage(actor) = remains?;
        Some(self.start(actor, find().as_ref()))
    }
}

/// Starts an actor in the current arbiter that goes on after a panic: what it
/// was just doing is dropped, its mailbox and what it has spawned are not.
pub(crate) fn supervise<A>(actor: A, restart_counter: Arc<RestartCounter>) -> Addr<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised + Handler<Terminate>,
{
    run(actor, Context::new(), restart_counter)
}

fn run<A>(actor: A, mut context: Context<A>, restart_counter: Arc<RestartCounter>) -> Addr<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised + Handler<Terminate>,
{
    // Calls are never refused and never overtake each other.
    context.set_mailbox_capacity(0);
    let address = context.address();
    actix_rt::spawn(Supervisor {
        actor: context.into_future(actor),
        address: address.downgrade(),
        restart_counter,
        step: Step::Whole,
    });
    address
}

struct Supervisor<A: Actor<Context = Context<A>>> {
    actor: ContextFut<A, Context<A>>,
    address: WeakAddr<A>,
    restart_counter: Arc<RestartCounter>,
    step: Step,
}

/// What its last turn has come to.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Whole,
    Panicked,
    /// It has been told to give up.
    Ending,
}

impl<A> Future for Supervisor<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised + Handler<Terminate>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        // What an actor keeps is made to be gone on with, whatever it was doing:
        // each says where it was.
        let turn = AssertUnwindSafe(|| Pin::new(&mut this.actor).poll(cx));
        let panic = match catch_unwind(turn) {
            Ok(poll) => {
                if this.step == Step::Panicked {
                    this.step = Step::Whole;
                }
                return poll;
            }
            Err(panic) => panic,
        };
        cx.waker().wake_by_ref();
        let goes_on = this.restart_counter.fell(Cause::Panicked(message(&*panic)));
        match this.step {
            Step::Ending if !goes_on => return Poll::Ready(()),
            _ if !goes_on => {
                this.step = Step::Ending;
                let Some(address) = this.address.upgrade() else {
                    return Poll::Ready(());
                };
                address.do_send(Terminate);
            }
            // Again before a whole turn: it is something that it has spawned,
            // and would do so at every turn.
            Step::Panicked => {
                if !this.actor.restart() {
                    return Poll::Ready(());
                }
            }
            Step::Whole | Step::Ending => this.step = Step::Panicked,
        }
        Poll::Pending
    }
}

/// Runs what is not an actor; `None`: it has panicked, which is told.
pub(crate) async fn guard<T>(
    work: impl Future<Output = T>,
    actor: Supervised,
    app: &AppId,
    registry_link: &RegistryLink,
) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            RestartCounter::new(actor, Some(app.clone()), registry_link.clone())
                .fell(Cause::Panicked(message(&*panic)));
            None
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let end = (0..=text.len().min(MAX_MESSAGE)).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::supervision::{CallsPassed, LoadApp, ServerClosed};

    fn restart_counter(most: u32, within: Duration) -> RestartCounter {
        let limit = RestartLimit { most, within };
        let mut registry_link = RegistryLink::default();
        registry_link.limit = limit;
        RestartCounter::new(Supervised::Registry, None, registry_link)
    }

    #[actix_rt::test]
    async fn only_falls_within_the_time_count() {
        tokio::time::pause();
        let restart_counter = restart_counter(2, Duration::from_secs(10));
        assert!(restart_counter.fell(Cause::Stopped));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(restart_counter.fell(Cause::Stopped));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(
            restart_counter.fell(Cause::Stopped),
            "the first is long ago"
        );
        assert!(!restart_counter.fell(Cause::Stopped));
    }

    #[actix_rt::test]
    async fn without_a_limit_nothing_is_kept_of_the_falls() {
        let restart_counter = restart_counter(u32::MAX, Duration::ZERO);
        for _ in 0..1000 {
            assert!(restart_counter.fell(Cause::Stopped));
        }
        assert_eq!(lock(&restart_counter.counted).times.capacity(), 0);
        assert_eq!(restart_counter.count(), (1001, false));
    }

    /// Tells what it is told.
    struct Registry(UnboundedSender<ActorFailed>);

    impl Actor for Registry {
        type Context = Context<Self>;
    }

    impl Handler<ActorFailed> for Registry {
        type Result = ();

        fn handle(&mut self, fell: ActorFailed, _: &mut Self::Context) {
            let _ = self.0.send(fell);
        }
    }

    impl Handler<CallsPassed> for Registry {
        type Result = ();

        fn handle(&mut self, _: CallsPassed, _: &mut Self::Context) {}
    }

    impl Handler<LoadApp> for Registry {
        type Result = ();

        fn handle(&mut self, _: LoadApp, _: &mut Self::Context) {}
    }

    impl Handler<ServerClosed> for Registry {
        type Result = ();

        fn handle(&mut self, _: ServerClosed, _: &mut Self::Context) {}
    }

    /// Panics when it is told to. It is started anew when what it has spawned
    /// is dropped.
    #[derive(Default)]
    struct Frail {
        starts: u32,
        gave_up: bool,
    }

    impl Actor for Frail {
        type Context = Context<Self>;

        fn started(&mut self, _: &mut Self::Context) {
            self.starts += 1;
        }
    }

    impl actix::Supervised for Frail {}

    impl Handler<Terminate> for Frail {
        type Result = ();

        fn handle(&mut self, _: Terminate, _: &mut Self::Context) {
            self.gave_up = true;
        }
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Panic;

    impl Handler<Panic> for Frail {
        type Result = ();

        fn handle(&mut self, _: Panic, _: &mut Self::Context) {
            panic!("as it was told to");
        }
    }

    /// How often it was started, and whether it was told to give up.
    #[derive(Message)]
    #[rtype(result = "(u32, bool)")]
    struct Ask;

    impl Handler<Ask> for Frail {
        type Result = MessageResult<Ask>;

        fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
            MessageResult((self.starts, self.gave_up))
        }
    }

    async fn told(fells: &mut UnboundedReceiver<ActorFailed>) -> ActorFailed {
        let told = tokio::time::timeout(Duration::from_secs(20), fells.recv());
        told.await.expect("it is told").expect("it runs")
    }

    fn frail(most: u32) -> (Addr<Frail>, UnboundedReceiver<ActorFailed>, Addr<Registry>) {
        let (tell, fells) = unbounded_channel();
        let registry = Registry(tell).start();
        let within = Duration::from_secs(3600);
        let mut registry_link = RegistryLink::default();
        registry_link.limit = RestartLimit { most, within };
        registry_link.is_now(&registry);
        let restart_counter = RestartCounter::new(Supervised::Registry, None, registry_link);
        let address = supervise(Frail::default(), Arc::new(restart_counter));
        (address, fells, registry)
    }

    #[actix_rt::test]
    async fn two_panics_with_a_whole_turn_between_them_are_no_row() {
        let (frail, mut fells, _registry) = frail(100);
        for restarts in 1..4 {
            assert!(frail.send(Panic).await.is_err());
            assert_eq!(told(&mut fells).await.restarts, restarts);
            let asked = frail.send(Ask).await;
            assert_eq!(asked, Ok((1, false)), "after {restarts} panics");
        }
        // Without one, it may be what it has spawned that panics.
        let panics = [frail.send(Panic), frail.send(Panic)];
        for panic in panics {
            assert!(panic.await.is_err());
        }
        assert_eq!(frail.send(Ask).await, Ok((2, false)));
    }

    #[actix_rt::test]
    async fn giving_up_is_told_to_the_registry_and_to_the_actor() {
        let (frail, mut fells, _registry) = frail(2);
        for restarts in 1..4 {
            assert!(frail.send(Panic).await.is_err());
            let fell = told(&mut fells).await;
            assert_eq!((fell.restarts, fell.gave_up), (restarts, restarts > 2));
            let (_, gave_up) = frail.send(Ask).await.expect("it ends by itself");
            assert_eq!(gave_up, restarts > 2);
        }
        assert!(frail.send(Panic).await.is_err());
        assert!(told(&mut fells).await.gave_up);
        until_it_ends(&frail).await;
    }

    /// Another panic after it was told to give up.
    async fn until_it_ends(frail: &Addr<Frail>) {
        let ends = async {
            while frail.connected() {
                actix_rt::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), ends).await;
        ended.expect("it ends");
    }

    #[test]
    fn the_message_of_a_panic_is_told_and_bounded() {
        assert_eq!(&*message(&"text"), "text");
        assert_eq!(&*message(&"ä".repeat(1000)), "ä".repeat(512));
        assert_eq!(&*message(&7), "no message");
    }
}
