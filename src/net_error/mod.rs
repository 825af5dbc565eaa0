//! Chromium's network error numbers.
//!
//! The numbers and names are Chromium's (`net/base/net_error_list.h`). They are
//! written once, in `table.rs`. A [`NetError`] is always negative: success is
//! `Ok(())`, never a code.

mod os_errors;
mod table;

use std::fmt;

pub use os_errors::AcceptErrorClass;
pub(crate) use os_errors::{
    accept, connect, datagram, handshake, listen, option, read, resolve, write,
};

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
    /// The error with this code; `None` for a number that is not in the table, such
    /// as 0 and positive numbers.
    pub fn from_code(code: i32) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find_map(|(error, _)| (error.0 == code).then_some(*error))
    }

    /// Chromium's number, which is the `resultCode` of Chrome's API; always negative.
    pub const fn code(self) -> i32 {
        self.0
    }

    /// Chromium's name without its prefix: `ADDRESS_IN_USE`.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        let name = all.find_map(|(error, name)| (*error == self).then_some(*name));
        name.unwrap_or("UNKNOWN")
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
    fn every_code_is_negative_and_unique() {
        for (i, (error, name)) in NetError::ALL.iter().enumerate() {
            assert!(error.code() < 0, "{name}");
            let mut earlier = NetError::ALL[..i].iter();
            let is_unique = earlier.all(|(e, n)| e != error && n != name);
            assert!(is_unique, "{name} is listed twice");
        }
    }

    #[test]
    fn a_code_has_one_error_and_one_name() {
        for (error, name) in NetError::ALL {
            assert_eq!(NetError::from_code(error.code()), Some(*error));
            assert_eq!(error.to_string(), format!("net::ERR_{name}"));
        }
        assert_eq!(NetError::from_code(0), None);
        assert_eq!(NetError::from_code(1), None);
        assert_eq!(NetError::from_code(i32::MIN), None);
    }
}
