//! What a drain ends at its deadline.

use std::sync::Arc;

use actix::prelude::*;

use super::actor::{Entry, Rows};
use super::row::{Hold, Link, Row};
use crate::guests::Guests;
use crate::net_error::NetError;

/// Ends every connection that is one of those, sends on their way included.
/// One that stands still for a handover is left: its verdict comes.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Force(pub(crate) Arc<Guests>);

/// Carries out what was called before.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct CatchUp;

impl Row {
    fn force(&mut self, guests: &Arc<Guests>) {
        let guest = self.ends().and_then(|ends| ends.guest.as_ref());
        let Some(guest) = guest.filter(|guest| guest.is_of(guests)) else {
            return;
        };
        if self.hold == Hold::Taken {
            return;
        }
        guest.force(self.socket.id());
        match &mut self.link {
            Link::Connected(connection) if connection.end.is_none() => {
                connection.give_up(NetError::ABORTED);
                self.socket.make_ready();
            }
            // Its end is known, and told as it is.
            Link::Connected(connection) => {
                let end = connection.end.unwrap_or(NetError::ABORTED);
                connection.give_up(end);
                self.socket.make_ready();
            }
            _ => drop(self.end(NetError::ABORTED)),
        }
    }
}

impl Handler<CatchUp> for Rows {
    type Result = ();

    fn handle(&mut self, _: CatchUp, _: &mut Self::Context) {
        self.catch_up();
    }
}

impl Handler<Force> for Rows {
    type Result = ();

    fn handle(&mut self, Force(guests): Force, _: &mut Self::Context) {
        // What was called before is done before.
        self.catch_up();
        self.entries.retain(|_, entry| match entry {
            Entry::Socket(row) => {
                row.force(&guests);
                true
            }
            Entry::Drain(drain) => !drain.force(&guests),
        });
    }
}
