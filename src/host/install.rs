//! Telling browsers of the native host: the manifest that each looks for, and
//! the script that it starts.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, process};

use clap::ValueEnum;
use serde_json::{Value, json};

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

/// What is to be installed: a host manifest for each browser, and beside it the
/// script that it names.
#[derive(Clone, Debug, Default)]
pub struct Install {
    /// The ids of the extensions that may start the host: Chrome's 32 letters, or
    /// Firefox's `name@domain` or `{uuid}`. Each browser is told of its own kind.
    pub extensions: Vec<String>,
    /// [`Policy::manifest`](super::Policy::manifest) of the host that they start.
    pub manifest: Option<PathBuf>,
    /// [`Policy::dev`](super::Policy::dev) of it.
    pub dev: bool,
    /// Which browsers; all, if there are none.
    pub browsers: Vec<Browser>,
    /// The browser that runs with this `--user-data-dir`, instead of those.
    pub user_data_dir: Option<PathBuf>,
}

/// What is to be removed again.
#[derive(Clone, Debug, Default)]
pub struct Uninstall {
    /// As [`Install::browsers`].
    pub browsers: Vec<Browser>,
    /// As [`Install::user_data_dir`].
    pub user_data_dir: Option<PathBuf>,
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
}

impl Place {
    fn all(browsers: &[Browser], user_data_dir: Option<&Path>) -> io::Result<Vec<Place>> {
        if let Some(folder) = user_data_dir {
            let folder = std::path::absolute(folder)?.join("NativeMessagingHosts");
            let is_firefox = false;
            return Ok(vec![Place { folder, is_firefox }]);
        }
        let home = env::var_os("HOME").filter(|home| Path::new(home).is_absolute());
        let home = home.ok_or_else(|| bad("HOME does not say where your files are"))?;
        let browsers = match browsers {
            [] => Browser::ALL.as_slice(),
            browsers => browsers,
        };
        let place = |browser: &Browser| Place {
            folder: Path::new(&home).join(browser.folder()),
            is_firefox: *browser == Browser::Firefox,
        };
        Ok(browsers.iter().map(place).collect())
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join(format!("{NAME}.json"))
    }

    fn script(&self) -> PathBuf {
        self.folder.join(format!("{NAME}.sh"))
    }
}

impl Install {
    /// Writes everything, and says what: each file as a whole or not at all. What was
    /// installed there before is replaced.
    ///
    /// # Errors
    /// `InvalidInput` for an id that is none, for none that a browser knows, for
    /// a manifest that cannot be used, and where there is no home; else what the OS says of a file.
    pub fn run(&self) -> io::Result<Vec<PathBuf>> {
        let (chrome, firefox) = self.extensions()?;
        let script = self.script()?;
        let mut wrote = Vec::new();
        for place in Place::all(&self.browsers, self.user_data_dir.as_deref())? {
            let (key, extensions) = match place.is_firefox {
                true => ("allowed_extensions", &firefox),
                false => ("allowed_origins", &chrome),
            };
            if extensions.is_empty() {
                continue;
            }
            fs::create_dir_all(&place.folder)?;
            let manifest = json!({
                "name": NAME,
                "description": "chrome.sockets outside Chrome Apps",
                "path": text(&place.script())?,
                "type": "stdio",
                key: extensions,
            });
            replace(&place.script(), script.as_bytes(), 0o700)?;
            replace(
                &place.manifest(),
                format!("{manifest:#}\n").as_bytes(),
                0o600,
            )?;
            wrote.extend([place.manifest(), place.script()]);
        }
        if wrote.is_empty() {
            return Err(bad("none of these extensions is one of these browsers'"));
        }
        Ok(wrote)
    }

    /// The ids as Chrome's and as Firefox's manifests have them.
    fn extensions(&self) -> io::Result<(Vec<Value>, Vec<Value>)> {
        let (mut chrome, mut firefox) = (Vec::new(), Vec::new());
        for id in &self.extensions {
            if id.len() == 32 && id.bytes().all(|c| (b'a'..=b'p').contains(&c)) {
                chrome.push(format!("chrome-extension://{id}/").into());
            } else if is_firefox(id) {
                firefox.push(id.as_str().into());
            } else {
                return Err(bad(&format!(
                    "{id:?} is no extension's id: Chrome's have 32 letters from a to p, \
                     Firefox's are written name@domain or {{uuid}}"
                )));
            }
        }
        Ok((chrome, firefox))
    }

    /// What the browser starts: this program, with the permissions that were
    /// given now.
    fn script(&self) -> io::Result<String> {
        let program = env::current_exe()?;
        let mut script = format!(
            "#!/bin/sh\n# Written by `chrome-sockets install`.\nexec {} native-host",
            quoted(text(&program)?)
        );
        if self.dev {
            script.push_str(" --dev");
        }
        if let Some(manifest) = &self.manifest {
            let manifest = fs::canonicalize(manifest).map_err(|error| {
                let what = format!("{}: {error}", manifest.display());
                io::Error::new(error.kind(), what)
            })?;
            script.push_str(&format!(" --manifest {}", quoted(text(&manifest)?)));
        }
        script.push_str(" -- \"$@\"\n");
        Ok(script)
    }
}

impl Uninstall {
    /// Removes what an installation has written, and says what.
    ///
    /// # Errors
    /// `InvalidInput` where there is no home; else what the OS says of a file.
    pub fn run(&self) -> io::Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        for place in Place::all(&self.browsers, self.user_data_dir.as_deref())? {
            for path in [place.manifest(), place.script()] {
                match fs::remove_file(&path) {
                    Ok(()) => removed.push(path),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(removed)
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
        file.write_all(content)?;
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
