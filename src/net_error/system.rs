//! An OS error becomes a [`NetError`] once, by the operation that it failed.
//!
//! The base is Chromium's own mapping of errno values; the operations differ
//! from it where Chromium's callers, or this crate's promises, do.

use std::io;

use super::NetError;

/// `bind` and `listen`.
pub(crate) fn listen(error: &io::Error) -> NetError {
    system(error)
}

/// What an error of `accept` is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AcceptErrorClass {
    /// The one connection, whose own error it is: the next is not affected.
    Connection,
    /// The process or the machine has no descriptor or no memory left.
    Resources,
    /// The listener itself.
    Listener,
}

/// `accept`. `None`: the client gave up before it was accepted, or nobody was
/// there, which is no error.
pub(crate) fn accept(error: &io::Error) -> Option<(AcceptErrorClass, NetError)> {
    match error.raw_os_error() {
        Some(libc::ECONNABORTED | libc::EINTR | libc::EAGAIN) => None,
        _ => Some((accept_class(error), system(error))),
    }
}

fn accept_class(error: &io::Error) -> AcceptErrorClass {
    use AcceptErrorClass::{Connection, Listener, Resources};
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Resources,
        Some(errno) if is_of_a_new_connection(errno) => Connection,
        Some(_) => Listener,
        None => match error.kind() {
            io::ErrorKind::OutOfMemory => Resources,
            _ => Listener,
        },
    }
}

/// The errors that `accept` passes on from a new TCP connection (accept(2),
/// "Error handling").
fn is_of_a_new_connection(errno: i32) -> bool {
    #[cfg(target_os = "linux")]
    if errno == libc::ENONET {
        return true;
    }
    matches!(
        errno,
        libc::ENETDOWN
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
    )
}

/// `connect`.
pub(crate) fn connect(error: &io::Error) -> NetError {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => NetError::NETWORK_ACCESS_DENIED,
        Some(libc::ETIMEDOUT) => NetError::CONNECTION_TIMED_OUT,
        _ => match system(error) {
            NetError::FAILED => NetError::CONNECTION_FAILED,
            known => known,
        },
    }
}

/// Name resolution: whatever the resolver says, the name has no address.
pub(crate) fn resolve(_: &io::Error) -> NetError {
    NetError::NAME_NOT_RESOLVED
}

/// `read`. A reset is the end of the connection, as a close is.
pub(crate) fn read(error: &io::Error) -> NetError {
    match system(error) {
        NetError::CONNECTION_RESET => NetError::CONNECTION_CLOSED,
        other => other,
    }
}

/// `write`.
pub(crate) fn write(error: &io::Error) -> NetError {
    system(error)
}

/// What a TLS handshake read and wrote.
#[cfg(feature = "tls")]
pub(crate) fn handshake(error: &io::Error) -> NetError {
    system(error)
}

/// `setsockopt`: Chrome knows only that it failed.
pub(crate) fn option(_: &io::Error) -> NetError {
    NetError::FAILED
}

fn system(error: &io::Error) -> NetError {
    let Some(errno) = error.raw_os_error() else {
        return carried(error).unwrap_or_else(|| from_kind(error.kind()));
    };
    match errno {
        libc::EACCES | libc::EPERM | libc::EROFS | libc::EISDIR | libc::ETXTBSY => {
            NetError::ACCESS_DENIED
        }
        libc::ENETDOWN => NetError::INTERNET_DISCONNECTED,
        libc::ETIMEDOUT => NetError::TIMED_OUT,
        libc::ECONNRESET | libc::ENETRESET | libc::EPIPE => NetError::CONNECTION_RESET,
        libc::ECONNABORTED => NetError::CONNECTION_ABORTED,
        libc::ECONNREFUSED => NetError::CONNECTION_REFUSED,
        libc::EHOSTUNREACH | libc::EHOSTDOWN | libc::ENETUNREACH | libc::EAFNOSUPPORT => {
            NetError::ADDRESS_UNREACHABLE
        }
        libc::EADDRNOTAVAIL => NetError::ADDRESS_INVALID,
        libc::EADDRINUSE => NetError::ADDRESS_IN_USE,
        libc::EMSGSIZE => NetError::MSG_TOO_BIG,
        libc::ENOTCONN => NetError::SOCKET_NOT_CONNECTED,
        libc::EISCONN => NetError::SOCKET_IS_CONNECTED,
        libc::EINVAL | libc::E2BIG | libc::EFAULT | libc::ENODEV => NetError::INVALID_ARGUMENT,
        libc::EBADF => NetError::INVALID_HANDLE,
        libc::EMFILE | libc::ENFILE | libc::EBUSY | libc::EDEADLK | libc::ENOLCK | libc::EUSERS => {
            NetError::INSUFFICIENT_RESOURCES
        }
        libc::ENOMEM => NetError::OUT_OF_MEMORY,
        libc::ENOBUFS => NetError::NO_BUFFER_SPACE,
        libc::EFBIG => NetError::FILE_TOO_BIG,
        libc::ENAMETOOLONG => NetError::FILE_PATH_TOO_LONG,
        libc::ENOSPC | libc::EDQUOT => NetError::FILE_NO_SPACE,
        libc::ENOENT | libc::ENOTDIR => NetError::FILE_NOT_FOUND,
        libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOPROTOOPT => NetError::NOT_IMPLEMENTED,
        libc::ECANCELED => NetError::ABORTED,
        _ => NetError::FAILED,
    }
}

