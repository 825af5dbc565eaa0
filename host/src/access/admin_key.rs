//! The key that admin connections must show.

use std::{fmt, io};

use crate::access::secrets::{random_hex, secrets_match};

/// The secret that an admin connection must show. Each run of the host has a new one.
pub(crate) struct AdminKey(String);

impl AdminKey {
    /// # Errors
    /// The OS has no random numbers.
    pub(crate) fn new() -> io::Result<Self> {
        random_hex::<16>().map(AdminKey)
    }

    pub(crate) fn matches(&self, shown: Option<&str>) -> bool {
        shown.is_some_and(|shown| secrets_match(&self.0, shown))
    }
}

/// The secret itself, for the owner of the host.
impl fmt::Display for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_matches_only_itself() {
        let (key, other) = (
            AdminKey::new().expect("random"),
            AdminKey::new().expect("random"),
        );
        let text = key.to_string();
        assert_eq!(text.len(), 32, "{text}");
        assert!(key.matches(Some(&text)));
        assert!(!other.matches(Some(&text)));
        for wrong in [
            None,
            Some(""),
            Some(&text[1..]),
            Some(&*(text.clone() + "0")),
        ] {
            assert!(!key.matches(wrong), "{wrong:?}");
        }
    }
}
