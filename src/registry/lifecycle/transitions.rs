//! Suspends, loads and unloads apps.
//!
//! The transitions of an app are carried out one after the other, because a
//! suspension waits for listeners, and a load for the app's own code.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::*;
use actix_rt::time::timeout;
use futures::future::poll_fn;

use crate::answer::{Answer, Reply, messages};
use crate::app_activity::{AppActivity, SuspendInfo};
use crate::error::Error;
use crate::ids::{AppId, ServerSocketId};
use crate::pending_pauses::PAUSE_GRACE;
use crate::registry::lifecycle::timer::{MAX_BACKOFF, MIN_BACKOFF, Timer};
use crate::registry::state::{AppState, EventPage, Lifecycle, Registry, Transition};
use crate::supervision::{RegistryMessage, ask_all};
use crate::tcp_server;

messages! {
    /// Suspends the app: see [`App::suspend`](crate::App::suspend).
    Suspend {} -> ();

    /// Loads the app: see [`App::resume`](crate::App::resume).
    Resume {} -> ();

    /// Closes all sockets of the app and forgets it: see
    /// [`App::unload`](crate::App::unload).
    Unload {} -> ();

    /// Whether the app is suspended.
    IsSuspended {} -> bool;

    /// Sets how the app is loaded: see
    /// [`App::set_event_page`](crate::App::set_event_page).
    SetEventPage {
        /// The event page; `None` if only [`Resume`] loads the app.
        page: Option<EventPage>,
    } -> ();
}

impl Registry {
    pub(super) fn enqueue(
        &mut self,
        app: &AppId,
        transition: Transition,
        reply: Reply<()>,
        ctx: &mut Context<Self>,
    ) {
        let lifecycle = &mut self.app(app).lifecycle;
        lifecycle.queue.push_back((transition, reply));
        self.start_next(app, ctx);
    }

    /// Starts the app's next transition, if none is running.
    fn start_next(&mut self, app: &AppId, ctx: &mut Context<Self>) {
        while let Some(state) = self.apps.get_mut(app)
            && state.lifecycle.running.is_none()
            && let Some((transition, reply)) = state.lifecycle.queue.pop_front()
        {
            let is_suspended = state.app_shards.activity.is_suspended();
            match transition {
                // An app that waits for its event page because its listeners have
                // died is marked as suspended, but its sockets are still open.
                Transition::Suspend
                    if !is_suspended || state.lifecycle.orphan_backoff.is_active() =>
                {
                    state.lifecycle.running = Some(transition);
                    self.suspend(app.clone(), reply, ctx);
                }
                Transition::Resume if is_suspended => {
                    state.lifecycle.running = Some(transition);
                    self.load(app.clone(), reply, ctx);
                }
                // It is in that state already.
                Transition::Suspend | Transition::Resume => reply.send(Ok(())),
            }
        }
    }

    /// The app, unless it was unloaded since it had this activity. An app with
    /// the same id may have been created meanwhile.
    fn unless_unloaded(
        &mut self,
        app: &AppId,
        activity: &Arc<AppActivity>,
    ) -> Result<&mut AppState, Error> {
        self.apps
            .get_mut(app)
            .filter(|state| Arc::ptr_eq(&state.app_shards.activity, activity))
            .ok_or(Error::Unloaded)
    }

    /// Ends the running transition, and starts the next one.
    fn finish(
        &mut self,
        app: &AppId,
        activity: &Arc<AppActivity>,
        answer: Result<(), Error>,
        reply: Reply<()>,
        ctx: &mut Context<Self>,
    ) {
        let answer = self.unless_unloaded(app, activity).and_then(|state| {
            state.lifecycle.running = None;
            answer
        });
        reply.send(answer);
        self.start_next(app, ctx);
    }

    /// Loads an app if a socket has requested that and it has an event page.
    pub(in crate::registry) fn load_if_requested(&mut self, app: &AppId, ctx: &mut Context<Self>) {
        let Some(state) = self.apps.get_mut(app) else {
            return;
        };
        let activity = state.app_shards.activity.clone();
        if !activity.is_load_requested() || state.lifecycle.event_page.is_none() {
            return;
        }
        // The app is loaded, so the request is for listeners that have died.
        if !activity.is_suspended() {
            // Cancelled before the listeners are read: a socket that finds them
            // dead afterwards sends another request.
            activity.set_load_requested(false);
            if !state.is_orphaned() {
                return;
            }
            activity.set_load_requested(true);
            // The event page will add all listeners.
            state.clear_listeners();
            activity.suspend_for_reload();
            let delay = state.lifecycle.orphan_backoff.next_delay();
            log::warn!("app {app}: its listeners have died; loaded again in {delay:?}");
            if !delay.is_zero() {
                state.lifecycle.retry_after(delay, app, ctx);
                return;
            }
        }
        self.enqueue(app, Transition::Resume, Reply::discard(), ctx);
    }

