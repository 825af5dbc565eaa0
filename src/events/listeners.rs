//! The listeners of an event, and how events are sent to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use actix::{Recipient, WeakRecipient};
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::events::batch::{Batch, SpareQueues};
use crate::events::event_copy::{DeliveryProbe, Liveness};
use crate::events::types::Event;

/// The listeners at one moment.
pub(crate) type Snapshot<E> = Arc<Vec<EventListener<E>>>;

/// What a listener is sent: a message for each event, or for all events of a turn.
pub(crate) enum Target<E: Event> {
    Single(Recipient<E>),
    Batch(Recipient<Batch<E>>, Arc<SpareQueues<E>>),
}

impl<E: Event> From<Recipient<E>> for Target<E> {
    fn from(recipient: Recipient<E>) -> Self {
        Target::Single(recipient)
    }
}

impl<E: Event> From<Recipient<Batch<E>>> for Target<E> {
    fn from(recipient: Recipient<Batch<E>>) -> Self {
        Target::Batch(recipient, Arc::default())
    }
}

impl<E: Event> PartialEq for Target<E> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Target::Single(one), Target::Single(other)) => one == other,
            (Target::Batch(one, _), Target::Batch(other, _)) => one == other,
            _ => false,
        }
    }
}

impl<E: Event> Target<E> {
    fn downgrade(&self) -> WeakTarget<E> {
        match self {
            Target::Single(recipient) => WeakTarget::Single(recipient.downgrade()),
            Target::Batch(recipient, _) => WeakTarget::Batch(recipient.downgrade()),
        }
    }
}

impl<E: Event> Liveness for Target<E> {
    #[inline]
    fn is_alive(&self) -> bool {
        match self {
            Target::Single(recipient) => recipient.connected(),
            Target::Batch(recipient, _) => recipient.connected(),
        }
    }
}

enum WeakTarget<E: Event> {
    Single(WeakRecipient<E>),
    Batch(WeakRecipient<Batch<E>>),
}

impl<E: Event> Liveness for WeakTarget<E> {
    fn is_alive(&self) -> bool {
        match self {
            WeakTarget::Single(recipient) => recipient.upgrade().is_some_and(|it| it.connected()),
            WeakTarget::Batch(recipient) => recipient.upgrade().is_some_and(|it| it.connected()),
        }
    }
}

/// One listener of an event.
pub(crate) struct EventListener<E: Event> {
    pub(super) target: Arc<Target<E>>,
    pub(super) probe: Arc<DeliveryProbe>,
}

impl<E: Event> EventListener<E> {
    fn new(target: Target<E>) -> Self {
        let target = Arc::new(target);
        let registered = Arc::downgrade(&target);
        let probe = DeliveryProbe::new(registered, Arc::new(target.downgrade()));
        EventListener {
            target,
            probe: Arc::new(probe),
        }
    }

    pub(crate) fn connected(&self) -> bool {
        self.target.is_alive()
    }

    #[inline]
    pub(super) fn gets_batches(&self) -> bool {
        matches!(*self.target, Target::Batch(..))
    }

    /// Sends an event by itself.
    #[inline]
    pub(super) fn send(&self, event: E) {
        match &*self.target {
            Target::Single(recipient) => {
                self.probe.clear_panic();
                recipient.do_send(event);
            }
            Target::Batch(..) => self.send_batch([event].into()),
        }
    }

    /// Sends events to a listener of batches.
    #[inline]
    pub(super) fn send_batch(&self, events: VecDeque<E>) {
        if let Target::Batch(recipient, spare) = &*self.target {
            self.probe.clear_panic();
            recipient.do_send(Batch::new(events, &self.probe, spare));
        }
    }

    /// An empty queue for a batch.
    pub(super) fn spare_queue(&self) -> VecDeque<E> {
        match &*self.target {
            Target::Batch(_, spare) => spare.get(),
            Target::Single(_) => VecDeque::new(),
        }
    }
}

impl<E: Event> Clone for EventListener<E> {
    fn clone(&self) -> Self {
        EventListener {
            target: self.target.clone(),
            probe: self.probe.clone(),
        }
    }
}

/// Sends each live listener its copy; see [`Listeners::dispatch`].
pub(crate) fn dispatch<E: Event>(
    list: &[EventListener<E>],
    mut copy: impl FnMut(&Arc<DeliveryProbe>) -> E,
) -> usize {
    let mut sent = 0;
    for listener in list {
        if listener.connected() {
            listener.send(copy(&listener.probe));
            sent += 1;
        }
    }
    sent
}

/// The listeners of one event of one app, shared by everything that raises it.
pub(crate) struct Listeners<E: Event> {
    list: RwLock<Snapshot<E>>,
    /// How many listeners were found dead.
    deaths: AtomicU64,
    /// Whether there are no listeners because the last one has died.
    orphaned: AtomicBool,
}

/// The listeners of an event, and whether it waits if it reaches none. Both are
/// read at once, because a listener may be added between two reads.
pub(crate) struct Recipients<E: Event> {
    pub(crate) listeners: Snapshot<E>,
    /// Whether there are no listeners because the last one has died.
    pub(crate) is_orphaned: bool,
}

impl<E: Event> Recipients<E> {
    /// Whether an event that was sent to `sent` of these listeners waits for the
    /// next listener: no listener got it, because all of them have died. An app
    /// that never had a listener, or removed its own, misses the event instead.
    pub(crate) fn is_undelivered(&self, sent: usize) -> bool {
        sent == 0 && (self.is_orphaned || !self.listeners.is_empty())
    }
}

impl<E: Event> Default for Listeners<E> {
    fn default() -> Self {
        Listeners {
            list: RwLock::default(),
            deaths: AtomicU64::new(0),
            orphaned: AtomicBool::new(false),
        }
    }
}

