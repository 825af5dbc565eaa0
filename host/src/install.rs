//! Tells browsers of the native host: the manifest that each looks for, the
//! script that it starts, and what each extension may do.

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, process};

use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::manifests;
use crate::access::policy::Policy;

/// The name of the host, which an extension connects to.
pub const NAME: &str = "chrome_sockets";

/// A browser that starts native hosts.
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

/// Adds extensions to a native host: in the folder of each browser a host manifest,
/// the script that it names, and what each extension may do.
#[derive(Clone, Debug, Default)]
pub struct Install {
    /// The ids of the extensions that may start the host: Chrome's 32 letters, or
    /// Firefox's `name@domain` or `{uuid}`. Each browser is told of its own kind. Those
    /// that are installed already stay, with their own permissions.
    pub extensions: Vec<String>,
    /// [`Policy::manifest`](super::Policy::manifest) for these extensions.
    pub manifest: Option<PathBuf>,
    /// [`Policy::dev`](super::Policy::dev) for them.
    pub dev: bool,
    /// Which browsers; all, if there are none.
    pub browsers: Vec<Browser>,
    /// The browser that runs with this `--user-data-dir`, instead of those.
    pub user_data_dir: Option<PathBuf>,
    /// The name that extensions connect to; [`NAME`], if there is none.
    pub host_name: Option<String>,
    /// A folder that this program is copied to, for browsers to start the copy. `None`: it
    /// is started where it is, unless that is a build folder; then it is copied to the
    /// user's data folder, or, with `user_data_dir`, into that.
    pub copy_to: Option<PathBuf>,
}

/// What is to be removed again.
#[derive(Clone, Debug, Default)]
pub struct Uninstall {
    /// These extensions; the whole host, if there are none.
    pub extensions: Vec<String>,
    /// As [`Install::browsers`].
    pub browsers: Vec<Browser>,
    /// As [`Install::user_data_dir`].
    pub user_data_dir: Option<PathBuf>,
    /// As [`Install::host_name`].
    pub host_name: Option<String>,
}

/// What was done to a file.
#[derive(Clone, PartialEq, Eq, Debug, derive_more::Display)]
pub enum Change {
    /// It was written.
    #[display("wrote {}", _0.display())]
    Wrote(PathBuf),
    /// It was removed.
    #[display("removed {}", _0.display())]
    Removed(PathBuf),
    /// This program was copied.
    #[display("copied this program to {}", _0.display())]
    Copied(PathBuf),
    /// Nothing: browsers will start the program where a build has put it.
    #[display("warning: {} is in a build folder: `cargo clean` breaks this installation", _0.display())]
    InBuildFolder(PathBuf),
    /// Nothing: this, in the extensions' manifest, has no effect.
    #[display("warning: {_0}")]
    Warned(String),
}

impl Browser {
    /// Every one.
    const ALL: [Browser; 5] = [
        Browser::Chrome,
        Browser::Chromium,
        Browser::Edge,
        Browser::Brave,
        Browser::Firefox,
    ];

    /// The folder below the user's home in which it looks for host manifests.
    fn folder(self) -> &'static str {
        if cfg!(target_os = "macos") {
            match self {
                Browser::Chrome => "Library/Application Support/Google/Chrome/NativeMessagingHosts",
                Browser::Chromium => "Library/Application Support/Chromium/NativeMessagingHosts",
                Browser::Edge => "Library/Application Support/Microsoft Edge/NativeMessagingHosts",
                Browser::Brave => {
                    "Library/Application Support/BraveSoftware/Brave-Browser/NativeMessagingHosts"
                }
                Browser::Firefox => "Library/Application Support/Mozilla/NativeMessagingHosts",
            }
        } else {
            match self {
                Browser::Chrome => ".config/google-chrome/NativeMessagingHosts",
                Browser::Chromium => ".config/chromium/NativeMessagingHosts",
                Browser::Edge => ".config/microsoft-edge/NativeMessagingHosts",
                Browser::Brave => ".config/BraveSoftware/Brave-Browser/NativeMessagingHosts",
                Browser::Firefox => ".mozilla/native-messaging-hosts",
            }
        }
    }
}

/// One place where a browser looks.
struct Place {
    folder: PathBuf,
    is_firefox: bool,
    /// The name of the host.
    name: String,
}

