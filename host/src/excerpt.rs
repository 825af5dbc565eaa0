//! Text from outside, cut and escaped for logs and error messages. Pure.

use std::fmt;

/// The most characters of input that an answer or an `end` repeats.
pub(super) const REPEATED: usize = 64;

/// The most characters of outside text in one log line, and of an `end`'s message.
pub(super) const LINE: usize = 200;

/// Displays the beginning of a text. Control characters, such as those that a terminal obeys,
/// are escaped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excerpt<'a>(pub(super) &'a str, pub(super) usize);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt(text, most) = *self;
        let mut left = most;
        for c in text.chars() {
            let is_plain = c == '"' || c == '\'' || c == '\\';
            let length = match is_plain {
                true => 1,
                false => c.escape_debug().count(),
            };
            if length > left {
                return f.write_str("…");
            }
            left -= length;
            match is_plain {
                true => fmt::Write::write_char(f, c)?,
                false => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// A text of a client, for an answer to it.
pub(super) fn repeated(text: &str) -> Excerpt<'_> {
    Excerpt(text, REPEATED)
}

/// A text for a log line.
pub(super) fn line(text: &str) -> Excerpt<'_> {
    Excerpt(text, LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_has_no_more_characters_than_it_may_and_no_control_character() {
        for (text, most, shown) in [
            ("", 3, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc…"),
            ("say \"x\"", 64, "say \"x\""),
            ("a\u{1b}[2Jb\n", 64, "a\\u{1b}[2Jb\\n"),
            ("a\u{1b}", 5, "a…"),
            ("\u{202e}ä", 64, "\\u{202e}ä"),
            ("\u{7f}\u{9b}", 64, "\\u{7f}\\u{9b}"),
        ] {
            assert_eq!(Excerpt(text, most).to_string(), shown, "{text:?}");
        }
        let long = "\u{1b}".repeat(1 << 20);
        assert!(line(&long).to_string().chars().count() <= LINE + 1);
    }
}
