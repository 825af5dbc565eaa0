//! What a server socket does with connections before they are clients: first the PROXY header,
//! then the limits for the client that it names, then TLS.

use std::task::Context as TaskContext;

use crate::address::Address;
use crate::answer::{Answer, Reply};
use crate::connections::PeerKey;
use crate::error::Error;
use crate::os::{Stream, try_close_gracefully};
use crate::proxy_protocol::{ProxyError, ProxyProtocol};
use crate::tcp_server::AtLimit;
use crate::tcp_server::accept::setup_tasks::{AbortedSetups, AcceptedStream};
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::proxy::header_errors;
use crate::tcp_server::proxy::headers::ProxyHeaders;
use crate::tcp_server::tls::handshake_errors;

impl ServerSocket {
    pub(in crate::tcp_server) fn set_proxy_protocol(
        &mut self,
        settings: Option<ProxyProtocol>,
    ) -> Result<(), Error> {
        settings.as_ref().map_or(Ok(()), ProxyProtocol::check)?;
        if settings.is_some() || self.proxy.is_some() {
            let (stats, telemetry) = (self.stats.clone(), self.telemetry().clone());
            let headers = || Box::new(ProxyHeaders::new(stats, telemetry));
            self.proxy.get_or_insert_with(headers).set(settings);
        }
        Ok(())
    }

    /// Collects headers and handshakes, and starts those that wait. Called in every turn.
    pub(in crate::tcp_server) fn poll_setups(&mut self, cx: &mut TaskContext<'_>) {
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.poll(cx);
        }
        if self.proxy.is_some() {
            self.poll_headers(cx);
        }
    }

    fn poll_headers(&mut self, cx: &mut TaskContext<'_>) {
        let (id, admission) = (self.id, &mut self.admission);
        let (counts, stats) = (&mut self.counts, &self.stats);
        if let Some(proxy) = &mut self.proxy {
            // At once, because an app is not loaded for a client that is refused.
            proxy.poll(cx, |mut accepted| {
                let client = accepted.proxy.as_deref().and_then(|it| it.header.source());
                let client = client.map_or_else(|| accepted.meta.peer().clone(), Address::from);
                let key = PeerKey::of(&client, || accepted.stream.peer_credentials());
                if let Some((limit, then)) = admission.refusal_of_client(key) {
                    refuse(accepted.stream, then);
                    admission.record_refusal(id, client, limit);
                    counts.refused += 1;
                    stats.refused(limit.label());
                    return None;
                }
                let counted = admission.counts_per_peer();
                accepted.meta.set_client(client, key, counted);
                Some(accepted)
            });
        }
        if self.uses_tls() {
            // A handshake does not wait for listeners.
            while self.has_room_for_handshake(cx)
                && let Some(accepted) = self.pop_proxied(cx)
                && let Some(handshakes) = &mut self.handshakes
            {
                handshakes.push(accepted, cx);
            }
        } else if self.transfer.is_some() {
            // They go to the next process, as all clients that no listener has heard of.
            while let Some(accepted) = self.pop_proxied(cx) {
                let pending_accept = self.create_client(accepted, None);
                self.undelivered.push_back(pending_accept);
            }
        }
        let replies = self.proxy.as_mut().map(|it| it.tasks.take_idle_replies());
        for reply in replies.into_iter().flatten() {
            self.reply_when_handshakes_done(reply);
        }
    }

    fn has_room_for_handshake(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let handshakes = self.handshakes.as_mut();
        handshakes.is_some_and(|it| it.has_room(cx))
    }

    /// The next connection that has its header.
    pub(in crate::tcp_server) fn pop_proxied(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Option<AcceptedStream> {
        self.proxy.as_mut()?.tasks.pop_finished(cx)
    }

    /// Whether another connection may be accepted, which may owe its header.
    pub(in crate::tcp_server) fn has_room_for_header(&mut self, cx: &mut TaskContext<'_>) -> bool {
        self.proxy.as_mut().is_none_or(|it| it.has_room(cx))
    }

    /// Whether a connection has its header and needs nothing else to become a client.
    pub(in crate::tcp_server) fn has_proxied_client(&self) -> bool {
        let proxy = self.proxy.as_ref();
        !self.uses_tls() && proxy.is_some_and(|it| it.tasks.has_finished())
    }

    /// Closes a connection that comes from elsewhere than a proxy.
    pub(in crate::tcp_server) fn refuse_other(
        &mut self,
        stream: Box<dyn Stream>,
        peer: Address,
        cx: &TaskContext<'_>,
    ) {
        refuse(stream, AtLimit::Close);
        // The next turn raises the event.
        cx.waker().wake_by_ref();
        if let Some(proxy) = &mut self.proxy {
            proxy.tasks.record_failure(peer, ProxyError::NotTrusted);
        }
    }

    /// Raises `onProxyError` and `onHandshakeError`.
    pub(in crate::tcp_server) fn raise_setup_errors(&mut self, cx: &mut TaskContext<'_>) {
        if let Some(handshakes) = &mut self.handshakes {
            let listeners = &self.app_listeners.on_handshake_error;
            let queue = &mut handshakes.tasks.event_queue;
            handshake_errors::raise(queue, self.id, listeners, cx);
        }
        if let Some(proxy) = &mut self.proxy {
            let listeners = &self.app_listeners.on_proxy_error;
            header_errors::raise(&mut proxy.tasks.event_queue, self.id, listeners, cx);
        }
    }

    /// Resolves when every accepted connection has its header, has finished its handshake and has
    /// become a client, or has failed.
    pub(in crate::tcp_server) fn setups_done(&mut self) -> Answer<()> {
        let (done, reply) = Answer::pair();
        match &mut self.proxy {
            // Its last connection may need a handshake.
            Some(proxy) => {
                proxy.tasks.reply_when_idle(reply);
                self.accepts_in_flight.wake();
            }
            None => self.reply_when_handshakes_done(reply),
        }
        done
    }

    fn reply_when_handshakes_done(&mut self, reply: Reply<()>) {
        match &mut self.handshakes {
            Some(handshakes) => {
                handshakes.tasks.reply_when_idle(reply);
                self.accepts_in_flight.wake();
            }
            None => reply.send(Ok(())),
        }
    }

    /// Closes all connections that are no clients yet.
    pub(in crate::tcp_server) fn abort_setups(&mut self) -> AbortedSetups {
        let headers = self.proxy.as_mut().map(|it| it.tasks.abort_all());
        let handshakes = self.handshakes.as_mut().map(|it| it.tasks.abort_all());
        let mut aborted = AbortedSetups::default();
        for it in [headers, handshakes].into_iter().flatten() {
            aborted.unfinished += it.unfinished;
            aborted.undelivered += it.undelivered;
        }
        aborted
    }
}

/// Closes or resets a connection.
pub(in crate::tcp_server) fn refuse(mut stream: Box<dyn Stream>, then: AtLimit) {
    match then {
        AtLimit::Reset => stream.reset(),
        _ => {
            try_close_gracefully(&mut *stream);
        }
    }
}
