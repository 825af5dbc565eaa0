//! Apps that are suspended, and loaded again when something waits for them.
//!
//! Each app's calls are carried out one after the other: a suspension waits
//! for listeners, and a load for the app's own code.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::*;
use actix_rt::time::timeout;
use futures::future::poll_fn;

use crate::answer::{Answer, Reply, messages};
use crate::app_activity::{AppActivity, SuspendInfo};
use crate::error::Error;
use crate::ids::AppId;
use crate::pending_pauses::PAUSE_GRACE;
use crate::registry::lifecycle::event_page::{CheckIdle, LOOKS};
use crate::registry::lifecycle::timer::{FIRST_REST, LAST_REST, Timer};
use crate::registry::state::{AppState, Call, EventPage, Registry};
use crate::supervision::LoadApp;

messages! {
    /// Suspends the app: see [`App::suspend`](crate::App::suspend).
    Suspend {} -> ();

    /// Loads the app: see [`App::resume`](crate::App::resume).
    Resume {} -> ();

    /// Closes everything that the app has, and forgets it: see
    /// [`App::unload`](crate::App::unload).
    Unload {} -> ();

    /// Whether the app is suspended.
    IsSuspended {} -> bool;

    /// How the app is loaded from now on: see
    /// [`App::set_event_page`](crate::App::set_event_page).
    SetEventPage {
        /// What starts it; `None`: nothing, it waits for [`Resume`].
        page: Option<EventPage>,
    } -> ();
}

impl Registry {
    fn enqueue(&mut self, app: &AppId, call: Call, reply: Reply<()>, ctx: &mut Context<Self>) {
        let lifecycle = &mut self.app(app).lifecycle;
        lifecycle.calls.push_back((call, reply));
        self.next_call(app, ctx);
    }

    /// Carries out the app's next call, if none is being carried out.
    fn next_call(&mut self, app: &AppId, ctx: &mut Context<Self>) {
        while let Some(state) = self.apps.get_mut(app)
            && state.lifecycle.busy.is_none()
            && let Some((call, reply)) = state.lifecycle.calls.pop_front()
        {
            let is_suspended = state.app_shards.activity.is_suspended();
            match call {
                Call::Suspend if !is_suspended || state.lifecycle.desertion.is_on() => {
                    state.lifecycle.busy = Some(call);
                    self.suspend(app.clone(), reply, ctx);
                }
                Call::Resume if is_suspended => {
                    state.lifecycle.busy = Some(call);
                    self.load(app.clone(), reply, ctx);
                }
                Call::Suspend | Call::Resume => reply.send(Ok(())),
            }
        }
    }

    /// The app, if it is still the one whose life this is.
    fn living(&mut self, app: &AppId, activity: &Arc<AppActivity>) -> Result<&mut AppState, Error> {
        self.apps
            .get_mut(app)
            .filter(|state| Arc::ptr_eq(&state.app_shards.activity, activity))
            .ok_or(Error::Unloaded)
    }

    /// The app's call is carried out: goes on with the next one.
    fn done(
        &mut self,
        app: &AppId,
        activity: &Arc<AppActivity>,
        answer: Result<(), Error>,
        reply: Reply<()>,
        ctx: &mut Context<Self>,
    ) {
        let answer = self.living(app, activity).and_then(|state| {
            state.lifecycle.busy = None;
            answer
        });
        reply.send(answer);
        self.next_call(app, ctx);
    }

    /// Loads an app that something waits for, if it has a way to be loaded.
    fn load_wanted(&mut self, app: &AppId, ctx: &mut Context<Self>) {
        let Some(state) = self.apps.get_mut(app) else {
            return;
        };
        if !state.app_shards.activity.is_wanted() || state.lifecycle.page.is_none() {
            return;
        }
        if !state.app_shards.activity.is_suspended() {
            // First that, then the look: what wants the app from here on says
            // so again.
            state.app_shards.activity.cancel_load_request();
            if !state.is_orphaned() {
                return;
            }
            state.app_shards.activity.is_wanted_again();
            let rest = state.desert();
            if !rest.is_zero() {
                let wanted = LoadApp(app.clone());
                let retry = Timer::start(rest, ctx, move || wanted.clone());
                state.lifecycle.retry = Some(retry);
                return;
            }
        }
        self.enqueue(app, Call::Resume, Reply::nobody(), ctx);
    }

