//! The registry when it has fallen, and goes on: in another arbiter, if its
//! own has ended.

use std::mem;
use std::sync::{Arc, Weak};

use actix::prelude::*;
use parking_lot::Mutex;

#[cfg(feature = "testing")]
use crate::os::Checkpoint;
use crate::registry::arbiters::shard_slot::ShardSlot;
use crate::registry::state::Registry;
use crate::supervision::{
    self, ActorFailed, Cause, RestartCounter, RestartInfo, StableAddr, Terminate,
    UNHANDLED_RESTARTS, log_restart, supervise,
};
use crate::tcp_server;

/// This door is to have the registry's address.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Remember(pub(crate) Weak<StableAddr<Registry>>);

impl Registry {
    pub(super) fn run(mut self) -> Addr<Self> {
        let here = Arbiter::current();
        let system = System::current().arbiter().clone();
        self.fall.arbiters = vec![here, system];
        let registry_link = self.registry_link.clone();
        let restart_counter = self.fall.restart_counter.get_or_insert_with(|| {
            let actor = supervision::Supervised::Registry;
            Arc::new(RestartCounter::new(actor, None, registry_link))
        });
        let (restart_counter, registry_link) =
            (restart_counter.clone(), self.registry_link.clone());
        let address = supervise(self, restart_counter);
        registry_link.is_now(&address);
        address
    }

    /// Begins to handle a message.
    #[inline]
    pub(super) fn begin(&mut self) {
        #[cfg(feature = "testing")]
        if self.network.checkpoint(Checkpoint::Registry) {
            self.fall.stops = true;
        }
    }

    pub(super) fn stop_if_asked(&mut self, ctx: &mut Context<Self>) {
        if mem::take(&mut self.fall.stops) {
            ctx.stop();
        }
    }

    /// It lives in this context from now on.
    pub(super) fn is_here(&mut self, ctx: &mut Context<Self>) {
        let address = ctx.address();
        self.fall.doors.retain(|door| match door.upgrade() {
            Some(door) => {
                door.set(address.clone());
                true
            }
            None => false,
        });
        if mem::take(&mut self.fall.is_new) {
            // What held sockets for a handover is gone.
            self.leaving = None;
            self.forget_prepared();
            // Those that fall later find the way here.
            self.go_on(&address);
            self.resume_lives(ctx);
        }
    }

    /// Closes everything, and waits for nothing.
    pub(super) fn end_all(&mut self) {
        let (servers, seats) = self.forget_all();
        for server in servers {
            server.address().do_send(tcp_server::Stop);
        }
        seats.into_iter().for_each(ShardSlot::end_later);
    }

    /// Goes on where there is an arbiter to go on in.
    fn go_on_elsewhere(mut self) {
        self.fall.is_new = true;
        let arbiters = self.fall.arbiters.clone();
        let here = arbiters.first();
        let cause = match here.is_some_and(ArbiterHandle::alive) {
            true => Cause::Stopped,
            false => Cause::ArbiterEnded,
        };
        let restart_counter = self.fall.restart_counter.clone();
        let fallen = Arc::new(Mutex::new(Some(self)));
        let take = |fallen: &Mutex<Option<Registry>>| {
            let mut fallen = fallen.lock();
            fallen.take()
        };
        for arbiter in arbiters {
            let (passed, restart_counter, cause) =
                (fallen.clone(), restart_counter.clone(), cause.clone());
            let is_sent = arbiter.spawn_fn(move || {
                if let Some(registry) = take(&passed) {
                    let address = registry.run();
                    // Told by the one that goes on.
                    if restart_counter.is_some_and(|restart_counter| !restart_counter.fell(cause)) {
                        address.do_send(Terminate);
                    }
                }
            });
            if is_sent {
                return;
            }
        }
        // The system has ended, and all with it.
        if let Some(mut registry) = take(&fallen) {
            registry.fall.ended = true;
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if !self.fall.ended && !self.fall.arbiters.is_empty() {
            let mut husk = Registry::new();
            husk.fall.ended = true;
            mem::replace(self, husk).go_on_elsewhere();
        }
    }
}

impl Supervised for Registry {
    /// What it had spawned is gone.
    fn restarting(&mut self, _: &mut Self::Context) {
        self.fall.is_new = true;
    }
}

impl Handler<Remember> for Registry {
    type Result = ();

    fn handle(&mut self, Remember(door): Remember, ctx: &mut Self::Context) {
        let doors = &mut self.fall.doors;
        if doors.len() == doors.capacity() {
            doors.retain(|door| door.strong_count() > 0);
        }
        if let Some(door) = door.upgrade() {
            // It may have been sent to the one before.
            door.set(ctx.address());
        }
        doors.push(door);
    }
}

impl Handler<Terminate> for Registry {
    type Result = ();

    fn handle(&mut self, _: Terminate, ctx: &mut Self::Context) {
        self.end_all();
        ctx.stop();
    }
}

impl Handler<ActorFailed> for Registry {
    type Result = ();

    /// One of its own has fallen, or it has itself.
    fn handle(&mut self, fell: ActorFailed, ctx: &mut Self::Context) {
        self.go_on(&ctx.address());
        let ActorFailed {
            actor,
            app,
            cause,
            restarts,
            gave_up,
        } = fell;
        if !gave_up && !matches!(cause, Cause::Panicked(_)) {
            log_restart(actor, cause.clone());
        }
        let apps = match app {
            Some(app) => vec![app],
            None => self.apps.ids(),
        };
        for app in apps {
            let Some(state) = self.apps.get_mut(&app) else {
                continue;
            };
            let (unhandled, missed) = &mut state.untold_restarts;
            if Arc::strong_count(unhandled) > UNHANDLED_RESTARTS {
                *missed += 1;
                continue;
            }
            let missed = mem::take(missed);
            state.on_restart.dispatch(|_| RestartInfo {
                app: app.clone(),
                actor,
                cause: cause.clone(),
                restarts,
                gave_up,
                missed,
                _unhandled: unhandled.clone(),
            });
        }
    }
}
