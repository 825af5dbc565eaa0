//! Replaces telemetry in a build without the feature `metrics`: nothing is counted.

use std::sync::Arc;

use actix_rt::ArbiterHandle;
use actix_rt::time::Instant;

use crate::telemetry::labels::{
    DrainEnd, ErrorClass, FailedActor, FailureCause, FullWindow, LostBy, Outcome, RefusedBy, Side,
};

#[derive(Clone, Default)]
pub(crate) struct Telemetry;

impl Telemetry {
    pub(crate) fn new_arbiter(&self, _: usize) -> Arc<ArbiterStats> {
        Arc::default()
    }

    pub(crate) fn new_server(&self) -> ServerStats {
        ServerStats
    }

    pub(crate) fn add_source(&self, _: impl Fn(&mut Readings) -> bool) {}

    pub(crate) fn connect_ended(&self, _: Outcome) {}

    pub(crate) fn handshake_ended(&self, _: Side, _: Outcome, _began: Instant) {}

    pub(crate) fn actor_failed(&self, _: FailedActor, _: FailureCause, _restarts: bool) {}

    pub(crate) fn begin_drain(&self) -> RunningDrain {
        RunningDrain
    }
}

pub(crate) struct RunningDrain;

impl RunningDrain {
    pub(crate) fn count_ended(&self, _: DrainEnd, _connections: usize) {}
}

#[derive(Default)]
pub(crate) struct ArbiterStats;

impl ArbiterStats {
    pub(crate) fn set_arbiter(&self, _: ArbiterHandle) {}

    #[inline(always)]
    pub(crate) fn events_raised(&self, _count: usize) {}

    #[inline(always)]
    pub(crate) fn events_handled(&self, _count: usize) {}

    #[inline(always)]
    pub(crate) fn window_full(&self, _: FullWindow) {}

    #[inline(always)]
    pub(crate) fn begin_turn(&self, _calls: usize, _ready: usize) {}
}

#[derive(Default)]
pub(crate) struct SocketTraffic(());

impl SocketTraffic {
    pub(crate) fn begin(&self, _: &Arc<ArbiterStats>) {}

    #[inline(always)]
    pub(crate) fn received(&self, _: &Arc<ArbiterStats>, _bytes: usize) {}

    #[inline(always)]
    pub(crate) fn sent(&self, _: &Arc<ArbiterStats>, _bytes: usize) {}

    #[inline(always)]
    pub(crate) fn datagram_received(&self, _: &Arc<ArbiterStats>, _bytes: usize) {}

    #[inline(always)]
    pub(crate) fn datagram_sent(&self, _: &Arc<ArbiterStats>, _bytes: usize) {}
}

#[derive(Clone, Default)]
pub(crate) struct ServerStats;

impl ServerStats {
    pub(crate) fn set_name(&self, _: Option<&str>) {}

    pub(crate) fn index(&self) -> usize {
        0
    }

    pub(crate) fn accepted(&self) {}

    pub(crate) fn refused(&self, _: RefusedBy) {}

    pub(crate) fn failed(&self, _: LostBy) {}

    pub(crate) fn accept_error(&self, _: ErrorClass) {}
}

/// Has no values: nothing is read.
pub(crate) enum Readings {}

impl Readings {
    pub(crate) fn add_connections(&mut self, _open: usize) {}

    pub(crate) fn add_server(&mut self, _index: usize, _open: usize, _accept_events: usize) {}

    pub(crate) fn add_client_sockets(&mut self, _arbiter: usize, _sockets: usize) {}

    pub(crate) fn add_unhandled(&mut self, _arbiter: usize, _bytes: usize) {}

    pub(crate) fn add_send_queue(&mut self, _bytes: usize) {}

    pub(crate) fn add_udp_sockets(&mut self, _sockets: usize) {}
}
