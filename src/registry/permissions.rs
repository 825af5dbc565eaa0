//! What an app may do, set while it runs.

use actix::prelude::*;

use super::state::Registry;
use crate::answer::messages;
use crate::error::Error;
use crate::manifest::Permissions;

messages! {
    /// Sets what an app may do: see
    /// [`App::set_permissions`](crate::App::set_permissions). Its `app` is
    /// the one whose permissions they are.
    SetPermissions {
        /// They replace all that it had.
        permissions: Permissions,
    } -> ();
}

impl Handler<SetPermissions> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: SetPermissions, _: &mut Self::Context) -> Self::Result {
        let app = self.app(&call.app);
        app.app_shards.app_context.set_permissions(call.permissions);
        Ok(())
    }
}
