//! OS error numbers by name.

use std::str::FromStr;
use std::{fmt, io};

/// An OS error number, parsed from and displayed as its name: `EMFILE`. A number
/// that has no name here is displayed as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The highest errno of Linux (`MAX_ERRNO`).
    const MAX: i32 = 4095;

    /// The error with this number; `None` outside 1 to 4095.
    pub fn new(number: i32) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Errno(number))
    }

    /// The number, as in `libc`.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The name, such as `EMFILE`; `None` if this number has none here.
    pub fn name(self) -> Option<&'static str> {
        let mut named = Self::NAMED.iter();
        let (_, name) = named.find(|(errno, _)| *errno == self)?;
        Some(name)
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

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        io::Error::from_raw_os_error(errno.0)
    }
}

/// The text is neither the name nor the number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[display("write the name of an errno (EMFILE), or its number (24)")]
pub struct ParseErrnoError;

impl FromStr for Errno {
    type Err = ParseErrnoError;

    fn from_str(text: &str) -> Result<Self, ParseErrnoError> {
        // `EWOULDBLOCK` is another name of `EAGAIN`.
        let mut named = Self::NAMED.iter().chain(&[(Errno::EAGAIN, "EWOULDBLOCK")]);
        let named = named.find(|(_, name)| name.eq_ignore_ascii_case(text));
        let numbered = || text.parse().ok().and_then(Self::new);
        named
            .map(|(errno, _)| *errno)
            .or_else(numbered)
            .ok_or(ParseErrnoError)
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

            /// The errors that the manual pages of the socket calls name, and
            /// some that the kernel returns without being documented.
            const NAMED: &[(Errno, &str)] =
                &[$($(#[$only])? (Errno::$name, stringify!($name)),)*];
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
    fn an_errno_parses_from_its_name_and_its_number() {
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
            assert_eq!(text.parse::<Errno>(), Err(ParseErrnoError), "{text:?}");
        }
    }
}
