//! Who gets the `onAccept` of a server socket.

use std::sync::Arc;

use crate::app_activity::AppActivity;
use crate::events::Listeners;
use crate::ids::ServerSocketId;
use crate::tcp::Command;
use crate::tcp_server::app_listeners::AppListeners;
use crate::tcp_server::events::{AcceptInfo, PendingAccept};
use crate::tcp_server::serve::factory::HandlerFactory;

/// The app's listeners, or the factory that makes a handler for each client.
#[derive(Clone, Copy)]
pub(in crate::tcp_server) enum OnAccept<'a> {
    Listeners(&'a Listeners<AcceptInfo>),
    Serving(&'a HandlerFactory),
}

impl<'a> OnAccept<'a> {
    pub(in crate::tcp_server) fn new(
        serving: Option<&'a HandlerFactory>,
        app_listeners: &'a AppListeners,
    ) -> Self {
        match serving {
            None => OnAccept::Listeners(&app_listeners.on_accept),
            Some(factory) => OnAccept::Serving(factory),
        }
    }

    /// Whether somebody gets it, and how many listeners have died so far.
    pub(in crate::tcp_server) fn liveness(self) -> (bool, u64) {
        match self {
            OnAccept::Listeners(listeners) => listeners.liveness(),
            OnAccept::Serving(_) => (true, 0),
        }
    }

    /// Whether the app's event page has to add listeners again.
    pub(in crate::tcp_server) fn needs_reload(self, activity: &AppActivity) -> bool {
        match self {
            OnAccept::Listeners(listeners) => activity.needs_reload(listeners),
            OnAccept::Serving(_) => false,
        }
    }

    /// Raises `onAccept` for the client.
    pub(in crate::tcp_server) fn raise(
        self,
        pending_accept: &Arc<PendingAccept>,
        socket_id: ServerSocketId,
    ) {
        match self {
            OnAccept::Listeners(listeners) => pending_accept.dispatch(socket_id, listeners),
            OnAccept::Serving(factory) => {
                pending_accept.give(socket_id, |info| make_handler(factory.clone(), info));
            }
        }
    }
}

/// Makes the handler in the arbiter of its client.
fn make_handler(factory: HandlerFactory, info: AcceptInfo) {
    let client = info.client().clone();
    let mut forwarded = ForwardedAccept(Some(info));
    client.do_send(Command::Spawn(Box::new(move || {
        if let Some(info) = forwarded.0.take() {
            factory.make(info);
        }
    })));
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
