//! Asks Linux for the addresses of the network interfaces, by the messages that Chromium uses
//! (`net/base/address_tracker_linux.cc`). `getifaddrs` would not tell which IPv6 addresses are still
//! being checked for duplicates.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use crate::os::interfaces::{MAX_INTERFACES, NetworkInterface};

/// The addresses that Chromium reports, in its order: IPv4 before IPv6, each by its bytes. Left out
/// are interfaces that are down or have no carrier, the loopback interface, loopback and unspecified
/// addresses, and IPv6 addresses that are not known to be unique. An address of two interfaces
/// is listed once.
///
/// # Errors
/// The process has no free descriptor; a sandbox forbids netlink.
pub(in crate::os) fn interfaces() -> io::Result<Vec<NetworkInterface>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0 is `NETLINK_ROUTE`.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
    let mut addresses = BTreeMap::new();
    dump(&socket, GET_ADDRESS, |message| {
        if let Some((address, found)) = Address::read(message)
            && (addresses.len() < MAX_INTERFACES || addresses.contains_key(&address))
        {
            addresses.insert(address, found);
        }
    })?;
    let mut links = HashMap::new();
    dump(&socket, GET_LINK, |message| {
        if let Some((index, name)) = online_link(message) {
            links.insert(index, name);
        }
    })?;
    let found = addresses.into_iter().filter_map(|(address, found)| {
        let name = links.get(&found.link)?;
        found.is_usable(address).then(|| NetworkInterface {
            name: name.clone(),
            address,
            prefix_length: found.prefix_length,
        })
    });
    Ok(found.collect())
}

/// The size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const IS_DUMP: u16 = 0x301;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `RTM_NEWLINK`, `RTM_GETLINK`, `RTM_NEWADDR`, `RTM_GETADDR`.
const LINK: u16 = 16;
const GET_LINK: u16 = 18;
const ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// More than the kernel puts into one packet of a dump, which is at most 32 KiB.
const PACKET: usize = 64 << 10;

