//! Serving: each accepted client gets a handler of its own, and no `onAccept` is raised.
//!
//! To the accept loop, serving is a listener of `onAccept`: pauses, limits, redelivery and
//! suspensions need nothing of their own. The listener sends each client's event on into the
//! client's arbiter, where it becomes a handler.

use std::sync::Arc;

use actix::prelude::*;

use crate::answer::Request;
use crate::error::Error;
use crate::events::Listeners;
use crate::tcp::{ClientSocket, Command, ReceiveErrorInfo, ReceiveInfo};
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::AcceptInfo;
use crate::tcp_server::messages::Serve;

/// Makes the handler of each accepted client, for [`Serve`].
#[derive(Clone, derive_more::Debug)]
#[debug("HandlerFactory")]
pub struct HandlerFactory(Arc<dyn Fn(AcceptInfo) + Send + Sync>);

impl HandlerFactory {
    /// See [`TcpServer::serve`](crate::TcpServer::serve).
    pub fn new<A>(factory: impl Fn(AcceptInfo, ClientSocket) -> A + Send + Sync + 'static) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<ReceiveInfo> + Handler<ReceiveErrorInfo>,
    {
        HandlerFactory(Arc::new(move |info| {
            let client = info.client().clone();
            // From here on the client is the handler's: it is not raised again if the factory
            // panics.
            info.acknowledge();
            if !client.is_closed() {
                let handle = client.clone();
                client.start_handler(|| factory(info, handle));
            }
        }))
    }
}

/// The serving of one server socket.
pub(super) struct Serving {
    factory: HandlerFactory,
    /// An [`AcceptForwarder`].
    on_accept: Listeners<AcceptInfo>,
}

impl Serving {
    pub(super) fn start(factory: HandlerFactory) -> Self {
        let forwarder = AcceptForwarder(factory.clone()).start();
        Serving {
            factory,
            on_accept: Listeners::from(forwarder.recipient()),
        }
    }
}

/// The listener of a server socket that serves its clients.
struct AcceptForwarder(HandlerFactory);

impl Actor for AcceptForwarder {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for AcceptForwarder {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        let (factory, mut forwarded) = (self.0.clone(), ForwardedAccept(Some(info)));
        client.do_send(Command::Spawn(Box::new(move || {
            if let Some(info) = forwarded.0.take() {
                (factory.0)(info);
            }
        })));
    }
}

/// An event on its way to the arbiter of its client. If that ends first, the event returns and is
/// raised again.
struct ForwardedAccept(Option<AcceptInfo>);

impl Drop for ForwardedAccept {
    fn drop(&mut self) {
        if let Some(info) = self.0.take() {
            let client = info.client().clone();
            // Without an actor for the client, the event would return without end.
            match client.check_open() {
                Ok(()) => info.return_unread(),
                Err(_) => client.do_close(),
            }
        }
    }
}

impl ServerSocket {
    /// The listeners of its `onAccept`: the app's, or that which serves its clients.
    pub(super) fn on_accept(&self) -> &Listeners<AcceptInfo> {
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
    pub(super) fn restart_serving(&mut self) {
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
