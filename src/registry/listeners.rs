//! `addListener`, `removeListener` and `hasListener(s)` of the events.

use std::iter::once;

use actix::prelude::*;

use super::state::{AppState, Registry};
use crate::app_activity::SuspendInfo;
use crate::draining::DrainInfo;
use crate::error::Error;
use crate::events::{AddListener, Event, HasListener, Listeners, RemoveListener};
use crate::supervision::RestartInfo;
use crate::tcp::{self, ReceiveErrorInfo, ReceiveInfo};
use crate::tcp_server::{self, AcceptErrorInfo, AcceptInfo, HandshakeErrorInfo, RefusedInfo};

/// Where an app's listeners of an event are, and who has to look at them again.
pub(super) trait Heard: Event {
    /// One list, or one an arbiter.
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>>;

    fn changed(app: &AppState);
}

impl Heard for SuspendInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        once(&app.on_suspend)
    }

    fn changed(_: &AppState) {}
}

impl Heard for RestartInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        once(&app.on_restart)
    }

    fn changed(_: &AppState) {}
}

impl Heard for AcceptInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        once(&app.on_accept.on_accept)
    }

    fn changed(app: &AppState) {
        for server in app.servers() {
            server.address().do_send(tcp_server::ListenersChanged);
        }
    }
}

impl Heard for AcceptErrorInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        once(&app.on_accept.on_accept_error)
    }

    fn changed(app: &AppState) {
        AcceptInfo::changed(app);
    }
}

impl Heard for HandshakeErrorInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        once(&app.on_accept.on_handshake_error)
    }

    fn changed(app: &AppState) {
        AcceptInfo::changed(app);
    }
}

impl Heard for RefusedInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        once(&app.on_accept.on_refused)
    }

    fn changed(app: &AppState) {
        AcceptInfo::changed(app);
    }
}

impl Heard for DrainInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        once(&app.on_accept.on_drain)
    }

    fn changed(_: &AppState) {}
}

impl Heard for ReceiveInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        app.app_shards.each().map(|app_shard| &app_shard.on_receive)
    }

    fn changed(app: &AppState) {
        for app_shard in app.app_shards.each() {
            let app_id = app.app_shards.app_context.app.clone();
            app_shard
                .rows
                .address()
                .do_send(tcp::ListenersChanged(app_id));
        }
    }
}

impl Heard for ReceiveErrorInfo {
    fn listeners(app: &AppState) -> impl Iterator<Item = &Listeners<Self>> {
        app.app_shards
            .each()
            .map(|app_shard| &app_shard.on_receive_error)
    }

    fn changed(app: &AppState) {
        ReceiveInfo::changed(app);
    }
}

impl<E: Heard> Handler<AddListener<E>> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: AddListener<E>, _: &mut Self::Context) -> Self::Result {
        let app = self.app(&call.app);
        E::listeners(app).for_each(|them| them.add(call.recipient.clone()));
        E::changed(app);
        Ok(())
    }
}

impl<E: Heard> Handler<RemoveListener<E>> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: RemoveListener<E>, _: &mut Self::Context) -> Self::Result {
        if let Some(app) = self.apps.get(&call.app) {
            E::listeners(app).for_each(|them| them.remove(&call.recipient));
            // What waited for another one may wait for nobody now.
            E::changed(app);
        }
        Ok(())
    }
}

impl<E: Heard> Handler<HasListener<E>> for Registry {
    type Result = Result<bool, Error>;

    fn handle(&mut self, call: HasListener<E>, _: &mut Self::Context) -> Self::Result {
        let app = self.apps.get(&call.app);
        Ok(app.is_some_and(|app| {
            let recipient = call.recipient.as_ref();
            E::listeners(app).any(|them| them.contains(recipient))
        }))
    }
}
