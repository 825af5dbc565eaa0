//! The program that browsers start, and its copy outside of folders that tools empty.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{home, replace};

/// The file name of a copy.
pub(super) const FILE_NAME: &str = "chrome-sockets";

/// The file by which cargo and other tools mark folders whose content can be made again.
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// The folder of npm's packages. `npm install` replaces what is in it, and that of `npx` is a cache.
const PACKAGES: &str = "node_modules";

/// Whether the next `cargo clean` or `npm install` may remove the program.
pub(super) fn is_temporary(program: &Path) -> bool {
    program.ancestors().any(|folder| {
        folder.file_name().is_some_and(|name| name == PACKAGES) || folder.join(CACHE_TAG).is_file()
    })
}

/// The default folder of the copy, in the user's data folder.
pub(super) fn default_folder() -> io::Result<PathBuf> {
    let data = match env::var_os("XDG_DATA_HOME").map(PathBuf::from) {
        Some(data) if data.is_absolute() => data,
        _ if cfg!(target_os = "macos") => home()?.join("Library/Application Support"),
        _ => home()?.join(".local/share"),
    };
    Ok(data.join("chrome-sockets"))
}

/// Whether the program is directly in this folder.
pub(super) fn is_in(program: &Path, folder: &Path) -> io::Result<bool> {
    let folder = fs::canonicalize(folder)?;
    let program = fs::canonicalize(program)?;
    Ok(program.parent() == Some(&folder))
}

/// Replaces the copy. A running host keeps the file that it was started from.
pub(super) fn copy(program: &Path, copy: &Path) -> io::Result<()> {
    let mut from = File::open(program)?;
    replace(copy, 0o700, |to| io::copy(&mut from, to).map(drop))
}

/// Whether a script in these folders starts this program, which is quoted for the shell.
pub(super) fn is_started_from<'a>(
    folders: impl Iterator<Item = &'a Path>,
    program: &str,
) -> io::Result<bool> {
    let command = format!("exec {program} ");
    for folder in folders {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let is_script = path.extension().is_some_and(|kind| kind == "sh");
            // An unreadable script is not one of ours.
            if is_script && super::manifests::read(&path).is_ok_and(|it| it.contains(&command)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
