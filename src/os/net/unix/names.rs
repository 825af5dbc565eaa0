//! Unix sockets without a name, and names in the form of the OS.
#![expect(clippy::disallowed_types, reason = "only `os` opens sockets")]

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use socket2::{Domain, SockAddr, SockRef, Socket as OsSocket, Type};

use crate::address::{Address, UnixAddress};

/// The address that a socket is bound to.
pub(in crate::os::net) fn local_address(socket: impl AsFd) -> io::Result<Address> {
    let address = SockRef::from(&socket).local_addr()?;
    if let Some(ip) = address.as_socket() {
        return Ok(Address::Ip(ip));
    }
    if !address.is_unix() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let path = address.as_pathname().map(UnixAddress::from);
    let name = || {
        address
            .as_abstract_namespace()
            .map(UnixAddress::from_abstract)
    };
    let named = path.or_else(name).unwrap_or(UnixAddress::Unnamed);
    Ok(Address::Unix(named))
}

/// The address in the form of the OS.
pub(super) fn socket_address(address: &UnixAddress) -> io::Result<SockAddr> {
    match address {
        UnixAddress::Path(path) => SockAddr::unix(path),
        UnixAddress::Abstract(name) if cfg!(any(target_os = "linux", target_os = "android")) => {
            let mut marked = vec![0];
            marked.extend_from_slice(name);
            SockAddr::unix(OsString::from_vec(marked))
        }
        UnixAddress::Abstract(_) => Err(io::ErrorKind::Unsupported.into()),
        UnixAddress::Unnamed => Err(io::ErrorKind::InvalidInput.into()),
    }
}

pub(super) fn new_socket() -> io::Result<OsSocket> {
    let socket = OsSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
