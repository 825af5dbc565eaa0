//! Lists of sockets, in parts: no more of one is in memory than the client takes.

use actix::prelude::*;
use futures::FutureExt;

use crate::protocol::call::Kind;
use crate::protocol::outcome;
use crate::protocol::outcome::{Outcome, server_info, tcp_info};
use crate::sessions::event_sink::EventSink;
use crate::sessions::state::State;
use crate::sessions::stats::Namespace;

/// A list that is answered in parts, each of which is made when there is room for it.
pub(super) struct Listing {
    call: u64,
    namespace: Namespace,
    /// Those that are still to be listed; `None`: it waits for sockets that are being made.
    left: Option<std::vec::IntoIter<u64>>,
    /// A part is being made.
    is_busy: bool,
}

impl Listing {
    pub(super) fn new(call: u64, namespace: Namespace) -> Self {
        Listing {
            call,
            namespace,
            left: None,
            is_busy: false,
        }
    }
}

impl State {
    /// Whether the next part of a list may be made.
    pub(super) fn may_list(&self) -> bool {
        let listing = self.listing.as_ref();
        let is_next = listing.is_some_and(|it| !it.is_busy && self.is_made(it));
        is_next && self.outbox.has_room()
    }

    /// Whether the sockets are made that a list has.
    fn is_made(&self, listing: &Listing) -> bool {
        listing.left.is_some() || (self.creating.servers == 0 && self.creating.clients == 0)
    }

    /// Goes on with the list that was asked for, if there is one, while there is room.
    pub(super) fn list(&mut self, ear: &Addr<EventSink>) {
        while self.outbox.has_room()
            && let Some(mut listing) = self.listing.take()
        {
            if listing.is_busy || !self.is_made(&listing) {
                self.listing = Some(listing);
                return;
            }
            let socket_stats = self.socket_stats.borrow();
            let namespace = listing.namespace;
            let left = listing
                .left
                .get_or_insert_with(|| socket_stats.ids(namespace).into_iter());
            let count = socket_stats.part(namespace, left.as_slice());
            let ids: Vec<u64> = left.take(count).collect();
            drop(socket_stats);
            let app = self.app.clone();
            let part = async move {
                let ids = ids.into_iter();
                match namespace {
                    Namespace::Server => {
                        let info = |id: u64| app.tcp_server.get_info(id.into());
                        outcome::part(ids.map(|id| info(id).map(|info| info.map(server_info))))
                            .await
                    }
                    Namespace::Client => {
                        let info = |id: u64| app.tcp.get_info(id.into());
                        outcome::part(ids.map(|id| info(id).map(|info| info.map(tcp_info)))).await
                    }
                }
            };
            listing.is_busy = true;
            let call = listing.call;
            self.listing = Some(listing);
            self.wait_for(call, Kind::Part, part.boxed_local(), ear);
        }
    }

    /// Tells a part of the list.
    pub(super) fn listed(&mut self, id: u64, mut part: Outcome) {
        let Some(mut listing) = self.listing.take() else {
            return;
        };
        listing.is_busy = false;
        let is_last = listing.left.as_ref().is_none_or(|left| left.len() == 0);
        if is_last {
            self.others -= 1;
            self.tell(id, part);
            return;
        }
        self.listing = Some(listing);
        let infos = part.values.pop().unwrap_or_default();
        if infos.as_array().is_some_and(|infos| !infos.is_empty()) {
            self.outbox.push(&format!(r#"["part",{id},{infos}]"#));
            self.count_messages();
        }
    }
}
