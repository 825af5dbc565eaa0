//! What the registry asks of many client sockets at once.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::time::timeout;

use crate::connections::ConnectionCounter;
use crate::ids::AppId;
use crate::net_error::NetError;
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::shards::shard::AppShard;
use crate::tcp::{SHUTDOWN_TIMEOUT, SocketInfo};

/// All of an app's sockets here.
#[derive(Clone, Message)]
#[rtype(result = "Vec<SocketInfo>")]
pub(crate) struct GetInfos(pub(crate) AppId);

/// An app has a new listener: what waited for one can go on.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ListenersChanged(pub(crate) AppId);

/// Closes sockets of an app: all, or those that its suspension ends.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct CloseSockets {
    pub(crate) app_shard: Arc<AppShard>,
    pub(crate) all: bool,
}

/// Waits until the peers of connections that have ended have what was sent, but
/// no longer than this.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Deliver(pub(crate) Duration);

/// Closes every socket and ends the actor, when the peers have what was sent, or
/// after [`SHUTDOWN_TIMEOUT`].
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<GetInfos> for SocketTable {
    type Result = MessageResult<GetInfos>;

    fn handle(&mut self, GetInfos(app): GetInfos, _: &mut Self::Context) -> Self::Result {
        // What was called before shows.
        self.catch_up();
        let rows = self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Socket(row) if *row.socket.app() == app => Some(row.info()),
            _ => None,
        });
        MessageResult(rows.collect())
    }
}

impl Handler<ListenersChanged> for SocketTable {
    type Result = ();

    fn handle(&mut self, ListenersChanged(app): ListenersChanged, _: &mut Self::Context) {
        for (_, entry) in &self.entries {
            if let Entry::Socket(row) = entry
                && *row.socket.app() == app
            {
                row.socket.make_ready();
            }
        }
    }
}

impl Handler<CloseSockets> for SocketTable {
    type Result = ();

    fn handle(&mut self, CloseSockets { app_shard, all }: CloseSockets, _: &mut Self::Context) {
        // What was called before is done before.
        self.catch_up();
        let ending: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(_, entry)| match entry {
                Entry::Socket(row) if Arc::ptr_eq(row.socket.app_shard(), &app_shard) => Some(row),
                _ => None,
            })
            .filter(|row| all || row.ends_by_suspension())
            .map(|row| row.socket.clone())
            .collect();
        for socket in ending {
            if socket.mark_closed() {
                socket.app_shard().table.remove(socket.id());
            }
            // One whose own `close` has come by now is closed by this.
            let _ = self.close(&socket);
        }
    }
}

impl Handler<Stop> for SocketTable {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Stop, _: &mut Self::Context) -> Self::Result {
        // Whatever happens now, it ends.
        self.fall.ended = true;
        self.catch_up();
        self.command_queue.queue.refuse_calls();
        let sockets = self.entries.iter().filter_map(|(slot, entry)| match entry {
            Entry::Socket(_) => Some(slot),
            Entry::Lingering(_) => None,
        });
        for slot in sockets.collect::<Vec<_>>() {
            if let Some(Entry::Socket(mut row)) = self.entries.try_remove(slot) {
                let ended = row.disconnect();
                self.linger(ended, &row.socket);
            }
        }
        let delivered = delivered(self.lingering.all(), SHUTDOWN_TIMEOUT);
        Box::pin(delivered.into_actor(self).map(|(), rows, ctx| {
            rows.give_up_lingering(NetError::ABORTED);
            ctx.stop();
        }))
    }
}

/// Waits until the peers of all these have what was sent, but no longer than
/// this.
async fn delivered(lingering: Arc<ConnectionCounter>, limit: Duration) {
    let _ = timeout(limit, lingering.wait_until_none()).await;
}

impl Handler<Deliver> for SocketTable {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Deliver(limit): Deliver, _: &mut Self::Context) -> Self::Result {
        self.catch_up();
        Box::pin(delivered(self.lingering.until_now(), limit))
    }
}
