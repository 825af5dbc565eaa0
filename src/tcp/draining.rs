//! The deadline of a drain: connections are closed by force.

use std::sync::Arc;

use actix::prelude::*;

use crate::connections::ConnectionCounter;
use crate::net_error::NetError;
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::connection::Link;
use crate::tcp::connection::linger::Closing;
use crate::tcp::connection::state::{SocketState, Transfer};

/// Closes every connection that `counter` counts, with its unsent data. A connection that a
/// handover has frozen stays: the handover decides about it.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ForceClose(pub(crate) Arc<ConnectionCounter>);

/// Carries out the calls that were queued before.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct FlushCalls;

impl SocketState {
    /// Ends the socket's connection if `counter` counts it, which it does no more afterwards.
    /// Returns what has to be delivered.
    fn force_close(&mut self, counter: &Arc<ConnectionCounter>) -> Option<Closing> {
        let guard = self.meta()?.connection_guard.as_ref()?;
        if !guard.belongs_to(counter) || self.transfer == Transfer::Frozen {
            return None;
        }
        guard.record_forced(self.socket.id());
        let mut closed = match &mut self.link {
            Link::Connected(connection) => {
                // An end that is known already is reported as it is.
                let end = connection.end().unwrap_or(NetError::ABORTED);
                self.socket.make_ready();
                connection.terminate(end)
            }
            _ => self
                .disconnect(NetError::ABORTED)
                .and_then(Closing::reset_if_unsent),
        };
        if let Some(closed) = &mut closed {
            closed.connection_guard = None;
        }
        closed
    }
}

impl Handler<FlushCalls> for SocketTable {
    type Result = ();

    fn handle(&mut self, _: FlushCalls, _: &mut Self::Context) {
        self.flush_calls();
    }
}

impl Handler<ForceClose> for SocketTable {
    type Result = ();

    fn handle(&mut self, ForceClose(counter): ForceClose, _: &mut Self::Context) {
        // Earlier calls may close connections in an orderly way.
        self.flush_calls();
        let mut closed = Vec::new();
        self.entries.retain(|_, entry| match entry {
            Entry::Socket(state) => {
                let left = state.force_close(&counter);
                closed.extend(left.map(|left| (state.socket.clone(), left)));
                true
            }
            Entry::Lingering(lingering) => !lingering.force_close(&counter),
        });
        for (socket, left) in closed {
            self.linger(Some(left), &socket);
        }
    }
}
