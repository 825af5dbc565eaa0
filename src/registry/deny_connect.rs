//! Addresses that no app may connect to: ports of the process's own.

use std::net::SocketAddr;

use actix::prelude::*;

use super::state::Registry;

/// No app of this registry may connect to this address from now on, whatever its permissions are:
/// `connect` fails with [`NetError::NETWORK_ACCESS_DENIED`](crate::NetError::NETWORK_ACCESS_DENIED). For
/// ports of the process's own.
///
/// The address is compared with the one that the connection has reached: an unspecified address
/// (`0.0.0.0`, `::`) stands for each of the machine's own, and an IPv4-mapped address for its IPv4 address.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct DenyConnect(
    /// Where a listener of the process's own is.
    pub SocketAddr,
);

impl Handler<DenyConnect> for Registry {
    type Result = ();

    fn handle(&mut self, DenyConnect(address): DenyConnect, _: &mut Self::Context) {
        self.denied.add(address);
    }
}
