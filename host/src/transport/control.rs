//! A running gateway as its owner sees it: its numbers, and its settings.

use std::time::Duration;

use crate::access::peers::Peers;
use crate::sessions::directory::SessionDirectory;
use crate::sessions::stats::{Counters, Namespace};
use crate::settings::Settings;

/// A handle to a gateway, also while it runs.
#[derive(Clone)]
pub struct Control {
    pub(super) directory: SessionDirectory,
    /// The open connections.
    pub(super) connections: Peers,
    pub(super) rejections: Peers,
    pub(super) lingering: Peers,
    /// Those that owe their PROXY header.
    pub(super) headers: Peers,
}

/// The numbers of a gateway that go up and down, and the totals of its apps.
pub(crate) struct Snapshot {
    pub(crate) uptime: Duration,
    pub(crate) connections: usize,
    pub(crate) rejections: usize,
    pub(crate) lingering: usize,
    pub(crate) clients: usize,
    /// Apps with a client.
    pub(crate) connected_apps: usize,
    /// Apps with sockets, but without a client.
    pub(crate) suspended_apps: usize,
    pub(crate) server_sockets: usize,
    pub(crate) client_sockets: usize,
    pub(crate) udp_sockets: usize,
    pub(crate) app_counters: Counters,
    pub(crate) memory: usize,
    pub(crate) send_queue: usize,
}

impl Control {
    /// Replaces the settings. Connections stay; each new client gets the new settings. The
    /// permissions of the connected apps are read again, and apply to what they do from then on.
    pub async fn reload(&self, settings: Settings) {
        let limits = settings.limits;
        self.connections.set_max(limits.connections);
        self.lingering.set_max(limits.connections);
        self.headers.set_max(limits.connections);
        self.directory.reload(settings).await;
    }

    pub(crate) fn directory(&self) -> &SessionDirectory {
        &self.directory
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let directory = &self.directory;
        let mut snapshot = Snapshot {
            uptime: directory.uptime(),
            connections: self.connections.count(),
            rejections: self.rejections.count(),
            lingering: self.lingering.count(),
            clients: directory.client_count(),
            connected_apps: 0,
            suspended_apps: 0,
            server_sockets: 0,
            client_sockets: 0,
            udp_sockets: 0,
            app_counters: directory.removed_counters(),
            memory: directory.memory().used(),
            send_queue: directory.send_budget().used(),
        };
        for (app, stats) in directory.apps() {
            match directory.is_connected(&app) {
                true => snapshot.connected_apps += 1,
                false => snapshot.suspended_apps += 1,
            }
            let stats = stats.borrow();
            snapshot.server_sockets += stats.count(Namespace::Server);
            snapshot.client_sockets += stats.count(Namespace::Client);
            snapshot.udp_sockets += stats.count(Namespace::Udp);
            snapshot.app_counters = Counters::sum([snapshot.app_counters, stats.totals()]);
        }
        snapshot
    }
}
