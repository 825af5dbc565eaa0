//! Replaces the settings of a running host.

use std::rc::Rc;

use chrome_sockets::{AppId, Permissions};

use crate::access::policy;
use crate::protocol::close_reason::Code;
use crate::sessions::directory::SessionDirectory;
use crate::settings::Settings;

impl SessionDirectory {
    /// Replaces the settings. Clients stay: those that connect from now on get the new limits, and
    /// all apps get the permissions of their manifests as they are now.
    pub(crate) async fn reload(&self, settings: Settings) {
        let limits = settings.limits;
        self.0.slots.set_max(limits.clients);
        self.0.memory.set_limits(&limits);
        self.0.send_budget.set_limits(&limits);
        self.0.settings.replace(Rc::new(settings));
        let apps: Vec<AppId> = self.0.apps.borrow().keys().cloned().collect();
        for app in apps {
            self.reload_permissions(&app).await;
        }
    }

    /// Reads the manifest of an app again. Its sockets stay: permissions are checked by `listen`
    /// and `connect`.
    pub(super) async fn reload_permissions(&self, app: &AppId) {
        let policy = self.settings().policy.clone();
        let has_client_manifest = {
            let mut apps = self.0.apps.borrow_mut();
            let Some(entry) = apps.get_mut(app) else {
                return;
            };
            entry.has_client_manifest &= policy.dev;
            entry.has_client_manifest
        };
        if has_client_manifest {
            return;
        }
        let permissions = match policy.manifest {
            None => Permissions::none(),
            Some(path) => {
                let id = app.clone();
                let read = self.0.files.run(move || policy::read_manifest(&path, &id));
                match read.await {
                    Ok(Ok(permissions)) => permissions,
                    Ok(Err(reason)) if reason.code == Code::UnknownApp => {
                        log::warn!("app {app}: it has no manifest any more, so it may do nothing");
                        Permissions::none()
                    }
                    Ok(Err(reason)) => {
                        log::error!("{}; its permissions stay", reason.message);
                        return;
                    }
                    Err(error) => {
                        log::error!("app {app}: its manifest file: {error}; its permissions stay");
                        return;
                    }
                }
            }
        };
        // An error means that the registry has ended, and the app with it.
        let _ = self.app(app).set_permissions(permissions).await;
    }
}