    /// Nothing is raised from here on. What is on its way is handled, then
    /// what is not persistent is closed.
    fn suspend(&mut self, app: AppId, reply: Reply<()>, ctx: &mut Context<Self>) {
        let state = self.app(&app);
        let app_shards = state.app_shards.clone();
        let activity = app_shards.activity.clone();
        state.lifecycle.desertion.end();
        state.lifecycle.retry = None;
        activity.suspend();
        state
            .on_suspend
            .dispatch(|_| SuspendInfo::new(app.clone(), &activity));
        let turns = state.look_again();
        let handled = async move {
            // A turn that has begun may raise events yet.
            turns.await;
            let handled = poll_fn(|cx| app_shards.poll_quiet(cx));
            let in_time = timeout(PAUSE_GRACE, handled).await;
            in_time.map_err(|_| Error::EventsInFlight)
        };
        let task = wrap_future::<_, Self>(handled)
            .then(move |handled, registry, _| {
                let ended = registry.living(&app, &activity).map(|state| {
                    state.clear_listeners();
                    state.end_transient()
                });
                wrap_future(async move {
                    let ended = match ended {
                        Ok(ended) => ended.await,
                        // It was unloaded meanwhile.
                        Err(_) => Vec::new(),
                    };
                    (app, activity, handled, ended)
                })
            })
            .map(|(app, activity, handled, ended), registry, ctx| {
                if let Ok(state) = registry.living(&app, &activity) {
                    ended.into_iter().for_each(|id| state.forget_closed(id));
                }
                registry.done(&app, &activity, handled, reply, ctx);
            });
        ctx.spawn(task);
    }

    /// Starts the app's event page, if it has one, and lets events go on when
    /// it has started.
    fn load(&mut self, app: AppId, reply: Reply<()>, ctx: &mut Context<Self>) {
        let state = self.app(&app);
        let activity = state.app_shards.activity.clone();
        let page = state.lifecycle.page.clone();
        state.lifecycle.retry = None;
        let registry = ctx.address();
        actix_rt::spawn(async move {
            let result = match page {
                Some(page) => page.start(&app, &registry).await,
                None => Ok(()),
            };
            // Behind the listeners that it has added.
            registry.do_send(Started {
                app,
                activity,
                result,
                reply,
            });
        });
    }
}

impl Registry {
    /// Its thread, or what it has spawned, is gone: takes up each app's call
    /// that was being carried out, and its timers. Who has called has been
    /// answered.
    pub(in crate::registry) fn resume_lives(&mut self, ctx: &mut Context<Self>) {
        let apps = self.apps.ids();
        for app in apps {
            let Some(state) = self.apps.get_mut(&app) else {
                continue;
            };
            let lifecycle = &mut state.lifecycle;
            lifecycle.idle_watch = lifecycle.page.as_ref().and_then(|it| it.watch(&app, ctx));
            let is_resting = lifecycle.retry.take().is_some();
            match lifecycle.busy {
                Some(Call::Suspend) => self.suspend(app, Reply::nobody(), ctx),
                Some(Call::Resume) => self.load(app, Reply::nobody(), ctx),
                None if is_resting => self.load_wanted(&app, ctx),
                None => {}
            }
        }
    }
}

impl AppState {
    /// Its listeners have died: it hears nothing until it has been loaded
    /// again. How long to wait before that.
    fn desert(&mut self) -> Duration {
        // The page adds all of them.
        self.clear_listeners();
        self.app_shards.activity.suspend_for_reload();
        let rest = self.lifecycle.desertion.begin();
        let app = &self.app_shards.app_context.app;
        log::warn!("app {app}: its listeners have died; loaded again in {rest:?}");
        rest
    }
}

/// An event page has started, or failed to.
#[derive(Message)]
#[rtype(result = "()")]
struct Started {
    app: AppId,
    activity: Arc<AppActivity>,
    result: Result<(), Error>,
    reply: Reply<()>,
}

impl Handler<Started> for Registry {
    type Result = ();

