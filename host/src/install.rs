//! Installs the native messaging host: for each browser the host manifest that it reads, the
//! script that it starts, and the permissions of the extensions.

mod program;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::access::manifests;
use crate::access::policy::Policy;

/// The default name of the host, which extensions connect to.
pub const NAME: &str = "chrome_sockets";

/// A browser with native messaging.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Browser {
    /// Google Chrome.
    Chrome,
    /// Chromium.
    Chromium,
    /// Microsoft Edge.
    Edge,
    /// Brave.
    Brave,
    /// Mozilla Firefox.
    Firefox,
}

/// Installs the native messaging host for extensions.
///
/// Writes a host manifest, a script and the permissions of the extensions for each browser.
#[derive(Clone, Debug, Default, Args)]
pub struct Install {
    /// The id of an extension that may start the host: 32 letters for Chrome, name@domain or
    /// {uuid} for Firefox. Each browser gets the ids of its own kind. Extensions that are installed
    /// already stay, with their own permissions. Can be repeated.
    #[arg(long = "extension", value_name = "ID", required = true)]
    pub extensions: Vec<String>,

    /// What these extensions may do: a manifest.json for all of them, or a folder with
    /// EXTENSION.json for each. Without it they may neither listen nor connect.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: accept the manifests that these extensions send.
    #[arg(long)]
    pub dev: bool,

    /// Copy this program into a folder, so that browsers start the copy. A program in a build
    /// folder or an npm package is always copied: to the user's data folder, such as
    /// ~/.local/share/chrome-sockets, or into --user-data-dir. The next install replaces the copy.
    #[arg(long, value_name = "DIR")]
    pub copy_to: Option<PathBuf>,

    /// The browsers and the name of the host.
    #[command(flatten)]
    pub target: Target,
}

/// Removes the native messaging host, or single extensions from it.
#[derive(Clone, Debug, Default, Args)]
pub struct Uninstall {
    /// Remove only this extension. Can be repeated.
    #[arg(long = "extension", value_name = "ID")]
    pub extensions: Vec<String>,

    /// The browsers and the name of the host.
    #[command(flatten)]
    pub target: Target,
}

/// The browsers and the name of a native messaging host.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// The browser; all known ones by default. Can be repeated.
    #[arg(long = "browser", value_enum, value_name = "BROWSER")]
    pub browsers: Vec<Browser>,

    /// Only for the Chrome or Chromium that runs with this --user-data-dir.
    #[arg(long, value_name = "DIR", conflicts_with = "browsers")]
    pub user_data_dir: Option<PathBuf>,

    /// The name that extensions connect to; chrome_sockets by default. A product with its own host
    /// needs its own name, such as com.example.sockets: a-z 0-9 _ and dots.
    #[arg(long, value_name = "NAME")]
    pub host_name: Option<String>,
}

/// A change to the file system, or a warning.
#[derive(Clone, PartialEq, Eq, Debug, derive_more::Display)]
pub enum Change {
    /// This file was written.
    #[display("wrote {}", _0.display())]
    Wrote(PathBuf),
    /// This file was removed.
    #[display("removed {}", _0.display())]
    Removed(PathBuf),
    /// This program was copied to this file.
    #[display("copied this program to {}", _0.display())]
    Copied(PathBuf),
    /// Browsers will start this program in a folder that cargo or npm may empty.
    #[display("warning: {} is in a build folder or an npm package: `cargo clean` or `npm install` breaks this installation", _0.display())]
    InTemporaryFolder(PathBuf),
    /// An entry in the extensions' manifest has no effect.
    #[display("warning: {_0}")]
    Warned(String),
}

impl Browser {
    /// The folder of host manifests, below the user's home.
    fn folder(self) -> String {
        let (linux, macos) = match self {
            Browser::Chrome => (
                ".config/google-chrome/NativeMessagingHosts",
                "Google/Chrome",
            ),
            Browser::Chromium => (".config/chromium/NativeMessagingHosts", "Chromium"),
            Browser::Edge => (
                ".config/microsoft-edge/NativeMessagingHosts",
                "Microsoft Edge",
            ),
            Browser::Brave => (
                ".config/BraveSoftware/Brave-Browser/NativeMessagingHosts",
                "BraveSoftware/Brave-Browser",
            ),
            Browser::Firefox => (".mozilla/native-messaging-hosts", "Mozilla"),
        };
        match cfg!(target_os = "macos") {
            true => format!("Library/Application Support/{macos}/NativeMessagingHosts"),
            false => linux.to_owned(),
        }
    }
}

