//! The limit on the names of sockets.

use crate::invalid_argument::InvalidArgument;

/// The longest name of a socket, in bytes: 4096. Chrome has no limit; this one
/// keeps names from filling the memory.
pub const MAX_NAME: usize = 4096;

/// The name as it is stored: an empty name is `None`. A name above
/// [`MAX_NAME`] bytes is [`InvalidArgument::NameTooLong`].
pub(crate) fn checked_name(name: String) -> Result<Option<Box<str>>, InvalidArgument> {
    if name.len() > MAX_NAME {
        return Err(InvalidArgument::NameTooLong);
    }
    Ok((!name.is_empty()).then(|| name.into_boxed_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_no_name_and_a_long_one_is_refused() {
        assert_eq!(checked_name(String::new()), Ok(None));
        assert_eq!(checked_name("web".into()), Ok(Some("web".into())));
        assert!(checked_name("x".repeat(MAX_NAME)).is_ok());
        assert_eq!(
            checked_name("x".repeat(MAX_NAME + 1)),
            Err(InvalidArgument::NameTooLong)
        );
    }
}
