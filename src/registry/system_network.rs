//! `chrome.system.network`: the addresses of this machine.

use actix::prelude::*;

use crate::answer::messages;
use crate::error::Error;
use crate::os::NetworkInterface;
use crate::registry::state::Registry;

messages! {
    /// Asks for the network interfaces of this machine: see
    /// [`SystemNetwork::get_network_interfaces`](crate::SystemNetwork::get_network_interfaces).
    GetNetworkInterfaces {} -> Vec<NetworkInterface>;
}

impl Handler<GetNetworkInterfaces> for Registry {
    type Result = Result<Vec<NetworkInterface>, Error>;

    fn handle(&mut self, call: GetNetworkInterfaces, _: &mut Self::Context) -> Self::Result {
        let permissions = self.app(&call.app).app_shards.app_context.permissions();
        if !permissions.may_get_network_interfaces() {
            return Err(Error::ApiDenied);
        }
        self.network.interfaces().map_err(|error| {
            log::warn!("app {}: no list of network interfaces: {error}", call.app);
            Error::NetworkListFailed
        })
    }
}
