//! Suspends an app that has been idle for its idle timeout.

use actix::prelude::*;

use crate::answer::Reply;
use crate::ids::AppId;
use crate::registry::lifecycle::timer::Timer;
use crate::registry::state::{EventPage, Registry, Transition};

/// How often an app is checked during its idle timeout.
pub(super) const IDLE_CHECKS: u32 = 4;

/// Checks whether an app is idle.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::registry) struct CheckIdle(pub(super) AppId);

impl EventPage {
    /// Starts the checks for the idle timeout, if there is one.
    pub(super) fn idle_timer(&self, app: &AppId, ctx: &Context<Registry>) -> Option<Timer> {
        let after = self.idle_timeout?;
        let app = app.clone();
        let check = move || CheckIdle(app.clone());
        Some(Timer::start(after / IDLE_CHECKS, ctx, check))
    }
}

impl Handler<CheckIdle> for Registry {
    type Result = ();

    fn handle(&mut self, CheckIdle(app): CheckIdle, ctx: &mut Self::Context) {
        let Some(state) = self.apps.get_mut(&app) else {
            return;
        };
        let app_shards = &state.app_shards;
        let is_idle = app_shards.activity.was_idle()
            && app_shards.is_quiet()
            && !app_shards.app_context.write_quota.is_sending();
        let lifecycle = &mut state.lifecycle;
        lifecycle.idle_checks = if is_idle {
            lifecycle.idle_checks + 1
        } else {
            0
        };
        if lifecycle.idle_checks >= IDLE_CHECKS
            && lifecycle.running.is_none()
            && !app_shards.activity.is_suspended()
        {
            lifecycle.idle_checks = 0;
            log::info!("app {app}: suspended, because it is idle");
            self.enqueue(&app, Transition::Suspend, Reply::discard(), ctx);
        }
    }
}
