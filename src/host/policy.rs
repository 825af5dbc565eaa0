//! Who may come in, and what they may do.

use std::io;
use std::path::PathBuf;

use super::end::{Code, End};
use super::frame::Hello;
use super::key::is_same;
use super::limits::{APP_ID, VERSION};
use super::manifests;
use crate::ids::AppId;
use crate::manifest::Permissions;

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
    /// What a client shows that nothing else lets in.
    pub token: Option<String>,
}

/// What a transport knows of who comes.
#[derive(Clone, Debug, Default)]
pub(super) struct Visitor {
    /// Who it is, if the transport says so.
    pub(super) app: Option<AppId>,
    /// Whether it comes in without a token.
    pub(super) trusted: bool,
}

impl Policy {
    /// Reads every manifest that there is now and checks it, so that a mistake is
    /// found when the host starts and not when a client comes. It blocks, for a few
    /// seconds at most.
    ///
    /// # Errors
    /// `InvalidInput`, with a line for each file that cannot be used: its path and the
    /// place in its JSON.
    pub fn check(&self) -> io::Result<()> {
        match &self.manifest {
            Some(path) => manifests::check(path),
            None => Ok(()),
        }
    }

    /// Who comes, and what it may do.
    pub(super) fn admit(
        &self,
        hello: &Hello,
        visitor: &Visitor,
    ) -> Result<(AppId, Permissions), End> {
        if !hello.protocol.contains(&VERSION) {
            let what = format!("this host speaks version {VERSION} of the protocol alone");
            return Err(End::new(Code::Version, what));
        }
        if !visitor.trusted && !self.is_token(hello.token.as_deref()) {
            let what = "the token is missing, or is another one";
            return Err(End::new(Code::Forbidden, what));
        }
        let app = match (&visitor.app, &hello.app) {
            (Some(app), None) => app.clone(),
            (Some(app), Some(said)) if app.as_str() == said => app.clone(),
            (Some(app), Some(_)) => {
                let what = format!("the app of this extension is {app:?}, and no other");
                return Err(End::new(Code::UnknownApp, what));
            }
            (None, said) => app_id(said.as_deref().unwrap_or_default())?,
        };
        let permissions = self.permissions(&app, hello)?;
        Ok((app, permissions))
    }

    fn permissions(&self, app: &AppId, hello: &Hello) -> Result<Permissions, End> {
        let bad = |error: &dyn std::fmt::Display| {
            End::new(Code::BadManifest, format!("app {app}: {error}"))
        };
        if self.dev
            && let Some(manifest) = &hello.manifest
        {
            return Permissions::from_manifest(&manifest.to_string()).map_err(|error| bad(&error));
        }
        let Some(path) = &self.manifest else {
            return Ok(Permissions::none());
        };
        let path = match path.is_dir() {
            true => path.join(format!("{app}.json")),
            false => path.clone(),
        };
        let text = match manifests::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!("there is no manifest for the app {app:?}");
                return Err(End::new(Code::UnknownApp, what));
            }
            Err(error) => return Err(bad(&error)),
        };
        Permissions::from_manifest(&text).map_err(|error| bad(&error))
    }

    fn is_token(&self, shown: Option<&str>) -> bool {
        let pair = self.token.as_deref().zip(shown);
        pair.is_some_and(|(token, shown)| is_same(token, shown))
    }
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
