//! The state of a client's session: its pending calls, and its unsent messages.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::proxy_protocol::ProxyProtocol;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo, ProxyErrorInfo};
use chrome_sockets::{App, Error, NetError};
use futures::task::waker;

use crate::limits::{CALL_COST, INFOS, Limits, MIN_SEND, SOCKET_SHARE};
use crate::log_limiter::LogLimiter;
use crate::protocol::arguments::CallError;
use crate::protocol::call::{Call, Kind};
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame::{Data, Encoding, FrameError};
use crate::protocol::message::Message;
use crate::protocol::outbox::Outbox;
use crate::protocol::outcome::{Outcome, OutcomeFuture, send_outcome};
use crate::protocol::{call, message};
use crate::sessions::budget::{Charge, MemoryBudget, SendBudget};
use crate::sessions::event_sink::{CallWaker, ClosedByAdmin, EventSink};
use crate::sessions::frame_handler::PendingFrame;
use crate::sessions::stats;
use crate::sessions::stats::{Namespace, SocketStats};
use crate::sessions::turn::Turn;

mod get_sockets;

use crate::sessions::state::get_sockets::Listing;

/// The app of a session, and what it shares with the host.
#[derive(Clone)]
pub(crate) struct SessionContext {
    pub(crate) app: App,
    pub(crate) encoding: Encoding,
    pub(crate) limits: Limits,
    pub(crate) socket_stats: Rc<RefCell<SocketStats>>,
    /// The memory of the app's sockets.
    pub(crate) socket_charge: Rc<RefCell<Charge>>,
    pub(crate) memory: MemoryBudget,
    pub(crate) send_budget: SendBudget,
    pub(crate) log_limiter: LogLimiter,
    /// For the server sockets that the client creates.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

impl SessionContext {
    /// Has a new server socket expect PROXY headers, if the owner of the host says so. The client
    /// does not know the socket yet, so nothing of it comes before.
    fn set_proxy_protocol(&self, namespace: Namespace, socket: u64) {
        if let (Namespace::Server, Some(settings)) = (namespace, &self.proxy_protocol) {
            let server = &self.app.tcp_server;
            drop(server.set_proxy_protocol(socket.into(), settings.clone()));
        }
    }
}

/// An event that counts as unhandled until the client acknowledges it.
#[expect(dead_code, reason = "dropping an event marks it as handled")]
enum RetainedEvent {
    Accept(AcceptInfo),
    AcceptError(AcceptErrorInfo),
    Receive(ReceiveInfo),
}

pub(crate) struct SessionState {
    context: SessionContext,
    outbox: Outbox<RetainedEvent>,
    calls: HashMap<u64, PendingCall>,
    last_call: u64,
    /// Unanswered calls, not counting sends.
    call_count: usize,
    /// The part of the quota that unanswered sends use.
    quota_used: usize,
    pending_creates: PendingCreates,
    /// The memory of the pending frame.
    frame_charge: Charge,
    /// The memory of unsent messages.
    message_charge: Charge,
    subscriptions: Subscriptions,
    /// The client reads too slowly, so the session does not listen for `onReceive` meanwhile.
    is_receive_suspended: bool,
    pending_frame: Option<PendingFrame>,
    /// Unanswered `getInfo` calls.
    info_count: usize,
    /// The `getSockets` call that is being answered.
    listing: Option<Listing>,
}

/// Unanswered `create` calls, and the memory that their sockets will need.
#[derive(Default)]
struct PendingCreates {
    servers: usize,
    clients: usize,
    cost: usize,
}

impl PendingCreates {
    fn count(&mut self, namespace: Namespace) -> &mut usize {
        match namespace {
            Namespace::Server => &mut self.servers,
            Namespace::Client => &mut self.clients,
        }
    }
}

struct PendingCall {
    kind: Kind,
    outcome: OutcomeFuture,
    waker: Waker,
}

/// The events that the client has listeners for.
#[derive(Clone, Copy, Default)]
struct Subscriptions {
    accept: bool,
    accept_error: bool,
    receive: bool,
    receive_error: bool,
}

impl SessionState {
    pub(crate) fn new(context: SessionContext) -> Self {
        SessionState {
            outbox: Outbox::new(context.encoding, context.limits),
            calls: HashMap::new(),
            last_call: 0,
            call_count: 0,
            quota_used: 0,
            pending_creates: PendingCreates::default(),
            frame_charge: context.memory.charge(),
            message_charge: context.memory.charge(),
            subscriptions: Subscriptions::default(),
            is_receive_suspended: false,
            pending_frame: None,
            info_count: 0,
            listing: None,
            context,
        }
    }