/// The files of one host in the folder of one browser.
struct HostFiles {
    folder: PathBuf,
    is_firefox: bool,
    /// The name of the host.
    name: String,
}

impl HostFiles {
    /// The files for each browser of the target.
    fn all(target: &Target) -> io::Result<Vec<HostFiles>> {
        let name = target.host_name.as_deref().unwrap_or(NAME);
        if !is_host_name(name) {
            return Err(invalid(format!(
                "{name:?} is not a host name: browsers accept a-z 0-9 _ and single dots between them"
            )));
        }
        let files = |folder, is_firefox| HostFiles {
            folder,
            is_firefox,
            name: name.to_owned(),
        };
        if let Some(folder) = &target.user_data_dir {
            let folder = std::path::absolute(folder)?.join("NativeMessagingHosts");
            return Ok(vec![files(folder, false)]);
        }
        let home = home()?;
        let browsers = match target.browsers.as_slice() {
            [] => Browser::value_variants(),
            browsers => browsers,
        };
        let browsers = browsers.iter();
        let all = browsers.map(|it| files(home.join(it.folder()), *it == Browser::Firefox));
        Ok(all.collect())
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.name))
    }

    /// The host manifest, which the browser reads.
    fn manifest(&self) -> PathBuf {
        self.file("json")
    }

    /// The script that the browser starts.
    fn script(&self) -> PathBuf {
        self.file("sh")
    }

    /// The permissions of the extensions.
    fn permissions(&self) -> PathBuf {
        self.file("extensions")
    }

    /// The key of the host manifest that lists the extensions.
    fn allowed_key(&self) -> &'static str {
        match self.is_firefox {
            true => "allowed_extensions",
            false => "allowed_origins",
        }
    }

    /// An extension as an entry of that list.
    fn allowed_entry(&self, id: &str) -> String {
        match self.is_firefox {
            true => id.to_owned(),
            false => format!("chrome-extension://{id}/"),
        }
    }

    /// The installed extensions: the entries of the host manifest, and the permissions.
    ///
    /// # Errors
    /// The host manifest belongs to another program.
    fn read(&self) -> io::Result<(BTreeSet<String>, Installed)> {
        let Some(manifest) = read_json::<Value>(&self.manifest())? else {
            return Ok(Default::default());
        };
        if manifest["path"].as_str().map(Path::new) != Some(&self.script()) {
            return Err(invalid(format!(
                "{} is another program's: choose another --host-name, or remove that file first",
                self.manifest().display()
            )));
        }
        let allowed = manifest[self.allowed_key()]
            .as_array()
            .into_iter()
            .flatten();
        let allowed = allowed.filter_map(|entry| entry.as_str().map(str::to_owned));
        let installed = read_json(&self.permissions())?.unwrap_or_default();
        Ok((allowed.collect(), installed))
    }

    fn write_manifest(&self, allowed: &BTreeSet<String>) -> io::Result<Change> {
        let manifest = json!({
            "name": self.name,
            "description": "chrome.sockets outside Chrome Apps",
            "path": utf8(&self.script())?,
            "type": "stdio",
            self.allowed_key(): allowed,
        });
        let path = self.manifest();
        replace(&path, 0o600, |file| writeln!(file, "{manifest:#}"))?;
        Ok(Change::Wrote(path))
    }

    fn write_permissions(&self, installed: &Installed) -> io::Result<Change> {
        let path = self.permissions();
        let json = serde_json::to_string_pretty(installed)?;
        replace(&path, 0o600, |file| writeln!(file, "{json}"))?;
        Ok(Change::Wrote(path))
    }

    fn write_script(&self, program: &Path) -> io::Result<Change> {
        let (path, permissions) = (self.script(), self.permissions());
        let (program, permissions) = (quoted(program)?, quoted(&permissions)?);
        replace(&path, 0o700, |file| {
            writeln!(file, "#!/bin/sh\n# Written by `chrome-sockets install`.")?;
            writeln!(
                file,
                "exec {program} native-host --installed {permissions} -- \"$@\""
            )
        })?;
        Ok(Change::Wrote(path))
    }
}

