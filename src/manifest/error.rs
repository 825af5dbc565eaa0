//! Errors and warnings of a manifest, with the path of the key.

use std::fmt;

use serde_path_to_error::{Path, Segment};

/// How many characters of an invalid text an error quotes.
const MAX_QUOTED: usize = 64;

/// A manifest is invalid. The text has the path, and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug, derive_more::Error)]
pub struct ManifestError {
    path: String,
    reason: String,
}

impl ManifestError {
    /// The path, such as `sockets.tcpServer.listen[2]`. Empty if the whole text is
    /// invalid.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An error about the whole text.
    pub(super) fn whole(reason: String) -> Self {
        ManifestError {
            path: String::new(),
            reason,
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)
    }
}

impl From<serde_path_to_error::Error<serde_json::Error>> for ManifestError {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        ManifestError {
            path: path(error.path()),
            reason: shorten(&error.inner().to_string()),
        }
    }
}

/// A part of a manifest has no effect, though its author probably meant one. The
/// manifest is used anyway, as in Chrome. The text has the path and the reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestWarning {
    path: String,
    reason: String,
}

impl ManifestWarning {
    pub(super) fn new(path: &str, reason: impl Into<String>) -> Self {
        ManifestWarning {
            path: truncate(path).escape_debug().to_string(),
            reason: reason.into(),
        }
    }

    /// The path, such as `sockets.tcp.conect`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ManifestWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

fn path(path: &Path) -> String {
    let whole = path.to_string();
    let known = match path.iter().next_back() {
        None => "",
        // The error is at the place of a key, which has no name yet.
        Some(Segment::Unknown) => whole.trim_end_matches('?').trim_end_matches('.'),
        Some(_) => &whole,
    };
    // A key may contain control characters for a terminal.
    truncate(known).escape_debug().to_string()
}

/// Shortens a reason, which may quote a text of any length. Its end has line and column.
fn shorten(reason: &str) -> String {
    const END: usize = 128;
    let length = reason.chars().count();
    if length <= 2 * END {
        return reason.to_owned();
    }
    let begin: String = reason.chars().take(END).collect();
    let end: String = reason.chars().skip(length - END).collect();
    format!("{begin}…{end}")
}

/// The beginning of a text, enough to find it.
pub(super) fn truncate(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
