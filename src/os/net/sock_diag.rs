//! Asks Linux about one socket: the length of its backlog, how many written bytes its peer has not
//! acknowledged, how many datagrams were dropped. `sock_diag` finds a socket by its addresses, so
//! the cost does not depend on the number of sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

/// How many connections wait in the backlog of a listening TCP socket, which is bound to `at`.
///
/// # Errors
/// The process has no free descriptor; the kernel or a sandbox has no `sock_diag`; the socket does
/// not listen.
pub(in crate::os) fn backlog(listener: impl AsFd, at: SocketAddr) -> io::Result<u32> {
    let info = query(listener, at, None)?;
    let is_listener = info.state == LISTEN;
    is_listener
        .then_some(info.rqueue)
        .ok_or_else(invalid_answer)
}

/// How many written bytes of this TCP connection its peer has not acknowledged. A shutdown of the
/// writing side counts as one.
///
/// # Errors
/// As [`backlog`]; the socket is not connected any more.
pub(in crate::os) fn unacknowledged(
    stream: impl AsFd,
    local: SocketAddr,
    peer: SocketAddr,
) -> io::Result<usize> {
    let info = query(stream, local, Some(peer))?;
    let is_connection = info.state != LISTEN;
    let unacknowledged = is_connection.then_some(info.wqueue as usize);
    unacknowledged.ok_or_else(invalid_answer)
}

/// How many datagrams the kernel has dropped because the buffer of this UDP socket was full. It is
/// bound to `at`.
///
/// # Errors
/// The process has no free descriptor; the kernel or a sandbox has no `sock_diag`.
pub(in crate::os) fn dropped(socket: impl AsFd, at: SocketAddr) -> io::Result<u32> {
    let cookie = sockopt::socket_cookie(socket)?;
    let mut buffer = [0; 512];
    let answer = exchange(&udp_request(at, cookie), &mut buffer)?;
    read_dropped(answer).ok_or_else(invalid_answer)
}

/// How many connections wait in the backlog of a Unix socket that listens.
///
/// # Errors
/// As [`backlog`]. The kernel may be built without `unix_diag`.
pub(in crate::os) fn unix_backlog(listener: impl AsFd) -> io::Result<u32> {
    let inode = rustix::fs::fstat(&listener)?.st_ino;
    let cookie = sockopt::socket_cookie(listener)?;
    // The kernel knows sockets by the lower half of the number.
    let request = unix_request(inode as u32, cookie);
    let mut buffer = [0; 512];
    let answer = exchange(&request, &mut buffer)?;
    read_unix_backlog(answer).ok_or_else(invalid_answer)
}

/// A part of `struct inet_diag_msg`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct SocketInfo {
    state: u8,
    /// The backlog of a listener, or the unread bytes of a connection.
    rqueue: u32,
    /// Unacknowledged bytes.
    wqueue: u32,
}

fn query(socket: impl AsFd, local: SocketAddr, peer: Option<SocketAddr>) -> io::Result<SocketInfo> {
    // Several listeners may share the port; the cookie selects this one.
    let cookie = sockopt::socket_cookie(socket)?;
    let mut buffer = [0; 512];
    let answer = exchange(&request(local, peer, cookie), &mut buffer)?;
    read(answer).ok_or_else(invalid_answer)
}

/// Sends a request to the kernel. Returns the answer.
fn exchange<'a>(request: &[u8], buffer: &'a mut [u8; 512]) -> io::Result<&'a [u8]> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = Some(netlink::SOCK_DIAG);
    let diag = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
    // Without an address the message goes to the kernel, which answers before `send` returns.
    send(&diag, request, SendFlags::empty())?;
    let (_, length) = recv(&diag, &mut *buffer, RecvFlags::empty())?;
    Ok(buffer.get(..length).unwrap_or(buffer))
}