impl Place {
    fn all(
        browsers: &[Browser],
        user_data_dir: Option<&Path>,
        name: Option<&str>,
    ) -> io::Result<Vec<Place>> {
        let name = name.unwrap_or(NAME);
        if !is_host_name(name) {
            return Err(bad(&format!(
                "{name:?} is no name of a host: browsers take a-z 0-9 _ and single dots between them"
            )));
        }
        let place = |folder, is_firefox| Place {
            folder,
            is_firefox,
            name: name.to_owned(),
        };
        if let Some(folder) = user_data_dir {
            let folder = std::path::absolute(folder)?.join("NativeMessagingHosts");
            return Ok(vec![place(folder, false)]);
        }
        let home = home()?;
        let browsers = match browsers {
            [] => Browser::ALL.as_slice(),
            browsers => browsers,
        };
        let of = |browser: &Browser| {
            let folder = home.join(browser.folder());
            place(folder, *browser == Browser::Firefox)
        };
        Ok(browsers.iter().map(of).collect())
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    /// What the browser reads.
    fn manifest(&self) -> PathBuf {
        self.file("json")
    }

    /// What it starts.
    fn script(&self) -> PathBuf {
        self.file("sh")
    }

    /// What each extension may do.
    fn permissions(&self) -> PathBuf {
        self.file("extensions")
    }

    fn key(&self) -> &'static str {
        match self.is_firefox {
            true => "allowed_extensions",
            false => "allowed_origins",
        }
    }

    /// How the browser's manifest names an extension.
    fn caller(&self, id: &str) -> String {
        match self.is_firefox {
            true => id.to_owned(),
            false => format!("chrome-extension://{id}/"),
        }
    }

    /// The extensions that are installed: as the browser names them, and what each may do.
    fn installed(&self) -> io::Result<(BTreeSet<String>, Installed)> {
        let Some(manifest) = read_json::<Value>(&self.manifest())? else {
            return Ok(Default::default());
        };
        let script = self.script();
        if manifest["path"].as_str().map(Path::new) != Some(&script) {
            return Err(bad(&format!(
                "{} is another program's: choose another --host-name, or remove that file first",
                self.manifest().display()
            )));
        }
        let callers = manifest[self.key()].as_array().into_iter().flatten();
        let callers = callers.filter_map(|caller| caller.as_str().map(str::to_owned));
        let permissions = read_json(&self.permissions())?.unwrap_or_default();
        Ok((callers.collect(), permissions))
    }

    fn write_manifest(&self, callers: &BTreeSet<String>) -> io::Result<Change> {
        let manifest = json!({
            "name": self.name,
            "description": "chrome.sockets outside Chrome Apps",
            "path": text(&self.script())?,
            "type": "stdio",
            self.key(): callers,
        });
        let path = self.manifest();
        replace(&path, format!("{manifest:#}\n").as_bytes(), 0o600)?;
        Ok(Change::Wrote(path))
    }

    fn write_permissions(&self, installed: &Installed) -> io::Result<Change> {
        let path = self.permissions();
        let written = serde_json::to_string_pretty(installed)?;
        replace(&path, format!("{written}\n").as_bytes(), 0o600)?;
        Ok(Change::Wrote(path))
    }
}

/// What each extension may do, as it is written beside the host manifest.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Installed {
    extensions: BTreeMap<String, Permitted>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Permitted {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<PathBuf>,
    #[serde(default)]
    dev: bool,
}

/// The policy of an extension, by the file that an installation has written.
///
/// # Errors
/// What the OS says of the file; `InvalidData` if it is none of those.
pub fn policy(installed: &Path, extension: &str) -> io::Result<Policy> {
    let mut installed: Installed = read_json(installed)?.unwrap_or_default();
    let permitted = installed.extensions.remove(extension).unwrap_or_default();
    Ok(Policy {
        manifest: permitted.manifest,
        dev: permitted.dev,
        ..Policy::default()
    })
}

