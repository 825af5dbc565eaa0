//! [`Address`] of one end of a connection, and [`Endpoint`], what a call may name instead.

mod unix;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use derive_more::{Display, From};

pub use crate::address::unix::{PeerCredentials, UnixAddress};
use crate::invalid_argument::InvalidArgument;

/// The address of one end of a connection (beyond Chrome, whose sockets have an IP address and a
/// port as separate fields).
///
/// It is an IP address with a port, or the name of a Unix socket. More kinds may be added: match
/// with a wildcard arm, or use [`socket_addr`](Self::socket_addr) and [`unix`](Self::unix).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Display, From)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port. A link-local IPv6 address has the scope id of its interface.
    #[display("{_0}")]
    Ip(SocketAddr),
    /// The name of a Unix socket.
    #[display("{_0}")]
    Unix(UnixAddress),
}

impl Address {
    /// The IP address with its port; `None` if the address is of another kind.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// The name of the Unix socket; `None` if the address is of another kind.
    pub fn unix(&self) -> Option<&UnixAddress> {
        match self {
            Address::Ip(_) => None,
            Address::Unix(address) => Some(address),
        }
    }

    /// The IP address alone; `None` if the address is of another kind.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// The port; `None` if the address is of a kind without ports.
    pub fn port(&self) -> Option<u16> {
        self.socket_addr().map(|address| address.port())
    }
}

/// For comparisons with an IP address and its port.
impl PartialEq<SocketAddr> for Address {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.socket_addr() == Some(*other)
    }
}

/// Where to listen or to connect to: an [`Address`], or a host and a port (beyond Chrome).
///
/// It is made from a [`SocketAddr`], a [`UnixAddress`], an [`Address`], and the pairs `(host, port)`, where the host is
/// a text or an IP address. An IPv6 address in a text may name its interface or scope id behind a
/// `%` (RFC 4007, 11): `fe80::1%eth0`, `fe80::1%2`.
///
/// ```
/// use std::net::{Ipv4Addr, SocketAddr};
///
/// use chrome_sockets::Endpoint;
///
/// let address = SocketAddr::from(([127, 0, 0, 1], 80));
/// assert_eq!(Endpoint::from(address), Endpoint::from((Ipv4Addr::LOCALHOST, 80)));
/// let _by_name = Endpoint::from(("localhost", 80));
/// let _link_local = Endpoint::from(("fe80::1%eth0", 80));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, From)]
#[non_exhaustive]
pub enum Endpoint {
    /// An address.
    Address(Address),
    /// A host name or an IP address as text, and a port.
    Host(String, u16),
}

impl From<UnixAddress> for Endpoint {
    fn from(address: UnixAddress) -> Self {
        Endpoint::Address(address.into())
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint::Address(address.into())
    }
}

impl From<(IpAddr, u16)> for Endpoint {
    fn from(address: (IpAddr, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<(Ipv4Addr, u16)> for Endpoint {
    fn from(address: (Ipv4Addr, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<(Ipv6Addr, u16)> for Endpoint {
    fn from(address: (Ipv6Addr, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<(&str, u16)> for Endpoint {
    fn from((host, port): (&str, u16)) -> Self {
        Endpoint::Host(host.to_owned(), port)
    }
}

/// The longest name of a network interface, in bytes (`IFNAMSIZ` is 16 with the final 0).
const MAX_INTERFACE: usize = 15;

/// Splits `fe80::1%eth0` into the address and its interface or scope id. `None` if the text is not
/// of this form: only link-local addresses have a scope.
pub(crate) fn split_scope(text: &str) -> Option<(Ipv6Addr, &str)> {
    let (address, scope) = text.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let is_name = |c: char| c.is_ascii_graphic() && !matches!(c, '%' | '/');
    let is_scope = (1..=MAX_INTERFACE).contains(&scope.len()) && scope.chars().all(is_name);
    (is_scope && address.is_unicast_link_local()).then_some((address, scope))
}

/// Link-local addresses exist once per interface, so they need its scope id; others have none.
pub(crate) fn check_scope(address: SocketAddr) -> Result<(), InvalidArgument> {
    let SocketAddr::V6(address) = address else {
        return Ok(());
    };
    match (address.ip().is_unicast_link_local(), address.scope_id()) {
        (true, 0) => Err(InvalidArgument::ScopeMissing),
        (false, 1..) => Err(InvalidArgument::ScopeNotAllowed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_local_address_has_a_scope() {
        let address: Ipv6Addr = "fe80::1".parse().expect("an address");
        for scope in ["eth0", "2", "br-0a1b2c3d4e5f", "wlan0.100", "veth@if3"] {
            let text = format!("fe80::1%{scope}");
            assert_eq!(split_scope(&text), Some((address, scope)));
        }
        for text in [
            "",
            "%",
            "%eth0",
            "fe80::1",
            "fe80::1%",
            "fe80::1%%",
            "fe80::1%eth0%",
            "fe80::1%eth 0",
            "fe80::1%eth0\0",
            "fe80::1%../eth0",
            "fe80::1%interface-of-16-b",
            "[fe80::1%eth0]",
            "fd00::1%eth0",
            "::1%lo",
            "127.0.0.1%lo",
            "host%eth0",
        ] {
            assert_eq!(split_scope(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_written_like_a_socket_address() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let wrapped = Address::from(address);
        assert_eq!(wrapped.to_string(), "127.0.0.1:80");
        assert_eq!(wrapped.socket_addr(), Some(address));
        assert_eq!(
            (wrapped.ip(), wrapped.port()),
            (Some(address.ip()), Some(80))
        );
    }

    #[test]
    fn an_address_of_any_kind_takes_no_more_memory_than_a_socket_address() {
        // Each connection has the address of its peer.
        assert_eq!(size_of::<Address>(), size_of::<SocketAddr>());
        assert_eq!(size_of::<Option<Address>>(), size_of::<SocketAddr>());
    }
}
