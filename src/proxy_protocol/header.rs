//! A PROXY header, read or to be sent.

use std::borrow::Cow;
use std::net::SocketAddr;

use crc::{CRC_32_ISCSI, Crc};
use ppp::v2::TypeLengthValues;

use crate::address::Address;

/// The longest header, in bytes: 4,096. The specification permits 65,551 for version 2, but says
/// that 536 are enough for most. Headers of version 1 have 107 at most.
pub const MAX_HEADER: usize = 4096;

/// The longest header of version 1, with the end of its line.
pub(super) const MAX_V1_HEADER: usize = 107;

/// The checksum of headers of version 2 (Castagnoli).
pub(super) const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What a header of version 2 begins with.
pub(super) const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
pub(super) const V2_FIXED: usize = 16;

/// Types of TLVs (type, length, value), the optional fields of version 2.
pub mod tlv {
    /// The protocol that TLS has agreed on (ALPN).
    pub const ALPN: u8 = 0x01;
    /// The host name that the client has asked for (SNI).
    pub const AUTHORITY: u8 = 0x02;
    /// The checksum of the header. It was correct if a server socket has accepted the header.
    pub const CRC32C: u8 = 0x03;
    /// Filling, to be ignored.
    pub const NOOP: u8 = 0x04;
    /// An id of the connection.
    pub const UNIQUE_ID: u8 = 0x05;
    /// How the client is encrypted; its value has TLVs of its own.
    pub const SSL: u8 = 0x20;
    /// The name of a network namespace.
    pub const NETNS: u8 = 0x30;
}

/// The version of a PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary, with TLVs.
    #[default]
    V2,
}

/// The address of a Unix socket in a header, filled with zeros.
pub type UnixPath = [u8; 108];

/// What a header says about the connection of the client.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Addresses {
    /// `LOCAL` (version 2): the proxy speaks for itself, for instance to check whether the server
    /// is alive.
    Local,
    /// `UNKNOWN` (version 1) or unspecified (version 2): the proxy does not know the client, or
    /// its connection is not TCP.
    Unknown,
    /// A TCP connection.
    Ip {
        /// The client.
        source: SocketAddr,
        /// The address that the client has connected to.
        destination: SocketAddr,
    },
    /// A Unix socket (version 2).
    Unix {
        /// The client.
        source: Box<UnixPath>,
        /// The address that the client has connected to.
        destination: Box<UnixPath>,
    },
}

/// A PROXY header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    pub(super) version: Version,
    pub(super) addresses: Addresses,
    /// As in the header, and well-formed.
    pub(super) tlvs: Vec<u8>,
}

impl ProxyHeader {
    /// A header that names a client and the address that it has connected to. If one of them is
    /// IPv4 and the other IPv6, both are sent as IPv6.
    pub fn new(version: Version, source: SocketAddr, destination: SocketAddr) -> Self {
        ProxyHeader {
            version,
            addresses: Addresses::Ip {
                source,
                destination,
            },
            tlvs: Vec::new(),
        }
    }

    /// A header of version 2 with other addresses, such as [`Addresses::Local`].
    pub fn v2(addresses: Addresses) -> Self {
        ProxyHeader {
            version: Version::V2,
            addresses,
            tlvs: Vec::new(),
        }
    }

    /// Adds a TLV, for version 2. Its type is often one of [`tlv`], or from 0xE0 to 0xEF for
    /// programs that agree on it. Of a value above 65,535 bytes the header gets the beginning, and
    /// is too long to be sent.
    pub fn with_tlv(mut self, kind: u8, value: &[u8]) -> Self {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.tlvs.push(kind);
        self.tlvs.extend(length.to_be_bytes());
        self.tlvs.extend(value);
        self
    }

    /// Adds a checksum (CRC-32C), which is computed when the header is written.
    pub fn with_checksum(self) -> Self {
        self.with_tlv(tlv::CRC32C, &[0; 4])
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What it says about the client's connection.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The client, if its connection is TCP.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.addresses {
            Addresses::Ip { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The address that the client has connected to, if its connection is TCP.
    pub fn destination(&self) -> Option<SocketAddr> {
        match self.addresses {
            Addresses::Ip { destination, .. } => Some(destination),
            _ => None,
        }
    }

    /// Its TLVs, each with its type and value, in their order.
    pub fn tlvs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let tlvs = TypeLengthValues::from(&self.tlvs[..]).map_while(Result::ok);
        tlvs.filter_map(|tlv| match tlv.value {
            Cow::Borrowed(value) => Some((tlv.kind, value)),
            Cow::Owned(_) => None,
        })
    }

    /// The value of the first TLV of this type.
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs().find(|tlv| tlv.0 == kind).map(|tlv| tlv.1)
    }
}

/// The proxy of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProxyPeer {
    /// The proxy's address: the real peer of the connection.
    pub address: Address,
    /// The header that it has sent.
    pub header: ProxyHeader,
}

impl ProxyPeer {
    pub(crate) fn new(address: Address, header: ProxyHeader) -> Self {
        ProxyPeer { address, header }
    }
}