impl Install {
    /// Writes everything, and says what: each file as a whole or not at all.
    ///
    /// # Errors
    /// `InvalidInput` for an id that is none, for none that a browser knows, for
    /// a manifest that cannot be used, for a host of another program, and where there is no home; else what the OS
    /// says of a file.
    pub fn run(&self) -> io::Result<Vec<Change>> {
        let (chrome, firefox) = self.by_kind()?;
        let (permitted, warnings) = self.permitted()?;
        let places = Place::all(
            &self.browsers,
            self.user_data_dir.as_deref(),
            self.host_name.as_deref(),
        )?;
        let wanted = places.into_iter().filter_map(|place| {
            let ids = if place.is_firefox { &firefox } else { &chrome };
            (!ids.is_empty()).then_some((place, ids))
        });
        // All of them are looked at before one is changed.
        let wanted = wanted.map(|(place, ids)| {
            let (mut callers, mut installed) = place.installed()?;
            for id in ids {
                callers.insert(place.caller(id));
                let id = (*id).clone();
                installed.extensions.insert(id, permitted.clone());
            }
            Ok((place, callers, installed))
        });
        let wanted: Vec<_> = wanted.collect::<io::Result<_>>()?;
        let Some((first, ..)) = wanted.first() else {
            return Err(bad("none of these extensions is one of these browsers'"));
        };
        let mut changes: Vec<_> = warnings.into_iter().map(Change::Warned).collect();
        let program = self.program(first, &mut changes)?;
        for (place, callers, installed) in &wanted {
            fs::create_dir_all(&place.folder)?;
            let script = place.script();
            let line = script_of(&program, &place.permissions())?;
            changes.push(place.write_permissions(installed)?);
            replace(&script, line.as_bytes(), 0o700)?;
            changes.push(Change::Wrote(script));
            // Only now the browser can find it.
            changes.push(place.write_manifest(callers)?);
        }
        Ok(changes)
    }

    /// The ids of Chrome's and of Firefox's extensions.
    fn by_kind(&self) -> io::Result<(Vec<&String>, Vec<&String>)> {
        let (mut chrome, mut firefox) = (Vec::new(), Vec::new());
        for id in &self.extensions {
            match Kind::of(id)? {
                Kind::Chrome => chrome.push(id),
                Kind::Firefox => firefox.push(id),
            }
        }
        Ok((chrome, firefox))
    }

    /// What the extensions may do, if that can be used.
    fn permitted(&self) -> io::Result<(Permitted, Vec<String>)> {
        let policy = Policy {
            manifest: self.manifest.clone(),
            ..Policy::default()
        };
        let warnings = policy.check()?;
        let manifest = self.manifest.as_ref().map(fs::canonicalize).transpose()?;
        if let Some(manifest) = &manifest {
            text(manifest)?;
        }
        let permitted = Permitted {
            manifest,
            dev: self.dev,
        };
        Ok((permitted, warnings))
    }

    /// The program that browsers start: this one, or a copy.
    fn program(&self, place: &Place, changes: &mut Vec<Change>) -> io::Result<PathBuf> {
        let program = env::current_exe()?;
        let is_built = program::is_in_build_folder(&program);
        let folder = match (&self.copy_to, &self.user_data_dir) {
            (Some(folder), _) => std::path::absolute(folder)?,
            (None, _) if !is_built => return Ok(program),
            (None, Some(_)) => place.folder.clone(),
            (None, None) => program::default_folder()?,
        };
        fs::create_dir_all(&folder)?;
        if program::is_in(&program, &folder)? {
            changes.extend(is_built.then(|| Change::InBuildFolder(program.clone())));
            return Ok(program);
        }
        let copy = folder.join(program::FILE);
        text(&copy)?;
        program::copy(&program, &copy)?;
        changes.push(Change::Copied(copy.clone()));
        Ok(copy)
    }
}

/// What a browser starts: the program, with what is permitted to its callers.
fn script_of(program: &Path, permissions: &Path) -> io::Result<String> {
    Ok(format!(
        "#!/bin/sh\n# Written by `chrome-sockets install`.\nexec {} native-host --installed {} -- \"$@\"\n",
        quoted(text(program)?),
        quoted(text(permissions)?)
    ))
}

