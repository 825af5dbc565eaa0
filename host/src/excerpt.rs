//! Text from outside, cut and escaped for logs and error messages. No I/O.

use std::fmt;

/// The most characters of input that an answer or a close reason repeats.
pub(super) const MAX_REPEATED: usize = 64;

/// The most characters of outside text in one log line, and of a close reason's message.
pub(super) const MAX_LINE: usize = 200;

/// Displays the beginning of a text, up to this many characters. Escapes control characters,
/// because a terminal may interpret them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excerpt<'a>(pub(super) &'a str, pub(super) usize);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt(text, mut left) = *self;
        for c in text.chars() {
            // Quotes and backslashes are harmless in a terminal, and easier to read unescaped.
            let is_plain = matches!(c, '"' | '\'' | '\\');
            let length = if is_plain {
                1
            } else {
                c.escape_debug().count()
            };
            if length > left {
                return f.write_str("…");
            }
            left -= length;
            match is_plain {
                true => write!(f, "{c}")?,
                false => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// A client's text, for an answer to it.
pub(super) fn for_answer(text: &str) -> Excerpt<'_> {
    Excerpt(text, MAX_REPEATED)
}

/// A text for a log line.
pub(super) fn for_log(text: &str) -> Excerpt<'_> {
    Excerpt(text, MAX_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_cut_and_has_no_control_characters() {
        for (text, max, expected) in [
            ("", 3, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc…"),
            ("say \"x\"", 64, "say \"x\""),
            ("a\u{1b}[2Jb\n", 64, "a\\u{1b}[2Jb\\n"),
            ("a\u{1b}", 5, "a…"),
            ("\u{202e}ä", 64, "\\u{202e}ä"),
            ("\u{7f}\u{9b}", 64, "\\u{7f}\\u{9b}"),
        ] {
            assert_eq!(Excerpt(text, max).to_string(), expected, "{text:?}");
        }
        let long = "\u{1b}".repeat(1 << 20);
        assert!(for_log(&long).to_string().chars().count() <= MAX_LINE + 1);
    }
}
