//! What is wrong in a manifest, and where.

use std::fmt;

use serde_path_to_error::{Path, Segment};

/// How much an error repeats of a text that it is about, in characters.
const MAX_REPEATED: usize = 64;

/// What is wrong in a manifest. Its text tells where, and what to write
/// instead.
#[derive(Clone, PartialEq, Eq, Debug, derive_more::Error)]
pub struct ManifestError {
    path: String,
    reason: String,
}

impl ManifestError {
    /// Where: `sockets.tcpServer.listen[2]`. Empty where it is the whole.
    pub fn path(&self) -> &str {
        &self.path
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

impl ManifestError {
    /// An error about the whole text.
    pub(super) fn whole(reason: String) -> Self {
        ManifestError {
            path: String::new(),
            reason,
        }
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

/// Something in a manifest that has no effect, though its author probably
/// wanted one. The manifest is used all the same, as Chrome does. Its text says
/// where and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestWarning {
    path: String,
    reason: String,
}

impl ManifestWarning {
    pub(super) fn new(path: &str, reason: impl Into<String>) -> Self {
        ManifestWarning {
            path: cut(path).escape_debug().to_string(),
            reason: reason.into(),
        }
    }

    /// Where: `sockets.tcp.conect`.
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
        // Where a key should be, for instance.
        Some(Segment::Unknown) => whole.trim_end_matches('?').trim_end_matches('.'),
        Some(_) => &whole,
    };
    // A key is anything, also what a terminal would act on.
    cut(known).escape_debug().to_string()
}

/// A reason may repeat a text of any length; where it is stands at its end.
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

/// No more of a text than helps to find it.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
