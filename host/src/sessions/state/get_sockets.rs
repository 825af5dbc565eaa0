//! Answers `getSockets` in parts, to bound the memory of a long list.

use actix::prelude::*;
use futures::future::join_all;
use futures::{FutureExt, TryFutureExt};
use serde_json::Value;

use crate::protocol::call::Kind;
use crate::protocol::outcome::{Outcome, server_info, tcp_info, udp_info};
use crate::sessions::event_sink::EventSink;
use crate::sessions::state::SessionState;
use crate::sessions::stats::Namespace;

/// A `getSockets` call. Each part is made when the client has read those before.
pub(super) struct Listing {
    call: u64,
    namespace: Namespace,
    /// The sockets that are not listed yet; `None` until the creates before are answered.
    rest: Option<std::vec::IntoIter<u64>>,
    is_part_pending: bool,
}

impl Listing {
    pub(super) fn new(call: u64, namespace: Namespace) -> Self {
        Listing {
            call,
            namespace,
            rest: None,
            is_part_pending: false,
        }
    }
}

impl SessionState {
    /// Whether to make the next part now.
    pub(super) fn may_list(&self) -> bool {
        let listing = self.listing.as_ref();
        listing.is_some_and(|it| self.can_continue(it)) && self.outbox.has_room()
    }

    /// A list includes the sockets of the creates before it, so it waits for those.
    fn can_continue(&self, listing: &Listing) -> bool {
        !listing.is_part_pending && (listing.rest.is_some() || self.pending_creates.is_none())
    }

    /// Makes parts of the list while there is room for them.
    pub(super) fn continue_listing(&mut self, sink: &Addr<EventSink>) {
        while self.may_list()
            && let Some(mut listing) = self.listing.take()
        {
            let socket_stats = self.context.socket_stats.borrow();
            let namespace = listing.namespace;
            let rest = listing
                .rest
                .get_or_insert_with(|| socket_stats.ids(namespace).into_iter());
            let count = socket_stats.part_length(namespace, rest.as_slice());
            let ids: Vec<u64> = rest.take(count).collect();
            drop(socket_stats);
            let app = self.context.app.clone();
            let part = async move {
                let ids = ids.into_iter();
                let infos = match namespace {
                    Namespace::Server => {
                        let info = |id: u64| app.tcp_server.get_info(id.into());
                        join_all(ids.map(|id| info(id).map_ok(server_info))).await
                    }
                    Namespace::Client => {
                        let info = |id: u64| app.tcp.get_info(id.into());
                        join_all(ids.map(|id| info(id).map_ok(tcp_info))).await
                    }
                    Namespace::Udp => {
                        let info = |id: u64| app.udp.get_info(id.into());
                        join_all(ids.map(|id| info(id).map_ok(udp_info))).await
                    }
                };
                // A socket that was closed meanwhile has no info.
                Outcome {
                    values: infos.into_iter().flatten().collect(),
                    ..Outcome::default()
                }
            };
            listing.is_part_pending = true;
            let call = listing.call;
            self.listing = Some(listing);
            self.track(call, Kind::ListPart, part.boxed_local(), sink);
        }
    }

    /// Sends a part: the last one is the answer.
    pub(super) fn send_list_part(&mut self, id: u64, part: Outcome) {
        let Some(mut listing) = self.listing.take() else {
            return;
        };
        listing.is_part_pending = false;
        let is_last = listing.rest.as_ref().is_none_or(|rest| rest.len() == 0);
        let is_empty = part.values.is_empty();
        let infos = Value::Array(part.values);
        if is_last {
            self.call_count -= 1;
            self.answer(id, Outcome::value(infos));
            return;
        }
        self.listing = Some(listing);
        if !is_empty {
            self.outbox.push(&format!(r#"["part",{id},{infos}]"#));
            self.charge_messages();
        }
    }
}
