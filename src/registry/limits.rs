//! What an app, and all apps together, may have; set while it runs.

use actix::prelude::*;

use super::state::{AppState, Registry};
use crate::answer::messages;
use crate::error::Error;
use crate::handover_state::AppLimitsRecord;
use crate::net_error::NetError;
use crate::tcp_server::Limits;

/// The limits of one app (beyond Chrome); by default there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AppLimits {
    /// What all of its server sockets take on together.
    pub accepted: Limits,
    /// The sockets that it makes by `create`, server sockets and client
    /// sockets together, until they are closed. Beyond it `create` answers
    /// [`TooManySockets`](Error::TooManySockets). Server sockets that it has
    /// got otherwise count too, and so do client sockets of another process
    /// that were not accepted there.
    pub sockets: Option<usize>,
}

messages! {
    /// Sets an app's limits: see [`App::set_limits`](crate::App::set_limits).
    /// Its `app` is the one whose limits they are.
    SetAppLimits {
        /// They replace all that it had.
        limits: AppLimits,
    } -> ();
}

/// Sets what all server sockets of a registry take on together, in place of
/// [`Registry::limits`], as [`App::set_limits`](crate::App::set_limits) does for
/// an app; with the same errors.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct SetRegistryLimits {
    /// They replace all that it had.
    pub limits: Limits,
}

impl Registry {
    /// What all server sockets of all apps take on together: no limits unless
    /// this is called. [`SetRegistryLimits`] changes it while it runs.
    ///
    /// # Errors
    /// [`INVALID_ARGUMENT`](NetError::INVALID_ARGUMENT) for what the
    /// documentation of [`Limits`] excludes.
    pub fn limits(self, limits: Limits) -> Result<Self, NetError> {
        self.limits.set(limits)?;
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
            accepted: self.on_accept.limits().limits(),
            sockets: self.sockets,
        }
    }

    pub(super) fn set_limits(&mut self, limits: AppLimits) -> Result<(), NetError> {
        self.on_accept.limits().set(limits.accepted)?;
        self.sockets = limits.sockets;
        Ok(())
    }

    /// Whether the app may make one more socket.
    pub(super) fn may_make(&self) -> Result<(), Error> {
        let made = self.servers().len() + self.app_shards.made();
        match self.sockets.is_some_and(|most| made >= most) {
            true => Err(Error::TooManySockets),
            false => Ok(()),
        }
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
        Ok(self.limits.set(call.limits)?)
    }
}
