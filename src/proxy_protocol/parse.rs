//! Parses a header. `ppp` does that for a complete one; where it ends has to be known before.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use ppp::{v1, v2};

use crate::proxy_protocol::ProxyError;
use crate::proxy_protocol::header::{
    Addresses, CRC32C, MAX_HEADER, MAX_V1_HEADER, ProxyHeader, V2_FIXED, V2_SIGNATURE, Version, tlv,
};

/// The beginnings of headers. None is longer than the shortest header, so they can be read whole.
const BEGINNINGS: [&[u8; 12]; 4] = [
    V2_SIGNATURE,
    b"PROXY TCP4 \0",
    b"PROXY TCP6 \0",
    b"PROXY UNKNOW",
];

/// How many bytes of these beginnings are fixed.
const FIXED: [usize; 4] = [12, 11, 11, 12];

/// The version of headers of version 2, with their command.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// What each header of version 1 begins with.
const V1_PREFIX: &[u8] = b"PROXY ";

/// How many more bytes the header surely has; 0 if it is complete. If it is not known how many
/// there are, this is the least number.
///
/// # Errors
/// These bytes are not the beginning of a header.
pub(super) fn missing(bytes: &[u8]) -> Result<usize, ProxyError> {
    let begins_like = |(beginning, fixed): (&&[u8; 12], usize)| {
        let length = bytes.len().min(fixed);
        bytes[..length] == beginning[..length]
    };
    if !BEGINNINGS.iter().zip(FIXED).any(begins_like) {
        return Err(match bytes.starts_with(V1_PREFIX) {
            true => ProxyError::Malformed,
            false => ProxyError::NoHeader,
        });
    }
    match bytes.len() {
        0..12 => Ok(V2_SIGNATURE.len() - bytes.len()),
        _ if bytes.starts_with(V2_SIGNATURE) => missing_of_v2(bytes),
        _ => missing_of_v1(bytes),
    }
}

fn missing_of_v2(bytes: &[u8]) -> Result<usize, ProxyError> {
    if !matches!(bytes.get(12), None | Some(&LOCAL | &PROXY)) {
        return Err(ProxyError::Malformed);
    }
    let Some(length) = bytes.get(14..V2_FIXED) else {
        return Ok(V2_FIXED - bytes.len());
    };
    let total = V2_FIXED + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if total > MAX_HEADER {
        return Err(ProxyError::TooLong);
    }
    total.checked_sub(bytes.len()).ok_or(ProxyError::Malformed)
}

fn missing_of_v1(bytes: &[u8]) -> Result<usize, ProxyError> {
    let (line, is_complete) = match bytes.strip_suffix(b"\r\n") {
        Some(line) => (line, true),
        None => (bytes, false),
    };
    if line.contains(&b'\n') {
        return Err(ProxyError::Malformed);
    }
    let (line, end) = match line.strip_suffix(b"\r") {
        // The beginning of the line's end.
        Some(line) if !is_complete => (line, 1),
        _ => (line, 2),
    };
    let least = match &line[V1_PREFIX.len()..] {
        [b'U', unknown @ ..] => least_of_unknown(unknown, end)?,
        [_, _, _, family, b' ', addresses @ ..] => {
            least_of_addresses(addresses, *family == b'4', is_complete || end == 1)?
        }
        _ => return Err(ProxyError::Malformed),
    };
    match MAX_V1_HEADER.checked_sub(bytes.len()) {
        Some(_) if is_complete => Ok(0),
        None | Some(0) => Err(ProxyError::TooLong),
        Some(room) => Ok((least + end).min(room)),
    }
}

/// The least number of bytes between `text`, which stands behind the first letter of `UNKNOWN`,
/// and the end of the line, of which `end` bytes are missing.
fn least_of_unknown(text: &[u8], end: usize) -> Result<usize, ProxyError> {
    match text.strip_prefix(b"NKNOWN") {
        // What follows may be anything.
        Some([] | [b' ', ..]) => Ok(0),
        None if text == b"NKNOW" && end == 2 => Ok(1),
        _ => Err(ProxyError::Malformed),
    }
}

/// The least number of bytes between `text`, which stands behind the family, and the end of the
/// line. `is_whole`: nothing is between.
fn least_of_addresses(text: &[u8], is_ipv4: bool, is_whole: bool) -> Result<usize, ProxyError> {
    let is_valid = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b' ');
    let spaces = text.iter().filter(|byte| **byte == b' ').count();
    if !text.iter().all(is_valid) || spaces > 3 || (is_whole && spaces < 3) {
        return Err(ProxyError::Malformed);
    }
    if is_whole {
        return Ok(0);
    }
    // Of the two addresses and ports.
    let shortest = match is_ipv4 {
        true => ["0.0.0.0".len(), "0.0.0.0".len(), 1, 1],
        false => ["::".len(), "::".len(), 1, 1],
    };
    let is_begun = !matches!(text, [] | [.., b' ']);
    let current = if is_begun { 0 } else { shortest[spaces] };
    let later: usize = shortest[spaces + 1..].iter().map(|it| it + 1).sum();
    Ok(current + later)
}

