//! The OS's error numbers by their names.

use std::fmt;
use std::str::FromStr;

/// An error number of the OS, read and written by its name: `EMFILE`. A number
/// without a name here is written as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The highest number that Linux gives to an error.
    const MAX: i32 = 4095;

    /// The error with this number; `None` for what cannot be one.
    pub fn new(number: i32) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Errno(number))
    }

    /// The number, as `libc` has it.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// `EMFILE`; `None` for a number that the table does not have.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED
            .iter()
            .find(|(errno, _)| *errno == self)
            .map(|(_, name)| *name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// Neither the name nor the number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[display("write the name of an errno (EMFILE), or its number (24)")]
pub struct NotAnErrno;

impl FromStr for Errno {
    type Err = NotAnErrno;

    fn from_str(text: &str) -> Result<Self, NotAnErrno> {
        let named = Self::NAMED.iter().chain(Self::ALIASES);
        let mut named = named.filter(|(_, name)| name.eq_ignore_ascii_case(text));
        match named.next() {
            Some((errno, _)) => Some(*errno),
            None => text.parse().ok().and_then(Self::new),
        }
        .ok_or(NotAnErrno)
    }
}

macro_rules! errnos {
    ($($(#[$only:meta])? $name:ident)*) => {
        impl Errno {
            $(
                $(#[$only])?
                #[doc = concat!("`", stringify!($name), "`.")]
                pub const $name: Errno = Errno(libc::$name);
            )*

            /// Every error that the manual pages of the socket calls name, and
            /// some that the kernel answers all the same.
            const NAMED: &[(Errno, &str)] =
                &[$($(#[$only])? (Errno::$name, stringify!($name)),)*];

            /// Other names for one of them.
            const ALIASES: &[(Errno, &str)] = &[(Errno(libc::EWOULDBLOCK), "EWOULDBLOCK")];
        }
    };
}

errnos! {
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBUSY ECANCELED
    ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EDESTADDRREQ EDQUOT EEXIST EFAULT EFBIG EHOSTDOWN
    EHOSTUNREACH EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE EMSGSIZE ENAMETOOLONG
    ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS ENODEV ENOENT ENOLCK ENOMEM ENOPROTOOPT ENOSPC
    ENOSYS ENOTCONN ENOTDIR ENOTSOCK EOPNOTSUPP EPERM EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE EROFS
    ESHUTDOWN ESOCKTNOSUPPORT ETIMEDOUT ETXTBSY EUSERS
    #[cfg(target_os = "linux")] ENONET
    #[cfg(target_os = "linux")] ENOSR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_find_each_other() {
        for (errno, name) in Errno::NAMED {
            assert_eq!(errno.to_string(), *name);
            assert_eq!(name.parse(), Ok(*errno));
            assert_eq!(name.to_lowercase().parse(), Ok(*errno));
            assert_eq!(errno.number().to_string().parse(), Ok(*errno));
        }
        assert_eq!("EWOULDBLOCK".parse(), Ok(Errno::EAGAIN));
        assert_eq!("4000".parse::<Errno>().map(Errno::number), Ok(4000));
        assert_eq!(Errno(4000).to_string(), "4000");
        for text in ["", "E", "EMFILES", "0", "4096", "1e1", " EMFILE"] {
            assert_eq!(text.parse::<Errno>(), Err(NotAnErrno), "{text:?}");
        }
    }
}
