//! What apps may do: the permissions of an app, and addresses that no app may connect to.
//! Sockets that are open stay open when a permission goes.

use std::net::SocketAddr;

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

/// Forbids every app of this registry to connect to an address, whatever its
/// permissions are: `connect` fails with
/// [`NetError::NETWORK_ACCESS_DENIED`](crate::NetError::NETWORK_ACCESS_DENIED).
/// It is meant for ports of the process itself.
///
/// Sockets of `udp` that are bound from then on send nothing there either: `send`
/// fails with [`NetError::ACCESS_DENIED`](crate::NetError::ACCESS_DENIED).
///
/// The address is compared with the one that the connection has reached. An
/// unspecified address (`0.0.0.0`, `::`) stands for each address of the machine,
/// and an IPv4-mapped address for its IPv4 address.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct DenyConnect(
    /// The address of a listener of the process itself.
    pub SocketAddr,
);

impl Handler<DenyConnect> for Registry {
    type Result = ();

    fn handle(&mut self, DenyConnect(address): DenyConnect, _: &mut Self::Context) {
        self.denied_addresses.add(address);
    }
}
