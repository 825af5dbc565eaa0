//! Parses the text of a manifest into values and warnings.

use std::io::Read;

use json_comments::CommentSettings;
use serde::de::DeserializeOwned;

use super::error::{ManifestError, ManifestWarning};

/// The longest manifest, in bytes. Real ones have a few thousand.
pub const MAX_MANIFEST: usize = 1 << 20;

/// The most warnings for one manifest; more are dropped.
pub const MAX_WARNINGS: usize = 100;

/// Parses a value. Unknown keys whose path begins with `within` become warnings.
pub(super) fn read<T: DeserializeOwned>(
    json: &str,
    within: &str,
) -> Result<(T, Vec<ManifestWarning>), ManifestError> {
    if json.len() > MAX_MANIFEST {
        let reason = format!("longer than {MAX_MANIFEST} bytes");
        return Err(ManifestError::whole(reason));
    }
    // Some editors write a byte order mark at the start of a file.
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    let json = without_comments(json);
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| {
        let path = path.to_string();
        if path.starts_with(within) && unknown.len() < MAX_WARNINGS {
            let reason = "unknown key, ignored";
            unknown.push(ManifestWarning::new(&path, reason));
        }
    };
    let mut json = serde_json::Deserializer::from_str(&json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = T::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
    let value = read.map_err(|error| serde_path_to_error::Error::new(track.path(), error))?;
    json.end()
        .map_err(|error| ManifestError::whole(error.to_string()))?;
    Ok((value, unknown))
}

/// Replaces comments, which Chrome accepts, by spaces, so that errors keep their line and column.
fn without_comments(json: &str) -> String {
    let mut stripped = String::with_capacity(json.len());
    let comments = CommentSettings::c_style();
    let read = comments
        .strip_comments(json.as_bytes())
        .read_to_string(&mut stripped);
    match read {
        Ok(_) if stripped.len() == json.len() => restore_line_breaks(json, &stripped),
        // A comment without an end: the JSON parser reports where it begins.
        _ => json.to_owned(),
    }
}

/// Restores the line breaks in comments, which became spaces too.
fn restore_line_breaks(json: &str, stripped: &str) -> String {
    if !json.contains("/*") {
        return stripped.to_owned();
    }
    let mut bytes = stripped.as_bytes().to_vec();
    for (byte, original) in bytes.iter_mut().zip(json.bytes()) {
        if original == b'\n' {
            *byte = original;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| json.to_owned())
}
