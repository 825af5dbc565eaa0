//! Secrets: made, and compared.

use std::fmt;
use std::io;

use subtle::ConstantTimeEq;

/// What lets somebody look after a host; another one in each run.
pub(crate) struct AdminKey(String);

impl AdminKey {
    /// One of 128 bits that nobody can guess.
    ///
    /// # Errors
    /// The OS has no random numbers.
    pub(crate) fn new() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(AdminKey(format!("{:032x}", u128::from_le_bytes(bytes))))
    }

    /// Whether this was shown.
    pub(crate) fn is(&self, shown: Option<&str>) -> bool {
        shown.is_some_and(|shown| is_same(&self.0, shown))
    }
}

/// As it is written down for its owner.
impl fmt::Display for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares without telling by its time how much of it was right.
pub(crate) fn is_same(secret: &str, shown: &str) -> bool {
    secret.as_bytes().ct_eq(shown.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_itself_and_no_other() {
        let (key, other) = (
            AdminKey::new().expect("random"),
            AdminKey::new().expect("random"),
        );
        let text = key.to_string();
        assert_eq!(text.len(), 32, "{text}");
        assert!(key.is(Some(&text)));
        assert!(!other.is(Some(&text)));
        for wrong in [
            None,
            Some(""),
            Some(&text[1..]),
            Some(&*(text.clone() + "0")),
        ] {
            assert!(!key.is(wrong), "{wrong:?}");
        }
    }
}
