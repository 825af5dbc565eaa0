//! [`UnixAddress`], the name of a Unix socket, and [`PeerCredentials`], who is at its other end.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::invalid_argument::InvalidArgument;

/// The longest name of a Unix socket, in bytes (`sun_path` without its last byte).
const MAX_UNIX_NAME: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

/// The name of a Unix socket (beyond Chrome).
///
/// A path is taken byte by byte: it need not be UTF-8. It has 1 to 107 bytes (103 on systems other
/// than Linux) without a NUL, as it is written. So a long path can be given relative to the working
/// directory, whose length does not count.
///
/// ```
/// use std::path::Path;
///
/// use chrome_sockets::UnixAddress;
///
/// let address = UnixAddress::from("/run/app.sock");
/// assert_eq!(address.as_path(), Some(Path::new("/run/app.sock")));
/// assert_eq!(address.to_string(), "unix:/run/app.sock");
/// assert_eq!(UnixAddress::from_abstract("app\0").to_string(), "unix:@app\\x00");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum UnixAddress {
    /// The socket has no name, as most clients.
    Unnamed,
    /// A file.
    Path(Arc<Path>),
    /// A name without a file, which only Linux has. It has 1 to 107 bytes, any of which may be a
    /// NUL; the NUL that marks such a name for the OS is not among them. Everything in the same
    /// network namespace may connect to it: it has no file mode.
    Abstract(Arc<[u8]>),
}

impl UnixAddress {
    /// The [abstract](Self::Abstract) name, without the NUL in front of it.
    pub fn from_abstract(name: impl AsRef<[u8]>) -> Self {
        UnixAddress::Abstract(name.as_ref().into())
    }

    /// The path; `None` if the socket has no file.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            UnixAddress::Path(path) => Some(path),
            UnixAddress::Unnamed | UnixAddress::Abstract(_) => None,
        }
    }

    /// The abstract name, without the NUL in front of it.
    pub fn as_abstract(&self) -> Option<&[u8]> {
        match self {
            UnixAddress::Abstract(name) => Some(name),
            UnixAddress::Unnamed | UnixAddress::Path(_) => None,
        }
    }

    /// Checks that a socket can be bound to it or connect to it.
    pub(crate) fn check(&self) -> Result<(), InvalidArgument> {
        let (name, is_path) = match self {
            UnixAddress::Unnamed => return Err(InvalidArgument::UnixNameEmpty),
            UnixAddress::Path(path) => (path.as_os_str().as_bytes(), true),
            UnixAddress::Abstract(name) => (&**name, false),
        };
        // The OS would choose a name for an empty one.
        if name.is_empty() {
            return Err(InvalidArgument::UnixNameEmpty);
        }
        if name.len() > MAX_UNIX_NAME {
            return Err(InvalidArgument::UnixNameTooLong);
        }
        // The OS would take such a path for an abstract name, or for a shorter path.
        if is_path && name.contains(&0) {
            return Err(InvalidArgument::UnixPathWithNul);
        }
        Ok(())
    }
}

/// For people, with a mark that no IP address has: `unix:/run/app.sock`, `unix:@abstract`, `unix:`.
/// Bytes that are no printable ASCII are escaped.
impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixAddress::Unnamed => f.write_str("unix:"),
            UnixAddress::Path(path) => {
                write!(f, "unix:{}", path.as_os_str().as_bytes().escape_ascii())
            }
            UnixAddress::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
        }
    }
}

impl From<&Path> for UnixAddress {
    fn from(path: &Path) -> Self {
        UnixAddress::Path(path.into())
    }
}

impl From<PathBuf> for UnixAddress {
    fn from(path: PathBuf) -> Self {
        UnixAddress::Path(path.into())
    }
}

impl From<&PathBuf> for UnixAddress {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<&OsStr> for UnixAddress {
    fn from(path: &OsStr) -> Self {
        Path::new(path).into()
    }
}

impl From<&str> for UnixAddress {
    fn from(path: &str) -> Self {
        Path::new(path).into()
    }
}

impl From<String> for UnixAddress {
    fn from(path: String) -> Self {
        PathBuf::from(path).into()
    }
}

/// Who was at the other end of a Unix socket when the connection was made (beyond Chrome): the
/// kernel tells it (`SO_PEERCRED`), so the peer cannot claim to be another. A process that got the
/// descriptor of the connection later is not seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The process. `None` if the OS does not tell it, or if the process is of a PID namespace that
    /// this one does not see. It may have ended since, and its number may be another's.
    pub pid: Option<u32>,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

impl PeerCredentials {
    pub(crate) fn new(pid: Option<u32>, uid: u32, gid: u32) -> Self {
        PeerCredentials {
            pid: pid.filter(|pid| *pid != 0),
            uid,
            gid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_os_would_take_for_another_is_refused() {
        let of_length = |length| UnixAddress::from("x".repeat(length));
        assert_eq!(of_length(MAX_UNIX_NAME).check(), Ok(()));
        for (address, error) in [
            (UnixAddress::Unnamed, InvalidArgument::UnixNameEmpty),
            (UnixAddress::from(""), InvalidArgument::UnixNameEmpty),
            (
                UnixAddress::from_abstract(""),
                InvalidArgument::UnixNameEmpty,
            ),
            (
                of_length(MAX_UNIX_NAME + 1),
                InvalidArgument::UnixNameTooLong,
            ),
            (
                UnixAddress::from_abstract([0; MAX_UNIX_NAME + 1]),
                InvalidArgument::UnixNameTooLong,
            ),
            (UnixAddress::from("\0a"), InvalidArgument::UnixPathWithNul),
            (UnixAddress::from("a\0b"), InvalidArgument::UnixPathWithNul),
        ] {
            assert_eq!(address.check(), Err(error), "{address}");
        }
        let abstract_name = UnixAddress::from_abstract([0; MAX_UNIX_NAME]);
        assert_eq!(abstract_name.check(), Ok(()));
    }

    #[test]
    fn names_of_different_kinds_are_written_differently() {
        let path = UnixAddress::from(OsStr::from_bytes(b"/tmp/\xff \n"));
        assert_eq!(path.to_string(), "unix:/tmp/\\xff \\n");
        assert_eq!(UnixAddress::from_abstract("a").to_string(), "unix:@a");
        assert_eq!(UnixAddress::Unnamed.to_string(), "unix:");
    }
}