    /// Whether the last frame is done.
    pub(crate) fn is_ready(&self) -> bool {
        self.pending_frame.is_none()
    }

    /// The next frame to send now, if any.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, CloseReason> {
        let frame = self.outbox.next_frame()?;
        if frame.is_some() {
            self.charge_messages();
        }
        Ok(frame)
    }

    /// Ends the session. Returns what the app needs to be suspended, and the retained events.
    pub(crate) fn close(&mut self) -> (SessionContext, impl Sized + use<>) {
        self.calls.clear();
        self.pending_frame = None;
        self.frame_charge.set(0);
        self.message_charge.set(0);
        let outbox = std::mem::replace(
            &mut self.outbox,
            Outbox::new(Encoding::Text, self.context.limits),
        );
        (self.context.clone(), outbox.into_retained())
    }

    pub(crate) fn receive(&mut self, encoding: Encoding, bytes: Bytes) -> Result<(), CloseReason> {
        let length = bytes.len();
        let frame = PendingFrame::receive(encoding, bytes, &mut self.outbox)?;
        self.frame_charge.set(length);
        self.pending_frame = Some(frame);
        Ok(())
    }

    /// Whether to process the next message. Answers can be many times as long as their calls, so
    /// none is made while earlier ones are unsent, and nothing during a `getSockets`.
    fn may_process(&self) -> bool {
        let calls = self.call_count * CALL_COST;
        self.listing.is_none()
            && self.outbox.has_room()
            && self.info_count < INFOS
            && (calls <= self.context.limits.message_share() || !self.message_charge.is_full())
    }

    pub(crate) fn has_work(&self) -> bool {
        self.may_list()
            || (self.pending_frame.is_some() && self.may_process())
            || self.may_resume_receive()
    }

    /// Continues with the pending frame as far as the turn allows.
    pub(crate) fn process(
        &mut self,
        sink: &Addr<EventSink>,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        if self.may_resume_receive() {
            self.is_receive_suspended = false;
            if self.subscriptions.receive {
                let recipient = sink.clone().recipient();
                drop(self.context.app.tcp.on_receive.add_listener(recipient));
            }
        }
        self.continue_listing(sink);
        while self.may_process()
            && turn.try_step()
            && let Some(mut frame) = self.pending_frame.take()
        {
            let Some(message) = frame.messages.next()? else {
                frame.finish(&mut self.outbox)?;
                self.frame_charge.set(0);
                break;
            };
            self.handle_message(message, &mut frame.data, sink)?;
            self.pending_frame = Some(frame);
        }
        Ok(())
    }

    fn handle_message(
        &mut self,
        message: Message<'_>,
        data: &mut Data,
        sink: &Addr<EventSink>,
    ) -> Result<(), CloseReason> {
        match message.kind() {
            Some(message::Kind::Call(id)) if id > self.last_call => {
                self.last_call = id;
                match call::read(message, data) {
                    Ok(call) => self.start_call(id, call, sink),
                    Err(CallError::Call(text)) => {
                        self.refuse(id, text);
                        Ok(())
                    }
                    Err(CallError::Frame(error)) => Err(error.into()),
                }
            }
            Some(message::Kind::Call(_) | message::Kind::BadId) => Err(CloseReason::bad_call_id()),
            Some(message::Kind::Listen) => self.subscribe(&message, sink),
            None => Err(FrameError::Message("neither a call nor `listen`").into()),
        }
    }

    fn start_call(
        &mut self,
        id: u64,
        call: Call,
        sink: &Addr<EventSink>,
    ) -> Result<(), CloseReason> {
        let (kind, start) = match call {
            Call::Send(socket, data) => {
                let length = data.len();
                let charge = length.max(MIN_SEND);
                let charged = match self.quota_used + charge > self.context.limits.write_quota {
                    true => None,
                    false => self.context.send_budget.charge(data, self.quota_used),
                };
                let Some(data) = charged else {
                    self.answer(id, Error::WriteQuotaExceeded.into());
                    return Ok(());
                };
                self.quota_used += charge;
                let outcome = send_outcome(self.context.app.tcp.send(socket.into(), data));
                self.track(id, Kind::Send(socket, length), outcome, sink);
                return Ok(());
            }
            Call::List(namespace) => {
                self.count_call()?;
                self.listing = Some(Listing::new(id, namespace));
                self.continue_listing(sink);
                return Ok(());
            }
            Call::Other(kind, start) => (kind, start),
        };
        match kind {
            Kind::Create(namespace, name, _) => {
                let cost = stats::cost(namespace, name);
                let existing = self.context.socket_stats.borrow().count(namespace);
                let count = existing + *self.pending_creates.count(namespace);
                if count >= self.context.limits.sockets || !self.fits_budget(cost) {
                    self.refuse(id, "Too many sockets");
                    return Ok(());
                }
                *self.pending_creates.count(namespace) += 1;
                self.pending_creates.cost += cost;
            }
            Kind::Update(_, _, Some(name), _) if !self.fits_budget(name) => {
                let error = Error::from(NetError::INSUFFICIENT_RESOURCES);
                self.answer(id, error.into());
                return Ok(());
            }
            Kind::Info => self.info_count += 1,
            _ => {}
        }
        self.count_call()?;
        let outcome = start(&self.context.app);
        self.track(id, kind, outcome, sink);
        Ok(())
    }

