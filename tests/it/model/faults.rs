//! The OS errors that the model uses, with their codes of `docs/faults.md`.

/// The class of an accept error.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Class {
    Connection,
    Resources,
    Listener,
}

/// The class and code of an error of `accept`; `None` if it does not count.
pub fn accept_error(errno: i32) -> Option<(Class, i32)> {
    match errno {
        libc::EAGAIN | libc::EINTR | libc::ECONNABORTED => None,
        libc::EMFILE | libc::ENFILE => Some((Class::Resources, -12)),
        libc::ENOMEM => Some((Class::Resources, -13)),
        libc::ENOBUFS => Some((Class::Resources, -176)),
        libc::EBADF => Some((Class::Listener, -5)),
        libc::EINVAL => Some((Class::Listener, -4)),
        // Its code is never reported.
        _ => Some((Class::Connection, 0)),
    }
}

pub const ACCEPT: [i32; 11] = [
    libc::EMFILE,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOMEM,
    libc::ENOBUFS,
    libc::EBADF,
    libc::EINVAL,
    libc::EPROTO,
    libc::ENETDOWN,
    libc::ECONNABORTED,
    libc::EINTR,
];

/// An error of `listen`, and its code.
pub const LISTEN: [(i32, i32); 5] = [
    (libc::EADDRINUSE, -147),
    (libc::EADDRNOTAVAIL, -108),
    (libc::EACCES, -10),
    (libc::ENOMEM, -13),
    (libc::ENOENT, -6),
];

/// An error of `connect`, and its code.
pub const CONNECT: [(i32, i32); 6] = [
    (libc::ECONNREFUSED, -102),
    (libc::EACCES, -138),
    (libc::ETIMEDOUT, -118),
    (libc::ENETUNREACH, -109),
    (libc::EADDRNOTAVAIL, -108),
    (libc::EAGAIN, -104),
];

/// An error of `read`, and its code; 0 for errors that do not count.
pub const READ: [(i32, i32); 6] = [
    (libc::ECONNRESET, -100),
    (libc::ETIMEDOUT, -7),
    (libc::EIO, -2),
    (libc::ENETDOWN, -106),
    (libc::EAGAIN, 0),
    (libc::EINTR, 0),
];

/// An error of `write`, and its code; 0 for errors that do not count.
pub const WRITE: [(i32, i32); 7] = [
    (libc::ECONNRESET, -101),
    (libc::EPIPE, -101),
    (libc::ETIMEDOUT, -7),
    (libc::ENOBUFS, -176),
    (libc::EACCES, -10),
    (libc::EAGAIN, 0),
    (libc::EINTR, 0),
];

/// An error of `setsockopt`.
pub const OPTION: i32 = libc::EINVAL;

pub fn code(table: &[(i32, i32)], errno: i32) -> i32 {
    let row = table.iter().find(|row| row.0 == errno);
    row.expect("an error of the table").1
}
