//! Sets the limits of an app, and of the whole registry.

use actix::prelude::*;

use crate::answer::messages;
use crate::error::Error;
use crate::handover_state::AppLimitsRecord;
use crate::invalid_argument::InvalidArgument;
use crate::registry::state::{AppState, Registry};
use crate::tcp_server::Limits;

/// The limits of one app (beyond Chrome); by default there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AppLimits {
    /// The limits of all connections that its server sockets accept together.
    pub accepted: Limits,
    /// How many sockets may exist that it made by `create`, server sockets, client
    /// sockets and UDP sockets together. Beyond it `create` answers
    /// [`TooManySockets`](Error::TooManySockets). Server sockets that were adopted
    /// or handed over count too, and so do client sockets that were handed over
    /// and not accepted.
    pub sockets: Option<usize>,
}

messages! {
    /// Sets an app's limits: see [`App::set_limits`](crate::App::set_limits).
    /// `app` is the app whose limits are set.
    SetAppLimits {
        /// They replace the app's previous limits.
        limits: AppLimits,
    } -> ();
}

/// Sets the limits of all connections that the server sockets of a registry
/// accept together, in place of [`Registry::limits`]. It has the same errors as
/// [`App::set_limits`](crate::App::set_limits).
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct SetRegistryLimits {
    /// They replace the registry's previous limits.
    pub limits: Limits,
}

impl Registry {
    /// The limits of all connections that the server sockets of all apps accept
    /// together: none, by default. [`SetRegistryLimits`] changes them while the
    /// registry is running.
    ///
    /// # Errors
    /// The field that the documentation of [`Limits`] excludes, with the reason.
    pub fn limits(self, limits: Limits) -> Result<Self, InvalidArgument> {
        self.limiter.set(limits)?;
        Ok(self)
    }
}

impl From<AppLimits> for AppLimitsRecord {
    fn from(AppLimits { accepted, sockets }: AppLimits) -> Self {
        let accepted = accepted.into();
        AppLimitsRecord { accepted, sockets }
    }
}

impl From<AppLimitsRecord> for AppLimits {
    fn from(AppLimitsRecord { accepted, sockets }: AppLimitsRecord) -> Self {
        let accepted = accepted.into();
        AppLimits { accepted, sockets }
    }
}

impl AppState {
    pub(super) fn limits(&self) -> AppLimits {
        AppLimits {
            accepted: self.app_listeners.limits().limits(),
            sockets: self.socket_limit,
        }
    }

    pub(super) fn set_limits(&mut self, limits: AppLimits) -> Result<(), InvalidArgument> {
        self.app_listeners.limits().set(limits.accepted)?;
        self.socket_limit = limits.sockets;
        Ok(())
    }

    /// Fails if the app may not create one more socket.
    pub(super) fn check_socket_limit(&self) -> Result<(), Error> {
        let made = self.servers.len() + self.app_shards.created() + self.udp.len();
        let is_below = self.socket_limit.is_none_or(|most| made < most);
        is_below.then_some(()).ok_or(Error::TooManySockets)
    }
}

impl Handler<SetAppLimits> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: SetAppLimits, _: &mut Self::Context) -> Self::Result {
        Ok(self.app(&call.app).set_limits(call.limits)?)
    }
}

impl Handler<SetRegistryLimits> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: SetRegistryLimits, _: &mut Self::Context) -> Self::Result {
        Ok(self.limiter.set(call.limits)?)
    }
}
