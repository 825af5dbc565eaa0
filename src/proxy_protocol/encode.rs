//! Writes a header.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::invalid_argument::InvalidArgument;
use crate::proxy_protocol::header::{
    Addresses, CRC32C, MAX_HEADER, ProxyHeader, V2_FIXED, V2_SIGNATURE, Version, tlv,
};
use crate::proxy_protocol::parse::checksum_at;

impl ProxyHeader {
    /// The header as it is sent.
    ///
    /// # Errors
    /// It has more than [`MAX_HEADER`] bytes; or it is of version 1, which has
    /// [`Addresses::Ip`] and [`Addresses::Unknown`] only, and no TLVs.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidArgument> {
        match self.version {
            Version::V1 => self.v1(),
            Version::V2 => self.v2_bytes(),
        }
    }

    fn v1(&self) -> Result<Vec<u8>, InvalidArgument> {
        if !self.tlvs.is_empty() {
            return Err(InvalidArgument::ProxyHeaderNotV1);
        }
        let line = match self.addresses {
            Addresses::Unknown => "PROXY UNKNOWN\r\n".to_owned(),
            Addresses::Ip {
                source,
                destination,
            } => {
                let (source, destination) = of_one_family(source, destination);
                let family = if source.is_ipv4() { 4 } else { 6 };
                format!(
                    "PROXY TCP{family} {} {} {} {}\r\n",
                    source.ip(),
                    destination.ip(),
                    source.port(),
                    destination.port(),
                )
            }
            _ => return Err(InvalidArgument::ProxyHeaderNotV1),
        };
        Ok(line.into_bytes())
    }

    fn v2_bytes(&self) -> Result<Vec<u8>, InvalidArgument> {
        const LOCAL: u8 = 0x20;
        const PROXY: u8 = 0x21;
        let mut bytes = Vec::from(V2_SIGNATURE);
        match &self.addresses {
            Addresses::Local => bytes.extend([LOCAL, 0x00, 0, 0]),
            Addresses::Unknown => bytes.extend([PROXY, 0x00, 0, 0]),
            Addresses::Ip {
                source,
                destination,
            } => {
                let (source, destination) = of_one_family(*source, *destination);
                let family = if source.is_ipv4() { 0x11 } else { 0x21 };
                bytes.extend([PROXY, family, 0, 0]);
                for ip in [source.ip(), destination.ip()] {
                    match ip {
                        IpAddr::V4(ip) => bytes.extend(ip.octets()),
                        IpAddr::V6(ip) => bytes.extend(ip.octets()),
                    }
                }
                bytes.extend(source.port().to_be_bytes());
                bytes.extend(destination.port().to_be_bytes());
            }
            Addresses::Unix {
                source,
                destination,
            } => {
                bytes.extend([PROXY, 0x31, 0, 0]);
                bytes.extend(**source);
                bytes.extend(**destination);
            }
        }
        let tlvs_at = bytes.len();
        bytes.extend(&self.tlvs);
        let length = u16::try_from(bytes.len() - V2_FIXED);
        let (Ok(length), ..=MAX_HEADER) = (length, bytes.len()) else {
            return Err(InvalidArgument::ProxyHeaderTooLong);
        };
        bytes[V2_FIXED - 2..V2_FIXED].copy_from_slice(&length.to_be_bytes());
        if self.tlv(tlv::CRC32C).is_some()
            && let Some(at) = checksum_at(&bytes[tlvs_at..])
        {
            let checksum = tlvs_at + at..tlvs_at + at + 4;
            bytes[checksum.clone()].fill(0);
            let crc = CRC32C.checksum(&bytes);
            bytes[checksum].copy_from_slice(&crc.to_be_bytes());
        }
        Ok(bytes)
    }
}

/// A header has one family for both addresses.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |address: SocketAddr| -> SocketAddr {
        let ip: Ipv6Addr = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        (ip, address.port()).into()
    };
    (mapped(source), mapped(destination))
}
