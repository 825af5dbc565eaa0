//! The addresses of this machine's network interfaces.

use std::net::IpAddr;

/// The most addresses that [`Network::interfaces`](super::Network::interfaces) tells: those of a
/// machine with more interfaces would not fit into one answer to JavaScript.
pub const MAX_INTERFACES: usize = 1024;

/// One address of a network interface: `chrome.system.network.NetworkInterface`. An interface with
/// several addresses has several of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkInterface {
    /// The name of the interface, such as `eth0`.
    pub name: String,
    /// The address. A link-local IPv6 address has no scope, as in Chrome; its interface is
    /// [`name`](Self::name).
    pub address: IpAddr,
    /// How many bits of the address are its network's.
    pub prefix_length: u8,
}
