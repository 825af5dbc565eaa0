//! What is wrong in a manifest, and where.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::comments::without_comments;

/// The longest manifest, in bytes; Chrome's own are a few thousand.
pub const MAX_MANIFEST: usize = 1 << 20;

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

/// Reads JSON that somebody wrote.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, ManifestError> {
    if json.len() > MAX_MANIFEST {
        return Err(ManifestError {
            path: String::new(),
            reason: format!("longer than {MAX_MANIFEST} bytes"),
        });
    }
    // Some editors begin every file with it.
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    let json = without_comments(json);
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    let read =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| ManifestError {
            path: path(error.path()),
            reason: shorten(&error.inner().to_string()),
        })?;
    deserializer.end().map_err(|error| ManifestError {
        path: String::new(),
        reason: error.to_string(),
    })?;
    Ok(read)
}

fn path(path: &Path) -> String {
    let whole = path.to_string();
    let known = match path.iter().next_back() {
        None => "",
        // Where a key should be, for instance.
        Some(Segment::Unknown) => whole.trim_end_matches('?').trim_end_matches('.'),
        Some(_) => &whole,
    };
    cut(known)
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
