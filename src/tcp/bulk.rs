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
use crate::tcp::stream::end::StreamEnd;
use crate::tcp::{SHUTDOWN_TIMEOUT, SocketInfo};

/// Returns the information of all sockets of an app here.
#[derive(Clone, Message)]
#[rtype(result = "Vec<SocketInfo>")]
pub(crate) struct GetInfos(pub(crate) AppId);

/// An app has a new listener: sockets that waited for one go on.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ListenersChanged(pub(crate) AppId);

/// Closes sockets of an app: all, or those that its suspension closes.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct CloseSockets {
    pub(crate) app_shard: Arc<AppShard>,
    pub(crate) all: bool,
}

/// Waits until the peers of the connections that are closed by now have acknowledged everything,
/// but no longer than this.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct AwaitDelivery(pub(crate) Duration);

/// Closes every socket and stops the actor when the peers have acknowledged everything, or after
/// [`SHUTDOWN_TIMEOUT`].
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<GetInfos> for SocketTable {
    type Result = MessageResult<GetInfos>;

    fn handle(&mut self, GetInfos(app): GetInfos, _: &mut Self::Context) -> Self::Result {
        // The answer shows the effect of earlier calls.
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
        // Earlier calls may create sockets, or make them persistent.
        self.flush_calls();
        let end = match all {
            true => StreamEnd::Closed,
            false => StreamEnd::Suspended,
        };
        // A suspended app has no listeners, and so its sockets raise nothing when they are closed.
        // When it is loaded again, it adds the listeners that it wants.
        for state in self.states_mut() {
            if Arc::ptr_eq(state.socket.app_shard(), &app_shard) {
                match all || state.closes_on_suspend() {
                    true => state.end_stream(end),
                    false => state.detach_stream(end),
                }
                state.set_own_listeners(None);
            }
        }
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
            // The app's own `close` may be in the queue; it answers that there is no such socket
            // then.
            let _ = self.close(&socket);
        }
    }
}

impl Handler<Stop> for SocketTable {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Stop, _: &mut Self::Context) -> Self::Result {
        // If the actor panics from here on, no other one takes its sockets over.
        self.recovery.has_ended = true;
        self.flush_calls();
        // No socket may be created behind this.
        self.command_queue.queue.refuse_calls();
        let slots = self.states().map(|state| state.socket.slot() as usize);
        for slot in slots.collect::<Vec<_>>() {
            if let Some(Entry::Socket(mut state)) = self.entries.try_remove(slot) {
                let closed = state.disconnect(NetError::ABORTED);
                self.linger(closed, &state.socket);
            }
        }
        let delivered = await_delivery(self.lingering.all.clone(), SHUTDOWN_TIMEOUT);
        Box::pin(delivered.into_actor(self).map(|(), table, ctx| {
            table.abort_all_lingering(NetError::ABORTED);
            ctx.stop();
        }))
    }
}

/// Waits until the peers of all these connections have acknowledged everything, but no longer than
/// `limit`.
async fn await_delivery(lingering: Arc<ConnectionCounter>, limit: Duration) {
    let _ = timeout(limit, lingering.wait_until_none()).await;
}

impl Handler<AwaitDelivery> for SocketTable {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, wait: AwaitDelivery, _: &mut Self::Context) -> Self::Result {
        self.flush_calls();
        Box::pin(await_delivery(self.lingering.take_current(), wait.0))
    }
}
