//! The shards of an app, one per arbiter, and the choice of a shard for a new socket.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context as TaskContext, Poll};

use actix::prelude::*;
use futures::FutureExt;
use futures::future::join_all;
use parking_lot::RwLock;

use crate::app_activity::AppActivity;
use crate::connections::ConnectionCounter;
use crate::supervision::StableAddr;
use crate::tcp::actor::SocketTable;
use crate::tcp::bulk::CloseSockets;
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::connection::state::SocketState;
use crate::tcp::connection::{ConnectionMeta, Link};
use crate::tcp::shards::app_context::AppContext;
use crate::tcp::shards::id_table::IdTable;
use crate::tcp::shards::shard::AppShard;
use crate::telemetry::{ArbiterStats, Readings};

/// One arbiter's actor for client sockets; the shards of all apps there share it.
pub(crate) struct Shard {
    /// The position among the registry's shards.
    pub(crate) index: usize,
    /// Whether it has an arbiter of its own. Server sockets live in another one then.
    pub(crate) is_remote: bool,
    pub(crate) socket_table: Arc<StableAddr<SocketTable>>,
    pub(in crate::tcp) command_queue: Arc<CommandQueue>,
    pub(in crate::tcp) stats: Arc<ArbiterStats>,
    arbiter: RwLock<ArbiterHandle>,
    /// How many client sockets it has.
    pub(in crate::tcp) sockets: AtomicUsize,
}

impl Shard {
    pub(crate) fn new(
        index: usize,
        is_remote: bool,
        socket_table: Arc<StableAddr<SocketTable>>,
        command_queue: Arc<CommandQueue>,
        stats: Arc<ArbiterStats>,
        arbiter: ArbiterHandle,
    ) -> Self {
        stats.set_arbiter(arbiter.clone());
        Shard {
            index,
            is_remote,
            socket_table,
            command_queue,
            stats,
            arbiter: RwLock::new(arbiter),
            sockets: AtomicUsize::new(0),
        }
    }

    /// The current arbiter: a replacement, if the first one has ended.
    pub(crate) fn arbiter(&self) -> ArbiterHandle {
        self.arbiter.read().clone()
    }

    pub(crate) fn set_arbiter(&self, arbiter: ArbiterHandle) {
        self.stats.set_arbiter(arbiter.clone());
        *self.arbiter.write() = arbiter;
    }

    pub(crate) fn read_gauges(&self, readings: &mut Readings) {
        readings.add_client_sockets(self.index, self.sockets.load(SeqCst));
    }
}

impl SocketState {
    /// The socket now belongs to this shard. If the shard is in another thread, the connection
    /// registers with that thread's event loop, unless it was accepted there.
    pub(in crate::tcp) fn register_with_arbiter(&mut self) {
        if self.socket.app_shard().shard.is_remote
            && let Link::Connected(connection) = &mut self.link
            && connection.meta.pinned_shard().is_none()
        {
            connection.reregister();
        }
    }
}

/// What the sockets of one app share, and the app's shards.
pub(crate) struct AppShards {
    pub(crate) app_context: Arc<AppContext>,
    pub(crate) activity: Arc<AppActivity>,
    /// Counts the app's open connections.
    pub(crate) counter: Arc<ConnectionCounter>,
    all: Box<[Arc<AppShard>]>,
}

impl AppShards {
    pub(crate) fn new<'a>(
        app_context: Arc<AppContext>,
        activity: Arc<AppActivity>,
        shards: impl ExactSizeIterator<Item = &'a Arc<Shard>>,
        id_table: &Arc<IdTable>,
        counter: Arc<ConnectionCounter>,
    ) -> Self {
        let count = shards.len();
        let app_shard = |shard: &Arc<Shard>| {
            Arc::new(AppShard::new(
                app_context.clone(),
                activity.clone(),
                shard.clone(),
                id_table.clone(),
                counter.clone(),
                count,
            ))
        };
        AppShards {
            all: shards.map(app_shard).collect(),
            app_context,
            activity,
            counter,
        }
    }

    /// Whether sockets may live in other arbiters than their server sockets.
    pub(crate) fn is_remote(&self) -> bool {
        self.all.len() > 1
    }

    pub(crate) fn shards(&self) -> impl ExactSizeIterator<Item = &Arc<AppShard>> {
        self.all.iter()
    }

    /// The shard in which this connection was accepted, or the one with the fewest sockets.
    pub(crate) fn pick_shard(&self, meta: &ConnectionMeta) -> Arc<AppShard> {
        let pinned = meta.pinned_shard().and_then(|at| self.all.get(at));
        pinned.cloned().unwrap_or_else(|| self.least_loaded())
    }

    /// The shard with the fewest sockets.
    pub(crate) fn least_loaded(&self) -> Arc<AppShard> {
        let sockets = |app_shard: &&Arc<AppShard>| app_shard.shard.sockets.load(SeqCst);
        match &*self.all {
            // Without reading the counter, which other threads write.
            [one] => one.clone(),
            all => all.iter().min_by_key(sockets).unwrap_or(&all[0]).clone(),
        }
    }

    pub(crate) fn read_gauges(&self, readings: &mut Readings) {
        readings.add_send_queue(self.app_context.write_quota.unsent());
        for app_shard in self.shards() {
            readings.add_unhandled(app_shard.shard.index, app_shard.window.unhandled());
        }
    }

    /// How many of the app's client sockets were made by `create`.
    pub(crate) fn created(&self) -> usize {
        self.shards()
            .map(|app_shard| app_shard.created.load(SeqCst))
            .sum()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.shards().all(|app_shard| app_shard.window.is_quiet()) && self.activity.is_quiescent()
    }

    /// Ready when the app has handled every event.
    pub(crate) fn poll_quiet(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.activity.register_quiescence(cx);
        match self.is_quiet() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Sends a message to every shard at once. Completes when each has answered or ended.
    pub(crate) fn ask<M>(&self, message: &M) -> impl Future<Output = Vec<M::Result>> + use<M>
    where
        SocketTable: Handler<M>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
    {
        let asked = self
            .shards()
            .map(|app_shard| app_shard.socket_table.ask(message.clone()));
        join_all(asked.collect::<Vec<_>>()).map(|answers| answers.into_iter().flatten().collect())
    }

    /// Closes the app's sockets: all, or those that its suspension closes.
    pub(crate) fn close(&self, all: bool) -> impl Future<Output = ()> + use<> {
        let closed = self.shards().cloned().map(|app_shard| {
            let socket_table = app_shard.socket_table.clone();
            socket_table.ask(CloseSockets { app_shard, all })
        });
        join_all(closed.collect::<Vec<_>>()).map(drop)
    }
}
