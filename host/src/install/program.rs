//! The program that browsers start: where it is, and a copy that outlives a build
//! folder.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{home, replace_by};

/// What a copy is called.
pub(super) const FILE: &str = "chrome-sockets";

/// What cargo, like other tools, puts into a folder whose content can be made again.
const TAG: &str = "CACHEDIR.TAG";

/// Whether `cargo clean` removes it.
pub(super) fn is_in_build_folder(program: &Path) -> bool {
    program.ancestors().any(|folder| folder.join(TAG).is_file())
}

/// Where a copy goes: the user's data folder.
pub(super) fn default_folder() -> io::Result<PathBuf> {
    let data = match env::var_os("XDG_DATA_HOME").map(PathBuf::from) {
        Some(data) if data.is_absolute() => data,
        _ if cfg!(target_os = "macos") => home()?.join("Library/Application Support"),
        _ => home()?.join(".local/share"),
    };
    Ok(data.join("chrome-sockets"))
}

/// Whether the program is in this folder itself.
pub(super) fn is_in(program: &Path, folder: &Path) -> io::Result<bool> {
    let folder = fs::canonicalize(folder)?;
    let program = fs::canonicalize(program)?;
    Ok(program.parent() == Some(&folder))
}

/// A host that runs goes on with the copy that it was started from.
pub(super) fn copy(program: &Path, copy: &Path) -> io::Result<()> {
    let mut from = File::open(program)?;
    replace_by(copy, 0o700, |to| io::copy(&mut from, to).map(drop))
}

/// Whether a script in these folders starts this program, quoted as it is there.
pub(super) fn is_started_from<'a>(
    folders: impl Iterator<Item = &'a Path>,
    program: &str,
) -> io::Result<bool> {
    let starts = format!("exec {program} ");
    for folder in folders {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let is_script = path.extension().is_some_and(|kind| kind == "sh");
            // One that cannot be read is not of an installation.
            if is_script && super::manifests::read(&path).is_ok_and(|it| it.contains(&starts)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
