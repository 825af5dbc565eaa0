//! Who hears of an event: Chrome's `addListener`, with [`Recipient`]s.
//!
//! A listener is forgotten when its actor is dead. Dispatching never waits:
//! what bounds the events that are on their way is the credit that each one
//! carries (see [`tcp::ReceiveInfo`](crate::tcp::ReceiveInfo) and
//! [`tcp_server::AcceptInfo`](crate::tcp_server::AcceptInfo)).

pub(crate) mod redelivery;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::task::Context;
use std::thread::panicking;
use std::time::Duration;

use actix::{Message, Recipient, WeakRecipient};
use actix_rt::time::{Sleep, sleep};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::Error;
use crate::ids::AppId;

/// An event of Chrome's API: `onAccept`, `onAcceptError`, `onReceive` or
/// `onReceiveError`; or `onHandshakeError`, `onRefused`, `onDrain` and
/// `onSuspend`, beyond it.
pub trait Event: Message<Result = ()> + Send + Sized + 'static {}

/// The most listeners that may panic at one event: 3. Data that was being
/// handled at the third panic in a row ends its socket; any other event is
/// dropped.
pub const MAX_PANICS: u32 = 3;

/// How long an event at which a listener has panicked is held back once the
/// next listener is there: 100 ms. The events that waited in the dead mailbox
/// are raised before it, so that they are handled even if the next listener
/// panics too.
pub(crate) const HOLD_BACK: Duration = Duration::from_millis(100);

/// `onAccept.addListener` and the like: events of `app` go to `recipient`
/// from now on. Adding a recipient twice is adding it once.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub struct AddListener<E: Event> {
    /// Whose events.
    pub app: AppId,
    /// Where they go.
    pub recipient: Recipient<E>,
}

/// `removeListener`: no event goes to `recipient` any more. Those already in
/// its mailbox stay there. Removing one that was never added does nothing.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub struct RemoveListener<E: Event> {
    /// Whose events.
    pub app: AppId,
    /// Who leaves.
    pub recipient: Recipient<E>,
}

/// `hasListeners`, and `hasListener` when a recipient is given. Dead ones do
/// not count.
#[derive(Message)]
#[rtype(result = "Result<bool, Error>")]
pub struct HasListener<E: Event> {
    /// Whose events.
    pub app: AppId,
    /// Who is asked for; anyone, if `None`.
    pub recipient: Option<Recipient<E>>,
}

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
        let ear = Arc::new(DeliveryProbe {
            known: Arc::downgrade(&recipient),
            actor,
            has_panicked: Arc::default(),
            copies: None,
        });
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

/// Whose copy of an event it is. It is no address: an event that a listener
/// keeps must not keep the listener.
pub(crate) struct DeliveryProbe<E: Event> {
    /// While it is a listener: cheaper to ask.
    known: Weak<Recipient<E>>,
    actor: Arc<WeakRecipient<E>>,
    /// Whether a copy was dropped by a panic since the last one was sent.
    has_panicked: Arc<AtomicBool>,
    /// Of an event that others have copies of as well.
    copies: Option<Arc<FanOut>>,
}

/// What became of a copy that is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Handled,
    /// The listener has panicked while it handled this copy.
    Panicked,
    /// The listener has died before it came to this copy.
    Unread,
}

impl<E: Event> DeliveryProbe<E> {
    /// What has become of a copy that is dropped now. A mailbox closes before
    /// it drops its messages. A handler that panics drops its event first,
    /// while the mailbox is still open; then the actor drops the events that
    /// it has kept, and then the mailbox its messages.
    pub(crate) fn fate(&self) -> Fate {
        let lives = || match self.known.upgrade() {
            Some(recipient) => recipient.connected(),
            None => self.actor.upgrade().is_some_and(|it| it.connected()),
        };
        if !lives() {
            return Fate::Unread;
        }
        match panicking() {
            false => Fate::Handled,
            true if self.has_panicked.swap(true, SeqCst) => Fate::Unread,
            true => Fate::Panicked,
        }
    }

    /// A copy is sent: the next panic is another one.
    #[inline]
    fn begin_anew(&self) {
        if self.has_panicked.load(SeqCst) {
            self.has_panicked.store(false, SeqCst);
        }
    }

