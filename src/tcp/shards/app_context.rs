//! What the sockets of one app share in all arbiters: permissions, name look-ups, the write quota.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::ids::AppId;
use crate::manifest::Permissions;
use crate::tcp::shards::name_lookups::Lookups;
use crate::tcp::shards::write_quota::WriteQuota;

/// What the sockets of one app share in all arbiters.
pub(crate) struct AppContext {
    pub(crate) app: AppId,
    permissions: RwLock<Arc<Permissions>>,
    pub(crate) write_quota: WriteQuota,
    /// Those of the registry.
    pub(crate) lookups: Arc<Lookups>,
}

impl AppContext {
    pub(crate) fn new(
        app: AppId,
        write_quota: WriteQuota,
        permissions: Arc<Permissions>,
        lookups: Arc<Lookups>,
    ) -> Self {
        AppContext {
            app,
            permissions: RwLock::new(permissions),
            write_quota,
            lookups,
        }
    }

    /// The app's current permissions.
    pub(crate) fn permissions(&self) -> Arc<Permissions> {
        self.permissions.read().clone()
    }

    /// Whether the app's current permissions pass the check, which must not be long: without a
    /// reference of its own.
    pub(crate) fn permits(&self, check: impl FnOnce(&Permissions) -> bool) -> bool {
        check(&self.permissions.read())
    }

    pub(crate) fn set_permissions(&self, permissions: Permissions) {
        let mut current = self.permissions.write();
        *current = Arc::new(permissions);
    }
}
