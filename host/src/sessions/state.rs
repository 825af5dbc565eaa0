//! The state of a client's session: its pending calls, and its unsent messages.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::proxy_protocol::ProxyProtocol;
use chrome_sockets::{App, Error, NetError};
use futures::task::waker;

use crate::excerpt::for_answer;
use crate::limits::{CALL_COST, INFOS, Limits, MIN_SEND, SOCKET_SHARE};
use crate::log_limiter::LogLimiter;
use crate::protocol::arguments::CallError;
use crate::protocol::call::{Call, Kind, SendTo};
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame::{Data, Encoding, FrameError};
use crate::protocol::message::Message;
use crate::protocol::outbox::Outbox;
use crate::protocol::outcome::{Outcome, OutcomeFuture, send_outcome};
use crate::protocol::{call, message};
use crate::sessions::budget::{Charge, MemoryBudget, SendBudget};
use crate::sessions::event_sink::{CallWaker, EventSink};
use crate::sessions::frame_handler::PendingFrame;
use crate::sessions::stats;
use crate::sessions::stats::{Namespace, SocketStats};
use crate::sessions::turn::Turn;

mod events;
mod get_sockets;

use crate::sessions::state::events::{RetainedEvent, Subscriptions};
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

/// Unanswered `create` calls, and the memory that they and unanswered `setTls` calls will need.
#[derive(Default)]
struct PendingCreates {
    servers: usize,
    clients: usize,
    udp: usize,
    cost: usize,
}

impl PendingCreates {
    fn count(&mut self, namespace: Namespace) -> &mut usize {
        match namespace {
            Namespace::Server => &mut self.servers,
            Namespace::Client => &mut self.clients,
            Namespace::Udp => &mut self.udp,
        }
    }

    fn is_none(&self) -> bool {
        self.servers + self.clients + self.udp == 0
    }
}

struct PendingCall {
    kind: Kind,
    outcome: OutcomeFuture,
    waker: Waker,
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

    pub(crate) fn app(&self) -> &App {
        &self.context.app
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
            let app = &self.context.app;
            if self.subscriptions.receive {
                let recipient = sink.clone().recipient();
                app.tcp.on_receive.do_add_listener(recipient);
            }
            if self.subscriptions.datagram {
                let recipient = sink.clone().recipient();
                app.udp.on_receive.do_add_listener(recipient);
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
                let Some(data) = self.charge_send(id, data) else {
                    return Ok(());
                };
                let outcome = send_outcome(self.context.app.tcp.send(socket.into(), data));
                self.track(id, Kind::Send(socket, length), outcome, sink);
                return Ok(());
            }
            Call::SendTo(send) => {
                self.send_to(id, *send, sink);
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
            Kind::SetTls(socket, bytes) => {
                let cost = stats::tls_cost(bytes);
                let replaced = self.context.socket_stats.borrow().tls_cost(socket);
                if !self.fits_budget(cost.saturating_sub(replaced)) {
                    let error = Error::from(NetError::INSUFFICIENT_RESOURCES);
                    self.answer(id, error.into());
                    return Ok(());
                }
                self.pending_creates.cost += cost;
            }
            Kind::Info => self.info_count += 1,
            _ => {}
        }
        self.count_call()?;
        let outcome = start(&self.context.app);
        self.track(id, kind, outcome, sink);
        Ok(())
    }

    fn send_to(&mut self, id: u64, send: SendTo, sink: &Addr<EventSink>) {
        let SendTo {
            socket,
            data,
            address,
            port,
            query_type,
        } = send;
        let length = data.len();
        let Some(data) = self.charge_send(id, data) else {
            return;
        };
        let kind = Kind::SendTo(socket, length, address.as_str().into(), port);
        let udp = &self.context.app.udp;
        let answer = udp.send(socket.into(), data, address, port, query_type);
        self.track(id, kind, send_outcome(answer), sink);
    }

    /// Charges the data of a send to the quotas. If they are used up, answers the call.
    fn charge_send(&mut self, id: u64, data: Bytes) -> Option<Bytes> {
        let charge = data.len().max(MIN_SEND);
        let charged = match self.quota_used + charge > self.context.limits.write_quota {
            true => None,
            false => self.context.send_budget.charge(data, self.quota_used),
        };
        match charged {
            Some(_) => self.quota_used += charge,
            None => self.answer(id, Error::WriteQuotaExceeded.into()),
        }
        charged
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
            Kind::SendTo(socket, length, ref address, port) => {
                self.quota_used -= length.max(MIN_SEND);
                match outcome.error.and_then(send_denial) {
                    None if succeeded => socket_stats.count_datagram_sent(socket, length),
                    None => {}
                    Some(reason) => self.context.log_denial("send", address, port, reason),
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
            Kind::SetTls(socket, bytes) => {
                self.pending_creates.cost -= stats::tls_cost(bytes);
                if succeeded {
                    socket_stats.set_tls(socket, bytes);
                }
            }
            Kind::Close(namespace, socket) => socket_stats.close(namespace, socket),
            Kind::Secure(socket) => {
                if outcome.error.is_some_and(|error| !keeps_socket(error)) {
                    socket_stats.close(Namespace::Client, socket);
                }
            }
            Kind::Info => self.info_count -= 1,
            Kind::Open(function, ref address, port) => {
                if let Some(reason) = outcome.error.and_then(denial) {
                    self.context.log_denial(function, address, port, reason);
                }
            }
            Kind::Update(..) | Kind::ListPart | Kind::Other => {}
        }
        if !matches!(kind, Kind::Send(..) | Kind::SendTo(..)) {
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

    fn log_denial(&self, function: &str, address: &str, port: i32, reason: &str) {
        if self.log_limiter.allows() {
            let (app, address) = (self.app.id(), for_answer(address));
            log::warn!("app {app}: {function} {address}:{port} denied: {reason}");
        }
    }
}

/// Why a `udp.send` was denied, if it was.
fn send_denial(error: Error) -> Option<&'static str> {
    match error {
        Error::Net(NetError::ACCESS_DENIED) => denial(NetError::NETWORK_ACCESS_DENIED.into()),
        error => denial(error),
    }
}

/// Why a `listen`, `connect` or `bind` was denied, if it was.
fn denial(error: Error) -> Option<&'static str> {
    match error {
        Error::PermissionDenied | Error::UdpPermissionDenied => {
            Some("its manifest does not permit it")
        }
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