impl Uninstall {
    /// Removes what installations have written, and says what.
    ///
    /// # Errors
    /// `InvalidInput` for an id that is none and where there is no home; else what the OS says of a
    /// file.
    pub fn run(&self) -> io::Result<Vec<Change>> {
        for id in &self.extensions {
            Kind::of(id)?;
        }
        let mut changes = Vec::new();
        let user_data_dir = self.user_data_dir.as_deref();
        for place in Place::all(&self.browsers, user_data_dir, self.host_name.as_deref())? {
            let has_left = self.extensions.is_empty() || self.leave(&place, &mut changes)?;
            if !has_left {
                continue;
            }
            for path in [place.manifest(), place.script(), place.permissions()] {
                changes.extend(remove(path)?);
            }
        }
        if changes.is_empty() {
            return Ok(changes);
        }
        let everywhere = Place::all(&[], user_data_dir, None)?;
        let (copy, folder) = match (user_data_dir, everywhere.first()) {
            (Some(_), Some(place)) => (place.folder.join(program::FILE), None),
            _ => {
                let folder = program::default_folder()?;
                (folder.join(program::FILE), Some(folder))
            }
        };
        let folders = everywhere.iter().map(|place| place.folder.as_path());
        if !program::is_started_from(folders, &quoted(text(&copy)?))? {
            changes.extend(remove(copy)?);
            if let Some(folder) = folder {
                // It may not be there, or have something else in it.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(changes)
    }

    /// Takes the extensions out of one place; whether none is left there.
    fn leave(&self, place: &Place, changes: &mut Vec<Change>) -> io::Result<bool> {
        let (mut callers, mut installed) = place.installed()?;
        let mut is_changed = false;
        for id in &self.extensions {
            is_changed |= callers.remove(&place.caller(id));
            installed.extensions.remove(id);
        }
        if !is_changed {
            return Ok(false);
        }
        if callers.is_empty() {
            return Ok(true);
        }
        // The browser is the first to know.
        changes.push(place.write_manifest(&callers)?);
        changes.push(place.write_permissions(&installed)?);
        Ok(false)
    }
}

fn remove(path: PathBuf) -> io::Result<Option<Change>> {
    match fs::remove_file(&path) {
        Ok(()) => Ok(Some(Change::Removed(path))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whose extension an id is of.
enum Kind {
    Chrome,
    Firefox,
}

impl Kind {
    fn of(id: &str) -> io::Result<Self> {
        if id.len() == 32 && id.bytes().all(|c| (b'a'..=b'p').contains(&c)) {
            Ok(Kind::Chrome)
        } else if is_firefox(id) {
            Ok(Kind::Firefox)
        } else {
            Err(bad(&format!(
                "{id:?} is no extension's id: Chrome's have 32 letters from a to p, \
                 Firefox's are written name@domain or {{uuid}}"
            )))
        }
    }
}

/// As Chrome and Firefox have it.
fn is_host_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        !part.is_empty() && part.bytes().all(is_known)
    };
    name.len() <= 128 && name.split('.').all(is_part)
}

/// Where the user's files are.
fn home() -> io::Result<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let home = home.filter(|home| home.is_absolute());
    home.ok_or_else(|| bad("HOME does not say where your files are"))
}

/// A file that an installation has written, if it is there.
fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let named = |error: &dyn std::fmt::Display, kind| {
        io::Error::new(kind, format!("{}: {error}", path.display()))
    };
    match manifests::read(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| named(&error, ErrorKind::InvalidData)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(&error, error.kind())),
    }
}

/// Firefox's: what it takes itself, which is also what the protocol takes.
fn is_firefox(id: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "._-@{}".contains(c);
    let is_uuid = id.starts_with('{') && id.ends_with('}');
    let is_name = id
        .split_once('@')
        .is_some_and(|(_, domain)| !domain.is_empty());
    id.len() <= 80 && !id.starts_with('.') && (is_uuid || is_name) && id.chars().all(is_known)
}

/// Writes a file so that no browser sees half of it.
fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_by(path, mode, |file| file.write_all(content))
}

fn replace_by(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let mut name = OsString::from(path);
    name.push(format!(".{}", process::id()));
    let new = PathBuf::from(name);
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&new)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        fill(&mut file)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    let written = write();
    if written.is_err() {
        // Nothing of it stays; the error is the one above.
        let _ = fs::remove_file(&new);
    }
    written
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str()
        .ok_or_else(|| bad(&format!("{} is not UTF-8", path.display())))
}

/// A word of a shell's command line, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what)
}
