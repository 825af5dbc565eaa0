//! The events for a client: which ones it listens for, and their messages.

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo, HandshakeErrorInfo, ProxyErrorInfo};
use chrome_sockets::{App, NetError, udp};
use serde_json::json;

use crate::protocol::close_reason::CloseReason;
use crate::protocol::frame::FrameError;
use crate::protocol::message::Message;
use crate::sessions::event_sink::{ClosedByAdmin, EventSink};
use crate::sessions::state::SessionState;
use crate::sessions::stats::Namespace;

/// An event that counts as unhandled until the client acknowledges it.
#[expect(dead_code, reason = "dropping an event marks it as handled")]
pub(super) enum RetainedEvent {
    Accept(AcceptInfo),
    AcceptError(AcceptErrorInfo),
    HandshakeError(HandshakeErrorInfo),
    Receive(ReceiveInfo),
    Datagram(udp::ReceiveInfo),
}

/// The events that the client has listeners for.
#[derive(Clone, Copy, Default)]
pub(super) struct Subscriptions {
    pub(super) accept: bool,
    pub(super) accept_error: bool,
    pub(super) handshake_error: bool,
    pub(super) receive: bool,
    pub(super) receive_error: bool,
    pub(super) datagram: bool,
    pub(super) udp_error: bool,
}

