//! What the registry asks of many client sockets at once.

use std::sync::Arc;

use actix::prelude::*;

use super::SocketInfo;
use super::actor::{Entry, Rows};
use super::lane::Lane;
use crate::ids::AppId;

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
    pub(crate) lane: Arc<Lane>,
    pub(crate) all: bool,
}

/// Closes every socket and ends the actor.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<GetInfos> for Rows {
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

impl Handler<ListenersChanged> for Rows {
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

impl Handler<CloseSockets> for Rows {
    type Result = ();

    fn handle(&mut self, CloseSockets { lane, all }: CloseSockets, _: &mut Self::Context) {
        // What was called before is done before.
        self.catch_up();
        let ending: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(_, entry)| match entry {
                Entry::Socket(row) if Arc::ptr_eq(row.socket.lane(), &lane) => Some(row),
                _ => None,
            })
            .filter(|row| all || row.ends_by_suspension())
            .map(|row| row.socket.clone())
            .collect();
        for socket in ending {
            if socket.mark_closed() {
                socket.lane().table.remove(socket.id());
            }
            // One whose own `close` has come by now is closed by this.
            let _ = self.close(&socket);
        }
    }
}

impl Handler<Stop> for Rows {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // Whatever happens now, it ends.
        self.fall.ended = true;
        ctx.stop();
        self.catch_up();
        for entry in self.entries.drain() {
            if let Entry::Socket(mut row) = entry {
                row.disconnect();
            }
        }
    }
}