    fn count_call(&mut self) -> Result<(), CloseReason> {
        self.call_count += 1;
        if self.call_count > self.context.limits.calls {
            let text = "more calls are unanswered than the welcome allows";
            return Err(CloseReason::new(Code::Overrun, text));
        }
        Ok(())
    }

    /// Whether the app's sockets and names may grow by this.
    fn fits_budget(&self, cost: usize) -> bool {
        let cost = self.pending_creates.cost + cost;
        let charge = self.context.socket_charge.borrow();
        charge.fits(cost, SOCKET_SHARE, self.context.limits.app_sockets())
    }

    /// Answers the call when its outcome is ready.
    fn track(&mut self, id: u64, kind: Kind, outcome: OutcomeFuture, sink: &Addr<EventSink>) {
        let waker = waker(Arc::new(CallWaker {
            sink: sink.downgrade(),
            id,
        }));
        let call = PendingCall {
            kind,
            outcome,
            waker,
        };
        self.calls.insert(id, call);
        self.poll_call(id);
    }

    /// Polls a call, and answers it if its outcome is ready.
    pub(crate) fn poll_call(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let mut cx = TaskContext::from_waker(&call.waker);
        let Poll::Ready(outcome) = call.outcome.as_mut().poll(&mut cx) else {
            return;
        };
        let Some(PendingCall { kind, .. }) = self.calls.remove(&id) else {
            return;
        };
        if kind == Kind::ListPart {
            return self.send_list_part(id, outcome);
        }
        let succeeded = outcome.last_error.is_none();
        let mut socket_stats = self.context.socket_stats.borrow_mut();
        match kind {
            Kind::Send(socket, length) => {
                self.quota_used -= length.max(MIN_SEND);
                if succeeded {
                    socket_stats.count_sent(socket, length);
                }
            }
            Kind::Create(namespace, name, size) => {
                *self.pending_creates.count(namespace) -= 1;
                self.pending_creates.cost -= stats::cost(namespace, name);
                if let Some(socket) = outcome.created {
                    socket_stats.create(namespace, socket, name, size);
                    self.context.set_proxy_protocol(namespace, socket);
                }
            }
            Kind::Update(namespace, socket, name, size) if succeeded => {
                socket_stats.update(namespace, socket, name, size);
            }
            Kind::Close(namespace, socket) => socket_stats.close(namespace, socket),
            Kind::Secure(socket) => {
                if outcome.error.is_some_and(|error| !keeps_socket(error)) {
                    socket_stats.close(Namespace::Client, socket);
                }
            }
            Kind::Info => self.info_count -= 1,
            Kind::Open(function, ref address, port) => {
                let reason = outcome.error.and_then(denial);
                if let Some(reason) = reason.filter(|_| self.context.log_limiter.allows()) {
                    let app = self.context.app.id();
                    log::warn!("app {app}: {function} {address}:{port} denied: {reason}");
                }
            }
            Kind::Update(..) | Kind::ListPart | Kind::Other => {}
        }
        if !matches!(kind, Kind::Send(..)) {
            let cost = socket_stats.cost();
            self.context.socket_charge.borrow_mut().set(cost);
            self.call_count -= 1;
        }
        drop(socket_stats);
        self.answer(id, outcome);
    }

    fn answer(&mut self, id: u64, outcome: Outcome) {
        self.outbox.push(&outcome.message(id));
        self.charge_messages();
    }

    fn refuse(&mut self, id: u64, text: impl Into<String>) {
        self.answer(id, Outcome::refused(text));
    }

    fn charge_messages(&mut self) {
        self.message_charge.set(self.outbox.unsent_bytes());
    }

    /// Whether a client that read too slowly has read enough to receive data again.
    fn may_resume_receive(&self) -> bool {
        self.is_receive_suspended
            && self.message_charge.bytes() <= self.context.limits.message_share() / 2
    }

