//! What the sockets of one app share in one arbiter: their actor, the app's listeners, permissions
//! and bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use crate::app_activity::AppActivity;
use crate::connections::ConnectionCounter;
use crate::events::Listeners;
use crate::supervision::StableAddr;
use crate::tcp::actor::SocketTable;
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::connection::linger::LingerList;
use crate::tcp::events::{ReceiveErrorInfo, ReceiveInfo, SendQueueInfo};
use crate::tcp::shards::app_context::AppContext;
use crate::tcp::shards::id_table::IdTable;
use crate::tcp::shards::placement::Shard;
use crate::tcp::shards::receive_windows::AppWindow;
use crate::tcp::shards::send_limits::SendLimits;
use crate::tcp::socket::ClientSocket;
use crate::telemetry::ArbiterStats;

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

pub(crate) struct AppShard {
    pub(crate) app_context: Arc<AppContext>,
    /// The app's listeners for sockets here.
    pub(crate) on_receive: Listeners<ReceiveInfo>,
    pub(crate) on_receive_error: Listeners<ReceiveErrorInfo>,
    pub(crate) on_send_queue: Listeners<SendQueueInfo>,
    pub(crate) activity: Arc<AppActivity>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) socket_table: Arc<StableAddr<SocketTable>>,
    pub(in crate::tcp) command_queue: Arc<CommandQueue>,
    /// What is counted here, of all apps.
    pub(in crate::tcp) stats: Arc<ArbiterStats>,
    pub(in crate::tcp) id_table: Arc<IdTable>,
    /// Counts the app's open connections.
    pub(crate) counter: Arc<ConnectionCounter>,
    /// Closed connections that still deliver what was sent.
    pub(in crate::tcp) lingering: LingerList,
    /// How many of the app's sockets here were made by `create`.
    pub(in crate::tcp) created: AtomicUsize,
    /// Whether the app calls its sockets here by id, through the registry.
    is_called_by_id: AtomicBool,
    /// Of the sockets here.
    pub(in crate::tcp) send_limits: SendLimits,
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
            on_send_queue: Listeners::default(),
            activity,
            socket_table: shard.socket_table.clone(),
            command_queue: shard.command_queue.clone(),
            stats: shard.stats.clone(),
            shard,
            id_table,
            counter,
            lingering: LingerList::for_shards(app_shards),
            created: AtomicUsize::new(0),
            is_called_by_id: AtomicBool::new(false),
            send_limits: SendLimits::default(),
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

    /// Wakes the actor of the sockets here, for calls that were queued without waking it.
    pub(crate) fn wake_actor(&self) {
        self.command_queue.queue.wake_actor();
    }

    #[inline]
    pub(in crate::tcp) fn acquire(&self, bytes: usize) {
        self.activity.mark_active();
        self.window.acquire(bytes);
    }

    /// As [`AppWindow::acquire_copy`].
    pub(in crate::tcp) fn acquire_copy(&self, bytes: usize) {
        self.activity.mark_active();
        self.window.acquire_copy(bytes);
    }

    #[inline]
    pub(in crate::tcp) fn release(&self, bytes: usize) {
        if self.window.release(bytes) {
            self.activity.mark_active();
            self.activity.wake_quiescence();
        }
    }
}

/// The arbiters that got connections in one turn of an accept loop, and have to be woken behind
/// the listeners of `onAccept`. So what a listener calls is in the queue with its connection: one
/// turn carries out both, if it has the same thread. Another thread is woken once for all
/// connections of the turn.
///
/// Dropping it wakes them too. A turn that panics is followed by another one, or by the drop.
#[derive(Default)]
pub(crate) struct AdoptingShards(Vec<Arc<AppShard>>);

impl AdoptingShards {
    pub(crate) fn add(&mut self, app_shard: &Arc<AppShard>) {
        self.0.push(app_shard.clone());
    }

    pub(crate) fn wake(&mut self) {
        for app_shard in self.0.drain(..) {
            app_shard.wake_actor();
        }
    }
}

impl Drop for AdoptingShards {
    fn drop(&mut self) {
        self.wake();
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
}
