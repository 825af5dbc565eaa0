//! Makes random secrets, and compares tokens and keys in constant time.

use std::fmt::Write;
use std::io;

use subtle::ConstantTimeEq;

/// `N` random bytes from the OS, in hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Compares in constant time, so that timing does not reveal how much of `shown` is right.
pub(crate) fn secrets_match(secret: &str, shown: &str) -> bool {
    secret.as_bytes().ct_eq(shown.as_bytes()).into()
}
