//! Whether an app is loaded, known to everything that it owns.
//!
//! A *suspended* app hears nothing: what is to be told waits where it is, and
//! has the app loaded again. The [`Registry`](crate::Registry) does both; its
//! sockets only look here before they raise an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::task::Context;

use actix::Message;
use futures::task::AtomicWaker;

use crate::events::{Event, Listeners};
use crate::ids::{AppId, ServerSocketId};
use crate::supervision::{LoadApp, RegistryLink, ServerClosed};

/// One app's life.
pub(crate) struct AppActivity {
    app: AppId,
    suspended: AtomicBool,
    /// Whether the registry knows that something waits.
    load_requested: AtomicBool,
    registry: RegistryLink,
    /// Whether the app has an event page.
    loadable: AtomicBool,
    /// Whether the app was called, or told something, since this was asked.
    touched: AtomicBool,
    /// Events that the app has not handled, those of client sockets apart:
    /// they have their credits.
    unhandled: AtomicUsize,
    /// Who waits for all events to be handled.
    quiet: AtomicWaker,
    /// Calls that take their time and are not answered yet.
    pending: AtomicUsize,
}

impl AppActivity {
    pub(crate) fn new(app: AppId, registry: RegistryLink) -> Self {
        AppActivity {
            app,
            suspended: AtomicBool::new(false),
            load_requested: AtomicBool::new(false),
            registry,
            loadable: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            unhandled: AtomicUsize::new(0),
            quiet: AtomicWaker::new(),
            pending: AtomicUsize::new(0),
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(SeqCst)
    }

    /// No event is raised from now on.
    pub(crate) fn suspend(&self) {
        self.load_requested.store(false, SeqCst);
        self.suspended.store(true, SeqCst);
    }

    /// No event is raised until the app has been loaded, which it is wanted
    /// for.
    pub(crate) fn suspend_for_reload(&self) {
        self.suspended.store(true, SeqCst);
    }

    /// Events are raised again.
    pub(crate) fn resume(&self) {
        self.suspended.store(false, SeqCst);
        self.load_requested.store(false, SeqCst);
    }

    /// Whether something waits for the app.
    pub(crate) fn is_wanted(&self) -> bool {
        self.load_requested.load(SeqCst)
    }

    /// Something waits: has the app loaded.
    pub(crate) fn request_load(&self) {
        if !self.load_requested.swap(true, SeqCst) {
            self.registry.load_app(LoadApp(self.app.clone()));
        }
    }

    /// Nothing waits, as it turned out.
    pub(crate) fn cancel_load_request(&self) {
        self.load_requested.store(false, SeqCst);
    }

    /// Something waits all the same, and the registry knows.
    pub(crate) fn is_wanted_again(&self) {
        self.load_requested.store(true, SeqCst);
    }

    pub(crate) fn set_loadable(&self, loadable: bool) {
        self.loadable.store(loadable, SeqCst);
    }

    /// Whether the app is to be loaded again for these listeners: the last of
    /// them has died, and its event page adds others.
    pub(crate) fn needs_reload<E: Event>(&self, listeners: &Listeners<E>) -> bool {
        self.loadable.load(SeqCst) && listeners.is_orphaned()
    }

    /// A server socket of the app has closed itself.
    pub(crate) fn server_ended(&self, id: ServerSocketId) {
        self.registry.ended(ServerClosed(self.app.clone(), id));
    }

    /// The way to the registry.
    pub(crate) fn registry_link(&self) -> &RegistryLink {
        &self.registry
    }

    /// The app is not idle.
    pub(crate) fn mark_active(&self) {
        // On the way of every event: nearly always it only looks.
        if !self.touched.load(Relaxed) {
            self.touched.store(true, Relaxed);
        }
    }

    /// Whether the app was idle since this was last asked.
    pub(crate) fn was_idle(&self) -> bool {
        !self.touched.swap(false, Relaxed) && self.pending.load(SeqCst) == 0
    }

    /// One event more is on its way.
    pub(crate) fn raised(&self) {
        self.mark_active();
        self.unhandled.fetch_add(1, SeqCst);
    }

    /// One event less is on its way.
    pub(crate) fn handled(&self) {
        self.mark_active();
        self.unhandled.fetch_sub(1, SeqCst);
        self.wake_quiet();
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.unhandled.load(SeqCst) == 0
    }

    /// Has `cx` woken when a suspended app has handled events. After saying
    /// so, look again. The flag that says that somebody waits is `suspended`: it
    /// is set before, and counts fall before it is read, all of it `SeqCst`, so a
    /// count that falls unseen by the look wakes.
    pub(crate) fn wake_when_quiet(&self, cx: &Context<'_>) {
        self.quiet.register(cx.waker());
    }

    /// Wakes who waits for the app to have handled all.
    pub(crate) fn wake_quiet(&self) {
        if self.is_suspended() {
            self.quiet.wake();
        }
    }
}

/// A call that takes its time, until it is dropped: the app is not idle.
pub(crate) struct Pending(Arc<AppActivity>);

impl Pending {
    pub(crate) fn new(activity: &Arc<AppActivity>) -> Self {
        activity.pending.fetch_add(1, SeqCst);
        Pending(activity.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.mark_active();
        self.0.pending.fetch_sub(1, SeqCst);
    }
}

/// `runtime.onSuspend`: the app is being suspended. Its sockets that are not
/// persistent are closed, and its listeners forgotten, when the handlers of
/// this and of all events before it are done.
///
/// An actor that started for this app alone ends by itself when its last
/// address goes, which the listeners are; one that keeps itself alive, by an
/// interval for instance, should stop here.
#[derive(derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct SuspendInfo {
    /// The app.
    pub app: AppId,
    #[debug(skip)]
    activity: Arc<AppActivity>,
}

impl SuspendInfo {
    pub(crate) fn new(app: AppId, activity: &Arc<AppActivity>) -> Self {
        activity.raised();
        SuspendInfo {
            app,
            activity: activity.clone(),
        }
    }
}

impl Clone for SuspendInfo {
    fn clone(&self) -> Self {
        SuspendInfo::new(self.app.clone(), &self.activity)
    }
}

impl Drop for SuspendInfo {
    fn drop(&mut self) {
        self.activity.handled();
    }
}

impl Event for SuspendInfo {}
