//! What Linux knows of one TCP socket: how many connections wait in a backlog,
//! how many written bytes the peer has not acknowledged. `sock_diag` finds the
//! socket by its addresses, however many there are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

/// How many connections wait for the TCP socket that listens on this address.
///
/// # Errors
/// Whatever keeps it from being asked or answered: no descriptor left, a
/// kernel or a sandbox without `sock_diag`.
pub(in crate::os) fn backlog(listener: impl AsFd, at: SocketAddr) -> io::Result<u32> {
    let known = ask(listener, at, None)?;
    (known.state == LISTEN)
        .then_some(known.rqueue)
        .ok_or_else(not_it)
}

/// How many written bytes of this TCP connection its peer has not acknowledged,
/// the end of the writing side included.
///
/// # Errors
/// As [`backlog`]; it is not connected any more.
pub(in crate::os) fn unacknowledged(
    stream: impl AsFd,
    local: SocketAddr,
    peer: SocketAddr,
) -> io::Result<usize> {
    let known = ask(stream, local, Some(peer))?;
    (known.state != LISTEN)
        .then_some(known.wqueue as usize)
        .ok_or_else(not_it)
}

/// What is asked of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    state: u8,
    /// Of a listener: connections that wait. Else unread bytes.
    rqueue: u32,
    /// Unacknowledged bytes.
    wqueue: u32,
}

fn ask(socket: impl AsFd, local: SocketAddr, peer: Option<SocketAddr>) -> io::Result<Known> {
    // Several may share the port: this one and no other.
    let cookie = sockopt::socket_cookie(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = Some(netlink::SOCK_DIAG);
    let diag = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
    // Unaddressed, it goes to the kernel, which has answered when this returns.
    send(&diag, &request(local, peer, cookie), SendFlags::empty())?;
    let mut answer = [0; 512];
    let (_, length) = recv(&diag, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..length).unwrap_or(&answer);
    read(answer).ok_or_else(not_it)
}

fn not_it() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// `struct nlmsghdr`, and the types of messages.
const HEADER: usize = 16;
const BY_FAMILY: u16 = 20;
const IS_REQUEST: u16 = 1;

/// A state of TCP.
const LISTEN: u8 = 10;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(local: SocketAddr, peer: Option<SocketAddr>, cookie: u64) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(IS_REQUEST.to_ne_bytes());
    // A sequence number and who asks: there is one question.
    request.extend([0; 8]);
    let (family, scope) = match local {
        SocketAddr::V4(_) => (AddressFamily::INET, 0),
        SocketAddr::V6(at) => (AddressFamily::INET6, at.scope_id()),
    };
    // Both numbers fit: 2 and 10, and 6.
    request.extend([family.as_raw() as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    // Of any state: the addresses and the cookie say which.
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(local.port().to_be_bytes());
    request.extend(peer.map_or(0, |peer| peer.port()).to_be_bytes());
    let nobody = match local.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        // Only if the other end is one too is this taken for IPv4.
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())
        }
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    for ip in [local.ip(), peer.map_or(nobody, |peer| peer.ip())] {
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

/// The states and queues in a `struct inet_diag_msg`, if this is one.
fn read(answer: &[u8]) -> Option<Known> {
    let word = |at: usize| {
        let bytes = answer.get(HEADER + at..HEADER + at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let known = Known {
        state: *answer.get(HEADER + 1)?,
        rqueue: word(56)?,
        wqueue: word(60)?,
    };
    (kind == BY_FAMILY).then_some(known)
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
        let told = listeners.each_ref().map(|it| backlog(it, at).ok());
        let count = |it: &Socket| std::iter::from_fn(|| it.accept().ok()).count();
        let counts = listeners.each_ref().map(count);
        for (told, count) in told.into_iter().zip(counts) {
            assert!(told.is_none_or(|told| told as usize == count));
        }
    }

    #[test]
    fn what_the_peer_has_not_acknowledged_is_counted_and_so_is_the_end() {
        use std::io::Write;
        for host in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let listener = match std::net::TcpListener::bind(host) {
                Ok(listener) => listener,
                // No IPv6 on this machine.
                Err(_) => continue,
            };
            let at = listener.local_addr().expect("it is bound");
            let peer = TcpStream::connect(at).expect("it listens");
            let (mut stream, from) = listener.accept().expect("it has come");
            let asked = |stream: &TcpStream| unacknowledged(stream, at, from);
            let Ok(before) = asked(&stream) else {
                // No `sock_diag` here.
                return;
            };
            assert_eq!(before, 0, "{host}");
            stream.set_nonblocking(true).expect("it is set");
            // More than both ends buffer.
            while stream.write(&[0; 65_536]).is_ok() {}
            let left = asked(&stream).expect("it is connected");
            assert!(left > 0, "{host}");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("it is connected");
            assert_eq!(asked(&stream).ok(), Some(left + 1), "{host}");
            let (mut read, mut peer) = (std::io::sink(), peer);
            std::io::copy(&mut peer, &mut read).expect("all of it comes");
            // The peer answers the end in a moment.
            let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while asked(&stream).expect("it is half open") > 0 {
                assert!(
                    std::time::Instant::now() < until,
                    "{host}: it is not acknowledged"
                );
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn an_answer_that_is_none_is_not_read() {
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
