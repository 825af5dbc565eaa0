//! Comments in JSON, which Chrome accepts in a manifest.

use std::borrow::Cow;

/// The text with a space for every byte of its comments, so that positions
/// stay what they are. Line ends stay too.
pub(super) fn without_comments(json: &str) -> Cow<'_, str> {
    if !json.contains("//") && !json.contains("/*") {
        return Cow::Borrowed(json);
    }
    let mut kept = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(next) = rest.find(['"', '/']) {
        let (before, from) = rest.split_at(next);
        kept.push_str(before);
        let (length, is_comment) = match from.get(..2) {
            Some("//") => (from.find(['\n', '\r']).unwrap_or(from.len()), true),
            Some("/*") => match from[2..].find("*/") {
                Some(end) => (end + 4, true),
                // No comment; what reads it says so.
                None => (from.len(), false),
            },
            _ if from.starts_with('"') => (string(from), false),
            _ => (1, false),
        };
        let (this, after) = from.split_at(length);
        match is_comment {
            true => this.bytes().for_each(|byte| {
                kept.push(if matches!(byte, b'\n' | b'\r') {
                    char::from(byte)
                } else {
                    ' '
                });
            }),
            false => kept.push_str(this),
        }
        rest = after;
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// The length of the string that this begins with, its quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_spaces_and_strings_stay() {
        for (json, expected) in [
            ("{}", "{}"),
            ("// a\n{}", "    \n{}"),
            ("{} // ü", "{}      "),
            ("/* a\r\n */{}", "    \r\n   {}"),
            (r#"{"a": "//b"} //"#, r#"{"a": "//b"}   "#),
            (r#"{"a\"//": "\\"} // "#, r#"{"a\"//": "\\"}    "#),
            ("/**/1/**//**/", "    1        "),
            ("/", "/"),
            ("1 / 2", "1 / 2"),
            ("/* open", "/* open"),
            ("\"open // text", "\"open // text"),
            ("/*/ */{}", "      {}"),
            ("/é//é", "/é    "),
        ] {
            assert_eq!(without_comments(json), expected, "{json}");
        }
    }
}