impl<E: Event> From<Recipient<E>> for Listeners<E> {
    fn from(recipient: Recipient<E>) -> Self {
        let listeners = Listeners::default();
        listeners.add(recipient.into());
        listeners
    }
}

impl<E: Event> Listeners<E> {
    pub(crate) fn add(&self, target: Target<E>) {
        let mut list = self.prune_dead();
        if !list.iter().any(|it| *it.target == target) {
            Arc::make_mut(&mut list).push(EventListener::new(target));
        }
        self.orphaned.store(false, SeqCst);
    }

    pub(crate) fn remove(&self, target: &Target<E>) {
        let mut list = self.prune_dead();
        Arc::make_mut(&mut list).retain(|it| *it.target != *target);
        if list.is_empty() {
            // The app manages its listeners itself, so it is not loaded again.
            self.orphaned.store(false, SeqCst);
        }
    }

    /// Removes all listeners.
    pub(crate) fn clear(&self) {
        let mut guard = self.prune_dead();
        let list = std::mem::take(&mut *guard);
        self.orphaned.store(false, SeqCst);
        drop(guard);
        // This may drop an actor's last address and run its `Drop`, which must
        // not happen under the lock.
        drop(list);
    }

    /// Whether this target, or any if `None`, is a live listener.
    pub(crate) fn contains(&self, target: Option<&Target<E>>) -> bool {
        self.list
            .read()
            .iter()
            .any(|it| it.connected() && target.is_none_or(|wanted| *it.target == *wanted))
    }

    /// Whether one of these listeners is also one of `others`.
    pub(crate) fn has_any_of(&self, others: &Self) -> bool {
        let (others, _) = others.snapshot();
        others.iter().any(|it| self.contains(Some(&it.target)))
    }

    /// Whether there is a live listener, and how many have died so far.
    pub(crate) fn liveness(&self) -> (bool, u64) {
        let list = self.list.read();
        if list.iter().all(EventListener::connected) {
            return (!list.is_empty(), self.deaths.load(SeqCst));
        }
        drop(list);
        let list = self.prune_dead();
        (!list.is_empty(), self.deaths.load(SeqCst))
    }

    /// Whether there is no listener because the last one died, and was not
    /// removed.
    pub(crate) fn is_orphaned(&self) -> bool {
        let (has_listener, _) = self.liveness();
        !has_listener && self.orphaned.load(SeqCst)
    }

    /// Sends each live listener the copy that `copy` makes for it, in the order
    /// in which they were added. Returns how many copies were sent.
    pub(crate) fn dispatch(&self, copy: impl FnMut(&Arc<DeliveryProbe>) -> E) -> usize {
        let list = self.list.read().clone();
        let sent = dispatch(&list, copy);
        if sent < list.len() {
            drop(self.prune_dead());
        }
        sent
    }

    /// The live listeners of this moment, for many events at once, and how many
    /// have died before.
    pub(crate) fn snapshot(&self) -> (Snapshot<E>, u64) {
        let mut list = self.list.read().clone();
        if !list.iter().all(EventListener::connected) {
            list = self.prune_dead().clone();
        }
        (list, self.deaths.load(SeqCst))
    }

    /// The live listeners of this moment, for one event.
    pub(crate) fn recipients(&self) -> Recipients<E> {
        let list = self.list.read();
        if list.iter().all(EventListener::connected) {
            return self.recipients_of(&list);
        }
        drop(list);
        let list = self.prune_dead();
        self.recipients_of(&list)
    }

    /// Called under the lock of the list, so that both values are of one
    /// moment.
    fn recipients_of(&self, list: &Snapshot<E>) -> Recipients<E> {
        Recipients {
            listeners: list.clone(),
            is_orphaned: list.is_empty() && self.orphaned.load(SeqCst),
        }
    }

    /// Removes dead listeners, and returns the list for a change.
    fn prune_dead(&self) -> RwLockWriteGuard<'_, Snapshot<E>> {
        let mut list = self.list.write();
        let dead = list.iter().filter(|it| !it.connected()).count();
        if dead > 0 {
            Arc::make_mut(&mut list).retain(EventListener::connected);
            self.deaths.fetch_add(dead as u64, SeqCst);
            self.orphaned.store(list.is_empty(), SeqCst);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, ActorContext, Context, Handler, Message};

    use super::{Event, Listeners, Target, dispatch};

    #[derive(Clone, Message)]
    #[rtype(result = "()")]
    struct TestEvent;

    impl Event for TestEvent {}

    /// Stops at its first event.
    struct StoppingListener;

    impl Actor for StoppingListener {
        type Context = Context<Self>;
    }

    impl Handler<TestEvent> for StoppingListener {
        type Result = ();

        fn handle(&mut self, _: TestEvent, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    #[actix_rt::test]
    async fn an_event_that_reached_no_listener_waits_even_if_one_is_added_meanwhile() {
        let listeners = Listeners::<TestEvent>::default();
        let none = listeners.recipients();
        assert!(!none.is_undelivered(0), "no listener has died");
        let first = StoppingListener.start();
        listeners.add(Target::Single(first.clone().recipient()));
        let before = listeners.recipients();
        first.send(TestEvent).await.expect("it runs");
        while first.connected() {
            actix_rt::task::yield_now().await;
        }
        let after = listeners.recipients();
        listeners.add(Target::Single(StoppingListener.start().recipient()));
        for recipients in [before, after] {
            let sent = dispatch(&recipients.listeners, |_| TestEvent);
            assert!(
                recipients.is_undelivered(sent),
                "it is for the next listener"
            );
        }
    }
}