impl SessionState {
    pub(crate) fn on_accept(&mut self, info: AcceptInfo) {
        let (server, client) = (info.socket_id, info.client_socket_id);
        let mut socket_stats = self.context.socket_stats.borrow_mut();
        socket_stats.count_accepted(server.get(), client.get());
        drop(socket_stats);
        let message = format!(r#"["tcpServer.onAccept",{server},{client}]"#);
        self.outbox
            .push_retaining(&message, RetainedEvent::Accept(info));
    }

    pub(crate) fn on_accept_error(&mut self, info: AcceptErrorInfo) {
        let (server, code) = (info.socket_id, info.result_code.code());
        let message = format!(r#"["tcpServer.onAcceptError",{server},{code}]"#);
        self.outbox
            .push_retaining(&message, RetainedEvent::AcceptError(info));
    }

    /// Reports a failed handshake to a client that listens. If it does not, the log is the only
    /// place that has the reason.
    pub(crate) fn on_handshake_error(&mut self, info: HandshakeErrorInfo) {
        let (server, peer, code) = (info.socket_id, &info.peer, info.result_code);
        if !self.subscriptions.handshake_error {
            if self.context.log_limiter.allows() {
                let app = self.context.app.id();
                log::warn!("app {app}: server socket {server}: TLS handshake with {peer}: {code}");
            }
            return;
        }
        let event = json!([
            "tcpServer.onHandshakeError",
            server.get(),
            code.code(),
            peer.ip().map(|ip| ip.to_string()),
            peer.port(),
            info.missed,
        ]);
        self.outbox
            .push_retaining(&event.to_string(), RetainedEvent::HandshakeError(info));
    }

    pub(crate) fn log_proxy_error(&self, info: &ProxyErrorInfo) {
        let limiter = &self.context.log_limiter;
        let ip = info.peer.ip().map(|ip| ip.to_canonical());
        if ip.map_or_else(|| limiter.allows(), |ip| limiter.for_peer(ip).allows()) {
            let peer = ip.map_or_else(|| info.peer.to_string(), |ip| ip.to_string());
            let (app, server, error) = (self.context.app.id(), info.socket_id, info.error);
            log::warn!("app {app}: server socket {server}: connection of {peer} rejected: {error}");
        }
    }

    pub(crate) fn on_receive(&mut self, mut info: ReceiveInfo, sink: &Addr<EventSink>) {
        let socket = info.socket_id.get();
        let data = std::mem::take(&mut info.data);
        let mut socket_stats = self.context.socket_stats.borrow_mut();
        let max = socket_stats.count_received(socket, data.len());
        drop(socket_stats);
        let retained = RetainedEvent::Receive(info);
        self.outbox.push_receive(socket, &data, max, retained);
        self.suspend_receive_if_behind(sink);
    }

    pub(crate) fn on_datagram(&mut self, mut info: udp::ReceiveInfo, sink: &Addr<EventSink>) {
        let socket = info.socket_id.get();
        // Chrome shows no scope id.
        let from = (info.remote_address, info.remote_port).into();
        let data = std::mem::take(&mut info.data);
        let mut socket_stats = self.context.socket_stats.borrow_mut();
        socket_stats.count_datagram_received(socket, data.len());
        drop(socket_stats);
        let retained = RetainedEvent::Datagram(info);
        self.outbox.push_datagram(socket, &data, from, retained);
        self.suspend_receive_if_behind(sink);
    }

    /// Without a listener the sockets are not read: TCP slows their peers, and the OS drops
    /// datagrams.
    fn suspend_receive_if_behind(&mut self, sink: &Addr<EventSink>) {
        self.charge_messages();
        let is_behind = self.message_charge.bytes() > self.context.limits.message_share();
        if is_behind
            && self.message_charge.is_full()
            && !self.is_receive_suspended
            && (self.subscriptions.receive || self.subscriptions.datagram)
        {
            self.is_receive_suspended = true;
            let app = &self.context.app;
            let recipient = sink.clone().recipient();
            app.tcp.on_receive.do_remove_listener(recipient);
            let recipient = sink.clone().recipient();
            app.udp.on_receive.do_remove_listener(recipient);
        }
    }

    pub(crate) fn on_receive_error(&mut self, info: &ReceiveErrorInfo) {
        let (socket, code) = (info.socket_id, info.result_code.code());
        self.outbox
            .push(&format!(r#"["tcp.onReceiveError",{socket},{code}]"#));
    }

    pub(crate) fn on_udp_error(&mut self, info: &udp::ReceiveErrorInfo) {
        let (socket, code) = (info.socket_id, info.result_code.code());
        self.outbox
            .push(&format!(r#"["udp.onReceiveError",{socket},{code}]"#));
    }

    /// Raises the error event of a socket that the admin closed.
    pub(crate) fn on_closed_by_admin(&mut self, ClosedByAdmin(namespace, id): ClosedByAdmin) {
        let (event, is_subscribed) = match namespace {
            Namespace::Server => ("tcpServer.onAcceptError", self.subscriptions.accept_error),
            Namespace::Client => ("tcp.onReceiveError", self.subscriptions.receive_error),
            Namespace::Udp => ("udp.onReceiveError", self.subscriptions.udp_error),
        };
        if is_subscribed {
            let code = NetError::CONNECTION_CLOSED.code();
            self.outbox.push(&format!(r#"["{event}",{id},{code}]"#));
        }
    }

    /// Handles `listen`: replaces the set of events that the client listens for.
    pub(super) fn subscribe(
        &mut self,
        message: &Message<'_>,
        sink: &Addr<EventSink>,
    ) -> Result<(), CloseReason> {
        let mut new = Subscriptions::default();
        let mut is_known = true;
        let visited = message.event_names(|name| match name {
            "tcpServer.onAccept" => new.accept = true,
            "tcpServer.onAcceptError" => new.accept_error = true,
            // The sink always listens for it, to log it.
            "tcpServer.onHandshakeError" => new.handshake_error = true,
            "tcp.onReceive" => new.receive = true,
            "tcp.onReceiveError" => new.receive_error = true,
            "udp.onReceive" => new.datagram = true,
            "udp.onReceiveError" => new.udp_error = true,
            _ => is_known = false,
        });
        if visited.is_none() || !is_known {
            return Err(FrameError::Message("there is no such event").into());
        }
        let mut old = std::mem::replace(&mut self.subscriptions, new);
        if self.is_receive_suspended {
            // `process` adds the listener when the client has read enough.
            old.receive = new.receive;
            old.datagram = new.datagram;
        }
        let App {
            tcp_server: server,
            tcp,
            udp,
            ..
        } = &self.context.app;
        // The error events first: an error follows its data, so a client that receives the data
        // must not miss the error.
        macro_rules! subscribe {
            ($field:ident, $event:expr) => {
                match (old.$field, new.$field) {
                    (false, true) => $event.do_add_listener(sink.clone().recipient()),
                    (true, false) => $event.do_remove_listener(sink.clone().recipient()),
                    _ => {}
                }
            };
        }
        subscribe!(accept_error, server.on_accept_error);
        subscribe!(receive_error, tcp.on_receive_error);
        subscribe!(udp_error, udp.on_receive_error);
        subscribe!(accept, server.on_accept);
        subscribe!(receive, tcp.on_receive);
        subscribe!(datagram, udp.on_receive);
        Ok(())
    }
}
