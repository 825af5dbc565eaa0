//! A server socket that has fallen, and goes on.

use std::mem;

use actix::prelude::*;

use crate::net_error;
use crate::supervision::{Recoverable, Terminate};
use crate::tcp_server::accept::errors::AfterError;
use crate::tcp_server::accept::failure::Unreported;
use crate::tcp_server::actor::{ServerDeps, ServerSocket};

impl Recoverable for ServerSocket {
    fn thread_changed(&mut self) {
        self.errors.forget_clock();
        self.held_back.reset();
        self.admission.forget_clock();
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.reregister();
        }
        let reregister = self.listener.as_mut().map(|it| it.listener.reregister());
        if let Some(Err(error)) = reregister {
            // Nobody can accept on it any more.
            log::error!("server socket {}: its listener is lost: {error}", self.id);
            let result_code = net_error::listen(&error);
            self.listener = None;
            self.errors.set_after(AfterError::Paused(result_code));
            self.counts.failed += 1;
            let errno = error.raw_os_error();
            self.errors.inherit(Unreported { result_code, errno });
        }
    }

    fn abandon(&mut self) {
        self.close_and_forget();
    }
}

impl ServerSocket {
    /// Takes up again what it was waiting for.
    pub(super) fn resume_waiting(&mut self, ctx: &mut Context<Self>) {
        self.pausing.timer_ended();
        self.time_pauses(ctx);
        if self.recovering {
            self.recover_later(ctx);
        }
        self.wait_for_verdict(ctx);
    }
}

impl Supervised for ServerSocket {}

impl Handler<Terminate> for ServerSocket {
    type Result = ();

    fn handle(&mut self, _: Terminate, ctx: &mut Self::Context) {
        self.close_and_forget();
        ctx.stop();
    }
}

impl Drop for ServerSocket {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Some(restarter) = self.restarter.upgrade() {
            let mut husk = ServerSocket::new(
                self.id,
                ServerDeps {
                    app_listeners: self.app_listeners.clone(),
                    network: self.network.clone(),
                    app_shards: self.app_shards.clone(),
                    table: self.table.clone(),
                },
            );
            husk.ended = true;
            restarter.salvage(mem::replace(self, husk));
        }
    }
}
