//! What the registry asks of many client sockets at once.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::time::timeout;

use crate::connections::ConnectionCounter;
use crate::ids::AppId;
use crate::net_error::NetError;
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::connection::state::SocketState;
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
pub(crate) struct AwaitDelivery(pub(crate) Duration);

/// Closes every socket and ends the actor, when the peers have what was sent, or
/// after [`SHUTDOWN_TIMEOUT`].
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<GetInfos> for SocketTable {
    type Result = MessageResult<GetInfos>;

    fn handle(&mut self, GetInfos(app): GetInfos, _: &mut Self::Context) -> Self::Result {
        // What was called before shows.
        self.flush_calls();
        let states = self.states().filter(|state| *state.socket.app() == app);
        MessageResult(states.map(SocketState::info).collect())
    }
}

impl Handler<ListenersChanged> for SocketTable {
    type Result = ();

    fn handle(&mut self, ListenersChanged(app): ListenersChanged, _: &mut Self::Context) {
        for state in self.states().filter(|state| *state.socket.app() == app) {
            state.socket.make_ready();
        }
    }
}

impl Handler<CloseSockets> for SocketTable {
    type Result = ();

    fn handle(&mut self, CloseSockets { app_shard, all }: CloseSockets, _: &mut Self::Context) {
        // What was called before is done before.
        self.flush_calls();
        let closing: Vec<_> = self
            .states()
            .filter(|state| Arc::ptr_eq(state.socket.app_shard(), &app_shard))
            .filter(|state| all || state.closes_on_suspend())
            .map(|state| state.socket.clone())
            .collect();
        for socket in closing {
            if socket.mark_closed() {
                socket.app_shard().id_table.remove(socket.id());
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
        self.recovery.has_ended = true;
        self.flush_calls();
        self.command_queue.queue.refuse_calls();
        let slots = self.states().map(|state| state.socket.slot() as usize);
        for slot in slots.collect::<Vec<_>>() {
            if let Some(Entry::Socket(mut state)) = self.entries.try_remove(slot) {
                let ended = state.disconnect(NetError::ABORTED);
                self.linger(ended, &state.socket);
            }
        }
        let delivered = await_delivery(self.lingering.all.clone(), SHUTDOWN_TIMEOUT);
        Box::pin(delivered.into_actor(self).map(|(), table, ctx| {
            table.abort_all_lingering(NetError::ABORTED);
            ctx.stop();
        }))
    }
}

/// Waits until the peers of all these have what was sent, but no longer than
/// this.
async fn await_delivery(lingering: Arc<ConnectionCounter>, limit: Duration) {
    let _ = timeout(limit, lingering.wait_until_none()).await;
}

impl Handler<AwaitDelivery> for SocketTable {
    type Result = ResponseFuture<()>;

    fn handle(
        &mut self,
        AwaitDelivery(limit): AwaitDelivery,
        _: &mut Self::Context,
    ) -> Self::Result {
        self.flush_calls();
        Box::pin(await_delivery(self.lingering.take_current(), limit))
    }
}