    pub(crate) fn on_accept(&mut self, info: AcceptInfo) {
        let (server, client) = (info.socket_id, info.client_socket_id);
        let mut socket_stats = self.context.socket_stats.borrow_mut();
        socket_stats.count_accepted(server.get(), client.get());
        drop(socket_stats);
        let message = format!(r#"["tcpServer.onAccept",{server},{client}]"#);
        self.outbox
            .push_retaining(&message, RetainedEvent::Accept(info));
    }

    pub(crate) fn log_proxy_error(&self, info: &ProxyErrorInfo) {
        let peer = info.peer_address.to_canonical();
        if self.context.log_limiter.for_peer(peer).allows() {
            let (app, server, error) = (self.context.app.id(), info.socket_id, info.error);
            log::warn!(
                "app {app}: connection of {peer} to server socket {server} rejected: {error}"
            );
        }
    }

    pub(crate) fn on_accept_error(&mut self, info: AcceptErrorInfo) {
        let (server, code) = (info.socket_id, info.result_code.code());
        let message = format!(r#"["tcpServer.onAcceptError",{server},{code}]"#);
        self.outbox
            .push_retaining(&message, RetainedEvent::AcceptError(info));
    }

    pub(crate) fn on_receive(&mut self, mut info: ReceiveInfo, sink: &Addr<EventSink>) {
        let socket = info.socket_id.get();
        let data = std::mem::take(&mut info.data);
        let mut socket_stats = self.context.socket_stats.borrow_mut();
        let max = socket_stats.count_received(socket, data.len());
        drop(socket_stats);
        let retained = RetainedEvent::Receive(info);
        self.outbox.push_receive(socket, &data, max, retained);
        self.charge_messages();
        let is_behind = self.message_charge.bytes() > self.context.limits.message_share();
        if is_behind
            && self.message_charge.is_full()
            && !self.is_receive_suspended
            && self.subscriptions.receive
        {
            // Without a listener the sockets are not read, and TCP slows their peers.
            self.is_receive_suspended = true;
            let recipient = sink.clone().recipient();
            self.context
                .app
                .tcp
                .on_receive
                .do_remove_listener(recipient);
        }
    }

    pub(crate) fn on_receive_error(&mut self, info: &ReceiveErrorInfo) {
        let (socket, code) = (info.socket_id, info.result_code.code());
        self.outbox
            .push(&format!(r#"["tcp.onReceiveError",{socket},{code}]"#));
    }

    /// Raises the error event of a socket that the admin closed.
    pub(crate) fn on_closed_by_admin(&mut self, ClosedByAdmin(namespace, id): ClosedByAdmin) {
        let (event, is_subscribed) = match namespace {
            Namespace::Server => ("tcpServer.onAcceptError", self.subscriptions.accept_error),
            Namespace::Client => ("tcp.onReceiveError", self.subscriptions.receive_error),
        };
        if is_subscribed {
            let code = NetError::CONNECTION_CLOSED.code();
            self.outbox.push(&format!(r#"["{event}",{id},{code}]"#));
        }
    }

    /// Handles `listen`: replaces the set of events that the client listens for.
    fn subscribe(
        &mut self,
        message: &Message<'_>,
        sink: &Addr<EventSink>,
    ) -> Result<(), CloseReason> {
        let mut new = Subscriptions::default();
        let mut is_known = true;
        let visited = message.event_names(|name| match name {
            "tcpServer.onAccept" => new.accept = true,
            "tcpServer.onAcceptError" => new.accept_error = true,
            "tcp.onReceive" => new.receive = true,
            "tcp.onReceiveError" => new.receive_error = true,
            _ => is_known = false,
        });
        if visited.is_none() || !is_known {
            return Err(FrameError::Message("there is no such event").into());
        }
        let mut old = std::mem::replace(&mut self.subscriptions, new);
        if self.is_receive_suspended {
            // `process` adds the listener when the client has read enough.
            old.receive = new.receive;
        }
        let (server, tcp) = (&self.context.app.tcp_server, &self.context.app.tcp);
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
        subscribe!(accept, server.on_accept);
        subscribe!(receive, tcp.on_receive);
        Ok(())
    }
}

/// Why a `listen` or `connect` was denied, if it was.
fn denial(error: Error) -> Option<&'static str> {
    match error {
        Error::PermissionDenied => Some("its manifest does not permit it"),
        Error::Net(NetError::NETWORK_ACCESS_DENIED) => {
            Some("it is the host's own port, or the OS does not permit it")
        }
        _ => None,
    }
}

/// Whether a `secure` that fails with this error leaves the socket open.
fn keeps_socket(error: Error) -> bool {
    let kept = [
        NetError::INVALID_ARGUMENT,
        NetError::NO_SSL_VERSIONS_ENABLED,
        NetError::NOT_IMPLEMENTED,
    ];
    error == Error::SocketNotFound || error.net_error().is_some_and(|code| kept.contains(&code))
}
