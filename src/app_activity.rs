//! Whether an app is loaded, idle, or owed events: shared by everything that it owns.
//!
//! A *suspended* app gets no event. Its sockets keep what they have to report,
//! and ask for the app to be loaded again. The [`Registry`](crate::Registry)
//! suspends and loads apps; sockets read this state before they raise an event.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::Context;

use actix::Message;
use futures::task::AtomicWaker;

use crate::events::{Event, Listeners};
use crate::ids::{AppId, ServerSocketId};
use crate::supervision::{RegistryLink, RegistryMessage};

/// The activity of one app.
pub(crate) struct AppActivity {
    app: AppId,
    suspended: AtomicBool,
    /// Whether the registry was asked to load the app.
    load_requested: AtomicBool,
    registry_link: RegistryLink,
    has_event_page: AtomicBool,
    /// Whether the app made a call or had an event since this was last read.
    active: AtomicBool,
    /// Events in flight, without `onReceive`, which credits count, and `onReceiveError`.
    unhandled: AtomicUsize,
    /// The task that waits until all events are handled.
    quiescence: AtomicWaker,
    /// Unanswered calls that depend on a peer, such as `connect`.
    pending_calls: AtomicUsize,
}

impl AppActivity {
    pub(crate) fn new(app: AppId, registry_link: RegistryLink) -> Self {
        AppActivity {
            app,
            suspended: AtomicBool::new(false),
            load_requested: AtomicBool::new(false),
            registry_link,
            has_event_page: AtomicBool::new(false),
            active: AtomicBool::new(false),
            unhandled: AtomicUsize::new(0),
            quiescence: AtomicWaker::new(),
            pending_calls: AtomicUsize::new(0),
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(SeqCst)
    }

    /// From now on no event is raised.
    pub(crate) fn suspend(&self) {
        self.load_requested.store(false, SeqCst);
        self.suspended.store(true, SeqCst);
    }

    /// As [`suspend`](Self::suspend), but keeps the request to load the app.
    pub(crate) fn suspend_for_reload(&self) {
        self.suspended.store(true, SeqCst);
    }

    /// Events are raised again.
    pub(crate) fn resume(&self) {
        self.suspended.store(false, SeqCst);
        self.load_requested.store(false, SeqCst);
    }

    pub(crate) fn is_load_requested(&self) -> bool {
        self.load_requested.load(SeqCst)
    }

    /// Asks the registry, once, to load the app.
    pub(crate) fn request_load(&self) {
        if !self.load_requested.swap(true, SeqCst) {
            let message = RegistryMessage::LoadApp(self.app.clone());
            self.registry_link.send(message);
        }
    }

    /// For the registry, which needs no message to itself.
    pub(crate) fn set_load_requested(&self, load_requested: bool) {
        self.load_requested.store(load_requested, SeqCst);
    }

    pub(crate) fn set_has_event_page(&self, has_event_page: bool) {
        self.has_event_page.store(has_event_page, SeqCst);
    }

    /// Whether the app has to be loaded again because the last of these
    /// listeners has died. Its event page will add others.
    pub(crate) fn needs_reload<E: Event>(&self, listeners: &Listeners<E>) -> bool {
        self.has_event_page.load(SeqCst) && listeners.is_orphaned()
    }

    /// Tells the registry that a server socket of the app has closed itself.
    pub(crate) fn report_server_closed(&self, id: ServerSocketId) {
        let message = RegistryMessage::ServerClosed(self.app.clone(), id);
        self.registry_link.send(message);
    }

    pub(crate) fn registry_link(&self) -> &RegistryLink {
        &self.registry_link
    }

    /// Records that the app is not idle.
    pub(crate) fn mark_active(&self) {
        // Called for every event: nearly always a load is enough.
        if !self.active.load(Relaxed) {
            self.active.store(true, Relaxed);
        }
    }

    /// Whether the app was idle since the last call of this function.
    pub(crate) fn was_idle(&self) -> bool {
        !self.active.swap(false, Relaxed) && self.pending_calls.load(SeqCst) == 0
    }

    /// Counts an event in flight.
    pub(crate) fn event_raised(&self) {
        self.mark_active();
        self.unhandled.fetch_add(1, SeqCst);
    }

    /// Counts an event as handled.
    pub(crate) fn event_handled(&self) {
        self.mark_active();
        self.unhandled.fetch_sub(1, SeqCst);
        self.wake_quiescence();
    }

    /// Whether all events that this counts are handled.
    pub(crate) fn is_quiescent(&self) -> bool {
        self.unhandled.load(SeqCst) == 0
    }

    /// Has `cx` woken when a suspended app has handled events. The caller reads
    /// the counts afterwards. The flag that says that a task waits is
    /// `suspended`. It is set before the counts are read, and counts fall before
    /// it is read, all of it `SeqCst`; so a count that falls after the caller's
    /// reading wakes it.
    pub(crate) fn register_quiescence(&self, cx: &Context<'_>) {
        self.quiescence.register(cx.waker());
    }

    /// Wakes the task that waits until all events are handled.
    pub(crate) fn wake_quiescence(&self) {
        if self.is_suspended() {
            self.quiescence.wake();
        }
    }
}

/// An unanswered call that depends on a peer. The app is not idle until this is
/// dropped.
pub(crate) struct PendingCall(Arc<AppActivity>);

impl PendingCall {
    pub(crate) fn new(activity: &Arc<AppActivity>) -> Self {
        activity.pending_calls.fetch_add(1, SeqCst);
        PendingCall(activity.clone())
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.0.mark_active();
        self.0.pending_calls.fetch_sub(1, SeqCst);
    }
}

/// Counts a listener's copy of an event until it is dropped.
pub(crate) struct UnhandledEvent(Arc<AppActivity>);

impl UnhandledEvent {
    pub(crate) fn new(activity: &Arc<AppActivity>) -> Self {
        activity.event_raised();
        UnhandledEvent(activity.clone())
    }
}

impl Clone for UnhandledEvent {
    fn clone(&self) -> Self {
        UnhandledEvent::new(&self.0)
    }
}

impl Drop for UnhandledEvent {
    fn drop(&mut self) {
        self.0.event_handled();
    }
}

/// `runtime.onSuspend`: the app is being suspended. When this event and all
/// events before it are handled, the app's non-persistent sockets are closed
/// and its listeners removed.
///
/// An actor that nothing else holds stops by itself when its listeners are
/// removed, since those are its last addresses. An actor that keeps itself
/// alive, by an interval for instance, should stop in the handler of this
/// event.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct SuspendInfo {
    /// The app.
    pub app: AppId,
    #[debug(skip)]
    _unhandled: UnhandledEvent,
}

impl SuspendInfo {
    pub(crate) fn new(app: AppId, activity: &Arc<AppActivity>) -> Self {
        SuspendInfo {
            app,
            _unhandled: UnhandledEvent::new(activity),
        }
    }
}

impl Event for SuspendInfo {}
