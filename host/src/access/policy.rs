//! Which app a client is, and what it may do.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrome_sockets::AppId;
use chrome_sockets::manifest::{ManifestWarning, Permissions};

use crate::access::manifests;
use crate::access::secrets::secrets_match;
use crate::excerpt::for_answer;
use crate::limits::{APP_ID, VERSION};
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame::Hello;

/// What the clients of a host may do, and how they authenticate.
///
/// The default has no manifest, so clients may neither listen nor connect.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// A manifest for all clients, or a folder with `APP.json` for each app. With a folder,
    /// apps without a file are rejected. The host reads it again for each client.
    pub manifest: Option<PathBuf>,
    /// Whether a client may send its own manifest, which then replaces [`manifest`](Self::manifest).
    pub dev: bool,
    /// The token that every client must show with its handshake.
    pub token: Option<String>,
}

/// What the transport knows about a client.
#[derive(Clone, Default)]
pub(crate) struct PeerIdentity {
    /// The app, if the transport determines it.
    pub(crate) app: Option<AppId>,
    /// The apps that its page may be; `None`: any.
    pub(crate) apps: Option<Arc<[AppId]>>,
    pub(crate) address: Option<IpAddr>,
    /// The origin of its page, if it is one.
    pub(crate) origin: Option<Arc<str>>,
}

impl Policy {
    /// Reads and checks every manifest, so that mistakes show when the host starts rather than
    /// when a client connects. Blocks for up to 5 seconds. Returns up to 64 warnings about
    /// entries without effect, each with the path of its file.
    ///
    /// # Errors
    /// `InvalidInput`, with a line for each invalid file: its path and the position in its JSON.
    pub fn check(&self) -> io::Result<Vec<String>> {
        match &self.manifest {
            Some(path) => manifests::check(path),
            None => Ok(Vec::new()),
        }
    }

    /// Checks that a gateway at this address is safe.
    ///
    /// # Errors
    /// `InvalidInput` if other machines can reach the address and there is no token.
    pub(crate) fn check_address(&self, address: SocketAddr) -> io::Result<()> {
        if address.ip().is_loopback() || self.token.is_some() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "other machines can reach this address: set a token, which clients must show",
        ))
    }

    /// The app that a client is.
    ///
    /// # Errors
    /// The versions do not match, or the client may not be this app.
    pub(crate) fn resolve_app(
        &self,
        hello: &Hello<'_>,
        peer: &PeerIdentity,
    ) -> Result<AppId, CloseReason> {
        if !hello.protocol.contains(VERSION) {
            let text = format!("this host supports only protocol version {VERSION}");
            return Err(CloseReason::new(Code::Version, text));
        }
        let requested = hello.app.as_ref().map(|app| &*app.0);
        let app = match (&peer.app, requested) {
            (Some(app), None) => app.clone(),
            (Some(app), Some(requested)) if app.as_str() == requested => app.clone(),
            (Some(app), Some(_)) => {
                let text = format!("this extension can only be the app {app:?}");
                return Err(CloseReason::new(Code::UnknownApp, text));
            }
            (None, requested) => parse_app_id(requested.unwrap_or_default())?,
        };
        if peer.apps.as_ref().is_some_and(|apps| !apps.contains(&app)) {
            let text = format!("this page may not be the app {}", quoted(&app));
            return Err(CloseReason::new(Code::Origin, text));
        }
        Ok(app)
    }

    /// The manifest that a client sent, if the policy accepts it.
    pub(crate) fn client_manifest<'a>(&self, hello: &Hello<'a>) -> Option<&'a str> {
        let manifest = hello.manifest.filter(|_| self.dev)?;
        Some(manifest.get())
    }

    pub(crate) fn accepts_token(&self, shown: Option<&str>) -> bool {
        let matches = |token| shown.is_some_and(|shown| secrets_match(token, shown));
        self.token.as_deref().is_none_or(matches)
    }
}

/// An app id for a message to its client.
pub(crate) fn quoted(app: &AppId) -> String {
    format!("{:?}", for_answer(app.as_str()).to_string())
}

/// What a manifest permits an app, and warnings about entries without effect.
pub(crate) fn parse_manifest(
    app: &AppId,
    manifest: &str,
) -> Result<(Permissions, Vec<ManifestWarning>), CloseReason> {
    Permissions::from_manifest_with_warnings(manifest).map_err(|error| bad_manifest(app, &error))
}

/// What the manifest file of an app permits: this file, or `APP.json` in this folder. The host
/// logged its warnings at the start.
pub(crate) fn read_manifest(path: &Path, app: &AppId) -> Result<Permissions, CloseReason> {
    let path = match path.is_dir() {
        true => path.join(format!("{app}.json")),
        false => path.to_owned(),
    };
    let text = manifests::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let text = format!("there is no manifest for the app {}", quoted(app));
            CloseReason::new(Code::UnknownApp, text)
        }
        _ => bad_manifest(app, &error),
    })?;
    let (permissions, _) = parse_manifest(app, &text)?;
    Ok(permissions)
}

fn bad_manifest(app: &AppId, error: &dyn Display) -> CloseReason {
    CloseReason::new(Code::BadManifest, format!("app {app}: {error}"))
}

/// Checks an app id. It is also the name of a file, so it must not form a path.
fn parse_app_id(id: &str) -> Result<AppId, CloseReason> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-@{}".contains(c);
    let is_valid =
        !id.is_empty() && id.len() <= APP_ID && !id.starts_with('.') && id.chars().all(is_allowed);
    match is_valid {
        true => Ok(id.into()),
        false => Err(CloseReason::new(
            Code::UnknownApp,
            "an app id has 1 to 128 of A-Z a-z 0-9 . _ - @ { }, and no leading dot",
        )),
    }
}

#[cfg(test)]
mod tests;
