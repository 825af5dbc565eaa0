//! What a drain ends at its deadline.

use std::sync::Arc;

use actix::prelude::*;

use crate::connections::ConnectionCounter;
use crate::net_error::NetError;
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::connection::Link;
use crate::tcp::connection::linger::Ended;
use crate::tcp::connection::state::{SocketState, Transfer};

/// Ends every connection that is one of those, sends on their way included.
/// One that stands still for a handover is left: its verdict comes.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Force(pub(crate) Arc<ConnectionCounter>);

/// Carries out what was called before.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct CatchUp;

impl SocketState {
    /// What is left of its connection, if it is ended: it counts no more.
    fn force(&mut self, counter: &Arc<ConnectionCounter>) -> Option<Ended> {
        let connection_guard = self.ends().and_then(|ends| ends.connection_guard.as_ref());
        let connection_guard =
            connection_guard.filter(|connection_guard| connection_guard.belongs_to(counter))?;
        if self.transfer == Transfer::Frozen {
            return None;
        }
        connection_guard.record_forced(self.socket.id());
        let mut ended = match &mut self.link {
            Link::Connected(connection) => {
                // An end that is known already is told as it is.
                let end = connection.end().unwrap_or(NetError::ABORTED);
                self.socket.make_ready();
                connection.give_up(end)
            }
            _ => self.end(NetError::ABORTED).and_then(Ended::cut_short),
        };
        if let Some(ended) = &mut ended {
            ended.connection_guard = None;
        }
        ended
    }
}

impl Handler<CatchUp> for SocketTable {
    type Result = ();

    fn handle(&mut self, _: CatchUp, _: &mut Self::Context) {
        self.catch_up();
    }
}

impl Handler<Force> for SocketTable {
    type Result = ();

    fn handle(&mut self, Force(counter): Force, _: &mut Self::Context) {
        // What was called before is done before.
        self.catch_up();
        let mut ended = Vec::new();
        self.entries.retain(|_, entry| match entry {
            Entry::Socket(row) => {
                let left = row.force(&counter);
                ended.extend(left.map(|left| (row.socket.clone(), left)));
                true
            }
            Entry::Lingering(lingering) => !lingering.force(&counter),
        });
        for (socket, left) in ended {
            self.linger(Some(left), &socket);
        }
    }
}
