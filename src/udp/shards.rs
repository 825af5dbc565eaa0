//! What the sockets of one app share in one arbiter, in which arbiter a socket lives, and the ids.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use futures::FutureExt;
use futures::future::join_all;
use parking_lot::Mutex;

use crate::app_activity::AppActivity;
use crate::events::Listeners;
use crate::ids::{AppId, IdAllocator, IdMap, UdpSocketId};
use crate::supervision::{StableAddr, ask_all};
use crate::tcp::{AppContext, AppWindow, WINDOW};
use crate::telemetry::{ArbiterStats, Readings};
use crate::udp::actor::SocketTable;
use crate::udp::bulk::{CloseSockets, ListenersChanged};
use crate::udp::command::CommandQueue;
use crate::udp::events::{ReceiveErrorInfo, ReceiveInfo};
use crate::udp::socket::Socket;

/// The most unhandled bytes of one app; beyond it none of its sockets is read. Each arbiter has an
/// equal part, but not less than the second value.
const UNHANDLED_LIMIT: usize = 64 * WINDOW;
const MIN_WINDOW_LIMIT: usize = 4 * WINDOW;

/// One arbiter's actor for these sockets.
pub(crate) struct Shard {
    pub(crate) socket_table: Arc<StableAddr<SocketTable>>,
    pub(in crate::udp) command_queue: Arc<CommandQueue>,
    /// Whether it has an arbiter of its own. The registry lives in another one then.
    pub(in crate::udp) is_remote: bool,
    /// What is counted in this arbiter.
    pub(in crate::udp) stats: Arc<ArbiterStats>,
    /// How many sockets it has.
    sockets: AtomicUsize,
}

impl Shard {
    pub(crate) fn new(
        is_remote: bool,
        socket_table: Arc<StableAddr<SocketTable>>,
        command_queue: Arc<CommandQueue>,
        stats: Arc<ArbiterStats>,
    ) -> Self {
        Shard {
            socket_table,
            command_queue,
            is_remote,
            stats,
            sockets: AtomicUsize::new(0),
        }
    }
}

/// What the sockets of one app share in one arbiter.
pub(crate) struct AppShard {
    pub(crate) app_context: Arc<AppContext>,
    pub(crate) on_receive: Listeners<ReceiveInfo>,
    pub(crate) on_receive_error: Listeners<ReceiveErrorInfo>,
    pub(crate) activity: Arc<AppActivity>,
    pub(crate) shard: Arc<Shard>,
    pub(in crate::udp) id_table: Arc<IdTable>,
    /// The bytes that its listeners have not handled here.
    pub(in crate::udp) window: AppWindow<Socket>,
    /// How many of the app's sockets are here.
    sockets: AtomicUsize,
}

/// The shards of one app.
pub(crate) struct AppShards(Box<[Arc<AppShard>]>);

impl AppShards {
    pub(crate) fn new<'a>(
        app_context: &Arc<AppContext>,
        activity: &Arc<AppActivity>,
        shards: impl ExactSizeIterator<Item = &'a Arc<Shard>>,
        id_table: &Arc<IdTable>,
    ) -> Self {
        let limit = (UNHANDLED_LIMIT / shards.len().max(1)).max(MIN_WINDOW_LIMIT);
        let app_shard = |shard: &Arc<Shard>| {
            Arc::new(AppShard {
                app_context: app_context.clone(),
                on_receive: Listeners::default(),
                on_receive_error: Listeners::default(),
                activity: activity.clone(),
                shard: shard.clone(),
                id_table: id_table.clone(),
                window: AppWindow::new(limit),
                sockets: AtomicUsize::new(0),
            })
        };
        AppShards(shards.map(app_shard).collect())
    }

    pub(crate) fn shards(&self) -> impl ExactSizeIterator<Item = &Arc<AppShard>> {
        self.0.iter()
    }

    /// The shard whose arbiter has the fewest sockets.
    pub(crate) fn least_loaded(&self) -> Arc<AppShard> {
        let sockets = |app_shard: &&Arc<AppShard>| app_shard.shard.sockets.load(SeqCst);
        let all = self.0.iter();
        all.min_by_key(sockets).unwrap_or(&self.0[0]).clone()
    }

    pub(crate) fn read_gauges(&self, readings: &mut Readings) {
        readings.add_udp_sockets(self.len());
    }

    /// How many sockets the app has.
    pub(crate) fn len(&self) -> usize {
        let shards = self.0.iter();
        shards.map(|it| it.sockets.load(SeqCst)).sum()
    }

    fn tables(&self) -> Vec<Arc<StableAddr<SocketTable>>> {
        let shards = self.0.iter();
        shards.map(|it| it.shard.socket_table.clone()).collect()
    }

    /// Has all sockets check whether they may raise events; complete when each of them has.
    pub(crate) fn recheck_events(&self, app: &AppId) -> impl Future<Output = ()> + use<> {
        ask_all(&self.tables(), &ListenersChanged(app.clone())).map(drop)
    }

    /// Closes the app's sockets: all, or those that its suspension closes.
    pub(crate) fn close(&self, all: bool) -> impl Future<Output = ()> + use<> {
        let closed = self.shards().cloned().map(|app_shard| {
            let socket_table = app_shard.shard.socket_table.clone();
            socket_table.ask(CloseSockets { app_shard, all })
        });
        join_all(closed.collect::<Vec<_>>()).map(drop)
    }
}

/// The sockets of one registry, by id.
#[derive(Default)]
pub(crate) struct IdTable {
    ids: IdAllocator,
    sockets: Mutex<IdMap<UdpSocketId, Socket>>,
}

impl IdTable {
    pub(crate) fn allocate(&self) -> UdpSocketId {
        UdpSocketId::new(self.ids.allocate())
    }

    pub(crate) fn ids(&self) -> &IdAllocator {
        &self.ids
    }

    pub(crate) fn len(&self) -> usize {
        self.sockets.lock().len()
    }

    pub(crate) fn has(&self, id: UdpSocketId) -> bool {
        self.sockets.lock().contains_key(&id)
    }

    pub(crate) fn insert(&self, socket: Socket) {
        let app_shard = socket.app_shard().clone();
        app_shard.sockets.fetch_add(1, SeqCst);
        app_shard.shard.sockets.fetch_add(1, SeqCst);
        self.sockets.lock().insert(socket.id(), socket);
    }

    /// The socket, if it belongs to `app`.
    pub(crate) fn get(&self, app: &AppId, id: UdpSocketId) -> Option<Socket> {
        let sockets = self.sockets.lock();
        let socket = sockets.get(&id)?;
        (socket.app() == app).then(|| socket.clone())
    }

    pub(crate) fn remove(&self, id: UdpSocketId) {
        let removed = self.sockets.lock().remove(&id);
        if let Some(socket) = removed {
            let app_shard = socket.app_shard();
            app_shard.sockets.fetch_sub(1, SeqCst);
            app_shard.shard.sockets.fetch_sub(1, SeqCst);
        }
    }

    pub(crate) fn clear(&self) {
        let sockets = std::mem::take(&mut *self.sockets.lock());
        drop(sockets);
    }
}
