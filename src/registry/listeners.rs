//! `addListener`, `removeListener` and `hasListener(s)` of all events.

use std::iter::once;

use actix::prelude::*;

use crate::app_activity::SuspendInfo;
use crate::draining::DrainInfo;
use crate::error::Error;
use crate::events::{AddListener, Event, HasListener, Listeners, RemoveListener, Target};
use crate::registry::state::{AppState, Registry};
use crate::supervision::RestartInfo;
use crate::tcp::{self, ReceiveBatch, ReceiveErrorInfo, ReceiveInfo, SendQueueInfo};
use crate::tcp_server::{
    self, AcceptErrorInfo, AcceptInfo, HandshakeErrorInfo, ProxyErrorInfo, RefusedInfo,
};
use crate::udp;

/// An event of an app.
pub(super) trait AppEvent: Event {
    const RAISED_BY: RaisedBy;

    /// The event whose lists its listeners are in: itself, or if it is a batch, that of the batch.
    type Listed: Event;

    /// Its lists of listeners: one, or one per arbiter of client sockets.
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self::Listed>>;

    fn target(recipient: Recipient<Self>) -> Target<Self::Listed>;
}

/// Which actors raise an event, and so have to know when its listeners change.
pub(super) enum RaisedBy {
    /// It never waits for a listener.
    Registry,
    ServerSockets,
    ClientSockets,
    UdpSockets,
}

macro_rules! app_event {
    ($event:ty, of $listed:ty, $raised_by:ident: |$app:ident| $listeners:expr) => {
        impl AppEvent for $event {
            const RAISED_BY: RaisedBy = RaisedBy::$raised_by;

            type Listed = $listed;

            fn listeners($app: &AppState) -> impl Iterator<Item = &Listeners<$listed>> {
                $listeners
            }

            fn target(recipient: Recipient<Self>) -> Target<$listed> {
                recipient.into()
            }
        }
    };
}

macro_rules! app_events {
    ($($event:ty, $raised_by:ident: |$app:ident| $listeners:expr;)*) => {
        $(app_event!($event, of $event, $raised_by: |$app| $listeners);)*
    };
}

app_event!(ReceiveBatch, of ReceiveInfo, ClientSockets: |app| ReceiveInfo::listeners(app));
app_event!(udp::ReceiveBatch, of udp::ReceiveInfo, UdpSockets: |app| udp::ReceiveInfo::listeners(app));

app_events! {
    SuspendInfo, Registry: |app| once(&app.on_suspend);
    RestartInfo, Registry: |app| once(&app.on_restart);
    DrainInfo, Registry: |app| once(&app.app_listeners.on_drain);
    AcceptInfo, ServerSockets: |app| once(&app.app_listeners.on_accept);
    AcceptErrorInfo, ServerSockets: |app| once(&app.app_listeners.on_accept_error);
    HandshakeErrorInfo, ServerSockets: |app| once(&app.app_listeners.on_handshake_error);
    ProxyErrorInfo, ServerSockets: |app| once(&app.app_listeners.on_proxy_error);
    RefusedInfo, ServerSockets: |app| once(&app.app_listeners.on_refused);
    ReceiveInfo, ClientSockets: |app| app.app_shards.shards().map(|shard| &shard.on_receive);
    ReceiveErrorInfo, ClientSockets: |app| {
        app.app_shards.shards().map(|shard| &shard.on_receive_error)
    };
    SendQueueInfo, ClientSockets: |app| app.app_shards.shards().map(|shard| &shard.on_send_queue);
    udp::ReceiveInfo, UdpSockets: |app| app.udp.shards().map(|shard| &shard.on_receive);
    udp::ReceiveErrorInfo, UdpSockets: |app| {
        app.udp.shards().map(|shard| &shard.on_receive_error)
    };
}

impl AppState {
    /// Has the sockets that raise an event check whether they may raise it now.
    pub(super) fn listeners_changed(&self, raised_by: RaisedBy) {
        match raised_by {
            RaisedBy::Registry => {}
            RaisedBy::ServerSockets => {
                for server in self.servers.values() {
                    server.address().do_send(tcp_server::ListenersChanged);
                }
            }
            RaisedBy::ClientSockets => {
                for app_shard in self.app_shards.shards() {
                    let app = self.app_shards.app_context.app.clone();
                    let table = app_shard.socket_table.address();
                    table.do_send(tcp::ListenersChanged(app));
                }
            }
            RaisedBy::UdpSockets => {
                for app_shard in self.udp.shards() {
                    let app = self.app_shards.app_context.app.clone();
                    let table = app_shard.shard.socket_table.address();
                    table.do_send(udp::ListenersChanged(app));
                }
            }
        }
    }
}

impl<E: AppEvent> Handler<AddListener<E>> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: AddListener<E>, _: &mut Self::Context) -> Self::Result {
        let app = self.app(&call.app);
        E::listeners(app).for_each(|listeners| listeners.add(E::target(call.recipient.clone())));
        app.listeners_changed(E::RAISED_BY);
        Ok(())
    }
}

impl<E: AppEvent> Handler<RemoveListener<E>> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: RemoveListener<E>, _: &mut Self::Context) -> Self::Result {
        if let Some(app) = self.apps.get(&call.app) {
            let target = E::target(call.recipient);
            E::listeners(app).for_each(|listeners| listeners.remove(&target));
            // Sockets may wait for this listener to handle events, or have
            // events that wait for a listener and are dropped without one.
            app.listeners_changed(E::RAISED_BY);
        }
        Ok(())
    }
}

impl<E: AppEvent> Handler<HasListener<E>> for Registry {
    type Result = Result<bool, Error>;

    fn handle(&mut self, call: HasListener<E>, _: &mut Self::Context) -> Self::Result {
        let target = call.recipient.map(E::target);
        let app = self.apps.get(&call.app);
        Ok(app.is_some_and(|app| E::listeners(app).any(|it| it.contains(target.as_ref()))))
    }
}