fn invalid_answer() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const IS_REQUEST: u16 = 1;
/// The size of `struct inet_diag_msg`.
const INFO: usize = 72;
/// `INET_DIAG_SKMEMINFO`, and the position of `SK_MEMINFO_DROPS` in its value.
const SKMEMINFO: u16 = 7;
const DROPS: usize = 8;
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;
/// The size of `struct unix_diag_msg`, the position of the state in it, `UDIAG_SHOW_RQLEN`, and
/// `UNIX_DIAG_RQLEN`.
const UNIX_INFO: usize = 16;
const UNIX_STATE: usize = 2;
const SHOW_RQLEN: u32 = 0x10;
const RQLEN: u16 = 4;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(local: SocketAddr, peer: Option<SocketAddr>, cookie: u64) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(IS_REQUEST.to_ne_bytes());
    // Sequence number and port id; there is only one request, so both are 0.
    request.extend([0; 8]);
    let (family, scope) = match local {
        SocketAddr::V4(_) => (AddressFamily::INET, 0),
        SocketAddr::V6(at) => (AddressFamily::INET6, at.scope_id()),
    };
    // All of them fit into a byte: 2 or 10, and 6.
    request.extend([family.as_raw() as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    // Any state of TCP: the addresses and the cookie select the socket.
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(local.port().to_be_bytes());
    request.extend(peer.map_or(0, |peer| peer.port()).to_be_bytes());
    let no_peer = match local.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        // Linux searches the IPv4 sockets only if both addresses are IPv4-mapped.
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())
        }
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    for ip in [local.ip(), peer.map_or(no_peer, |peer| peer.ip())] {
        let mut address = [0; 16];
        match ip {
            IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => address = ip.octets(),
        }
        request.extend(address);
    }
    request.extend(scope.to_ne_bytes());
    request.extend(cookie.to_ne_bytes());
    request
}

