//! How many connections wait for a listener, as Linux tells it: by `sock_diag`,
//! which finds the one socket that is asked for, however many there are.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

/// Of a TCP socket that listens on this address.
///
/// # Errors
/// Whatever keeps it from being asked or answered: no descriptor left, a
/// kernel or a sandbox without `sock_diag`.
pub(super) fn waiting(listener: impl AsFd, at: SocketAddr) -> io::Result<u32> {
    // Several may share the port: this one and no other.
    let cookie = sockopt::socket_cookie(listener)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = Some(netlink::SOCK_DIAG);
    let diag = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
    // Unaddressed, it goes to the kernel, which has answered when this returns.
    send(&diag, &request(at, cookie), SendFlags::empty())?;
    let mut answer = [0; 512];
    let (_, length) = recv(&diag, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..length).unwrap_or(&answer);
    read(answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `struct nlmsghdr`, and the types of messages.
const HEADER: usize = 16;
const BY_FAMILY: u16 = 20;
const IS_REQUEST: u16 = 1;

/// A state of TCP.
const LISTEN: u8 = 10;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(at: SocketAddr, cookie: u64) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(IS_REQUEST.to_ne_bytes());
    // A sequence number and who asks: there is one question.
    request.extend([0; 8]);
    let (family, scope) = match at {
        SocketAddr::V4(_) => (AddressFamily::INET, 0),
        SocketAddr::V6(at) => (AddressFamily::INET6, at.scope_id()),
    };
    // Both numbers fit: 2 and 10, and 6.
    request.extend([family.as_raw() as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend((1_u32 << LISTEN).to_ne_bytes());
    request.extend(at.port().to_be_bytes());
    request.extend([0; 2]);
    let (own, other) = match at.ip() {
        IpAddr::V4(ip) => {
            let mut own = [0; 16];
            own[..4].copy_from_slice(&ip.octets());
            (own, [0; 16])
        }
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            // Only if the other end is one too is this taken for IPv4.
            (
                ip.octets(),
                std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets(),
            )
        }
        IpAddr::V6(ip) => (ip.octets(), [0; 16]),
    };
    request.extend(own);
    request.extend(other);
    request.extend(scope.to_ne_bytes());
    request.extend(cookie.to_ne_bytes());
    request
}

/// `idiag_rqueue`, if this is a `struct inet_diag_msg` of a socket that
/// listens.
fn read(answer: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let state = *answer.get(HEADER + 1)?;
    let queue = answer.get(HEADER + 56..HEADER + 60)?;
    let is_it = kind == BY_FAMILY && state == LISTEN;
    is_it.then_some(u32::from_ne_bytes(queue.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_types, reason = "this is the door to the OS")]

    use std::net::TcpStream;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn of_listeners_that_share_a_port_none_is_given_the_others_backlog() {
        let mut at = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = [(); 4].map(|()| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_reuse_port(true).expect("it is set");
            socket.set_nonblocking(true).expect("it is set");
            socket.bind(&at.into()).expect("a port");
            socket.listen(64).expect("it listens");
            at = socket
                .local_addr()
                .expect("it is bound")
                .as_socket()
                .expect("an IP address");
            socket
        });
        let _peers = [(); 40].map(|()| TcpStream::connect(at).expect("it listens"));
        let told = listeners.each_ref().map(|it| waiting(it, at).ok());
        let count = |it: &Socket| std::iter::from_fn(|| it.accept().ok()).count();
        let counts = listeners.each_ref().map(count);
        for (told, count) in told.into_iter().zip(counts) {
            assert!(told.is_none_or(|told| told as usize == count));
        }
    }

    #[test]
    fn an_answer_that_is_none_is_not_read() {
        let mut answer = [0; 124];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER + 1] = LISTEN;
        answer[HEADER + 56] = 3;
        assert!(read(&answer).is_some());
        for length in 0..HEADER + 60 {
            assert_eq!(read(&answer[..length]), None);
        }
        answer[HEADER + 1] = 1;
        assert_eq!(read(&answer), None);
        answer[HEADER + 1] = LISTEN;
        // An error.
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(read(&answer), None);
        assert_eq!(request(([127, 0, 0, 1], 1).into(), 7).len(), 72);
    }
}