/// The content of the permissions file, by extension id.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Installed {
    extensions: BTreeMap<String, InstalledPolicy>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct InstalledPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<PathBuf>,
    #[serde(default)]
    dev: bool,
}

/// The policy of an extension, from the permissions file of an installation. An extension that is
/// not installed gets no permissions.
///
/// # Errors
/// The OS error of reading the file; `InvalidData` if its content is invalid.
pub fn policy(installed: &Path, extension: &str) -> io::Result<Policy> {
    let mut installed: Installed = read_json(installed)?.unwrap_or_default();
    let policy = installed.extensions.remove(extension).unwrap_or_default();
    Ok(Policy {
        manifest: policy.manifest,
        dev: policy.dev,
        ..Policy::default()
    })
}

impl Install {
    /// Writes the files, each atomically, and returns the changes.
    ///
    /// # Errors
    /// `InvalidInput` for an invalid id, ids that none of the browsers can have, an invalid
    /// manifest, a host name that another program uses, and a missing home folder; otherwise the
    /// OS error of a file.
    pub fn run(&self) -> io::Result<Vec<Change>> {
        let (mut chrome, mut firefox) = (Vec::new(), Vec::new());
        for id in &self.extensions {
            match is_firefox_id(id)? {
                false => chrome.push(id),
                true => firefox.push(id),
            }
        }
        let (policy, warnings) = self.check_policy()?;
        // Reads everything before it writes anything, so that an error changes nothing.
        let mut updates = Vec::new();
        for files in HostFiles::all(&self.target)? {
            let ids = if files.is_firefox { &firefox } else { &chrome };
            if ids.is_empty() {
                continue;
            }
            let (mut allowed, mut installed) = files.read()?;
            for id in ids {
                allowed.insert(files.allowed_entry(id));
                installed.extensions.insert((*id).clone(), policy.clone());
            }
            updates.push((files, allowed, installed));
        }
        let Some((first, ..)) = updates.first() else {
            return Err(invalid("none of these browsers can have these extensions"));
        };
        let mut changes: Vec<_> = warnings.into_iter().map(Change::Warned).collect();
        let program = self.program(first, &mut changes)?;
        for (files, allowed, installed) in &updates {
            fs::create_dir_all(&files.folder)?;
            changes.push(files.write_permissions(installed)?);
            changes.push(files.write_script(&program)?);
            // Last, because the browser starts the script as soon as it finds the manifest.
            changes.push(files.write_manifest(allowed)?);
        }
        Ok(changes)
    }

    /// The policy for the extensions, and the warnings about their manifests.
    fn check_policy(&self) -> io::Result<(InstalledPolicy, Vec<String>)> {
        let policy = Policy {
            manifest: self.manifest.clone(),
            ..Policy::default()
        };
        let warnings = policy.check()?;
        let manifest = self.manifest.as_ref().map(fs::canonicalize).transpose()?;
        // The permissions file is JSON, which cannot hold other paths.
        manifest.as_deref().map(utf8).transpose()?;
        let dev = self.dev;
        Ok((InstalledPolicy { manifest, dev }, warnings))
    }

    /// The program that browsers start: this one, or a copy.
    fn program(&self, files: &HostFiles, changes: &mut Vec<Change>) -> io::Result<PathBuf> {
        let program = env::current_exe()?;
        let is_temporary = program::is_temporary(&program);
        let folder = match (&self.copy_to, &self.target.user_data_dir) {
            (Some(folder), _) => std::path::absolute(folder)?,
            (None, _) if !is_temporary => return Ok(program),
            (None, Some(_)) => files.folder.clone(),
            (None, None) => program::default_folder()?,
        };
        fs::create_dir_all(&folder)?;
        if program::is_in(&program, &folder)? {
            changes.extend(is_temporary.then(|| Change::InTemporaryFolder(program.clone())));
            return Ok(program);
        }
        let copy = folder.join(program::FILE_NAME);
        utf8(&copy)?;
        program::copy(&program, &copy)?;
        changes.push(Change::Copied(copy.clone()));
        Ok(copy)
    }
}