/// The code that a layer above the OS put into its error.
fn carried(error: &io::Error) -> Option<NetError> {
    error.get_ref()?.downcast_ref().copied()
}

/// Errors that did not come from the OS: a runtime that is shutting down, or
/// a scripted network that gave only a kind.
fn from_kind(kind: io::ErrorKind) -> NetError {
    use io::ErrorKind as Kind;
    match kind {
        Kind::PermissionDenied => NetError::ACCESS_DENIED,
        Kind::TimedOut => NetError::TIMED_OUT,
        Kind::ConnectionReset | Kind::BrokenPipe => NetError::CONNECTION_RESET,
        Kind::UnexpectedEof => NetError::CONNECTION_CLOSED,
        Kind::ConnectionAborted => NetError::CONNECTION_ABORTED,
        Kind::ConnectionRefused => NetError::CONNECTION_REFUSED,
        Kind::AddrNotAvailable => NetError::ADDRESS_INVALID,
        Kind::AddrInUse => NetError::ADDRESS_IN_USE,
        Kind::NotConnected => NetError::SOCKET_NOT_CONNECTED,
        Kind::InvalidInput => NetError::INVALID_ARGUMENT,
        Kind::OutOfMemory => NetError::OUT_OF_MEMORY,
        _ => NetError::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn listen_errors_have_chromes_numbers() {
        for (errno, code) in [
            (libc::EADDRINUSE, -147),
            (libc::EADDRNOTAVAIL, -108),
            (libc::EACCES, -10),
            (libc::EMFILE, -12),
            (libc::ENFILE, -12),
            (libc::ENOBUFS, -176),
            (libc::ENOMEM, -13),
            (libc::EINVAL, -4),
            (libc::EAFNOSUPPORT, -109),
            (libc::ENOTSOCK, -2),
        ] {
            assert_eq!(listen(&os(errno)).code(), code, "errno {errno}");
        }
    }

    #[test]
    fn a_client_that_gave_up_is_no_accept_error() {
        for errno in [libc::ECONNABORTED, libc::EINTR, libc::EAGAIN] {
            assert_eq!(accept(&os(errno)), None, "errno {errno}");
        }
    }

    #[test]
    fn an_accept_error_is_about_the_connection_the_resources_or_the_listener() {
        use AcceptErrorClass::{Connection, Listener, Resources};
        for (errno, class, code) in [
            (libc::EPROTO, Connection, NetError::FAILED),
            (libc::ENETDOWN, Connection, NetError::INTERNET_DISCONNECTED),
            (libc::EOPNOTSUPP, Connection, NetError::NOT_IMPLEMENTED),
            (
                libc::EHOSTUNREACH,
                Connection,
                NetError::ADDRESS_UNREACHABLE,
            ),
            (libc::EMFILE, Resources, NetError::INSUFFICIENT_RESOURCES),
            (libc::ENFILE, Resources, NetError::INSUFFICIENT_RESOURCES),
            (libc::ENOBUFS, Resources, NetError::NO_BUFFER_SPACE),
            (libc::ENOMEM, Resources, NetError::OUT_OF_MEMORY),
            (libc::EPERM, Listener, NetError::ACCESS_DENIED),
            (libc::EBADF, Listener, NetError::INVALID_HANDLE),
            (libc::EINVAL, Listener, NetError::INVALID_ARGUMENT),
            (libc::ENOTSOCK, Listener, NetError::FAILED),
        ] {
            assert_eq!(accept(&os(errno)), Some((class, code)), "errno {errno}");
        }
        let unknown = accept(&io::Error::other("?"));
        assert_eq!(unknown, Some((Listener, NetError::FAILED)));
    }

    #[test]
    fn connect_errors_have_chromes_numbers() {
        for (errno, code) in [
            (libc::ECONNREFUSED, -102),
            (libc::ETIMEDOUT, -118),
            (libc::EACCES, -138),
            (libc::ENETUNREACH, -109),
            (libc::EHOSTUNREACH, -109),
            (libc::ECONNRESET, -101),
            (libc::EADDRNOTAVAIL, -108),
            (libc::EPROTO, -104),
        ] {
            assert_eq!(connect(&os(errno)).code(), code, "errno {errno}");
        }
    }

    #[test]
    fn a_reset_reads_as_closed_and_writes_as_reset() {
        assert_eq!(read(&os(libc::ECONNRESET)), NetError::CONNECTION_CLOSED);
        assert_eq!(read(&os(libc::ETIMEDOUT)), NetError::TIMED_OUT);
        assert_eq!(write(&os(libc::EPIPE)), NetError::CONNECTION_RESET);
        assert_eq!(write(&os(libc::ECONNRESET)), NetError::CONNECTION_RESET);
    }

    #[test]
    fn an_error_without_errno_is_mapped_by_its_kind() {
        let eof = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&eof), NetError::CONNECTION_CLOSED);
        assert_eq!(listen(&io::Error::other("?")), NetError::FAILED);
        let carried = io::Error::other(NetError::SSL_PROTOCOL_ERROR);
        assert_eq!(read(&carried), NetError::SSL_PROTOCOL_ERROR);
    }
}