    fn handle(&mut self, started: Started, ctx: &mut Self::Context) {
        let Started {
            app,
            activity,
            result,
            reply,
        } = started;
        if let Ok(state) = self.living(&app, &activity) {
            let rest = state.lifecycle.rest.take();
            match result {
                Ok(()) => {
                    state.lifecycle.desertion.page_has_started();
                    activity.resume();
                    ctx.spawn(wrap_future(state.look_again()));
                }
                Err(error) => {
                    // Those that it has added: it will add them again.
                    state.clear_listeners();
                    let rest = rest.unwrap_or(FIRST_REST);
                    state.lifecycle.rest = Some((rest * 2).min(LAST_REST));
                    log::error!("app {app}: not loaded, {error}; trying again in {rest:?}");
                    let wanted = LoadApp(app.clone());
                    let retry = Timer::start(rest, ctx, move || wanted.clone());
                    state.lifecycle.retry = Some(retry);
                }
            }
        }
        self.done(&app, &activity, result, reply, ctx);
    }
}

impl Handler<CheckIdle> for Registry {
    type Result = ();

    fn handle(&mut self, CheckIdle(app): CheckIdle, ctx: &mut Self::Context) {
        let Some(state) = self.apps.get_mut(&app) else {
            return;
        };
        let app_shards = &state.app_shards;
        let idle = app_shards.activity.was_idle()
            && app_shards.is_quiet()
            && !app_shards.app_context.is_sending();
        let lifecycle = &mut state.lifecycle;
        lifecycle.idle = if idle { lifecycle.idle + 1 } else { 0 };
        if lifecycle.idle >= LOOKS
            && lifecycle.busy.is_none()
            && !app_shards.activity.is_suspended()
        {
            lifecycle.idle = 0;
            log::info!("app {app}: suspended, because it is idle");
            self.enqueue(&app, Call::Suspend, Reply::nobody(), ctx);
        }
    }
}

impl Handler<LoadApp> for Registry {
    type Result = ();

    fn handle(&mut self, LoadApp(app): LoadApp, ctx: &mut Self::Context) {
        self.load_wanted(&app, ctx);
    }
}

impl Handler<Suspend> for Registry {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, call: Suspend, ctx: &mut Self::Context) -> Self::Result {
        let (answer, reply) = Answer::pair();
        self.enqueue(&call.app, Call::Suspend, reply, ctx);
        Box::pin(answer)
    }
}

impl Handler<Resume> for Registry {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, call: Resume, ctx: &mut Self::Context) -> Self::Result {
        let (answer, reply) = Answer::pair();
        self.enqueue(&call.app, Call::Resume, reply, ctx);
        Box::pin(answer)
    }
}

impl Handler<Unload> for Registry {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, call: Unload, _: &mut Self::Context) -> Self::Result {
        let ended = self.apps.remove(&call.app).map(|mut state| {
            state.app_shards.activity.suspend();
            state.clear_listeners();
            for (_, reply) in state.lifecycle.calls.drain(..) {
                reply.send(Err(Error::Unloaded));
            }
            state.end_all()
        });
        Box::pin(async move {
            if let Some(ended) = ended {
                ended.await;
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
            state.app_shards.activity.is_suspended() && !state.lifecycle.desertion.is_on()
        }))
    }
}

impl Handler<SetEventPage> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: SetEventPage, ctx: &mut Self::Context) -> Self::Result {
        let app = call.app;
        let watch = call.page.as_ref().and_then(|page| page.watch(&app, ctx));
        let state = self.app(&app);
        state.app_shards.activity.set_loadable(call.page.is_some());
        let lifecycle = &mut state.lifecycle;
        lifecycle.page = call.page;
        lifecycle.idle = 0;
        lifecycle.idle_watch = watch;
        if lifecycle.page.is_none() && lifecycle.desertion.end() {
            // Nothing loads it: what waits, waits for the app's own listeners.
            lifecycle.retry = None;
            state.app_shards.activity.resume();
        }
        if !state.app_shards.activity.is_suspended() {
            // What waits for listeners that have died may have it loaded now.
            ctx.spawn(wrap_future(state.look_again()));
        }
        self.load_wanted(&app, ctx);
        Ok(())
    }
}