impl Uninstall {
    /// Removes what installations wrote, and returns the changes.
    ///
    /// # Errors
    /// `InvalidInput` for an invalid id or a missing home folder; otherwise the OS error of a
    /// file.
    pub fn run(&self) -> io::Result<Vec<Change>> {
        for id in &self.extensions {
            is_firefox_id(id)?;
        }
        let mut changes = Vec::new();
        for files in HostFiles::all(&self.target)? {
            if self.extensions.is_empty() || self.remove_extensions(&files, &mut changes)? {
                for path in [files.manifest(), files.script(), files.permissions()] {
                    changes.extend(remove(path)?);
                }
            }
        }
        if changes.is_empty() {
            return Ok(changes);
        }
        // Removes the copy of the program when no script of any host name starts it.
        let all = HostFiles::all(&Target {
            user_data_dir: self.target.user_data_dir.clone(),
            ..Target::default()
        })?;
        let (folder, is_own_folder) = match (&self.target.user_data_dir, all.first()) {
            (Some(_), Some(files)) => (files.folder.clone(), false),
            _ => (program::default_folder()?, true),
        };
        let copy = folder.join(program::FILE_NAME);
        let folders = all.iter().map(|files| files.folder.as_path());
        if !program::is_started_from(folders, &quoted(&copy)?)? {
            changes.extend(remove(copy)?);
            if is_own_folder {
                // Fails if the folder is missing or has other files, which stay.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(changes)
    }

    /// Removes the extensions from one host. Returns whether none is left there.
    fn remove_extensions(&self, files: &HostFiles, changes: &mut Vec<Change>) -> io::Result<bool> {
        let (mut allowed, mut installed) = files.read()?;
        let mut is_changed = false;
        for id in &self.extensions {
            is_changed |= allowed.remove(&files.allowed_entry(id));
            installed.extensions.remove(id);
        }
        if is_changed && !allowed.is_empty() {
            // First, so that the browser no longer starts the host for the removed extensions.
            changes.push(files.write_manifest(&allowed)?);
            changes.push(files.write_permissions(&installed)?);
        }
        Ok(is_changed && allowed.is_empty())
    }
}

fn remove(path: PathBuf) -> io::Result<Option<Change>> {
    match fs::remove_file(&path) {
        Ok(()) => Ok(Some(Change::Removed(path))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a valid extension id is one of Firefox's; else it is one of Chrome's. Firefox ids are
/// also app ids of the protocol, so they have its characters.
fn is_firefox_id(id: &str) -> io::Result<bool> {
    if id.len() == 32 && id.bytes().all(|c| (b'a'..=b'p').contains(&c)) {
        return Ok(false);
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-@{}".contains(c);
    let is_uuid = id.starts_with('{') && id.ends_with('}');
    let domain = id.split_once('@').map(|(_, domain)| domain);
    let is_name = domain.is_some_and(|domain| !domain.is_empty());
    if id.len() <= 80 && !id.starts_with('.') && (is_uuid || is_name) && id.chars().all(is_allowed)
    {
        return Ok(true);
    }
    Err(invalid(format!(
        "{id:?} is not an extension id: Chrome's have 32 letters from a to p, \
         Firefox's are written name@domain or {{uuid}}"
    )))
}

/// Checks a host name by the rules of Chrome and Firefox.
fn is_host_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        !part.is_empty() && part.bytes().all(is_allowed)
    };
    name.len() <= 128 && name.split('.').all(is_part)
}

fn home() -> io::Result<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|home| home.is_absolute());
    home.ok_or_else(|| invalid("HOME is not set to an absolute path"))
}

/// Reads a file of an installation; `None` if it is missing.
fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let with_path =
        |error: &dyn Display, kind| io::Error::new(kind, format!("{}: {error}", path.display()));
    match manifests::read(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| with_path(&error, ErrorKind::InvalidData)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(with_path(&error, error.kind())),
    }
}

/// Writes a file atomically, so that a browser never reads half of it.
fn replace(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = NamedTempFile::new_in(folder)?;
    write(file.as_file_mut())?;
    // Before `persist`, so that the file never has other permissions under its name.
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn utf8(path: &Path) -> io::Result<&str> {
    path.to_str()
        .ok_or_else(|| invalid(format!("{} is not UTF-8", path.display())))
}

/// A path as a word of a shell's command line.
fn quoted(path: &Path) -> io::Result<Cow<'_, str>> {
    shlex::try_quote(utf8(path)?).map_err(|error| invalid(error.to_string()))
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text.into())
}
