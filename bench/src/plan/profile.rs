//! Cargo's profiles.

use std::path::Path;

/// The profile with which Cargo has built a program: it names the folder after it,
/// `FOLDER/deps/PROGRAM`. The profiles of tests and of benchmarks have those of `dev` and of
/// `release`, whose settings they inherit here.
pub fn profile_of(program: &Path) -> String {
    let deps = program.parent();
    let folder = deps.filter(|deps| deps.ends_with("deps"));
    let folder = folder.and_then(|deps| deps.parent()?.file_name()?.to_str());
    match folder {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => "unknown",
    }
    .to_owned()
}
