//! Chromium's network error numbers.
//!
//! The numbers and names are Chromium's (`net/base/net_error_list.h`); they
//! stand in [`table`](self) once, and everything else is made from there. A
//! [`NetError`] is always negative: success is `Ok(())`, never a code.

mod system;
mod table;

pub use system::AcceptErrorClass;
#[cfg(feature = "tls")]
pub(crate) use system::handshake;
pub(crate) use system::{accept, connect, listen, option, read, resolve, write};

use std::fmt;

/// Why a network call failed: one of Chromium's `net::ERR_…` codes.
///
/// ```
/// use chrome_sockets::NetError;
///
/// let error = NetError::ADDRESS_IN_USE;
/// assert_eq!(error.code(), -147);
/// assert_eq!(error.to_string(), "net::ERR_ADDRESS_IN_USE");
/// assert_eq!(NetError::from_code(-147), Some(error));
/// assert_eq!(NetError::from_code(0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetError(i32);

impl NetError {
    /// The error with this code; `None` for a number that is not in the
    /// table, 0 and positive ones among them.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(error, _)| error.0 == code)
            .map(|(error, _)| *error)
    }

    /// Chromium's number, the `resultCode` of Chrome's API: always negative.
    pub const fn code(self) -> i32 {
        self.0
    }

    /// Chromium's name without its prefix: `ADDRESS_IN_USE`.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(error, _)| *error == self)
            .map_or("UNKNOWN", |(_, name)| name)
    }
}

/// `net::ERR_NAME`, as Chrome writes it into `chrome.runtime.lastError`.
impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net::ERR_{}", self.name())
    }
}

impl fmt::Debug for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetError({} = {})", self.name(), self.0)
    }
}

impl std::error::Error for NetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_negative_and_stands_once() {
        for (i, (error, name)) in NetError::ALL.iter().enumerate() {
            assert!(error.code() < 0, "{name}");
            assert!(
                NetError::ALL[..i]
                    .iter()
                    .all(|(e, n)| e != error && n != name),
                "{name} stands twice"
            );
        }
    }

    #[test]
    fn codes_and_names_find_each_other() {
        for (error, name) in NetError::ALL {
            assert_eq!(NetError::from_code(error.code()), Some(*error));
            assert_eq!(error.to_string(), format!("net::ERR_{name}"));
        }
        assert_eq!(NetError::from_code(0), None);
        assert_eq!(NetError::from_code(1), None);
        assert_eq!(NetError::from_code(i32::MIN), None);
    }
}
