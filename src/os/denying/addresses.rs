//! The addresses that apps may not reach.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::RwLock;
use rustix::io::Errno;

/// The addresses that apps may not connect to, nor send datagrams to.
#[derive(Clone, Default)]
pub(crate) struct DeniedAddresses(Arc<RwLock<Vec<SocketAddr>>>);

impl DeniedAddresses {
    pub(crate) fn add(&self, address: SocketAddr) {
        self.0.write().push(address);
    }

    /// Whether a connection to `peer` reaches a denied address. `local` is the local address of a
    /// connection that is established already.
    pub(super) fn contains(&self, peer: SocketAddr, local: Option<SocketAddr>) -> bool {
        let denied = self.0.read();
        denied.iter().any(|denied| reaches(*denied, peer, local))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}

pub(super) fn reaches(denied: SocketAddr, peer: SocketAddr, local: Option<SocketAddr>) -> bool {
    let (denied_ip, peer_ip) = (denied.ip().to_canonical(), peer.ip().to_canonical());
    if denied.port() != peer.port() {
        return false;
    }
    // A connection to the unspecified address reaches this machine. A connection to an address of
    // this machine has that address at both ends.
    let is_this_machine = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    let is_own = local.is_some_and(|local| local.ip().to_canonical() == peer_ip);
    denied_ip == peer_ip
        || (peer_ip.is_unspecified() && is_this_machine(denied_ip))
        || (denied_ip.is_unspecified() && (is_this_machine(peer_ip) || is_own))
}

/// The error of what a firewall refuses.
pub(super) fn access_denied() -> io::Error {
    Errno::ACCESS.into()
}
