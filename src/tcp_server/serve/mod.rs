//! Serving: each accepted client gets a handler of its own, and no `onAccept` is raised.
//!
//! To the accept loop, serving is a listener of `onAccept`: pauses, limits, redelivery and
//! suspensions need nothing of their own. The listener sends each client's event on into the
//! client's arbiter, where it becomes a handler.

pub(in crate::tcp_server) mod factory;
pub(in crate::tcp_server) mod serving;

use actix::prelude::*;

use crate::answer::Request;
use crate::error::Error;
use crate::events::Listeners;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::AcceptInfo;
use crate::tcp_server::messages::Serve;
use crate::tcp_server::serve::factory::HandlerFactory;
use crate::tcp_server::serve::serving::Serving;

impl ServerSocket {
    /// The listeners of its `onAccept`: the app's, or that which serves its clients.
    pub(in crate::tcp_server) fn on_accept(&self) -> &Listeners<AcceptInfo> {
        match &self.serving {
            None => &self.app_listeners.on_accept,
            Some(serving) => &serving.on_accept,
        }
    }

    fn serve(&mut self, factory: Option<HandlerFactory>, ctx: &mut Context<Self>) {
        self.serving = factory.map(|factory| Box::new(Serving::start(factory)));
        (_, self.listener_deaths) = self.on_accept().liveness();
        // Clients keep their order: those whose event is in flight come first, if it returns.
        if self.accepts_in_flight.count() > 0 {
            self.awaits_returned = true;
            self.start_return_timer(ctx);
        }
    }

    /// The actor is in another thread: what the old one ran has ended.
    pub(in crate::tcp_server) fn restart_serving(&mut self) {
        if let Some(serving) = self.serving.take() {
            self.serving = Some(Box::new(Serving::start(serving.factory)));
            // Events that the old one had may still return.
            self.awaits_returned = true;
        }
    }
}

impl Handler<Request<Serve, ()>> for ServerSocket {
    type Result = ();

    fn handle(&mut self, ask: Request<Serve, ()>, ctx: &mut Self::Context) {
        if self.is_closed {
            return ask.reply.send(Err(Error::SocketNotFound));
        }
        self.serve(ask.message.factory, ctx);
        ask.reply.send(Ok(()));
    }
}
