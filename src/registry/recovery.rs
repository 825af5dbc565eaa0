//! Restart of the registry's own actor: after a panic, or in another arbiter if its own has ended.

use std::mem;
use std::sync::{Arc, Weak};

use actix::prelude::*;
use parking_lot::Mutex;

#[cfg(feature = "testing")]
use crate::os::Checkpoint;
use crate::registry::state::Registry;
use crate::supervision::{
    ActorFailed, ActorKind, Cause, RestartCounter, RestartInfo, StableAddr, Terminate,
    UNHANDLED_RESTARTS, log_restart, supervise,
};

/// Has the registry keep this copy of its address up to date.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TrackAddress(pub(crate) Weak<StableAddr<Registry>>);

impl Registry {
    pub(super) fn run(mut self) -> Addr<Self> {
        let here = Arbiter::current();
        let system = System::current().arbiter().clone();
        self.recovery.arbiters = vec![here, system];
        let registry_link = self.registry_link.clone();
        let restart_counter = self.recovery.restart_counter.get_or_insert_with(|| {
            let restart_counter =
                RestartCounter::new(ActorKind::Registry, None, registry_link.clone());
            Arc::new(restart_counter)
        });
        let restart_counter = restart_counter.clone();
        #[cfg(feature = "metrics")]
        if let Some(interval) = self.publish_interval {
            // The task of an arbiter that has ended is gone.
            let link = registry_link.clone();
            registry_link
                .telemetry
                .publish_every(interval, move || link.has_ended());
        }
        let address = supervise(self, Context::new(), restart_counter);
        registry_link.set_registry(&address);
        address
    }

    /// Called for each call on a socket: a test may inject a fault here.
    #[inline]
    pub(super) fn checkpoint(&mut self) {
        #[cfg(feature = "testing")]
        if self.network.checkpoint(Checkpoint::Registry) {
            self.recovery.stop_requested = true;
        }
    }

    pub(super) fn stop_if_requested(&mut self, ctx: &mut Context<Self>) {
        if mem::take(&mut self.recovery.stop_requested) {
            ctx.stop();
        }
    }

    /// Called when the actor has started: its address is this context's from now
    /// on.
    pub(super) fn publish_address(&mut self, ctx: &mut Context<Self>) {
        let address = ctx.address();
        self.recovery.addresses.retain(|it| {
            let stable_addr = it.upgrade();
            let is_held = stable_addr.is_some();
            if let Some(stable_addr) = stable_addr {
                stable_addr.set(address.clone());
            }
            is_held
        });
        if mem::take(&mut self.recovery.was_restarted) {
            // The futures that waited for a handover's end are gone.
            self.outgoing = None;
            self.discard_import();
            // Actors that failed meanwhile had no registry to restart them.
            self.restart_dropped(&address);
            self.resume_transitions(ctx);
        }
    }

    /// Continues in an arbiter that is still alive.
    fn move_to_live_arbiter(mut self) {
        self.recovery.was_restarted = true;
        let arbiters = self.recovery.arbiters.clone();
        let here = arbiters.first();
        let cause = match here.is_some_and(ArbiterHandle::alive) {
            true => Cause::Stopped,
            false => Cause::ArbiterEnded,
        };
        let restart_counter = self.recovery.restart_counter.clone();
        let registry = Arc::new(Mutex::new(Some(self)));
        let take = |registry: &Mutex<Option<Registry>>| registry.lock().take();
        for arbiter in arbiters {
            let (registry, restart_counter, cause) =
                (registry.clone(), restart_counter.clone(), cause.clone());
            let is_sent = arbiter.spawn_fn(move || {
                if let Some(registry) = take(&registry) {
                    let address = registry.run();
                    // Recorded after the restart, because the report is a
                    // message to the registry.
                    if restart_counter.is_some_and(|it| !it.record_failure(cause)) {
                        address.do_send(Terminate);
                    }
                }
            });
            if is_sent {
                return;
            }
        }
        // The actix system has ended, and the registry ends with it.
        if let Some(mut registry) = take(&registry) {
            registry.recovery.has_ended = true;
        }
    }

    /// Raises `onRestart`.
    pub(super) fn report_failure(&mut self, failed: ActorFailed) {
        // The counter has logged the others.
        if !failed.gave_up && !matches!(failed.cause, Cause::Panicked(_)) {
            log_restart(failed.actor, failed.cause.clone());
        }
        let apps = match failed.app {
            Some(app) => vec![app],
            None => self.apps.keys().cloned().collect(),
        };
        for app in apps {
            let Some(state) = self.apps.get_mut(&app) else {
                continue;
            };
            // One count is the app's own.
            if Arc::strong_count(&state.unhandled_restarts) > UNHANDLED_RESTARTS {
                state.missed_restarts += 1;
                continue;
            }
            let missed = mem::take(&mut state.missed_restarts);
            state.on_restart.dispatch(|_| RestartInfo {
                app: app.clone(),
                actor: failed.actor,
                cause: failed.cause.clone(),
                restarts: failed.restarts,
                gave_up: failed.gave_up,
                missed,
                _unhandled: state.unhandled_restarts.clone(),
            });
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Without arbiters it was never started.
        if !self.recovery.has_ended && !self.recovery.arbiters.is_empty() {
            let mut placeholder = Registry::new();
            placeholder.recovery.has_ended = true;
            mem::replace(self, placeholder).move_to_live_arbiter();
        }
    }
}

impl Supervised for Registry {
    /// Called after repeated panics: the futures that it has spawned are gone.
    fn restarting(&mut self, _: &mut Self::Context) {
        self.recovery.was_restarted = true;
    }
}

impl Handler<TrackAddress> for Registry {
    type Result = ();

    fn handle(&mut self, TrackAddress(stable_addr): TrackAddress, ctx: &mut Self::Context) {
        let addresses = &mut self.recovery.addresses;
        // Pruned before each reallocation, so that the list stays short.
        if addresses.len() == addresses.capacity() {
            addresses.retain(|it| it.strong_count() > 0);
        }
        if let Some(stable_addr) = stable_addr.upgrade() {
            // The message may have been sent to the address before a restart.
            stable_addr.set(ctx.address());
        }
        addresses.push(stable_addr);
    }
}

impl Handler<Terminate> for Registry {
    type Result = ();

    fn handle(&mut self, _: Terminate, ctx: &mut Self::Context) {
        self.close_all();
        ctx.stop();
    }
}
