//! Serving: each accepted client gets a handler of its own, and no `onAccept` is raised.
//!
//! The accept loop sends each client's event on into the client's arbiter, where it becomes a
//! handler. It counts as in flight until then, so pauses, limits, redelivery and suspensions need
//! nothing of their own.

pub(in crate::tcp_server) mod factory;
pub(in crate::tcp_server) mod on_accept;

use actix::prelude::*;

use crate::answer::Request;
use crate::error::Error;
use crate::tcp_server::actor::{HandleAlone, ServerSocket};
use crate::tcp_server::messages::Serve;
use crate::tcp_server::serve::factory::HandlerFactory;
use crate::tcp_server::serve::on_accept::OnAccept;

impl ServerSocket {
    /// Who gets its `onAccept`.
    pub(in crate::tcp_server) fn on_accept(&self) -> OnAccept<'_> {
        OnAccept::new(self.serving.as_ref(), &self.app_listeners)
    }

    fn serve(&mut self, factory: Option<HandlerFactory>, ctx: &mut Context<Self>) {
        self.serving = factory;
        (_, self.listener_deaths) = self.on_accept().liveness();
        // Clients keep their order: those whose event is in flight come first, if it returns.
        if self.accepts_in_flight.count() > 0 {
            self.awaits_returned = true;
            self.start_return_timer(ctx);
        }
    }
}

impl HandleAlone<Request<Serve, ()>> for ServerSocket {
    type Result = ();

    fn handle_alone(&mut self, ask: Request<Serve, ()>, ctx: &mut Context<Self>) {
        if self.is_closed {
            return ask.reply.send(Err(Error::SocketNotFound));
        }
        self.serve(ask.message.factory, ctx);
        ask.reply.send(Ok(()));
    }
}
