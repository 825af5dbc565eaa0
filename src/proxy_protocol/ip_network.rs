//! A network of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use derive_more::Display;

/// A network of IP addresses, written as `10.0.0.0/8`, `2001:db8::/32`, or as one address.
/// IPv4-mapped addresses (`::ffff:10.0.0.1`) belong to the networks of their IPv4 address.
///
/// ```
/// use chrome_sockets::proxy_protocol::IpNetwork;
///
/// let network: IpNetwork = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(network.contains("::ffff:10.1.2.3".parse()?));
/// assert!(!network.contains("11.0.0.1".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

/// Why a text or a pair of values is no [`IpNetwork`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Display, derive_more::Error)]
#[non_exhaustive]
pub enum IpNetworkError {
    /// It has no IP address.
    #[display("it is not an IP address, nor one with a prefix length, such as 10.0.0.0/8")]
    Address,
    /// The prefix length is no number, or above 32 (IPv4) or 128 (IPv6).
    #[display("the prefix length is not a number of bits of the address")]
    Prefix,
    /// The address has bits behind the prefix: that may be a mistake in either of them.
    #[display("the address has bits behind the prefix: {_0} may be meant")]
    HostBits(#[error(not(source))] IpNetwork),
}

impl IpNetwork {
    /// # Errors
    /// The prefix is longer than the address, or the address has bits behind it.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, IpNetworkError> {
        let (address, prefix) = match (address.to_canonical(), address) {
            // A network of IPv4-mapped addresses.
            (IpAddr::V4(mapped), IpAddr::V6(_)) if prefix >= 96 => (mapped.into(), prefix - 96),
            _ => (address, prefix),
        };
        if prefix > bits(address) {
            return Err(IpNetworkError::Prefix);
        }
        let network = IpNetwork {
            address: truncate(address, prefix),
            prefix,
        };
        match network.address == address {
            true => Ok(network),
            false => Err(IpNetworkError::HostBits(network)),
        }
    }

    /// Whether this address belongs to the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && truncate(address, self.prefix) == self.address
    }
}

/// The number of bits of an address.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn truncate(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl From<IpAddr> for IpNetwork {
    /// The network of this address only.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        IpNetwork {
            address,
            prefix: bits(address),
        }
    }
}

impl FromStr for IpNetwork {
    type Err = IpNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpNetworkError::Address)?;
        let Some(prefix) = prefix else {
            return Ok(address.into());
        };
        let is_number = prefix.bytes().all(|it| it.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| is_number);
        IpNetwork::new(address, prefix.ok_or(IpNetworkError::Prefix)?)
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IpNetwork, IpNetworkError> {
        text.parse()
    }

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.4/31", "::ffff:10.1.2.5", "10.1.2.6"),
            ("::/0", "1::", "1.2.3.4"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::1/128", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.3.2.1", "9.0.0.0"),
        ] {
            let network = parse(network).expect("a network");
            assert!(network.contains(inside.parse().expect("an address")));
            assert!(!network.contains(outside.parse().expect("an address")));
            assert_eq!(parse(&network.to_string()), Ok(network));
        }
    }

    #[test]
    fn a_text_that_is_no_network_is_refused_with_the_reason() {
        for text in [
            "",
            "/",
            "/8",
            "localhost",
            "10.0.0/8",
            "10.0.0.0:80",
            "1::/2::",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/-1",
            "::/256",
        ] {
            assert_eq!(parse(text), Err(IpNetworkError::Prefix), "{text}");
        }
        let meant = parse("10.0.0.0/8").expect("a network");
        assert_eq!(parse("10.0.0.1/8"), Err(IpNetworkError::HostBits(meant)));
    }
}
