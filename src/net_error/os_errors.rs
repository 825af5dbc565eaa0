//! Maps an OS error to a [`NetError`], by the operation that failed.
//!
//! The base is Chromium's own mapping of errno values. An operation differs from it where Chromium's
//! callers, or the promises of this crate, do.

use std::io;

use super::NetError;

/// `bind` and `listen`.
pub(crate) fn listen(error: &io::Error) -> NetError {
    map(error)
}

/// What an error of `accept` affects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AcceptErrorClass {
    /// Only this connection; the next accept is not affected.
    Connection,
    /// The process or the machine, which has no descriptor or no memory left.
    Resources,
    /// The listener itself.
    Listener,
}

/// `accept`. `None` is not an error: the client closed before it was accepted, or the backlog was
/// empty.
pub(crate) fn accept(error: &io::Error) -> Option<(AcceptErrorClass, NetError)> {
    match error.raw_os_error() {
        Some(libc::ECONNABORTED | libc::EINTR | libc::EAGAIN) => None,
        _ => Some((accept_class(error), map(error))),
    }
}

fn accept_class(error: &io::Error) -> AcceptErrorClass {
    use AcceptErrorClass::{Connection, Listener, Resources};
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Resources,
        Some(errno) if is_connection_error(errno) => Connection,
        Some(_) => Listener,
        None => match error.kind() {
            io::ErrorKind::OutOfMemory => Resources,
            _ => Listener,
        },
    }
}

/// Whether `accept` reports an error of the new connection (accept(2), "Error handling").
fn is_connection_error(errno: i32) -> bool {
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
        _ => match map(error) {
            NetError::FAILED => NetError::CONNECTION_FAILED,
            known => known,
        },
    }
}

/// Name resolution: every error of the resolver has the same code.
pub(crate) fn resolve(_: &io::Error) -> NetError {
    NetError::NAME_NOT_RESOLVED
}

/// `read`. A reset is reported like a close.
pub(crate) fn read(error: &io::Error) -> NetError {
    match map(error) {
        NetError::CONNECTION_RESET => NetError::CONNECTION_CLOSED,
        other => other,
    }
}

/// `write`.
pub(crate) fn write(error: &io::Error) -> NetError {
    map(error)
}

/// `sendto` and `recvfrom`.
pub(crate) fn datagram(error: &io::Error) -> NetError {
    map(error)
}

/// A read or write of a TLS handshake, or of a PROXY header.
pub(crate) fn handshake(error: &io::Error) -> NetError {
    map(error)
}

/// `setsockopt`. Chrome has one code for all its errors. A socket that has no such option, which is
/// none of Chrome's, was not asked: that error has no number.
pub(crate) fn option(error: &io::Error) -> NetError {
    match error.raw_os_error() {
        None if error.kind() == io::ErrorKind::Unsupported => NetError::NOT_IMPLEMENTED,
        _ => NetError::FAILED,
    }
}

fn map(error: &io::Error) -> NetError {
    let Some(errno) = error.raw_os_error() else {
        return attached_code(error).unwrap_or_else(|| from_kind(error.kind()));
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

/// The code that a layer above the OS, such as TLS, put into the error.
fn attached_code(error: &io::Error) -> Option<NetError> {
    error.get_ref()?.downcast_ref().copied()
}

/// Errors without an errno: of a runtime that is shutting down, or of a network of a test.
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
        Kind::Unsupported => NetError::NOT_IMPLEMENTED,
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
    fn a_client_that_closed_early_is_not_an_accept_error() {
        for errno in [libc::ECONNABORTED, libc::EINTR, libc::EAGAIN] {
            assert_eq!(accept(&os(errno)), None, "errno {errno}");
        }
    }

    #[test]
    fn an_accept_error_affects_the_connection_the_resources_or_the_listener() {
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
