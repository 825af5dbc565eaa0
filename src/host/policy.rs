//! Who may come in, and what they may do.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::end::{Code, End};
use super::excerpt::repeated;
use super::frame::Hello;
use super::key::is_same;
use super::limits::{APP_ID, VERSION};
use crate::ids::AppId;
use crate::manifest::{MAX_MANIFEST, Permissions};

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
pub(super) struct Visitor {
    /// Who it is, if the transport says so.
    pub(super) app: Option<AppId>,
    /// The apps that its page may be: any, otherwise.
    pub(super) apps: Option<Arc<[AppId]>>,
    /// Its address.
    pub(super) peer: Option<IpAddr>,
    /// The page that it is, if it is one.
    pub(super) origin: Option<Arc<str>>,
}

impl Policy {
    /// Who comes, and what it may do.
    pub(super) fn admit(
        &self,
        hello: &Hello<'_>,
        visitor: &Visitor,
    ) -> Result<(AppId, Permissions), End> {
        if !hello.protocol.has(VERSION) {
            let what = format!("this host speaks version {VERSION} of the protocol alone");
            return Err(End::new(Code::Version, what));
        }
        let said = hello.app.as_ref().map(|app| &*app.0);
        let app = match (&visitor.app, said) {
            (Some(app), None) => app.clone(),
            (Some(app), Some(said)) if app.as_str() == said => app.clone(),
            (Some(app), Some(_)) => {
                let what = format!("the app of this extension is {app:?}, and no other");
                return Err(End::new(Code::UnknownApp, what));
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
            return Err(End::new(Code::Origin, what));
        }
        let permissions = self.permissions(&app, hello)?;
        Ok((app, permissions))
    }

    fn permissions(&self, app: &AppId, hello: &Hello<'_>) -> Result<Permissions, End> {
        let bad = |error: &dyn std::fmt::Display| {
            End::new(Code::BadManifest, format!("app {app}: {error}"))
        };
        if self.dev
            && let Some(manifest) = &hello.manifest
        {
            return Permissions::from_manifest(manifest.get()).map_err(|error| bad(&error));
        }
        let Some(path) = &self.manifest else {
            return Ok(Permissions::none());
        };
        let path = match path.is_dir() {
            true => path.join(format!("{app}.json")),
            false => path.clone(),
        };
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!(
                    "there is no manifest for the app {:?}",
                    repeated(app.as_str()).to_string()
                );
                return Err(End::new(Code::UnknownApp, what));
            }
            Err(error) => return Err(bad(&error)),
        };
        Permissions::from_manifest(&text).map_err(|error| bad(&error))
    }

    /// Whether a client that shows this may come in.
    pub(super) fn is_token(&self, shown: Option<&str>) -> bool {
        match &self.token {
            None => true,
            Some(token) => shown.is_some_and(|shown| is_same(token, shown)),
        }
    }
}

/// Reads no more than a manifest can be, whatever the file is.
fn read(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    let most = MAX_MANIFEST as u64 + 1;
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// An app's id, which is also the name of its manifest's file.
fn app_id(said: &str) -> Result<AppId, End> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "._-@{}".contains(c);
    let is_one = !said.is_empty()
        && said.len() <= APP_ID
        && !said.starts_with('.')
        && said.chars().all(is_known);
    match is_one {
        true => Ok(said.into()),
        false => Err(End::new(
            Code::UnknownApp,
            "an app's id has 1 to 128 of A-Z a-z 0-9 . _ - @ { }, and no dot in front",
        )),
    }
}

#[cfg(test)]
mod tests;
