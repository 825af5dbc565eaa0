//! Descriptors of this process, as the OS reports them.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{Socket, Type};

/// A duplicate of this process's descriptor of a connection.
pub fn find(local: SocketAddr, peer: SocketAddr) -> Socket {
    let is_it = |socket: &Socket| {
        let address = |address: std::io::Result<socket2::SockAddr>| address.ok()?.as_socket();
        address(socket.local_addr()) == Some(local) && address(socket.peer_addr()) == Some(peer)
    };
    let mut found = all().map(|(_, it)| Socket::from(it)).filter(is_it);
    found.next().expect("a descriptor of the connection")
}

/// A duplicate of this process's descriptor of a bound datagram socket.
pub fn find_datagram(local: SocketAddr) -> Socket {
    let is_it = |socket: &Socket| {
        let address = socket.local_addr().ok().and_then(|it| it.as_socket());
        address == Some(local) && socket.r#type().is_ok_and(|kind| kind == Type::DGRAM)
    };
    let mut found = all().map(|(_, it)| Socket::from(it)).filter(is_it);
    found.next().expect("a descriptor of the socket")
}

/// The inode identifies a socket, however many descriptors it has.
pub fn inode(socket: &Socket) -> u64 {
    rustix::fs::fstat(socket).expect("it is open").st_ino
}

/// Whether this process has a descriptor of the socket.
pub fn is_open(inode: u64) -> bool {
    all().any(|(number, _)| number == inode)
}

/// Duplicates of the sockets of this process.
fn all() -> impl Iterator<Item = (u64, OwnedFd)> {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).expect("this process");
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("the descriptors");
    let sockets = descriptors.filter_map(|entry| {
        let entry = entry.ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?;
        let inode = inode.strip_suffix(']')?.parse().ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((inode, number))
    });
    let sockets: Vec<(u64, i32)> = sockets.collect();
    sockets.into_iter().filter_map(move |(inode, number)| {
        // A descriptor of another test may be closed by now.
        let socket = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).ok()?;
        let stat = rustix::fs::fstat(&socket).ok()?;
        (stat.st_ino == inode).then_some((inode, socket))
    })
}
