//! Connections that owe their PROXY header, each with a task that reads it.

use std::task::Context;

use crate::address::Address;
use crate::proxy_protocol::{HeaderRule, ProxyError, ProxyPeer, ProxyProtocol, read_header};
use crate::tcp_server::accept::setup_tasks::{AcceptedStream, SetupTasks};
use crate::telemetry::{LostBy, ServerStats, Telemetry};

pub(in crate::tcp_server) struct ProxyHeaders {
    /// For connections that are accepted from now on; `None`: they have no header.
    settings: Option<ProxyProtocol>,
    pub(in crate::tcp_server) tasks: SetupTasks<ProxyError>,
}

impl ProxyHeaders {
    pub(in crate::tcp_server) fn new(stats: ServerStats, telemetry: Telemetry) -> Self {
        ProxyHeaders {
            settings: None,
            tasks: SetupTasks::new(LostBy::ProxyHeader, stats, telemetry),
        }
    }

    pub(in crate::tcp_server) fn set(&mut self, settings: Option<ProxyProtocol>) {
        self.settings = settings;
    }

    pub(in crate::tcp_server) fn settings(&self) -> Option<&ProxyProtocol> {
        self.settings.as_ref()
    }

    /// What becomes of a connection of this peer.
    pub(in crate::tcp_server) fn rule(&self, peer: &Address) -> HeaderRule {
        let settings = self.settings.as_ref();
        settings.map_or(HeaderRule::None, |it| it.rule(peer))
    }

    /// Collects the headers that were read, and reads that of the connection that waits. Called in
    /// every turn. `admit` as in [`SetupTasks::poll`].
    pub(in crate::tcp_server) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        admit: impl FnMut(AcceptedStream) -> Option<AcceptedStream>,
    ) {
        self.tasks.poll(cx, admit);
        self.start_waiting(cx);
    }

    /// Whether another connection may be accepted.
    pub(in crate::tcp_server) fn has_room(&mut self, cx: &mut Context<'_>) -> bool {
        self.start_waiting(cx);
        let settings = self.settings.as_ref();
        self.tasks
            .has_room(settings.map_or(usize::MAX, |it| it.max_pending))
    }

    /// Reads the header of an accepted connection, or has it wait for room.
    pub(in crate::tcp_server) fn push(&mut self, accepted: AcceptedStream, cx: &mut Context<'_>) {
        self.tasks.push(accepted);
        self.start_waiting(cx);
    }

    fn start_waiting(&mut self, cx: &mut Context<'_>) {
        if !self.tasks.has_waiting() {
            return;
        }
        // If the app has turned it off since, the header is due all the same: the peer was a
        // proxy when the connection was accepted.
        let defaults = ProxyProtocol::default();
        let settings = self.settings.as_ref().unwrap_or(&defaults);
        let (most, limit) = (settings.max_pending, settings.timeout);
        let read = |mut accepted: AcceptedStream| async move {
            let header = read_header(&mut *accepted.stream).await?;
            let proxy = ProxyPeer::new(accepted.meta.peer().clone(), header);
            accepted.proxy = Some(Box::new(proxy));
            Ok(accepted)
        };
        self.tasks.start_waiting(most, limit, read, cx);
    }
}
