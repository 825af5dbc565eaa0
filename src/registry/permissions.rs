//! Sets the permissions of an app.

use actix::prelude::*;

use crate::answer::messages;
use crate::error::Error;
use crate::manifest::Permissions;
use crate::registry::state::Registry;

messages! {
    /// Sets the permissions of an app: see
    /// [`App::set_permissions`](crate::App::set_permissions). `app` is the app
    /// whose permissions are set.
    SetPermissions {
        /// They replace the app's previous permissions.
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