    fn lost(&self, taken: bool) -> Option<u32> {
        let fate = self.fate();
        let handled = taken || fate == Fate::Handled;
        let panics = u32::from(fate == Fate::Panicked);
        match &self.copies {
            None => (!handled).then_some(panics),
            Some(copies) => {
                if handled {
                    copies.reached.store(true, SeqCst);
                }
                copies.panics.fetch_add(panics, SeqCst);
                copies.drop_one()
            }
        }
    }
}

/// One listener's copy of an event that is raised again if it reaches nobody.
/// A clone of it is the listener's own: it does not count.
pub(crate) struct Delivery<E: Event>(Option<Arc<DeliveryProbe<E>>>);

impl<E: Event> Delivery<E> {
    #[inline]
    pub(crate) fn new(ear: &Arc<DeliveryProbe<E>>, copies: Option<&Arc<FanOut>>) -> Self {
        Delivery(Some(match copies {
            None => ear.clone(),
            Some(copies) => copies.one_for(ear),
        }))
    }

    /// The copy is dropped: if the event has reached nobody, how many
    /// listeners have panicked at it. Something that was `taken` out of a copy
    /// has reached somebody.
    #[inline]
    pub(crate) fn lost(&self, taken: bool) -> Option<u32> {
        match &self.0 {
            None => None,
            Some(ear) if taken && ear.copies.is_none() => None,
            Some(ear) => ear.lost(taken),
        }
    }

    /// Whether the only listener has panicked after it took everything out of
    /// the copy.
    #[cold]
    pub(crate) fn panicked_after_taking(&self) -> bool {
        let ear = self.0.as_ref().filter(|ear| ear.copies.is_none());
        ear.is_some_and(|ear| ear.fate() == Fate::Panicked)
    }
}

impl<E: Event> Clone for Delivery<E> {
    fn clone(&self) -> Self {
        Delivery(None)
    }
}

/// The copies of one event for several listeners.
pub(crate) struct FanOut {
    /// Those that have not been dropped, and one for the time of the dispatch.
    count: AtomicUsize,
    reached: AtomicBool,
    /// How many listeners have panicked at theirs.
    panics: AtomicU32,
}

impl FanOut {
    /// For as many listeners; a single one needs none.
    #[inline]
    pub(crate) fn among(listeners: usize) -> Option<Arc<Self>> {
        (listeners > 1).then(|| {
            Arc::new(FanOut {
                count: AtomicUsize::new(1),
                reached: AtomicBool::new(false),
                panics: AtomicU32::new(0),
            })
        })
    }

    fn one_for<E: Event>(self: &Arc<Self>, ear: &DeliveryProbe<E>) -> Arc<DeliveryProbe<E>> {
        self.count.fetch_add(1, SeqCst);
        Arc::new(DeliveryProbe {
            known: ear.known.clone(),
            actor: ear.actor.clone(),
            has_panicked: ear.has_panicked.clone(),
            copies: Some(self.clone()),
        })
    }

    /// One is dropped: if it was the last, and none has reached anybody, how
    /// many listeners have panicked at theirs.
    pub(crate) fn drop_one(&self) -> Option<u32> {
        let lost = self.count.fetch_sub(1, SeqCst) == 1 && !self.reached.load(SeqCst);
        lost.then(|| self.panics.load(SeqCst))
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

/// Holds back the events at which listeners have panicked; see [`HOLD_BACK`].
#[derive(Default)]
pub(crate) struct HoldBack {
    /// How many listeners had died when it began.
    deaths: Option<u64>,
    time: Option<Pin<Box<Sleep>>>,
}

impl HoldBack {
    /// Whether they may be raised to the listeners of now, before whom so many
    /// have died; `cx` is woken when they may.
    pub(crate) fn is_over(&mut self, deaths: u64, cx: &mut Context<'_>) -> bool {
        if self.deaths != Some(deaths) {
            self.deaths = Some(deaths);
            self.time = Some(Box::pin(sleep(HOLD_BACK)));
        }
        let time = self.time.as_mut();
        let is_over = time.is_none_or(|time| time.as_mut().poll(cx).is_ready());
        if is_over {
            self.time = None;
        }
        is_over
    }

    /// Begins anew, by the clock of another thread.
    pub(crate) fn forget_clock(&mut self) {
        *self = Self::default();
    }
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
    use actix::{Actor, ActorContext, Context, Handler};

    use super::{Event, Listeners, Message, dispatch};

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
