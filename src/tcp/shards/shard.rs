//! What the sockets of one app share in one arbiter: their actor, the app's listeners, permissions
//! and bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use parking_lot::RwLock;

use crate::app_activity::AppActivity;
use crate::connections::ConnectionCounter;
use crate::error::Error;
use crate::events::Listeners;
use crate::ids::AppId;
use crate::manifest::Permissions;
use crate::supervision::StableAddr;
use crate::tcp::actor::SocketTable;
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::connection::linger::LingerList;
use crate::tcp::events::{ReceiveErrorInfo, ReceiveInfo};
use crate::tcp::shards::id_table::IdTable;
use crate::tcp::shards::name_lookups::Lookups;
use crate::tcp::shards::placement::Shard;
use crate::tcp::shards::receive_windows::AppWindow;
use crate::tcp::socket::ClientSocket;

/// The most unhandled bytes of one app; beyond it none of its sockets is read. 64 full windows:
/// enough that one slow socket never stops the others, and so little that ten thousand fast peers
/// cost megabytes. Each arbiter has an equal part, so that no arbiter has to ask another.
const UNHANDLED_LIMIT: usize = 64 * crate::tcp::WINDOW;

/// The smallest part of an arbiter. With more than 16 arbiters the parts exceed the whole.
const MIN_WINDOW_LIMIT: usize = 4 * crate::tcp::WINDOW;

/// The part of one of so many arbiters.
fn window_limit(app_shards: usize) -> usize {
    (UNHANDLED_LIMIT / app_shards.max(1)).max(MIN_WINDOW_LIMIT)
}

/// A send counts at least this many bytes, so that empty sends are bounded too.
const MIN_CHARGE: usize = 64;

/// What the sockets of one app share in all arbiters.
pub(crate) struct AppContext {
    pub(crate) app: AppId,
    permissions: RwLock<Arc<Permissions>>,
    bytes_in_flight: AtomicUsize,
    write_quota: usize,
    /// Those of the registry.
    pub(in crate::tcp) lookups: Arc<Lookups>,
}

impl AppContext {
    pub(crate) fn new(
        app: AppId,
        write_quota: usize,
        permissions: Arc<Permissions>,
        lookups: Arc<Lookups>,
    ) -> Self {
        AppContext {
            app,
            permissions: RwLock::new(permissions),
            bytes_in_flight: AtomicUsize::new(0),
            write_quota,
            lookups,
        }
    }

    /// The app's current permissions.
    pub(crate) fn permissions(&self) -> Arc<Permissions> {
        self.permissions.read().clone()
    }

    pub(crate) fn set_permissions(&self, permissions: Permissions) {
        let mut current = self.permissions.write();
        *current = Arc::new(permissions);
    }

    /// Charges a send to the quota. Returns the amount to refund.
    pub(in crate::tcp) fn charge(&self, bytes: usize) -> Result<usize, Error> {
        let charge = bytes.max(MIN_CHARGE);
        self.bytes_in_flight
            .fetch_update(SeqCst, SeqCst, |bytes_in_flight| {
                bytes_in_flight
                    .checked_add(charge)
                    .filter(|sum| *sum <= self.write_quota)
            })
            .map(|_| charge)
            .map_err(|_| Error::WriteQuotaExceeded)
    }

    /// Whether the quota has room for any send.
    pub(in crate::tcp) fn may_send(&self) -> Result<(), Error> {
        match self.bytes_in_flight.load(SeqCst) < self.write_quota {
            true => Ok(()),
            false => Err(Error::WriteQuotaExceeded),
        }
    }

    /// Charges bytes that were sent already, even beyond the quota. Returns the amount to refund.
    pub(in crate::tcp) fn charge_unchecked(&self, bytes: usize) -> usize {
        let charge = bytes.max(MIN_CHARGE);
        self.bytes_in_flight.fetch_add(charge, SeqCst);
        charge
    }

    /// Whether a send is in flight.
    pub(crate) fn is_sending(&self) -> bool {
        self.bytes_in_flight.load(SeqCst) > 0
    }

