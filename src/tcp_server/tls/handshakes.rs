//! TLS handshakes of accepted connections, each in a task of its own.

use std::task::Context;

use crate::net_error::NetError;
use crate::tcp_server::accept::setup_tasks::{AcceptedStream, SetupTasks};
use crate::telemetry::{LostBy, ServerStats, Telemetry};
use crate::tls::Server;

pub(in crate::tcp_server) struct Handshakes {
    /// How connections that are accepted from now on are encrypted; `None`: they
    /// are not.
    server: Option<Server>,
    /// The previous process encrypted connections, and the app has not called
    /// `setTls` in this one. No connection may become a client without TLS.
    awaits_set_tls: bool,
    pub(in crate::tcp_server) tasks: SetupTasks<NetError>,
}

impl Handshakes {
    /// For a server socket whose connections the previous process encrypted.
    pub(in crate::tcp_server) fn awaiting_set_tls(
        stats: ServerStats,
        telemetry: Telemetry,
    ) -> Self {
        Handshakes {
            awaits_set_tls: true,
            ..Handshakes::new(stats, telemetry)
        }
    }

    pub(in crate::tcp_server) fn new(stats: ServerStats, telemetry: Telemetry) -> Self {
        Handshakes {
            server: None,
            awaits_set_tls: false,
            tasks: SetupTasks::new(LostBy::Handshake, stats, telemetry),
        }
    }

    #[cfg(feature = "tls")]
    pub(in crate::tcp_server) fn set_server(&mut self, server: Option<Server>) {
        self.awaits_set_tls = false;
        self.server = server;
    }

    pub(in crate::tcp_server) fn awaits_set_tls(&self) -> bool {
        self.awaits_set_tls
    }

    /// Whether accepted connections are encrypted.
    pub(in crate::tcp_server) fn uses_tls(&self) -> bool {
        self.awaits_set_tls || self.server.is_some()
    }

    /// Collects the results of tasks, and starts the handshake that waits. Called
    /// in every turn.
    pub(in crate::tcp_server) fn poll(&mut self, cx: &mut Context<'_>) {
        self.tasks.poll(cx, Some);
        self.start_waiting(cx);
        for reply in self.tasks.take_idle_replies() {
            reply.send(Ok(()));
        }
    }

    /// Whether the app has to be loaded: for a client that it can hear of, or
    /// because a connection waits for its `setTls`.
    pub(in crate::tcp_server) fn needs_app(&self) -> bool {
        self.tasks.has_finished() || (self.awaits_set_tls && self.tasks.has_waiting())
    }

    /// Whether another connection may be accepted.
    pub(in crate::tcp_server) fn has_room(&mut self, cx: &mut Context<'_>) -> bool {
        self.start_waiting(cx);
        let most = self
            .server
            .as_ref()
            .map_or(usize::MAX, Server::max_handshakes);
        self.tasks.has_room(most)
    }

    /// Starts the handshake of an accepted connection, or has it wait for room.
    pub(in crate::tcp_server) fn push(&mut self, accepted: AcceptedStream, cx: &mut Context<'_>) {
        self.tasks.push(accepted);
        self.start_waiting(cx);
    }

    fn start_waiting(&mut self, cx: &mut Context<'_>) {
        if self.awaits_set_tls || !self.tasks.has_waiting() {
            return;
        }
        let Some(server) = self.server.clone() else {
            // The app has turned TLS off since the connection was accepted.
            return self.tasks.skip_waiting();
        };
        let (most, limit) = (server.max_handshakes(), server.handshake_timeout());
        let handshake = |mut accepted: AcceptedStream| async move {
            accepted.stream = server.handshake(accepted.stream).await?;
            accepted.meta.mark_encrypted();
            Ok(accepted)
        };
        self.tasks.start_waiting(most, limit, handshake, cx);
    }
}
