//! Who may come in, and what they may do.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::access::admin_key::is_same;
use crate::access::manifests;
use crate::excerpt::repeated;
use crate::limits::{APP_ID, VERSION};
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame::Hello;
use chrome_sockets::AppId;
use chrome_sockets::manifest::{ManifestWarning, Permissions};

/// What the clients of a host may do, and how they show who they are.
///
/// By default there is no manifest, and so nobody may listen or connect.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// A manifest for whoever comes, or a folder with `APP.json` for each app:
    /// others do not come in then. It is read whenever a client comes.
    pub manifest: Option<PathBuf>,
    /// Whether a client may bring its own manifest, which goes before.
    pub dev: bool,
    /// What every client must show, with its handshake.
    pub token: Option<String>,
    /// The bytes that all apps together may have queued to send: 1 GiB, if it is not set. A send
    /// beyond fails with `Exceeded write quota.`; each client can always have 1 MiB queued.
    pub send_budget: Option<usize>,
}

/// What a transport knows of who comes.
#[derive(Clone, Default)]
pub(crate) struct PeerIdentity {
    /// Who it is, if the transport says so.
    pub(crate) app: Option<AppId>,
    /// The apps that its page may be: any, otherwise.
    pub(crate) apps: Option<Arc<[AppId]>>,
    /// Its address.
    pub(crate) peer: Option<IpAddr>,
    /// The page that it is, if it is one.
    pub(crate) origin: Option<Arc<str>>,
}

impl Policy {
    /// Reads every manifest that there is now and checks it, so that a mistake is
    /// found when the host starts and not when a client comes. It blocks, for a few
    /// seconds at most. It returns the warnings, up to 64, each with the path of its file: what
    /// in a manifest has no effect.
    ///
    /// # Errors
    /// `InvalidInput`, with a line for each file that cannot be used: its path and the
    /// place in its JSON.
    pub fn check(&self) -> io::Result<Vec<String>> {
        match &self.manifest {
            Some(path) => manifests::check(path),
            None => Ok(Vec::new()),
        }
    }

    /// Who comes, if it may.
    pub(crate) fn admit(
        &self,
        hello: &Hello<'_>,
        visitor: &PeerIdentity,
    ) -> Result<AppId, CloseReason> {
        if !hello.protocol.has(VERSION) {
            let what = format!("this host speaks version {VERSION} of the protocol alone");
            return Err(CloseReason::new(Code::Version, what));
        }
        let said = hello.app.as_ref().map(|app| &*app.0);
        let app = match (&visitor.app, said) {
            (Some(app), None) => app.clone(),
            (Some(app), Some(said)) if app.as_str() == said => app.clone(),
            (Some(app), Some(_)) => {
                let what = format!("the app of this extension is {app:?}, and no other");
                return Err(CloseReason::new(Code::UnknownApp, what));
            }
            (None, said) => app_id(said.unwrap_or_default())?,
        };
        if let Some(apps) = &visitor.apps
            && !apps.contains(&app)
        {
            let what = format!(
                "this page may not be the app {:?}",
                repeated(app.as_str()).to_string()
            );
            return Err(CloseReason::new(Code::Origin, what));
        }
        Ok(app)
    }

    /// The manifest that a client brings, if it may.
    pub(crate) fn brought<'a>(&self, hello: &Hello<'a>) -> Option<&'a str> {
        let manifest = hello.manifest.filter(|_| self.dev)?;
        Some(manifest.get())
    }

    /// Whether a client that shows this may come in.
    pub(crate) fn is_token(&self, shown: Option<&str>) -> bool {
        match &self.token {
            None => true,
            Some(token) => shown.is_some_and(|shown| is_same(token, shown)),
        }
    }
}

/// What a manifest permits an app, and what in it has no effect.
pub(crate) fn read(
    app: &AppId,
    manifest: &str,
) -> Result<(Permissions, Vec<ManifestWarning>), CloseReason> {
    Permissions::from_manifest_with_warnings(manifest).map_err(|error| bad(app, &error))
}

/// What a file, or the app's in a folder, permits. Its warnings were told when the host started.
pub(crate) fn read_file(path: &Path, app: &AppId) -> Result<Permissions, CloseReason> {
    let path = match path.is_dir() {
        true => path.join(format!("{app}.json")),
        false => path.to_owned(),
    };
    let text = match manifests::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!(
                "there is no manifest for the app {:?}",
                repeated(app.as_str()).to_string()
            );
            return Err(CloseReason::new(Code::UnknownApp, what));
        }
        Err(error) => return Err(bad(app, &error)),
    };
    let (permissions, _) = read(app, &text)?;
    Ok(permissions)
}

fn bad(app: &AppId, error: &dyn std::fmt::Display) -> CloseReason {
    CloseReason::new(Code::BadManifest, format!("app {app}: {error}"))
}

/// An app's id, which is also the name of its manifest's file.
fn app_id(said: &str) -> Result<AppId, CloseReason> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "._-@{}".contains(c);
    let is_one = !said.is_empty()
        && said.len() <= APP_ID
        && !said.starts_with('.')
        && said.chars().all(is_known);
    match is_one {
        true => Ok(said.into()),
        false => Err(CloseReason::new(
            Code::UnknownApp,
            "an app's id has 1 to 128 of A-Z a-z 0-9 . _ - @ { }, and no dot in front",
        )),
    }
}

#[cfg(test)]
mod tests;