/// As [`request`], for the memory of a UDP socket.
fn udp_request(local: SocketAddr, cookie: u64) -> Vec<u8> {
    let no_ip: IpAddr = match local {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // For UDP the kernel takes the two addresses in the other order.
    let mut request = request(SocketAddr::new(no_ip, 0), Some(local), cookie);
    if let SocketAddr::V6(at) = local {
        request[HEADER + 44..HEADER + 48].copy_from_slice(&at.scope_id().to_ne_bytes());
    }
    request[HEADER + 1] = libc::IPPROTO_UDP as u8;
    request[HEADER + 2] = 1 << (SKMEMINFO - 1);
    request
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn unix_request(inode: u32, cookie: u64) -> Vec<u8> {
    const LENGTH: u32 = 40;
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(IS_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(inode.to_ne_bytes());
    request.extend(SHOW_RQLEN.to_ne_bytes());
    // The lower half is first, on every machine.
    request.extend((cookie as u32).to_ne_bytes());
    request.extend(((cookie >> 32) as u32).to_ne_bytes());
    request
}

/// Finds the length of a backlog in an answer; `None` if it is an error, is cut off, or is not of a
/// socket that listens.
fn read_unix_backlog(answer: &[u8]) -> Option<u32> {
    let is_listener = *answer.get(HEADER + UNIX_STATE)? == LISTEN;
    let value = attribute(answer, HEADER + UNIX_INFO, RQLEN)?;
    let length = u32::from_ne_bytes(value.get(..4)?.try_into().ok()?);
    (kind(answer)? == BY_FAMILY && is_listener).then_some(length)
}

/// Finds the number of dropped datagrams in an answer; `None` if it is an error or is cut off.
fn read_dropped(answer: &[u8]) -> Option<u32> {
    read(answer)?;
    let value = attribute(answer, HEADER + INFO, SKMEMINFO)?;
    let bytes = value.get(DROPS * 4..DROPS * 4 + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The value of an attribute; the first one is at `at`.
fn attribute(answer: &[u8], mut at: usize, wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, kind) = (usize::from(half(answer, at)?), half(answer, at + 2)?);
        if kind == wanted {
            return answer.get(at + 4..at + length);
        }
        // An attribute is at least as long as its header, and begins at a multiple of 4.
        at += length.max(4).next_multiple_of(4);
    }
}

fn half(answer: &[u8], at: usize) -> Option<u16> {
    let bytes = answer.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// The kind of an answer: an error, or what was asked for.
fn kind(answer: &[u8]) -> Option<u16> {
    half(answer, 4)
}

/// Parses a `struct inet_diag_msg`; `None` if the answer is an error or is cut off.
fn read(answer: &[u8]) -> Option<SocketInfo> {
    let word = |at: usize| {
        let bytes = answer.get(HEADER + at..HEADER + at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let info = SocketInfo {
        state: *answer.get(HEADER + 1)?,
        rqueue: word(56)?,
        wqueue: word(60)?,
    };
    (kind(answer)? == BY_FAMILY).then_some(info)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

    use std::net::TcpStream;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn listeners_that_share_a_port_have_separate_backlogs() {
        let mut at = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = [(); 4].map(|()| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_reuse_port(true).expect("the option is set");
            socket.set_nonblocking(true).expect("the option is set");
            socket.bind(&at.into()).expect("a port");
            socket.listen(64).expect("a listener");
            at = socket
                .local_addr()
                .expect("an address")
                .as_socket()
                .expect("an IP address");
            socket
        });
        let _peers = [(); 40].map(|()| TcpStream::connect(at).expect("a listener"));
        let backlogs = listeners.each_ref().map(|it| super::backlog(it, at).ok());
        let count = |it: &Socket| std::iter::from_fn(|| it.accept().ok()).count();
        let counts = listeners.each_ref().map(count);
        for (backlog, count) in backlogs.into_iter().zip(counts) {
            assert!(backlog.is_none_or(|backlog| backlog as usize == count));
        }
    }

    #[test]
    fn unacknowledged_bytes_and_the_shutdown_are_counted() {
        use std::io::Write;
        for host in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let listener = match std::net::TcpListener::bind(host) {
                Ok(listener) => listener,
                // No IPv6 on this machine.
                Err(_) => continue,
            };
            let at = listener.local_addr().expect("an address");
            let peer = TcpStream::connect(at).expect("a listener");
            let (mut stream, from) = listener.accept().expect("a client");
            let count = |stream: &TcpStream| unacknowledged(stream, at, from);
            let Ok(before) = count(&stream) else {
                // No `sock_diag` here.
                return;
            };
            assert_eq!(before, 0, "{host}");
            stream.set_nonblocking(true).expect("the option is set");
            // More than the buffers of both ends hold.
            while stream.write(&[0; 65_536]).is_ok() {}
            let left = count(&stream).expect("a connection");
            assert!(left > 0, "{host}");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("a connection");
            assert_eq!(count(&stream).ok(), Some(left + 1), "{host}");
            let (mut read, mut peer) = (std::io::sink(), peer);
            std::io::copy(&mut peer, &mut read).expect("all data");
            // The peer acknowledges the end a moment later.
            let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while count(&stream).expect("a half-open connection") > 0 {
                assert!(
                    std::time::Instant::now() < until,
                    "{host}: the end is not acknowledged"
                );
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn the_dropped_datagrams_of_each_address_are_counted() {
        for host in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let socket = match std::net::UdpSocket::bind(host) {
                Ok(socket) => socket,
                // No IPv6 on this machine.
                Err(_) => continue,
            };
            let at = socket.local_addr().expect("an address");
            let Ok(before) = dropped(&socket, at) else {
                // No `sock_diag` here.
                return;
            };
            assert_eq!(before, 0, "{host}");
            // More than the buffer holds.
            let peer = std::net::UdpSocket::bind(if at.is_ipv4() {
                "127.0.0.1:0"
            } else {
                "[::1]:0"
            });
            let peer = peer.expect("a port");
            const SENT: usize = 2000;
            for _ in 0..SENT {
                let to = if at.is_ipv4() { "127.0.0.1" } else { "::1" };
                peer.send_to(&[0; 1000], (to, at.port())).expect("sent");
            }
            let lost = dropped(&socket, at).expect("a socket");
            assert!(lost > 0, "{host}");
            socket.set_nonblocking(true).expect("the option is set");
            let received = std::iter::from_fn(|| socket.recv(&mut [0; 1000]).ok()).count();
            assert_eq!(received + lost as usize, SENT, "{host}");
        }
    }

    #[test]
    fn an_invalid_answer_has_no_dropped_datagrams() {
        let mut answer = [0; HEADER + INFO + 8 + 40];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        let mut attribute = |at: usize, length: u16, kind: u16| {
            answer[at..at + 2].copy_from_slice(&length.to_ne_bytes());
            answer[at + 2..at + 4].copy_from_slice(&kind.to_ne_bytes());
        };
        attribute(HEADER + INFO, 5, 8);
        attribute(HEADER + INFO + 8, 40, SKMEMINFO);
        answer[HEADER + INFO + 8 + 36] = 9;
        assert_eq!(read_dropped(&answer), Some(9));
        for length in 0..answer.len() {
            assert_eq!(read_dropped(&answer[..length]), None);
        }
        // Too short for the number, and of no length.
        for length in [0_u16, 4, 39] {
            answer[HEADER + INFO + 8..][..2].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(read_dropped(&answer), None, "{length}");
        }
    }

    #[test]
    fn the_backlog_of_a_unix_socket_is_counted() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

        let name = format!("chrome-sockets-backlog-{}", std::process::id());
        let at = SocketAddr::from_abstract_name(name).expect("a name");
        let listener = UnixListener::bind_addr(&at).expect("a socket");
        let Ok(before) = unix_backlog(&listener) else {
            // No `unix_diag` here.
            return;
        };
        assert_eq!(before, 0);
        let peers = [(); 3].map(|()| UnixStream::connect_addr(&at).expect("a listener"));
        assert_eq!(unix_backlog(&listener).ok(), Some(3));
        let (_client, _) = listener.accept().expect("a client");
        assert_eq!(unix_backlog(&listener).ok(), Some(2));
        assert!(unix_backlog(&peers[0]).is_err(), "it does not listen");
    }

    #[test]
    fn an_invalid_answer_has_no_backlog_of_a_unix_socket() {
        let mut answer = [0; HEADER + UNIX_INFO + 12];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER + UNIX_STATE] = LISTEN;
        let at = HEADER + UNIX_INFO;
        answer[at..at + 2].copy_from_slice(&12_u16.to_ne_bytes());
        answer[at + 2..at + 4].copy_from_slice(&RQLEN.to_ne_bytes());
        answer[at + 4] = 7;
        let expected = u32::from_ne_bytes([7, 0, 0, 0]);
        assert_eq!(read_unix_backlog(&answer), Some(expected));
        for length in 0..answer.len() {
            assert_eq!(read_unix_backlog(&answer[..length]), None);
        }
        answer[at..at + 2].copy_from_slice(&0_u16.to_ne_bytes());
        assert_eq!(read_unix_backlog(&answer), None);
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(read_unix_backlog(&answer), None);
        assert_eq!(unix_request(1, 7).len(), 40);
    }

    #[test]
    fn an_invalid_answer_is_not_parsed() {
        let mut answer = [0; 124];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER + 1] = LISTEN;
        answer[HEADER + 56] = 3;
        assert!(read(&answer).is_some());
        for length in 0..HEADER + 64 {
            assert_eq!(read(&answer[..length]), None);
        }
        // An error.
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(read(&answer), None);
        assert_eq!(request(([127, 0, 0, 1], 1).into(), None, 7).len(), 72);
    }
}
