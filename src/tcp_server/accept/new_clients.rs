//! Makes the client sockets of accepted connections.

use std::sync::Arc;

use crate::address::Address;
use crate::ids::ClientSocketId;
use crate::tcp::{AdoptingShards, AppShards, ClientSocket, Command, IdTable};
use crate::tcp_server::accept::setup_tasks::AcceptedStream;
use crate::tcp_server::events::{AcceptsInFlight, Ends, PendingAccept};

/// What the clients of one server socket are made with.
pub(in crate::tcp_server) struct NewClients<'a> {
    pub(in crate::tcp_server) app_shards: &'a AppShards,
    pub(in crate::tcp_server) table: &'a IdTable,
    pub(in crate::tcp_server) accepts_in_flight: &'a Arc<AcceptsInFlight>,
    /// Whether the server socket may encrypt connections.
    pub(in crate::tcp_server) may_encrypt: bool,
    pub(in crate::tcp_server) adopting: &'a mut AdoptingShards,
}

impl NewClients<'_> {
    /// Makes the client socket of a connection. No listener has heard of it yet.
    /// `local` is the connection's local address; if it is not known, the OS is asked.
    pub(in crate::tcp_server) fn create(
        self,
        id: ClientSocketId,
        accepted: AcceptedStream,
        local: Option<Address>,
    ) -> Arc<PendingAccept> {
        let AcceptedStream {
            stream,
            meta,
            proxy,
        } = accepted;
        meta.set_socket(id);
        let client = ClientSocket::new(id, self.app_shards.pick_shard(&meta));
        let peer = meta.peer().clone();
        let ends = Ends::of(&*stream, peer, local, self.may_encrypt, proxy);
        let in_flight = self.accepts_in_flight.clone();
        let pending_accept = PendingAccept::new(client.clone(), ends, in_flight);
        // Adopted before its id is in the table, so that every call finds it.
        let adopt = Command::Adopt(stream, meta, pending_accept.clone());
        if client.do_send_unwoken(adopt) {
            self.adopting.add(client.app_shard());
        }
        self.table.insert(client);
        pending_accept
    }
}
