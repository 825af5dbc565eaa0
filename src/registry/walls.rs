//! Where no app may connect to: ports of the process's own.

use std::net::SocketAddr;

use actix::prelude::*;

use super::Registry;

/// No app may connect to this address from now on, whatever its permissions are.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wall(pub(crate) SocketAddr);

impl Handler<Wall> for Registry {
    type Result = ();

    fn handle(&mut self, Wall(address): Wall, _: &mut Self::Context) {
        self.walls.add(address);
    }
}