    pub(in crate::tcp) fn refund(&self, charge: usize) {
        self.bytes_in_flight.fetch_sub(charge, SeqCst);
    }
}

pub(crate) struct AppShard {
    pub(crate) app_context: Arc<AppContext>,
    /// The app's listeners for sockets here.
    pub(crate) on_receive: Listeners<ReceiveInfo>,
    pub(crate) on_receive_error: Listeners<ReceiveErrorInfo>,
    pub(crate) activity: Arc<AppActivity>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) socket_table: Arc<StableAddr<SocketTable>>,
    pub(in crate::tcp) command_queue: Arc<CommandQueue>,
    pub(in crate::tcp) id_table: Arc<IdTable>,
    /// Counts the app's open connections.
    pub(crate) counter: Arc<ConnectionCounter>,
    /// Closed connections that still deliver what was sent.
    pub(in crate::tcp) lingering: LingerList,
    /// How many of the app's sockets here were made by `create`.
    pub(in crate::tcp) created: AtomicUsize,
    /// Whether the app calls its sockets here by id, through the registry.
    is_called_by_id: AtomicBool,
    /// The bytes that its listeners have not handled here.
    pub(in crate::tcp) window: AppWindow<ClientSocket>,
}

impl AppShard {
    pub(crate) fn new(
        app_context: Arc<AppContext>,
        activity: Arc<AppActivity>,
        shard: Arc<Shard>,
        id_table: Arc<IdTable>,
        counter: Arc<ConnectionCounter>,
        app_shards: usize,
    ) -> Self {
        AppShard {
            app_context,
            on_receive: Listeners::default(),
            on_receive_error: Listeners::default(),
            activity,
            socket_table: shard.socket_table.clone(),
            command_queue: shard.command_queue.clone(),
            shard,
            id_table,
            counter,
            lingering: LingerList::for_shards(app_shards),
            created: AtomicUsize::new(0),
            is_called_by_id: AtomicBool::new(false),
            window: AppWindow::new(window_limit(app_shards)),
        }
    }

    /// The registry has received a call by id for a socket here.
    pub(crate) fn mark_called_by_id(&self) {
        // Reading is cheaper than writing for each call.
        if !self.is_called_by_id() {
            self.is_called_by_id.store(true, SeqCst);
        }
    }

    pub(in crate::tcp) fn is_called_by_id(&self) -> bool {
        self.is_called_by_id.load(SeqCst)
    }

    pub(in crate::tcp) fn acquire(&self, bytes: usize) {
        self.activity.mark_active();
        self.window.acquire(bytes);
    }

    pub(in crate::tcp) fn release(&self, bytes: usize) {
        if self.window.release(bytes) {
            self.activity.mark_active();
            self.activity.wake_quiescence();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_an_equal_part_and_room_for_four_windows_at_least() {
        const KIB: usize = 1024;
        let parts = [1, 2, 3, 16, 17, 1024].map(window_limit);
        let third = 4096 * KIB / 3;
        let least = 256 * KIB;
        assert_eq!(parts, [4096 * KIB, 2048 * KIB, third, least, least, least]);
    }

    #[test]
    fn the_quota_refuses_what_exceeds_it_until_bytes_are_refunded() {
        let app_context = AppContext::new(
            "a".into(),
            1000,
            Arc::new(Permissions::all()),
            Arc::default(),
        );
        assert_eq!(app_context.charge(600), Ok(600));
        assert_eq!(app_context.charge(401), Err(Error::WriteQuotaExceeded));
        assert_eq!(app_context.charge(400), Ok(400));
        assert_eq!(app_context.charge(0), Err(Error::WriteQuotaExceeded));
        app_context.refund(600);
        assert_eq!(app_context.charge(0), Ok(MIN_CHARGE));
        assert_eq!(
            app_context.charge(usize::MAX),
            Err(Error::WriteQuotaExceeded)
        );
    }
}
