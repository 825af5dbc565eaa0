//! `getInfo` of a server socket, with its counts and the reasons why it does not accept.

use std::sync::Arc;

use crate::address::Address;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::events::UNHANDLED_ACCEPTS;
use crate::tcp_server::{AcceptCounts, BlockReason, SocketInfo};

impl ServerSocket {
    /// Adds the gauges of the socket to the metrics. They stay until its last connection has ended.
    pub(super) fn add_gauges(&self) {
        let counter = Arc::downgrade(self.counter());
        let accepts_in_flight = Arc::downgrade(&self.accepts_in_flight);
        let stats = self.stats.clone();
        self.telemetry().add_source(move |readings| {
            let Some(counter) = counter.upgrade() else {
                return false;
            };
            let events = accepts_in_flight.upgrade().map_or(0, |it| it.count());
            readings.add_server(stats.index(), counter.open(), events);
            true
        });
    }

    pub(super) fn info(&self) -> SocketInfo {
        let bound = self.listener.as_ref();
        let address = bound.map(|bound| &bound.address);
        SocketInfo {
            socket_id: self.id,
            persistent: self.persistent,
            reuse_port: self.reuse_port,
            name: self.name.as_deref().map(str::to_owned),
            paused: self.is_paused(),
            local_address: address.and_then(Address::ip),
            local_port: address.and_then(Address::port),
            local: address.cloned(),
            blocked_by: self.blocked_by(),
            counts: self.counts(),
            backlog: bound.and_then(|bound| bound.listener.backlog()),
            accept_policy: self.errors.policy(),
            limits: self.admission.limits(),
            timeouts: self.accepts_in_flight.timeouts(),
            proxy_protocol: self.proxy.as_ref().and_then(|it| it.settings()).cloned(),
        }
    }

    fn blocked_by(&self) -> Vec<BlockReason> {
        let when = |holds: bool, reason| holds.then_some(reason);
        let (has_listener, _) = self.on_accept().liveness();
        let is_full = self.accepts_in_flight.count() >= UNHANDLED_ACCEPTS;
        let is_suspended = self.app_shards.activity.is_suspended();
        let own = [
            when(self.paused_by_app, BlockReason::App),
            self.errors.paused_by().map(BlockReason::AcceptError),
            self.errors.backing_off().map(BlockReason::BackingOff),
        ];
        let limits = self.admission.blocking_limits().into_iter();
        let limits = limits.map(BlockReason::Limit);
        let others = [
            when(!has_listener, BlockReason::NoListener),
            when(self.awaits_returned || is_full, BlockReason::Unhandled),
            when(is_suspended, BlockReason::Suspended),
            when(self.counter().is_draining(), BlockReason::Draining),
            when(self.transfer.is_some(), BlockReason::Handover),
            when(self.awaits_set_tls(), BlockReason::TlsNotSet),
        ];
        let own = own.into_iter().flatten();
        own.chain(limits)
            .chain(others.into_iter().flatten())
            .collect()
    }

    fn counts(&self) -> AcceptCounts {
        let handshakes = self.handshakes.as_ref().map(|it| &it.tasks);
        let headers = self.proxy.as_ref().map(|it| &it.tasks);
        AcceptCounts {
            delivered: self.accepts_in_flight.delivered(),
            failed: self.counts.failed
                + handshakes.map_or(0, |it| it.failures)
                + headers.map_or(0, |it| it.failures),
            dropped_events: self.accepts_in_flight.dropped()
                + self.errors.event_queue.dropped()
                + self.admission.event_queue.dropped()
                + handshakes.map_or(0, |it| it.event_queue.dropped())
                + headers.map_or(0, |it| it.event_queue.dropped()),
            ..self.counts
        }
    }
}