    /// From now on the app's sockets raise no event. When events in flight are
    /// handled, the sockets that are not persistent are closed.
    fn suspend(&mut self, app: AppId, reply: Reply<()>, ctx: &mut Context<Self>) {
        let state = self.app(&app);
        let app_shards = state.app_shards.clone();
        let activity = app_shards.activity.clone();
        state.lifecycle.orphan_backoff.cancel();
        state.lifecycle.retry_timer = None;
        activity.suspend();
        state
            .on_suspend
            .dispatch(|_| SuspendInfo::new(app.clone(), &activity));
        let turns = state.recheck_events();
        let handled = async move {
            // A turn that is running may still raise events.
            turns.await;
            let handled = poll_fn(|cx| app_shards.poll_quiet(cx));
            let in_time = timeout(PAUSE_GRACE, handled).await;
            in_time.map_err(|_| Error::EventsInFlight)
        };
        let task = wrap_future::<_, Self>(handled)
            .then(move |handled, registry, _| {
                let closed = registry.unless_unloaded(&app, &activity).map(|state| {
                    state.clear_listeners();
                    state.close_transient()
                });
                wrap_future(async move {
                    let closed = match closed {
                        Ok(closed) => closed.await,
                        Err(_) => Vec::new(),
                    };
                    (app, activity, handled, closed)
                })
            })
            .map(|(app, activity, handled, closed), registry, ctx| {
                if let Ok(state) = registry.unless_unloaded(&app, &activity) {
                    closed
                        .into_iter()
                        .for_each(|id| state.remove_closed_server(id));
                }
                registry.finish(&app, &activity, handled, reply, ctx);
            });
        ctx.spawn(task);
    }

    /// Starts the app's event page, if it has one. Events are raised again when it
    /// has started.
    fn load(&mut self, app: AppId, reply: Reply<()>, ctx: &mut Context<Self>) {
        let state = self.app(&app);
        let activity = state.app_shards.activity.clone();
        let event_page = state.lifecycle.event_page.clone();
        state.lifecycle.retry_timer = None;
        let registry = ctx.address();
        actix_rt::spawn(async move {
            let result = match event_page {
                Some(event_page) => event_page.start(&app, &registry).await,
                None => Ok(()),
            };
            // The page has added its listeners by messages, which this one
            // follows.
            registry.do_send(PageStarted {
                app,
                activity,
                result,
                reply,
            });
        });
    }

    /// After a restart of the registry: starts the running transition of each app
    /// again, and its timers. The callers were answered when the first attempt was
    /// dropped.
    pub(in crate::registry) fn resume_transitions(&mut self, ctx: &mut Context<Self>) {
        for app in self.apps.keys().cloned().collect::<Vec<_>>() {
            let Some(state) = self.apps.get_mut(&app) else {
                continue;
            };
            let lifecycle = &mut state.lifecycle;
            let event_page = lifecycle.event_page.as_ref();
            lifecycle.idle_timer = event_page.and_then(|it| it.idle_timer(&app, ctx));
            let had_retry = lifecycle.retry_timer.take().is_some();
            match lifecycle.running {
                Some(Transition::Suspend) => self.suspend(app, Reply::discard(), ctx),
                Some(Transition::Resume) => self.load(app, Reply::discard(), ctx),
                None if had_retry => self.load_if_requested(&app, ctx),
                None => {}
            }
        }
    }
}

impl Lifecycle {
    /// Checks after this delay, and then periodically, whether the app is to be
    /// loaded.
    fn retry_after(&mut self, delay: Duration, app: &AppId, ctx: &Context<Registry>) {
        let app = app.clone();
        let message = move || RegistryMessage::LoadApp(app.clone());
        self.retry_timer = Some(Timer::start(delay, ctx, message));
    }
}

