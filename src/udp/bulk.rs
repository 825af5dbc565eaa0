//! What the registry asks of many sockets at once.

use std::sync::Arc;

use actix::prelude::*;

use crate::ids::AppId;
use crate::net_error::NetError;
use crate::udp::SocketInfo;
use crate::udp::actor::SocketTable;
use crate::udp::binding::state::SocketState;
use crate::udp::shards::AppShard;

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

/// Closes every socket and stops the actor.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<GetInfos> for SocketTable {
    type Result = MessageResult<GetInfos>;

    fn handle(&mut self, GetInfos(app): GetInfos, _: &mut Self::Context) -> Self::Result {
        // The answer shows the effect of earlier calls.
        self.flush_calls();
        let states = self.entries.iter().map(|(_, state)| state);
        let states = states.filter(|state| *state.socket.app() == app);
        MessageResult(states.map(SocketState::info).collect())
    }
}

impl Handler<ListenersChanged> for SocketTable {
    type Result = ();

    fn handle(&mut self, ListenersChanged(app): ListenersChanged, _: &mut Self::Context) {
        for (_, state) in &self.entries {
            if *state.socket.app() == app {
                state.socket.make_ready();
            }
        }
    }
}

impl Handler<CloseSockets> for SocketTable {
    type Result = ();

    fn handle(&mut self, CloseSockets { app_shard, all }: CloseSockets, _: &mut Self::Context) {
        // Earlier calls may create sockets, or make them persistent.
        self.flush_calls();
        let states = self.entries.iter().map(|(_, state)| state);
        let closing: Vec<_> = states
            .filter(|state| Arc::ptr_eq(state.socket.app_shard(), &app_shard))
            .filter(|state| all || !state.persistent)
            .map(|state| state.socket.clone())
            .collect();
        for socket in closing {
            socket.mark_closed();
            // The app's own `close` may be in the queue; it answers that there is no such socket
            // then.
            let _ = self.close(&socket);
        }
    }
}

impl Handler<Stop> for SocketTable {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // If the actor panics from here on, no other one takes its sockets over.
        self.recovery.has_ended = true;
        self.flush_calls();
        // No socket may be created behind this.
        self.command_queue.refuse_calls();
        for mut state in self.entries.drain() {
            state.unbind(NetError::CONNECTION_CLOSED);
        }
        ctx.stop();
    }
}