/// Parses a complete header.
///
/// # Errors
/// It is malformed, or its checksum is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<ProxyHeader, ProxyError> {
    match bytes.starts_with(V2_SIGNATURE) {
        true => parse_v2(bytes),
        false => parse_v1(bytes),
    }
}

impl ProxyHeader {
    /// Parses a header, with nothing behind it.
    ///
    /// # Errors
    /// See [`ProxyError`]; `Malformed` if bytes of it are missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProxyError> {
        match missing(bytes)? {
            0 => parse(bytes),
            _ => Err(ProxyError::Malformed),
        }
    }
}

fn parse_v1(bytes: &[u8]) -> Result<ProxyHeader, ProxyError> {
    // `ppp` permits no more than four words there, and no other encodings.
    if bytes.starts_with(b"PROXY UNKNOWN") {
        return Ok(ProxyHeader {
            version: Version::V1,
            addresses: Addresses::Unknown,
            tlvs: Vec::new(),
        });
    }
    let header = v1::Header::try_from(bytes).map_err(|_| ProxyError::Malformed)?;
    Ok(ProxyHeader {
        version: Version::V1,
        addresses: match header.addresses {
            v1::Addresses::Unknown => Addresses::Unknown,
            v1::Addresses::Tcp4(ends) => v4(ends),
            v1::Addresses::Tcp6(ends) => v6(ends),
        },
        tlvs: Vec::new(),
    })
}

fn v4(ends: v1::IPv4) -> Addresses {
    let end = |ip, port| SocketAddr::from(SocketAddrV4::new(ip, port));
    Addresses::Ip {
        source: end(ends.source_address, ends.source_port),
        destination: end(ends.destination_address, ends.destination_port),
    }
}

fn v6(ends: v1::IPv6) -> Addresses {
    let end = |ip, port| SocketAddr::from(SocketAddrV6::new(ip, port, 0, 0));
    Addresses::Ip {
        source: end(ends.source_address, ends.source_port),
        destination: end(ends.destination_address, ends.destination_port),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<ProxyHeader, ProxyError> {
    if bytes.get(12) == Some(&LOCAL) {
        // The family and the addresses are to be ignored, whatever they are.
        return with_tlvs(Addresses::Local, bytes, ignored_addresses(bytes)?);
    }
    let header = v2::Header::try_from(bytes).map_err(|_| ProxyError::Malformed)?;
    let addresses = match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(ends)) => v4(ends),
        (v2::Protocol::Stream, v2::Addresses::IPv6(ends)) => v6(ends),
        (v2::Protocol::Stream, v2::Addresses::Unix(ends)) => Addresses::Unix {
            source: Box::new(ends.source),
            destination: Box::new(ends.destination),
        },
        // The client's connection is not a stream, as the one to this server is.
        _ => Addresses::Unknown,
    };
    let tlvs_at = match header.addresses {
        v2::Addresses::Unspecified => ignored_addresses(bytes)?,
        _ => bytes.len() - header.tlv_bytes().len(),
    };
    with_tlvs(addresses, bytes, tlvs_at)
}

/// Where the TLVs begin if addresses before them may be anything: at the end, if what is there
/// cannot be TLVs.
fn ignored_addresses(bytes: &[u8]) -> Result<usize, ProxyError> {
    let family = bytes.get(13).ok_or(ProxyError::Malformed)? >> 4;
    let addresses = match family {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let tlvs = bytes.get(V2_FIXED + addresses..).filter(|it| are_tlvs(it));
    Ok(tlvs.map_or(bytes.len(), |it| bytes.len() - it.len()))
}

fn are_tlvs(bytes: &[u8]) -> bool {
    v2::TypeLengthValues::from(bytes).all(|tlv| tlv.is_ok())
}

fn with_tlvs(
    addresses: Addresses,
    bytes: &[u8],
    tlvs_at: usize,
) -> Result<ProxyHeader, ProxyError> {
    let tlvs = &bytes[tlvs_at..];
    if !are_tlvs(tlvs) {
        return Err(ProxyError::Malformed);
    }
    let header = ProxyHeader {
        version: Version::V2,
        addresses,
        tlvs: tlvs.to_vec(),
    };
    if let Some(value) = header.tlv(tlv::CRC32C) {
        let at = checksum_at(tlvs).ok_or(ProxyError::Malformed)?;
        // The checksum is that of the header with zeros in its place.
        let mut zeroed = bytes.to_vec();
        zeroed[tlvs_at + at..][..4].fill(0);
        if CRC32C.checksum(&zeroed).to_be_bytes() != value {
            return Err(ProxyError::WrongChecksum);
        }
    }
    Ok(header)
}

/// Where the value of the checksum begins in well-formed TLVs. `None` if it has not four bytes.
pub(super) fn checksum_at(tlvs: &[u8]) -> Option<usize> {
    let mut at = 0;
    for tlv in v2::TypeLengthValues::from(tlvs).map_while(Result::ok) {
        if tlv.kind == tlv::CRC32C {
            return (tlv.len() == 4).then_some(at + 3);
        }
        at += 3 + tlv.len();
    }
    None
}
