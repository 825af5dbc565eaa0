//! The listeners of an event: Chrome's `addListener`, with [`Recipient`]s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use actix::Recipient;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::events::delivery::DeliveryProbe;
use crate::events::types::Event;

/// The listeners of one moment.
pub(crate) type Snapshot<E> = Arc<Vec<Listener<E>>>;

/// One listener of an event.
pub(crate) struct Listener<E: Event> {
    recipient: Arc<Recipient<E>>,
    ear: Arc<DeliveryProbe<E>>,
}

impl<E: Event> Listener<E> {
    fn new(recipient: Recipient<E>) -> Self {
        let actor = Arc::new(recipient.downgrade());
        let recipient = Arc::new(recipient);
        let ear = Arc::new(DeliveryProbe::new(&recipient, actor));
        Listener { recipient, ear }
    }

    pub(crate) fn connected(&self) -> bool {
        self.recipient.connected()
    }
}

impl<E: Event> Clone for Listener<E> {
    fn clone(&self) -> Self {
        Listener {
            recipient: self.recipient.clone(),
            ear: self.ear.clone(),
        }
    }
}

/// Sends each live listener its copy; see [`Listeners::dispatch`].
pub(crate) fn dispatch<E: Event>(
    list: &[Listener<E>],
    mut copy: impl FnMut(&Arc<DeliveryProbe<E>>) -> E,
) -> usize {
    let mut sent = 0;
    for listener in list {
        if listener.connected() {
            listener.ear.begin_anew();
            listener.recipient.do_send(copy(&listener.ear));
            sent += 1;
        }
    }
    sent
}

/// The listeners of one event of one app, shared by everything that raises it.
pub(crate) struct Listeners<E: Event> {
    list: RwLock<Snapshot<E>>,
    /// How many have been found dead.
    deaths: AtomicU64,
    /// Whether there are no listeners because the last one has died.
    orphaned: AtomicBool,
}

/// The listeners of an event, and what happens to it if it reaches none. One
/// reading decides both: a listener may come between two.
pub(crate) struct Recipients<E: Event> {
    pub(crate) listeners: Snapshot<E>,
    /// Whether there are no listeners because the last one has died.
    pub(crate) is_orphaned: bool,
}

impl<E: Event> Recipients<E> {
    /// Whether an event that was sent to so many of them waits for the next
    /// listener: no listener got it, because all of them have died.
    pub(crate) fn is_missed(&self, sent: usize) -> bool {
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

impl<E: Event> Listeners<E> {
    pub(crate) fn add(&self, recipient: Recipient<E>) {
        let mut list = self.prune_dead();
        if !list.iter().any(|known| *known.recipient == recipient) {
            Arc::make_mut(&mut list).push(Listener::new(recipient));
        }
        self.orphaned.store(false, SeqCst);
    }

    pub(crate) fn remove(&self, recipient: &Recipient<E>) {
        let mut list = self.prune_dead();
        Arc::make_mut(&mut list).retain(|known| *known.recipient != *recipient);
        if list.is_empty() {
            // The app sees to its listeners itself.
            self.orphaned.store(false, SeqCst);
        }
    }

    /// Forgets everybody.
    pub(crate) fn clear(&self) {
        let mut prune_dead = self.prune_dead();
        let list = std::mem::take(&mut *prune_dead);
        self.orphaned.store(false, SeqCst);
        drop(prune_dead);
        // The last address of an actor may go here: not under the lock.
        drop(list);
    }

    pub(crate) fn has(&self, recipient: Option<&Recipient<E>>) -> bool {
        self.read().iter().any(|known| {
            known.connected() && recipient.is_none_or(|wanted| *known.recipient == *wanted)
        })
    }

    /// Whether anybody listens, and how many listeners have died so far.
    pub(crate) fn liveness(&self) -> (bool, u64) {
        let (list, deaths) = self.snapshot();
        (!list.is_empty(), deaths)
    }

    /// Whether nobody listens though somebody did, and did not leave but died.
    pub(crate) fn is_orphaned(&self) -> bool {
        let (anybody, _) = self.liveness();
        !anybody && self.orphaned.load(SeqCst)
    }

    /// Sends each live listener the copy that `copy` makes for it, in the
    /// order in which they were added, and says how many there were.
    pub(crate) fn dispatch(&self, copy: impl FnMut(&Arc<DeliveryProbe<E>>) -> E) -> usize {
        dispatch(&self.snapshot().0, copy)
    }

    /// The living listeners of this moment, for many events at once, and how
    /// many have died before.
    pub(crate) fn snapshot(&self) -> (Snapshot<E>, u64) {
        let mut list = self.read().clone();
        if !list.iter().all(Listener::connected) {
            list = self.prune_dead().clone();
        }
        (list, self.deaths.load(SeqCst))
    }

    /// The living listeners of this moment, for one event.
    pub(crate) fn recipients(&self) -> Recipients<E> {
        let list = self.read();
        if list.iter().all(Listener::connected) {
            return self.recipients_of(&list);
        }
        drop(list);
        let list = self.prune_dead();
        self.recipients_of(&list)
    }

    /// Under the lock of the list, so that both are of one moment.
    fn recipients_of(&self, list: &Snapshot<E>) -> Recipients<E> {
        Recipients {
            listeners: list.clone(),
            is_orphaned: list.is_empty() && self.orphaned.load(SeqCst),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Snapshot<E>> {
        self.list.read()
    }

    /// The list, to be changed, after the dead are forgotten.
    fn prune_dead(&self) -> RwLockWriteGuard<'_, Snapshot<E>> {
        let mut list = self.list.write();
        let dead = list.iter().filter(|known| !known.connected()).count();
        if dead > 0 {
            Arc::make_mut(&mut list).retain(Listener::connected);
            self.deaths.fetch_add(dead as u64, SeqCst);
            self.orphaned.store(list.is_empty(), SeqCst);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, ActorContext, Context, Handler, Message};

    use super::{Event, Listeners, dispatch};

    #[derive(Clone, Message)]
    #[rtype(result = "()")]
    struct News;

    impl Event for News {}

    struct Listens;

    impl Actor for Listens {
        type Context = Context<Self>;
    }

    impl Handler<News> for Listens {
        type Result = ();

        fn handle(&mut self, _: News, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    #[actix_rt::test]
    async fn what_reaches_nobody_waits_even_if_the_next_listener_comes_meanwhile() {
        let listeners = Listeners::<News>::default();
        let nobody = listeners.recipients();
        assert!(!nobody.is_missed(0), "nobody has died");
        let first = Listens.start();
        listeners.add(first.clone().recipient());
        let before = listeners.recipients();
        first.send(News).await.expect("it runs");
        while first.connected() {
            actix_rt::task::yield_now().await;
        }
        let after = listeners.recipients();
        listeners.add(Listens.start().recipient());
        for recipients in [before, after] {
            let sent = dispatch(&recipients.listeners, |_| News);
            assert!(recipients.is_missed(sent), "the next listener hears it");
        }
    }
}