/// An event page has started, or has failed to start.
#[derive(Message)]
#[rtype(result = "()")]
struct PageStarted {
    app: AppId,
    activity: Arc<AppActivity>,
    result: Result<(), Error>,
    reply: Reply<()>,
}

impl AppState {
    /// Closes the sockets that are not persistent, and returns the server
    /// sockets among them.
    fn close_transient(&self) -> impl Future<Output = Vec<ServerSocketId>> + use<> {
        let closed = ask_all(&self.server_addrs(), &tcp_server::CloseUnlessPersistent);
        let app_shards = self.app_shards.clone();
        let udp_closed = self.udp.close(false);
        async move {
            udp_closed.await;
            let closed = closed.await.into_iter().flatten().collect();
            // Clients are second: a server socket closes those of its clients that
            // were not delivered to a listener.
            app_shards.close(false).await;
            closed
        }
    }
}

impl Handler<PageStarted> for Registry {
    type Result = ();

    fn handle(&mut self, started: PageStarted, ctx: &mut Self::Context) {
        let (app, activity, result) = (started.app, started.activity, started.result);
        if let Ok(state) = self.unless_unloaded(&app, &activity) {
            let delay = state.lifecycle.load_backoff.take();
            match result {
                Ok(()) => {
                    state.lifecycle.orphan_backoff.page_started();
                    activity.resume();
                    ctx.spawn(wrap_future(state.recheck_events()));
                }
                Err(error) => {
                    // The page may have added some listeners. It adds all of them
                    // again at the next start.
                    state.clear_listeners();
                    let delay = delay.unwrap_or(MIN_BACKOFF);
                    state.lifecycle.load_backoff = Some((delay * 2).min(MAX_BACKOFF));
                    log::error!("app {app}: not loaded, {error}; trying again in {delay:?}");
                    state.lifecycle.retry_after(delay, &app, ctx);
                }
            }
        }
        self.finish(&app, &activity, result, started.reply, ctx);
    }
}

macro_rules! transitions {
    ($($transition:ident)*) => {$(
        impl Handler<$transition> for Registry {
            type Result = ResponseFuture<Result<(), Error>>;

            fn handle(&mut self, call: $transition, ctx: &mut Self::Context) -> Self::Result {
                let (answer, reply) = Answer::pair();
                self.enqueue(&call.app, Transition::$transition, reply, ctx);
                Box::pin(answer)
            }
        }
    )*};
}

transitions! { Suspend Resume }

impl Handler<Unload> for Registry {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, call: Unload, _: &mut Self::Context) -> Self::Result {
        let closed = self.apps.remove(&call.app).map(|mut state| {
            state.app_shards.activity.suspend();
            state.clear_listeners();
            for (_, reply) in state.lifecycle.queue.drain(..) {
                reply.send(Err(Error::Unloaded));
            }
            state.close_all()
        });
        Box::pin(async move {
            if let Some(closed) = closed {
                closed.await;
            }
            Ok(())
        })
    }
}

impl Handler<IsSuspended> for Registry {
    type Result = Result<bool, Error>;

    fn handle(&mut self, call: IsSuspended, _: &mut Self::Context) -> Self::Result {
        let state = self.apps.get(&call.app);
        Ok(state.is_some_and(|state| {
            state.app_shards.activity.is_suspended() && !state.lifecycle.orphan_backoff.is_active()
        }))
    }
}

impl Handler<SetEventPage> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: SetEventPage, ctx: &mut Self::Context) -> Self::Result {
        let app = call.app;
        let event_page = call.page;
        let idle_timer = event_page.as_ref().and_then(|it| it.idle_timer(&app, ctx));
        let state = self.app(&app);
        let activity = &state.app_shards.activity;
        activity.set_has_event_page(event_page.is_some());
        let lifecycle = &mut state.lifecycle;
        lifecycle.event_page = event_page;
        lifecycle.idle_checks = 0;
        lifecycle.idle_timer = idle_timer;
        if lifecycle.event_page.is_none() && lifecycle.orphan_backoff.cancel() {
            // No page adds listeners, so events wait for those that the app adds.
            lifecycle.retry_timer = None;
            activity.resume();
        }
        if !activity.is_suspended() {
            // Events that wait because listeners have died may load the app now.
            ctx.spawn(wrap_future(state.recheck_events()));
        }
        self.load_if_requested(&app, ctx);
        Ok(())
    }
}
