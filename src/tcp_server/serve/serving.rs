//! The listener of a server socket that serves its clients.

use actix::prelude::*;

use crate::events::Listeners;
use crate::tcp::Command;
use crate::tcp_server::events::AcceptInfo;
use crate::tcp_server::serve::factory::HandlerFactory;

/// The serving of one server socket.
pub(in crate::tcp_server) struct Serving {
    pub(super) factory: HandlerFactory,
    /// An [`AcceptForwarder`].
    pub(super) on_accept: Listeners<AcceptInfo>,
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
                factory.make(info);
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