/// Sends a request, and passes each message of the answer on, with its header.
fn dump(socket: &OwnedFd, request: u16, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    // `struct nlmsghdr` and `struct rtgenmsg`, of any family.
    let mut message = Vec::with_capacity(HEADER + 4);
    message.extend((HEADER as u32 + 4).to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend(IS_DUMP.to_ne_bytes());
    message.extend([0; 12]);
    // Without an address the message goes to the kernel, which has the next packet of the dump ready
    // whenever the one before it was read. So nothing waits.
    send(socket, &message, SendFlags::empty())?;
    let mut buffer = vec![0; PACKET];
    loop {
        let (_, length) = recv(socket, &mut *buffer, RecvFlags::empty())?;
        let mut packet = buffer.get(..length).ok_or_else(invalid_answer)?;
        while !packet.is_empty() {
            let length = word(packet, 0).ok_or_else(invalid_answer)? as usize;
            let whole = packet.get(..length).filter(|whole| whole.len() >= HEADER);
            let message = whole.ok_or_else(invalid_answer)?;
            match half(message, 4) {
                Some(DONE) => return Ok(()),
                Some(ERROR) => return Err(error(message)),
                _ => each(message),
            }
            packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn error(message: &[u8]) -> io::Error {
    let number = word(message, HEADER).map_or(0, |word| (word as i32).wrapping_neg());
    match number {
        1.. => Errno::from_raw_os_error(number).into(),
        _ => invalid_answer(),
    }
}

fn invalid_answer() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// The value of the first attribute of this kind, behind the first `start` bytes of a message.
fn attribute(message: &[u8], start: usize, kind: u16) -> Option<&[u8]> {
    let mut rest = message.get(start..)?;
    loop {
        let (length, found) = (usize::from(half(rest, 0)?), half(rest, 2)?);
        if found == kind {
            return rest.get(4..length);
        }
        // An attribute is at least as long as its header, and begins at a multiple of 4.
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// What `struct ifaddrmsg` tells of an address.
#[derive(Debug)]
struct Address {
    prefix_length: u8,
    flags: u8,
    /// The index of its interface.
    link: u32,
}

impl Address {
    /// `IFA_F_OPTIMISTIC | IFA_F_DADFAILED | IFA_F_TENTATIVE`.
    const NOT_UNIQUE: u8 = 0x04 | 0x08 | 0x40;
    /// `IFA_ADDRESS` and `IFA_LOCAL`. With the second one, the first is the peer's.
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    /// The size of `struct ifaddrmsg`.
    const SIZE: usize = 8;

    /// Reads an `RTM_NEWADDR` message; `None` for any other, and for an address that is not of IP.
    fn read(message: &[u8]) -> Option<(IpAddr, Address)> {
        if half(message, 4)? != ADDRESS {
            return None;
        }
        let [family, prefix_length, flags] = *message.get(HEADER..HEADER + 3)? else {
            return None;
        };
        let start = HEADER + Self::SIZE;
        let value = attribute(message, start, Self::LOCAL)
            .or_else(|| attribute(message, start, Self::ADDRESS))?;
        let address: IpAddr = match AddressFamily::from_raw(family.into()) {
            AddressFamily::INET => <[u8; 4]>::try_from(value).ok()?.into(),
            AddressFamily::INET6 => <[u8; 16]>::try_from(value).ok()?.into(),
            _ => return None,
        };
        let link = word(message, HEADER + 4)?;
        let found = Address {
            prefix_length,
            flags,
            link,
        };
        Some((address, found))
    }

    fn is_usable(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => ip != Ipv4Addr::LOCALHOST && !ip.is_unspecified(),
            IpAddr::V6(ip) => {
                let is_unique = self.flags & Self::NOT_UNIQUE == 0;
                is_unique && ip != Ipv6Addr::LOCALHOST && !ip.is_unspecified()
            }
        }
    }
}

/// The index and the name of an interface, from an `RTM_NEWLINK` message; `None` for any other
/// message, and for an interface that is down, has no carrier, or is the loopback interface.
fn online_link(message: &[u8]) -> Option<(u32, String)> {
    /// `IFLA_IFNAME`.
    const NAME: u16 = 3;
    /// `IFF_LOOPBACK`.
    const LOOPBACK: u32 = 0x8;
    /// `IFF_UP | IFF_RUNNING | IFF_LOWER_UP`.
    const ONLINE: u32 = 0x1 | 0x40 | 0x1_0000;
    /// The size of `struct ifinfomsg`.
    const SIZE: usize = 16;
    if half(message, 4)? != LINK {
        return None;
    }
    let index = word(message, HEADER + 4)?;
    let flags = word(message, HEADER + 8)?;
    let name = attribute(message, HEADER + SIZE, NAME)?;
    let name = name.split(|byte| *byte == 0).next()?;
    let is_online = flags & ONLINE == ONLINE && flags & LOOPBACK == 0;
    is_online.then(|| (index, String::from_utf8_lossy(name).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with its header.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend((HEADER as u32 + body.len() as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn address_message(family: u8, flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, 24, flags, 0];
        body.extend(7_u32.to_ne_bytes());
        for (kind, value) in attributes {
            body.extend(attribute_of(*kind, value));
        }
        message(ADDRESS, &body)
    }

    #[test]
    fn the_local_address_of_a_point_to_point_link_is_not_its_peers() {
        let own: &[u8] = &[10, 0, 0, 1];
        let peer: &[u8] = &[10, 0, 0, 2];
        let read = Address::read(&address_message(2, 0, &[(1, peer), (2, own)]));
        let (address, found) = read.expect("an address");
        assert_eq!(address, IpAddr::from([10, 0, 0, 1]));
        assert_eq!((found.prefix_length, found.link), (24, 7));
    }

    #[test]
    fn an_ipv6_address_that_may_be_a_duplicate_is_left_out() {
        let ip = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).octets();
        for (flags, is_usable) in [
            (0, true),
            // Temporary and deprecated addresses are listed.
            (0x01, true),
            (0x20, true),
            (0x04, false),
            (0x08, false),
            (0x40, false),
        ] {
            let read = Address::read(&address_message(10, flags, &[(1, &ip)]));
            let (address, found) = read.expect("an address");
            assert_eq!(found.is_usable(address), is_usable, "{flags:#x}");
        }
        // Linux does not look for duplicates of an IPv4 address; its flag 0x08 means something else.
        let read = Address::read(&address_message(2, 0x08, &[(1, &[10, 0, 0, 1])]));
        let (address, found) = read.expect("an address");
        assert!(found.is_usable(address));
    }

    #[test]
    fn a_link_is_online_if_it_is_up_with_a_carrier() {
        let link = |flags: u32| {
            let mut body = vec![0; 4];
            body.extend(7_u32.to_ne_bytes());
            body.extend(flags.to_ne_bytes());
            body.extend([0; 4]);
            body.extend(attribute_of(3, b"eth0\0"));
            online_link(&message(LINK, &body))
        };
        assert_eq!(link(0x1_0041), Some((7, "eth0".to_owned())));
        for flags in [0x1_0040, 0x1_0001, 0x41, 0x1_0049] {
            assert_eq!(link(flags), None, "{flags:#x}");
        }
    }

    #[test]
    fn a_message_that_is_cut_off_is_not_read() {
        let whole = address_message(2, 0, &[(9, &[1]), (1, &[10, 0, 0, 1])]);
        assert!(Address::read(&whole).is_some());
        for length in 0..whole.len() {
            assert!(Address::read(&whole[..length]).is_none(), "{length}");
        }
        // An attribute of length 0 does not stop the reading, and one that is too long ends it.
        let mut broken = whole.clone();
        broken[24..26].copy_from_slice(&0_u16.to_ne_bytes());
        let _ = Address::read(&broken);
        broken[24..26].copy_from_slice(&u16::MAX.to_ne_bytes());
        assert!(Address::read(&broken).is_none());
    }

    #[test]
    fn an_error_of_the_kernel_has_its_number() {
        let mut body = (-1_i32).to_ne_bytes().to_vec();
        body.extend([0; 16]);
        assert_eq!(error(&message(ERROR, &body)).raw_os_error(), Some(1));
        assert_eq!(
            error(&message(ERROR, &[])).kind(),
            io::ErrorKind::InvalidData
        );
    }
}
