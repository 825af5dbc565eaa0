//! What a server socket says of itself: why it stands still, and what it has
//! counted.

use super::actor::ServerSocket;
use super::events::UNHANDLED_ACCEPTS;
use super::{AcceptCounts, BlockReason, SocketInfo};

impl ServerSocket {
    /// Chrome's `paused`: by the app, or by an accept error.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_by_app || self.errors.paused_by().is_some()
    }

    pub(super) fn info(&self) -> SocketInfo {
        let bound = self.listener.as_ref();
        let address = bound.map(|bound| bound.address);
        SocketInfo {
            socket_id: self.id,
            persistent: self.persistent,
            reuse_port: self.reuse_port,
            name: self.name.as_deref().map(str::to_owned),
            paused: self.is_paused(),
            local_address: address.map(|address| address.ip()),
            local_port: address.map(|address| address.port()),
            blocked_by: self.blocked_by(),
            counts: self.counts(),
            backlog: bound.and_then(|bound| bound.listener.backlog()),
            accept_policy: self.errors.policy(),
            limits: self.admission.limits(),
            timeouts: self.accepts_in_flight.timeouts(),
        }
    }

    fn blocked_by(&self) -> Vec<BlockReason> {
        let when = |holds: bool, reason| holds.then_some(reason);
        let unhandled = self.recovering || self.accepts_in_flight.count() >= UNHANDLED_ACCEPTS;
        let nobody = !self.app_listeners.on_accept.contains(None);
        let limits = self.admission.full().into_iter().map(BlockReason::Limit);
        [
            when(self.paused_by_app, BlockReason::App),
            self.errors.paused_by().map(BlockReason::AcceptError),
            self.errors.backing_off().map(BlockReason::BackingOff),
        ]
        .into_iter()
        .flatten()
        .chain(limits)
        .chain(
            [
                when(nobody, BlockReason::NoListener),
                when(unhandled, BlockReason::Unhandled),
                when(
                    self.app_shards.activity.is_suspended(),
                    BlockReason::Suspended,
                ),
                when(self.counter().is_draining(), BlockReason::Draining),
                when(self.transfer.is_some(), BlockReason::Handover),
                when(self.is_undecided(), BlockReason::TlsNotSet),
            ]
            .into_iter()
            .flatten(),
        )
        .collect()
    }

    fn counts(&self) -> AcceptCounts {
        let handshakes = self.handshakes.as_ref();
        AcceptCounts {
            delivered: self.accepts_in_flight.delivered(),
            failed: self.counts.failed + handshakes.map_or(0, |it| it.failed()),
            dropped_events: self.accepts_in_flight.dropped()
                + self.errors.dropped()
                + self.admission.dropped_events()
                + handshakes.map_or(0, |it| it.dropped_events()),
            ..self.counts
        }
    }
}
