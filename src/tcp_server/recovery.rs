//! Recovery of a server socket when its actor or its thread has ended.

use std::mem;

use actix::prelude::*;

use crate::net_error;
use crate::supervision::{Recoverable, Terminate};
use crate::tcp_server::accept::error_state::AfterError;
use crate::tcp_server::actor::{HandleAlone, ServerDeps, ServerSocket};
use crate::telemetry::ErrorClass;

impl Recoverable for ServerSocket {
    fn thread_changed(&mut self) {
        self.errors.reset_timers();
        self.hold_back.reset();
        if self.serving.is_some() {
            // Events that were on their way to this thread may still return.
            self.awaits_returned = true;
        }
        self.admission.reset_timers();
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.tasks.reregister();
        }
        if let Some(proxy) = &mut self.proxy {
            proxy.tasks.reregister();
        }
        let reregister = self.listener.as_mut().map(|it| it.listener.reregister());
        if let Some(Err(error)) = reregister {
            // No thread can accept on it. The app gets an accept error.
            log::error!("server socket {}: lost its listener: {error}", self.id);
            let result_code = net_error::listen(&error);
            self.listener = None;
            self.errors.after = AfterError::Paused(result_code);
            self.counts.failed += 1;
            self.stats.accept_error(ErrorClass::Listener);
            self.errors.push_paused(result_code, error.raw_os_error());
        }
    }

    fn abandon(&mut self) {
        self.close_and_report();
    }
}

impl ServerSocket {
    /// Starts the timers and futures of a new actor again.
    pub(super) fn restart_waiting(&mut self, ctx: &mut Context<Self>) {
        self.pending_pauses.timer_ended();
        self.start_pause_timer(ctx);
        if self.awaits_returned {
            self.start_return_timer(ctx);
        }
        self.await_outcome(ctx);
    }
}

impl Supervised for ServerSocket {}

impl HandleAlone<Terminate> for ServerSocket {
    type Result = ();

    fn handle_alone(&mut self, _: Terminate, ctx: &mut Context<Self>) {
        self.close_and_report();
        ctx.stop();
    }
}

impl Drop for ServerSocket {
    fn drop(&mut self) {
        // A closed socket has nothing that another actor could go on with.
        if self.is_closed {
            return;
        }
        // The state is changed before the next turn.
        self.begin_turn();
        if let Some(restarter) = self.restarter.upgrade() {
            let mut placeholder = ServerSocket::new(
                self.id,
                ServerDeps {
                    app_listeners: self.app_listeners.clone(),
                    network: self.network.clone(),
                    app_shards: self.app_shards.clone(),
                    table: self.table.clone(),
                },
            );
            // Its own drop does nothing.
            placeholder.is_closed = true;
            restarter.salvage(mem::replace(self, placeholder));
        }
    }
}
